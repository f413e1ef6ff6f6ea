/** @import { Clock } from "./clock.js" */
/** @import { History } from "./history.js" */
/** @import { ConnectionRanges, PositionTracker, SeqRange } from "./position.js" */
/** @import { Comment, CommentDeletedMessage, CommentsMessage, GapMessage } from "./protocol.js" */
/** @import { Position, WelcomeMessage } from "./protocol.js" */
/** @import { Timeline } from "./timeline.js" */

import { BoundedMap, BoundedSet } from "./bounded_set.js";
import { GapFiller } from "./gap_filler.js";
import { HistoryReader } from "./history_reader.js";
import { PauseBuffer } from "./pause.js";

/**
 * - `live`: as the stream continues, or after a reconnect or a pause;
 * - `echo`: the viewer's own comment, before its place comes or although sampling left it out;
 * - `history`: read later, at a place before others that are shown.
 *
 * @typedef {"live" | "echo" | "history"} CommentSource
 */

/**
 * - `server`: after a long absence, or when the viewer read too slowly;
 * - `skip`: the viewer wanted to leave it out;
 * - `transport`: another transport began at the newest comment. The client fills such a gap, so
 *   there is nothing to show;
 * - `unread`: the client reads the history by itself, as for a gap that it fills or at the end of
 *   the stream, but did not read this range: the requests failed, or it is longer than the
 *   timeline. Show it, whatever was told before. Its end may be `Number.MAX_SAFE_INTEGER`.
 *
 * @typedef {"server" | "skip" | "transport" | "unread"} GapCause
 */

/**
 * A range that was not shown. `LiveComments.fillGap` reads it.
 *
 * @typedef {SeqRange & {cause: GapCause}} Gap
 */

/**
 * @typedef {object} FeedConfig
 * @property {Clock} clock
 * @property {PositionTracker} tracker
 * @property {History} history
 * @property {Timeline} timeline
 * @property {number} maxComments
 * @property {boolean} fillGaps
 * @property {() => AbortSignal} signal Ends reading of the history.
 */

/**
 * @typedef {object} FeedHandlers
 * @property {(comments: Comment[], source: CommentSource) => void} comments
 * @property {(message: CommentDeletedMessage) => void} deleted
 * @property {(gap: Gap) => void} gap
 * @property {(range: SeqRange) => void} passed A gap that the client does not fill by itself.
 * @property {(position: Position) => void} restart
 * @property {(commentIds: string[]) => void} arrived All that arrived, also what was there before.
 * @property {(error: unknown) => void} fillFailed
 */

/**
 * The result of taking a message: `lost` if others are missing before it, `full` if a pause has no
 * room for it.
 *
 * @typedef {"taken" | "lost" | "full"} Intake
 */

/**
 * A page of the history that was read.
 *
 * @typedef {object} OlderPage
 * @property {number} added Comments that were not in the timeline.
 * @property {boolean} done There is nothing older.
 * @property {Comment} [oldest] The comment with which the page ends. From it to the newest of the
 *   first page, the timeline has everything that is stored.
 */

/** Ids of deleted comments that are remembered, since a deletion may come before its comment. */
const REMEMBERED_DELETIONS = 10_000;

/** A comment that arrives this long after its deletion was restored: no cache keeps it longer. */
const RESTORED_AFTER_MS = 60_000;

/** Ids of shown comments that are remembered, as a multiple of those in the timeline. */
const REMEMBERED_COMMENTS = 4;

/** The comments of a stream, from all sources, each once: what the timeline shows. */
export class CommentFeed {
  #config;
  #handlers;
  #pause;
  #filler;
  #reader;
  /** @type {BoundedSet<string>} */
  #seen;
  /** @type {BoundedMap<string, number>} Times at which deletions were told. */
  #deleted = new BoundedMap(REMEMBERED_DELETIONS);
  #paused = false;
  /**
   * Newest number of the first page of the history, until it is joined with a position.
   *
   * @type {number | null}
   */
  #storedSeq = null;
  /** Newest number before the pause; -1 if another log began in it. @type {number | null} */
  #pausedSeq = null;
  /** State of the timeline that the reader continues. */
  #trims = 0;

