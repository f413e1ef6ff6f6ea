/** @import { Comment } from "./protocol.js" */

import { Emitter } from "./emitter.js";

/**
 * @typedef {object} TimelineEvents
 * @property {{added: Comment[], removed: Comment[]}} change Comments that came and went. Those that
 *   were added are in order, but need not be the newest.
 */

/**
 * @typedef {object} Entry
 * @property {Comment} comment
 * @property {number} log Logs in their order; the present one has the highest number.
 */

/**
 * The comments to show, each once, in the order of the stream. It keeps the newest up to a limit.
 *
 * @extends {Emitter<TimelineEvents>}
 */
export class Timeline extends Emitter {
  /** @type {Entry[]} */
  #entries = [];
  /** @type {Map<string, Comment>} */
  #ids = new Map();
  #log = 0;
  #limit;
  #trims = 0;

  /** @param {number} limit Comments to keep, at least 1. */
  constructor(limit) {
    super();
    this.#limit = limit;
  }

  /**
   * The comments, oldest first: a new array.
   *
   * @returns {Comment[]}
   */
  get comments() {
    return this.#entries.map((entry) => entry.comment);
  }

  /** @returns {number} */
  get size() {
    return this.#entries.length;
  }

  /** Number of times that the oldest comments were dropped because of the limit. */
  get trims() {
    return this.#trims;
  }

  /**
   * The oldest comment, and the number of logs that came after its own.
   *
   * @returns {{comment: Comment, age: number} | null}
   */
  get oldest() {
    const entry = this.#entries[0];
    return entry ? { comment: entry.comment, age: this.#log - entry.log } : null;
  }

  /**
   * Returns the first comments of the present log after a number.
   *
   * @param {number} seq
   * @param {number} most
   * @returns {Comment[]}
   */
  after(seq, most) {
    const first = this.#placeAfter(this.#log, seq);
    return this.#entries.slice(first, first + most).map((entry) => entry.comment);
  }

  /** Comments to keep. A lower limit takes effect at once. */
  get limit() {
    return this.#limit;
  }

  set limit(limit) {
    this.#limit = Math.max(1, Math.floor(limit));
    this.#report([], this.#trim());
  }

  /**
   * @param {string} commentId
   * @returns {boolean}
   */
  has(commentId) {
    return this.#ids.has(commentId);
  }

  /**
   * @param {string} commentId
   * @returns {Comment | undefined}
   */
  get(commentId) {
    return this.#ids.get(commentId);
  }

  /**
   * Adds the comments that are not there yet, each at its place.
   *
   * @param {Comment[]} comments In the order of the stream.
   * @param {number} [age] Number of logs that came after the one that the comments are of.
   * @returns {Comment[]} Those that were added and are still there.
   */
  add(comments, age = 0) {
    const fresh = comments.filter(({ comment_id }) => !this.#ids.has(comment_id));
    for (const comment of fresh) {
      this.#ids.set(comment.comment_id, comment);
      this.#insert({ comment, log: this.#log - age });
    }
    const removed = this.#trim();
    const added = fresh.filter(({ comment_id }) => this.#ids.has(comment_id));
    // Those that had no room were never there.
    const unknown = new Set(fresh);
    this.#report(
      added,
      removed.filter((comment) => !unknown.has(comment)),
    );
    return added;
  }

  /**
   * @param {string} commentId
   * @returns {boolean} Whether it was there.
   */
  remove(commentId) {
    if (!this.#ids.delete(commentId)) return false;
    const index = this.#entries.findIndex(({ comment }) => comment.comment_id === commentId);
    const removed = this.#entries.splice(index, 1);
    this.#report(
      [],
      removed.map((entry) => entry.comment),
    );
    return true;
  }

  /** Begins another log: its comments come after all that are there. */
  startLog() {
    this.#log += 1;
  }

  /** @param {Entry} entry */
  #insert(entry) {
    this.#entries.splice(this.#placeAfter(entry.log, entry.comment.seq), 0, entry);
  }

  /**
   * Returns the index of the first entry behind a number of a log.
   *
   * @param {number} log
   * @param {number} seq
   */
  #placeAfter(log, seq) {
    const isBehind = (/** @type {Entry | undefined} */ entry) =>
      entry === undefined || (entry.log === log ? entry.comment.seq > seq : entry.log > log);
    let low = 0;
    let high = this.#entries.length;
    // Most comments are newer than all that are there.
    if (high === 0 || !isBehind(this.#entries[high - 1])) low = high;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (isBehind(this.#entries[middle])) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** Removes the oldest comments beyond the limit and returns them. */
  #trim() {
    const surplus = Math.max(0, this.#entries.length - this.#limit);
    if (surplus > 0) this.#trims += 1;
    const removed = this.#entries.splice(0, surplus).map((entry) => entry.comment);
    for (const { comment_id } of removed) this.#ids.delete(comment_id);
    return removed;
  }

  /**
   * @param {Comment[]} added
   * @param {Comment[]} removed
   */
  #report(added, removed) {
    if (added.length > 0 || removed.length > 0) this.emit("change", { added, removed });
  }
}
