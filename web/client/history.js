/** @import { Clock } from "./clock.js" */
/** @import { StreamApi } from "./http.js" */
/** @import { SeqRange } from "./position.js" */
/** @import { Comment } from "./protocol.js" */
/** @import { RangeOptions } from "./range_reader.js" */

import { RangeReader } from "./range_reader.js";

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
 * @property {number} count All replies to the comment that the caller may see. Counting stops at
 *   1,000.
 * @property {boolean} count_is_exact False if there may be more.
 * @property {Comment[]} comments Newest first.
 * @property {string} [next_before] Present while there are more: the next page begins before it.
 */

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
   * @param {RangeOptions & Pick<HistoryOptions, "signal">} [options]
   * @returns {AsyncGenerator<Comment[], void, void>}
   */
  async *range(range, { signal, ...options } = {}) {
    yield* this.rangeReader(range, options).pages(signal);
  }

  /**
   * Returns a reader of a range that can continue after an error.
   *
   * @param {SeqRange} range
   * @param {RangeOptions} [options]
   * @returns {RangeReader}
   */
  rangeReader(range, options) {
    return new RangeReader((page) => this.page(page), this.#clock, range, options);
  }
}