  /**
   * @param {FeedConfig} config
   * @param {FeedHandlers} handlers
   */
  constructor(config, handlers) {
    this.#config = config;
    this.#handlers = handlers;
    this.#pause = new PauseBuffer(config.maxComments);
    this.#filler = new GapFiller(config, {
      show: (comments) => this.#show(comments, "history"),
      add: (comments) => this.#addStored(comments),
      isKnown: (commentId) => this.hasSeen(commentId),
      missing: (range) => {
        handlers.gap({ ...range, cause: "unread" });
        handlers.passed(range);
      },
      failed: (error) => handlers.fillFailed(error),
    });
    this.#reader = new HistoryReader(config.history);
    this.#seen = new BoundedSet(config.maxComments * REMEMBERED_COMMENTS);
  }

  get paused() {
    return this.#paused;
  }

  /**
   * Tells whether a comment has arrived or was deleted, among the latest ones.
   *
   * @param {string} commentId
   */
  hasSeen(commentId) {
    return this.#seen.has(commentId) || this.#deleted.has(commentId);
  }

  /**
   * @param {WelcomeMessage} message
   * @param {ConnectionRanges} ranges
   * @param {GapCause} cause Of the gap, if the connection begins further on than was asked.
   */
  welcome(message, ranges, cause) {
    const { restarted, skipped } = ranges.welcome(message);
    this.#filler.expectEnd();
    if (restarted) {
      this.#restart({ epoch: message.epoch, seq: message.seq });
      this.#keepOrApply({ unreadLog: { from_seq: 0, to_seq: message.seq } });
    }
    if (skipped) this.#keepOrApply({ gap: { ...skipped, cause } });
    this.#joinHistory(this.#config.tracker.current);
  }

  /**
   * @param {CommentsMessage} message
   * @param {ConnectionRanges} ranges
   * @param {boolean} duplex Whether the server knows of a pause.
   * @returns {Intake}
   */
  comments(message, ranges, duplex) {
    if (message.echo) {
      this.#show(message.comments, "echo");
      return "taken";
    }
    const count = message.comments.length;
    // A server that does not know of the pause leaves out comments. The position stays, and the end
    // of the pause asks for all of them.
    const isPart = !duplex && (message.sample_rate ?? 1) < 1;
    if (this.#paused && (isPart || this.#pause.ignoring)) {
      return this.#pause.ignore(count) ? "taken" : "full";
    }
    if (!this.#hasRoom(count)) return "full";
    const comments = ranges.comments(message);
    if (comments === null) return "lost";
    if (comments.length > 0) this.#keepOrApply({ comments });
    return "taken";
  }

  /**
   * @param {GapMessage} message
   * @param {ConnectionRanges} ranges
   * @returns {Intake}
   */
  gap(message, ranges) {
    if (this.#paused && this.#pause.ignoring) return "taken";
    if (!this.#hasRoom(1)) return "full";
    const range = ranges.gap(message);
    if (range === "lost") return "lost";
    if (range) this.#keepOrApply({ gap: { ...range, cause: "server" } });
    return "taken";
  }

  /** @param {CommentDeletedMessage} message */
  delete(message) {
    const { comment_id } = message;
    const isNew = !this.#deleted.has(comment_id);
    this.#deleted.set(comment_id, this.#config.clock.now());
    // It may be restored later, and is shown again then.
    this.#seen.delete(comment_id);
    this.#pause.remove(comment_id);
    this.#handlers.arrived([comment_id]);
    // It may be repeated after a resume.
    if (this.#config.timeline.remove(comment_id) || isNew) this.#handlers.deleted(message);
  }

  pause() {
    this.#paused = true;
    this.#pausedSeq = this.#config.tracker.current?.seq ?? null;
    // Reading back begins at the newest comment again, with those that sampling left out.
    this.#reader = new HistoryReader(this.#config.history);
  }

  /**
   * Ends a pause: shows what was kept, or with `skip` reports a gap over it.
   *
   * @param {boolean} skip
   * @returns {boolean} Whether the pause had no room for some of what arrived.
   */
  resume(skip) {
    this.#paused = false;
    const { full } = this.#pause;
    const pieces = this.#pause.drain();
    if (skip) this.#reportSkipped();
    else for (const piece of pieces) this.#apply(piece);
    return full;
  }

  /**
   * Reads a range from the history into the timeline.
   *
   * @param {SeqRange} range
   * @returns {Promise<number>} Number of comments that were added.
   */
  fill(range) {
    return this.#filler.fill(range);
  }

  /** Records that the stream has ended and that the connection brought all of it. */
  reachEnd() {
    // A paused connection brings nothing.
    if (!this.#paused) this.#filler.reachEnd();
  }

  /**
   * Reads what the stream has after the last position, unless that is known since the last
   * `welcome`. For a stream that has ended, whose connections the server refuses. During a pause
   * its end has to call this.
   *
   * @param {{atOnce?: boolean}} [options]
   */
  async readEnd({ atOnce = false } = {}) {
    const position = this.#config.tracker.current;
    if (!this.#paused && position !== null) await this.#filler.readEnd(position.seq, atOnce);
  }

  /**
   * Reads the next older page of the history into the timeline.
   *
   * @param {number} pageSize
   * @returns {Promise<OlderPage>}
   */
  async loadOlder(pageSize) {
    const { tracker, signal } = this.#config;
    this.#continueTimeline();
    const reader = this.#reader;
    const isFirst = !reader.begun && reader.fromNewest;
    const before = tracker.current;
    const parts = await reader.next(pageSize, signal());
    let added = 0;
    // If the log was replaced meanwhile, the age of what was read is not known.
    if (reader !== this.#reader) return { added, done: false };
    for (const { age, comments } of parts) {
      added += this.#addStored(comments, age);
    }
    if (isFirst) {
      this.#storedSeq = parts[0]?.comments.at(-1)?.seq ?? -1;
      this.#joinHistory(before ?? tracker.current);
    }
    return { added, done: reader.done, oldest: parts.at(-1)?.comments[0] };
  }

  /**
   * Begins before the oldest comment of the timeline if others were dropped since the last page:
   * reading on where that page ended would leave a hole.
   */
  #continueTimeline() {
    const { timeline, history } = this.#config;
    const unchanged = timeline.trims === this.#trims;
    this.#trims = timeline.trims;
    if (unchanged || !this.#reader.begun) return;
    this.#reader = new HistoryReader(history, timeline.oldest);
  }

  /**
   * Reads what lies between the newest page of the history and a position: comments are stored
   * shortly after they are shown, and the page may be older than the connection.
   *
   * @param {Position | null} position Null: not known yet.
   */
  #joinHistory(position) {
    if (this.#storedSeq === null || position === null) return;
    const range = { from_seq: this.#storedSeq + 1, to_seq: position.seq };
    this.#storedSeq = null;
    if (range.from_seq <= range.to_seq) void this.#filler.fillInBackground(range);
  }

  /** @param {Position} position */
  #restart(position) {
    for (const piece of this.#pause.drain()) this.#apply(piece);
    this.#pausedSeq = -1;
    this.#config.timeline.startLog();
    this.#filler.startLog();
    this.#reader = new HistoryReader(this.#config.history);
    this.#handlers.restart(position);
  }

  /**
   * Tells whether a message can be taken now. During a long pause it cannot: the position stays,
   * and the end of the pause asks for everything after it.
   *
   * @param {number} comments
   */
  #hasRoom(comments) {
    return !this.#paused || this.#pause.admits(comments);
  }

  /** @param {import("./pause.js").Piece} piece */
  #keepOrApply(piece) {
    if (this.#paused) this.#pause.push(piece);
    else this.#apply(piece);
  }

  /** @param {import("./pause.js").Piece} piece */
  #apply(piece) {
    if ("comments" in piece) this.#show(piece.comments, "live");
    else if ("gap" in piece) this.#reportGap(piece.gap);
    else void this.#filler.readNewLog(piece.unreadLog);
  }

  /** Reports what came during the pause and is left out. */
  #reportSkipped() {
    const from = this.#pausedSeq;
    const to = this.#config.tracker.current?.seq ?? 0;
    // The newest number of an empty log is 0.
    if (from === null || Math.max(from, 0) >= to) return;
    this.#reportGap({ from_seq: from + 1, to_seq: to, cause: "skip" });
  }

  /** @param {Gap} gap */
  #reportGap(gap) {
    this.#handlers.gap(gap);
    const isFilled = gap.cause === "transport" || this.#config.fillGaps;
    if (isFilled) void this.#filler.fillInBackground(gap);
    else this.#handlers.passed(gap);
  }

  /**
   * Tells whether a comment that arrives now was deleted, and not restored since.
   *
   * @param {string} commentId
   */
  #isDeleted(commentId) {
    const toldAt = this.#deleted.get(commentId);
    if (toldAt === undefined) return false;
    if (this.#config.clock.now() - toldAt < RESTORED_AFTER_MS) return true;
    this.#deleted.delete(commentId);
    return false;
  }

  /**
   * Adds comments that were asked for, also those that were shown before and had no room to stay.
   *
   * @param {Comment[]} comments
   * @param {number} [age] Number of logs that came after theirs.
   * @returns {number} Number of comments that were added.
   */
  #addStored(comments, age) {
    const wanted = comments.filter(({ comment_id }) => !this.#isDeleted(comment_id));
    const taken = this.#config.timeline.add(wanted, age);
    for (const { comment_id } of taken) this.#seen.add(comment_id);
    if (taken.length > 0) this.#handlers.comments(taken, "history");
    this.#handlers.arrived(comments.map(({ comment_id }) => comment_id));
    return taken.length;
  }

  /**
   * @param {Comment[]} comments
   * @param {CommentSource} source
   */
  #show(comments, source) {
    const fresh = comments.filter(({ comment_id: id }) => {
      return !this.#seen.has(id) && !this.#isDeleted(id);
    });
    for (const { comment_id } of fresh) this.#seen.add(comment_id);
    this.#config.timeline.add(fresh);
    if (fresh.length > 0) this.#handlers.comments(fresh, source);
    this.#handlers.arrived(comments.map(({ comment_id }) => comment_id));
  }
}
