/** @import { History } from "./history.js" */
/** @import { Comment } from "./protocol.js" */

/**
 * Comments of one log, in the order of the stream.
 *
 * @typedef {{age: number, comments: Comment[]}} LogPart
 */

/** Reads the history from the newest comment back, a page at a time, as a reader scrolls. */
export class HistoryReader {
  #history;
  /** @type {string | undefined} */
  #before;
  /** Number of logs that came after the one that is being read. */
  #age = 0;
  #lastSeq = Infinity;
  #begun = false;
  #done = false;
  #fromNewest;

  /**
   * @param {History} history
   * @param {{comment: Comment, age: number} | null} [after] Comment before which to begin. Absent:
   *   begin at the newest.
   */
  constructor(history, after = null) {
    this.#history = history;
    this.#fromNewest = after === null;
    if (after === null) return;
    this.#before = after.comment.comment_id;
    this.#age = after.age;
    this.#lastSeq = after.comment.seq;
  }

  /** Whether the first page holds the newest comment. */
  get fromNewest() {
    return this.#fromNewest;
  }

  /** Whether a page was read. */
  get begun() {
    return this.#begun;
  }

  /** Whether the oldest comment was read. */
  get done() {
    return this.#done;
  }

  /**
   * Returns the next page, cut where an older log begins; the newer log comes first.
   *
   * @param {number} pageSize
   * @param {AbortSignal} signal
   * @returns {Promise<LogPart[]>}
   */
  async next(pageSize, signal) {
    const page = await this.#history.page({ before: this.#before, pageSize, signal });
    this.#begun = true;
    this.#before = page.next_before;
    this.#done = page.next_before === undefined;
    return this.#cut(page.comments);
  }

  /**
   * @param {Comment[]} comments Newest first.
   * @returns {LogPart[]}
   */
  #cut(comments) {
    /** @type {LogPart[]} */
    const parts = [];
    for (const comment of comments) {
      // Numbers fall within a log; one that rises belongs to an older log.
      if (comment.seq > this.#lastSeq) this.#age += 1;
      if (parts.at(-1)?.age !== this.#age) parts.push({ age: this.#age, comments: [] });
      parts.at(-1)?.comments.push(comment);
      this.#lastSeq = comment.seq;
    }
    for (const part of parts) part.comments.reverse();
    return parts;
  }
}
