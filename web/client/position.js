/** @import { Comment, CommentsMessage, GapMessage, Position } from "./protocol.js" */
/** @import { WelcomeMessage } from "./protocol.js" */

/**
 * Sequence numbers of one log, both ends included.
 *
 * @typedef {{from_seq: number, to_seq: number}} SeqRange
 */

/**
 * @typedef {object} WelcomeEffect
 * @property {boolean} restarted The log is another one: earlier numbers mean nothing any more.
 * @property {SeqRange | null} skipped What this connection will not send.
 */

/**
 * The newest position of a viewer, over all its connections. What lies at or before it has been
 * delivered and is not delivered again.
 */
export class PositionTracker {
  /** @type {Position | null} */
  current = null;

  /**
   * Begins a connection.
   *
   * @param {boolean} fromHere Resume from the newest position; otherwise start at the newest
   *   comment.
   * @returns {ConnectionRanges}
   */
  connect(fromHere) {
    return new ConnectionRanges(this, fromHere ? this.current : null);
  }
}

/**
 * Checks that the ranges of one connection follow each other. Two connections may overlap, as while
 * a better transport replaces another: each has its own ranges.
 */
export class ConnectionRanges {
  #tracker;
  /** @type {Position | null} Newest position of this connection. */
  #newest;

  /**
   * @param {PositionTracker} tracker
   * @param {Position | null} asked Position that the connection resumes from.
   */
  constructor(tracker, asked) {
    this.#tracker = tracker;
    this.#newest = asked;
    /** @readonly */
    this.asked = asked;
  }

  /**
   * @param {WelcomeMessage} message
   * @returns {WelcomeEffect}
   */
  welcome({ epoch, seq }) {
    const known = this.#tracker.current;
    // Without a position that was asked for, everything known lies before the newest comment.
    const least = this.#newest ?? known;
    this.#newest = { epoch, seq };
    if (known === null || least === null) {
      this.#tracker.current = { epoch, seq };
      return { restarted: false, skipped: null };
    }
    if (epoch !== known.epoch || seq < least.seq) {
      this.#tracker.current = { epoch, seq };
      return { restarted: true, skipped: null };
    }
    return { restarted: false, skipped: this.#advance(seq, known.seq + 1) };
  }

  /**
   * Returns the comments that were not delivered before, or null if messages were lost: then the
   * connection must be closed and resumed. An echo is outside the ranges and is not for this.
   *
   * @param {CommentsMessage} message
   * @returns {Comment[] | null}
   */
  comments(message) {
    const { current } = this.#tracker;
    if (message.epoch !== this.#newest?.epoch || !this.#follows(message)) return null;
    const seen = current?.seq ?? -1;
    this.#advance(message.to_seq, message.from_seq);
    return message.comments.filter((comment) => comment.seq > seen);
  }

  /**
   * Returns the part of a gap that was not delivered before, if there is one, or "lost".
   *
   * @param {GapMessage} message
   * @returns {SeqRange | null | "lost"}
   */
  gap(message) {
    return this.#follows(message) ? this.#advance(message.to_seq, message.from_seq) : "lost";
  }

  /** @param {SeqRange} range */
  #follows({ from_seq, to_seq }) {
    if (this.#newest === null || from_seq !== this.#newest.seq + 1) return false;
    this.#newest = { epoch: this.#newest.epoch, seq: to_seq };
    return true;
  }

  /**
   * Moves the position of the viewer. Returns the part of the range that is new to it.
   *
   * @param {number} to
   * @param {number} from
   * @returns {SeqRange | null}
   */
  #advance(to, from) {
    const { current } = this.#tracker;
    if (current === null || to <= current.seq) return null;
    this.#tracker.current = { epoch: current.epoch, seq: to };
    return { from_seq: Math.max(from, current.seq + 1), to_seq: to };
  }
}
