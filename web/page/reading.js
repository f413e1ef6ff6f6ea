/** @import { Comment, LiveComments } from "../client/index.js" */
/** @import { SeqRange, StreamRow, StreamRows } from "./rows.js" */
/** @import { VirtualList } from "./virtual_list.js" */

import { LiveCommentsError } from "../client/index.js";
import { isTokenFault } from "./session_token.js";

/** Comments that are kept while the newest are in view. */
export const FOLLOWED_COMMENTS = 2_000;

/** Comments that may come while the reader holds a place. After them the stream is paused. */
const HELD_COMMENTS = 30_000;

/** Comments that are kept for a reader that reads back. */
const MOST_COMMENTS = 200_000;

/** Time in view of the newest comments after which older ones are dropped. */
const DROP_AFTER_MS = 60_000;

/** Comments of a request for older ones, and rows above the visible ones that are loaded ahead. */
const PAGE_COMMENTS = 200;
const ROWS_AHEAD = 100;

const RETRY_MS = 5_000;

/** Time after a pause in which a gap belongs to the pause, and is filled. */
const PAUSE_GAP_MS = 60_000;

/**
 * Moves a reader through a stream: follows the newest comments, holds a place, pauses, and
 * reads back through the history, as far as there is one.
 */
export class Reading {
  #chat;
  #rows;
  #list;
  #changed;
  /** @type {StreamRow[]} */
  #shown = [];
  #unseen = 0;
  #holding = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #dropTimer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retryTimer;
  #loading = false;
  /** Ranges that are being read. */
  #filling = 0;
  /** The history is not for this viewer, as long as nobody signs in. */
  #refused = false;
  /** State of the timeline in which its oldest comment was the first of all, or null. */
  #completeAt = /** @type {number | null} */ (null);
  /** During a pause everything from this comment on was read, or null at its beginning. */
  #readFrom = /** @type {Comment | null} */ (null);
  #resumedAt = -Infinity;
  #notAllowed;

