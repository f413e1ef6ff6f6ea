/** @import { History } from "./history.js" */
/** @import { Comment } from "./protocol.js" */

/**
 * The times of a stream, as `LiveComments.stream()` returns them.
 *
 * @typedef {object} ReplayTimes
 * @property {number} [started_at]
 * @property {number} [ended_at]
 */

/** Comments are read in steps of this length, at moments that all viewers share. */
const STEP_MS = 10_000;
const PAGE_SIZE = 500;

/** Comments that a jump returns, unless the caller says otherwise. */
const JUMP_COMMENTS = 100;

/**
 * The comments of a stream in step with its recording. All times are milliseconds since the start
 * of the stream. One call at a time: each waits for the one before.
 */
export class Replay {
  #history;
  #startedAt;
  #endMs;
  /** Comments that were read and not returned, in order. @type {Comment[]} */
  #ahead = [];
  /** Everything up to here was read. */
  #readTo = 0;
  /** Everything up to here was returned. */
  #returnedTo = 0;
  /** The newest comment that was read. @type {Comment | undefined} */
  #newest;
  #turn = Promise.resolve();

  /**
   * @param {History} history
   * @param {ReplayTimes} stream
   * @throws {TypeError} The stream has not started.
   */
  constructor(history, { started_at, ended_at }) {
    if (started_at === undefined) throw new TypeError("the stream has not started");
    this.#history = history;
    this.#startedAt = started_at;
    this.#endMs = ended_at === undefined ? Infinity : ended_at - started_at;
  }

  /**
   * Jumps to a moment. Returns the newest comments up to it, in order.
   *
   * @param {number} ms
   * @param {number} [most] 1 to 1000.
   * @returns {Promise<Comment[]>}
   * @throws {import("./errors.js").LiveCommentsError}
   */
  seek(ms, most = JUMP_COMMENTS) {
    return this.#inTurn(() => this.#jump(this.#clipped(ms), most));
  }

  /**
   * Continues to a moment. Returns all comments since the moment before, in order. For a moment
   * that lies back it does what `seek` does.
   *
   * @param {number} ms
   * @returns {Promise<Comment[]>}
   * @throws {import("./errors.js").LiveCommentsError}
   */
  advance(ms) {
    return this.#inTurn(async () => {
      const at = this.#clipped(ms);
      if (at < this.#returnedTo) return await this.#jump(at);
      if (at > this.#readTo) await this.#readOn(this.#stepAfter(at));
      const isLater = (/** @type {Comment} */ { created_at }) => created_at - this.#startedAt > at;
      const end = this.#ahead.findIndex(isLater);
      this.#returnedTo = at;
      return this.#ahead.splice(0, end < 0 ? this.#ahead.length : end);
    });
  }

  /**
   * @param {number} at
   * @param {number} [most]
   */
  async #jump(at, most = JUMP_COMMENTS) {
    const { comments } = await this.#history.page({ at, pageSize: most });
    this.#ahead = [];
    this.#readTo = at;
    this.#returnedTo = at;
    this.#newest = comments[0];
    return comments.reverse();
  }

  /** @param {number} ms */
  #clipped(ms) {
    return Math.max(0, Math.min(Math.floor(ms), this.#endMs));
  }

  /**
   * Returns the moment to read up to. A stream that is live has none after the present one.
   *
   * @param {number} at
   */
  #stepAfter(at) {
    if (this.#endMs === Infinity) return at;
    return this.#clipped(Math.ceil(at / STEP_MS) * STEP_MS);
  }

  /**
   * Reads what came after the newest comment, up to a moment.
   *
   * @param {number} to
   */
  async #readOn(to) {
    /** @type {Comment[]} Newest first. */
    const found = [];
    const known = this.#newest?.comment_id;
    for await (const { comments } of this.#history.pages({ at: to, pageSize: PAGE_SIZE })) {
      const end = comments.findIndex(({ comment_id }) => comment_id === known);
      found.push(...(end < 0 ? comments : comments.slice(0, end)));
      const oldest = comments.at(-1)?.created_at ?? 0;
      // The known comment may have been deleted since.
      if (end >= 0 || oldest - this.#startedAt <= this.#readTo - STEP_MS) break;
    }
    const isNew = (/** @type {Comment} */ { seq, created_at }) =>
      this.#newest === undefined || seq > this.#newest.seq || created_at > this.#newest.created_at;
    this.#ahead.push(...found.filter(isNew).reverse());
    this.#newest = found[0] ?? this.#newest;
    this.#readTo = to;
  }

  /**
   * @template Result
   * @param {() => Promise<Result>} work
   * @returns {Promise<Result>}
   */
  #inTurn(work) {
    const done = this.#turn.then(work);
    this.#turn = done.then(
      () => undefined,
      () => undefined,
    );
    return done;
  }
}
