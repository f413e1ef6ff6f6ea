/** @import { Clock } from "./clock.js" */
/** @import { StreamApi } from "./http.js" */
/** @import { SeqRange } from "./position.js" */
/** @import { Comment } from "./protocol.js" */

import { sleep } from "./clock.js";

/**
 * @typedef {object} HistoryPage
 * @property {Comment[]} comments Newest first.
 * @property {string} [next_before] Present while there may be more: the next page begins before it.
 */

/**
 * @typedef {object} HistoryOptions
 * @property {string} [before] Id of the comment before which to begin. Absent: the newest.
 * @property {number} [at] Milliseconds since the start of the stream: begin at the newest comment
 *   of this moment.
 * @property {number} [pageSize] Comments of a request, 1 to 1000 (default 100).
 * @property {AbortSignal} [signal] Ends requests and waits.
 */

/**
 * @typedef {object} RepliesPage
 * @property {number} count All replies to the comment, at most 1000.
 * @property {Comment[]} comments Newest first.
 * @property {string} [next_before] Present while there are more: the next page begins before it.
 */

/** The history is written shortly after comments are shown; a deleted one never appears. */
const SETTLE_MS = 10_000;
const FIRST_SETTLE_DELAY_MS = 250;

/** Bounds of the comments of a request when all of a range are wanted. */
const SMALLEST_RANGE_PAGE = 20;
const LARGEST_RANGE_PAGE = 500;

/** The stored comments of a stream, which are all of them, whatever share was shown live. */
export class History {
  #api;
  #clock;

  /**
   * @param {StreamApi} api
   * @param {Clock} clock
   */
  constructor(api, clock) {
    this.#api = api;
    this.#clock = clock;
  }

  /**
   * Returns a page, newest first.
   *
   * @param {HistoryOptions} [options]
   * @returns {Promise<HistoryPage>}
   * @throws {import("./errors.js").LiveCommentsError}
   */
  async page({ before, at, pageSize = 100, signal } = {}) {
    const query = { before, at, limit: pageSize };
    return await this.#api.request("/comments", { query, signal });
  }

  /**
   * Returns a page of the replies to a comment, newest first, and their number.
   *
   * @param {string} commentId
   * @param {HistoryOptions} [options]
   * @returns {Promise<RepliesPage>}
   * @throws {import("./errors.js").LiveCommentsError}
   */
  replies(commentId, { before, pageSize = 100, signal } = {}) {
    const path = `/comments/${encodeURIComponent(commentId)}/replies`;
    return this.#api.request(path, { query: { before, limit: pageSize }, signal });
  }

  /**
   * Yields all pages, from the newest to the oldest.
   *
   * @param {HistoryOptions} [options]
   * @returns {AsyncGenerator<HistoryPage, void, void>}
   */
  async *pages(options = {}) {
    let page = await this.page(options);
    yield page;
    while (page.next_before !== undefined) {
      page = await this.page({ ...options, at: undefined, before: page.next_before });
      yield page;
    }
  }

  /**
   * Yields all comments, from the newest to the oldest.
   *
   * @param {HistoryOptions} [options]
   * @returns {AsyncGenerator<Comment, void, void>}
   */
  async *comments(options = {}) {
    for await (const page of this.pages(options)) yield* page.comments;
  }

  /**
   * Yields the comments of a range of the present log: pages from the newest to the oldest, each in
   * the order of the stream. What is not stored yet is waited for, some seconds at most, and comes
   * after the rest.
   *
   * @param {SeqRange} range
   * @param {Pick<HistoryOptions, "signal">} [options]
   * @returns {AsyncGenerator<Comment[], void, void>}
   */
  async *range({ from_seq, to_seq }, { signal } = {}) {
    const deadline = this.#clock.now() + SETTLE_MS;
    let delay = FIRST_SETTLE_DELAY_MS;
    let next = from_seq;
    for (;;) {
      let newest = -1;
      const least = Math.max(to_seq - next, SMALLEST_RANGE_PAGE);
      const options = { pageSize: Math.min(least, LARGEST_RANGE_PAGE), signal };
      for await (const page of this.#newestBackTo(next, options)) {
        newest = Math.max(newest, page[0]?.seq ?? -1);
        const wanted = page.filter(({ seq }) => seq <= to_seq).reverse();
        if (wanted.length > 0) yield wanted;
      }
      if (newest >= to_seq || this.#clock.now() + delay > deadline) return;
      next = Math.max(next, newest + 1);
      await sleep(this.#clock, delay, signal);
      delay *= 2;
    }
  }

  /**
   * Yields pages of the present log, newest first, down to a number.
   *
   * @param {number} seq
   * @param {HistoryOptions} options
   * @returns {AsyncGenerator<Comment[], void, void>}
   */
  async *#newestBackTo(seq, options) {
    let last = Infinity;
    for await (const { comments } of this.pages(options)) {
      // A number that rises belongs to an older log.
      const end = comments.findIndex((comment, index) => {
        return comment.seq < seq || comment.seq > (comments[index - 1]?.seq ?? last);
      });
      yield end < 0 ? comments : comments.slice(0, end);
      if (end >= 0) return;
      last = comments.at(-1)?.seq ?? last;
    }
  }
}