  /**
   * @param {{chat: LiveComments, rows: StreamRows, list: VirtualList<StreamRow>}} parts
   * @param {() => void} changed Something that `state` tells is different.
   * @param {(error: LiveCommentsError) => void} notAllowed The history is not for this viewer.
   */
  constructor({ chat, rows, list }, changed, notAllowed) {
    this.#chat = chat;
    this.#rows = rows;
    this.#list = list;
    this.#changed = changed;
    this.#notAllowed = notAllowed;
    chat.on("comments", ({ comments, source }) => {
      if (source === "history") this.#endRead(comments);
      else if (!list.following) this.#unseen += comments.length;
    });
    chat.on("gap", (gap) => {
      // A change of the transport is filled by the client.
      if (gap.cause === "transport") return;
      const ofPause = performance.now() - this.#resumedAt < PAUSE_GAP_MS;
      // One that the reader skipped, or the client has given up, waits for a press.
      if (gap.cause === "skip" || gap.cause === "unread" || !ofPause) rows.addGap(gap);
      else void this.fill(gap).then((result) => result === "read" || rows.addGap(gap));
    });
    chat.on("restart", () => this.#beginAgain());
    chat.on("welcome", () => {
      this.#refused = false;
      this.#loadFirst();
    });
    chat.on("state", ({ state, error }) => {
      if (state !== "closed") return;
      this.#refused = false;
      // A token that was not accepted is dropped first.
      if (!error || !isTokenFault(error)) this.#loadFirst();
    });
  }

  /** Comments that came since the reader holds a place. */
  get unseen() {
    return this.#unseen;
  }

  get loading() {
    return this.#loading;
  }

  get paused() {
    return this.#chat.paused;
  }

  /**
   * Takes the rows that the list shows.
   *
   * @param {StreamRow[]} rows
   */
  setShown(rows) {
    this.#shown = rows;
  }

  /** Follows what the reader does. The list calls this after each move. */
  moved() {
    const { timeline } = this.#chat;
    if (this.#list.following && !this.paused) {
      this.#unseen = 0;
      this.#holding = false;
      this.#dropTimer ||= setTimeout(() => {
        this.#dropTimer = undefined;
        if (this.#list.following && !this.paused) timeline.limit = FOLLOWED_COMMENTS;
      }, DROP_AFTER_MS);
    } else {
      clearTimeout(this.#dropTimer);
      this.#dropTimer = undefined;
      if (!this.#holding) this.#makeRoom(HELD_COMMENTS);
      this.#holding = true;
      // The comments in view would be dropped for those that come.
      const isFull = timeline.size > timeline.limit - PAGE_COMMENTS;
      if (isFull && !this.paused && this.#chat.state !== "closed") this.pause();
      if (this.#needsOlder()) void this.#loadOlder();
    }
    this.#changed();
  }

  pause() {
    this.#readFrom = null;
    this.#completeAt = null;
    this.#makeRoom(HELD_COMMENTS);
    this.#chat.pause();
    void this.#loadOlder();
  }

  /** Continues at the place where the reader is. Everything that was missed follows. */
  resume() {
    this.#makeRoom(HELD_COMMENTS);
    this.#resumedAt = performance.now();
    this.#chat.resume();
    this.#changed();
  }

  /** Goes to the newest comment. After a pause, a line stands for those that were missed. */
  skip() {
    if (this.paused) this.#chat.resume({ skip: true });
    this.#unseen = 0;
    this.#list.follow();
    this.#changed();
  }

  /**
   * Reads a range of the history into the list, and removes the lines for gaps in it.
   *
   * @param {SeqRange} range
   * @returns {Promise<"read" | "failed" | "refused">} A refusal has been told to `notAllowed`.
   */
  async fill(range) {
    this.#makeRoom(HELD_COMMENTS);
    // Lines that are added meanwhile may be for another log.
    const gaps = this.#rows.gapsIn(range);
    this.#filling += 1;
    try {
      await this.#chat.fillGap(range);
      for (const gap of gaps) this.#rows.remove(gap);
      return "read";
    } catch (error) {
      if (!isRefusal(error)) return "failed";
      this.#notAllowed(error);
      return "refused";
    } finally {
      this.#filling -= 1;
    }
  }

  /**
   * The client has read the end of a stream by itself, after a line was shown for it. What it
   * leaves out of the end gets a line of its own.
   *
   * @param {Comment[]} comments
   */
  #endRead(comments) {
    const ofClient = !this.#loading && this.#filling === 0;
    if (ofClient && this.#chat.state === "closed") {
      this.#rows.removeUnreadEnd(comments.at(-1)?.seq ?? -1);
    }
  }

  #loadFirst() {
    if (this.#refused || this.#complete) return;
    if (this.#chat.timeline.size < PAGE_COMMENTS) void this.#loadOlder();
  }

  get #complete() {
    return this.#completeAt === this.#chat.timeline.trims;
  }

  #beginAgain() {
    this.#readFrom = null;
    this.#completeAt = null;
  }

  /** Whether the reader is near the place from which on everything was read. */
  #needsOlder() {
    if (this.#loading || this.#refused || this.#complete || this.#retryTimer) return false;
    if (this.#chat.timeline.size >= MOST_COMMENTS) return false;
    if (!this.paused) return this.#list.firstVisible < ROWS_AHEAD;
    const id = this.#readFrom?.comment_id;
    const from = this.#shown.findIndex((row) => "comment_id" in row && row.comment_id === id);
    return from < 0 || this.#list.firstVisible < from + ROWS_AHEAD;
  }

  async #loadOlder() {
    if (this.#loading) return;
    const { timeline } = this.#chat;
    this.#loading = true;
    this.#changed();
    this.#makeRoom(PAGE_COMMENTS);
    const { trims } = timeline;
    try {
      const { done, oldest } = await this.#chat.loadOlder(PAGE_COMMENTS);
      this.#readFrom = oldest ?? this.#readFrom;
      if (done) this.#completeAt = trims;
    } catch (error) {
      this.#loadFailed(error);
    }
    this.#loading = false;
    this.moved();
  }

  /** @param {unknown} error */
  #loadFailed(error) {
    const refused = isRefusal(error);
    this.#refused = refused;
    if (refused) {
      this.#notAllowed(error);
      return;
    }
    const { retryAfterMs = RETRY_MS } = error instanceof LiveCommentsError ? error : {};
    clearTimeout(this.#retryTimer);
    this.#retryTimer = setTimeout(() => {
      this.#retryTimer = undefined;
      this.#loadFirst();
      this.moved();
    }, retryAfterMs);
  }

  /** @param {number} comments */
  #makeRoom(comments) {
    const { timeline } = this.#chat;
    const limit = Math.min(MOST_COMMENTS, timeline.size + comments);
    if (limit > timeline.limit) timeline.limit = limit;
  }
}

/**
 * Tells whether the same request is in vain, as long as nobody else signs in.
 *
 * @param {unknown} error
 * @returns {error is LiveCommentsError}
 */
function isRefusal(error) {
  const { status = 0 } = error instanceof LiveCommentsError ? error : {};
  return status >= 400 && status < 500 && status !== 429;
}
