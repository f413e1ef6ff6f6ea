/** @import { Clock, Spread } from "./clock.js" */
/** @import { HistoryPage } from "./history.js" */
/** @import { SeqRange } from "./position.js" */
/** @import { Comment } from "./protocol.js" */

import { randomMs, sleep } from "./clock.js";

/**
 * Reads a page of the history that begins before a comment, or at the newest.
 *
 * @typedef {(options: {before: string | undefined, pageSize: number, signal?: AbortSignal})
 *   => Promise<HistoryPage>} ReadPage
 */

/**
 * @typedef {object} RangeOptions
 * @property {string} [before] Id of a comment behind the range before which to begin. Absent: the
 *   newest. The page should hold another comment behind the range: it tells that the history is
 *   complete up to there.
 * @property {number} [limit] Comments after which a pass ends, rounded up to a whole page.
 * @property {(comment: Comment) => boolean} [isKnown] A pass ends at a comment that is known, and
 *   nothing is missing then.
 * @property {Spread} [again] Reads what is incomplete once more after this time, instead of several
 *   times with growing delays. A range without an end is always read so.
 */

/** End of a range that has none. */
export const OPEN_END = Number.MAX_SAFE_INTEGER;

/** The history is written shortly after comments are shown; a deleted one never appears. */
const SETTLE_MS = 10_000;
const FIRST_SETTLE_DELAY_MS = 250;

/** @type {Spread} Time until a range is read again, if that is done once. */
export const SETTLED = { leastMs: SETTLE_MS / 2, mostMs: SETTLE_MS };

/** Comments of the first request for a range, if it may be short, and of all others. */
const SMALLEST_PAGE = 20;
const OPEN_PAGE = 100;
const LARGEST_PAGE = 500;

/**
 * Reads a range of the present log from the history: pages from the newest to the oldest. What is
 * not stored yet is waited for, some seconds at most, and comes after the rest. After an error,
 * `pages` continues where it was.
 *
 * A range may have no end (`OPEN_END`). It is read twice.
 */
export class RangeReader {
  #readPage;
  #clock;
  #range;
  #start;
  #limit;
  #isKnown;
  /** @type {Spread | undefined} */
  #again;
  /** @type {number | null} */
  #deadline = null;
  #delay = FIRST_SETTLE_DELAY_MS;
  /** Lowest number that the present pass looks for. */
  #floor;
  /** Place of the next page of the pass. @type {string | undefined} */
  #before;
  /** Lowest number that the pass has read. */
  #last = Infinity;
  #passDone = false;
  /** Whether a comment was met that is known. */
  #metKnown = false;
  /** Highest number that was read, also behind the range. */
  #newest = -1;
  /** @type {SeqRange[]} */
  #leftOut = [];
  /** Comments that the pass has read. */
  #count = 0;

  /**
   * @param {ReadPage} readPage
   * @param {Clock} clock
   * @param {SeqRange} range
   * @param {RangeOptions} [options]
   */
  constructor(readPage, clock, range, options = {}) {
    const { before, limit = Infinity, isKnown = () => false, again } = options;
    this.#readPage = readPage;
    this.#clock = clock;
    this.#range = range;
    this.#start = before;
    this.#before = before;
    this.#limit = limit;
    this.#isKnown = isKnown;
    this.#again = again ?? (range.to_seq === OPEN_END ? SETTLED : undefined);
    this.#floor = range.from_seq;
  }

  /**
   * The parts of the range that were not read because of an error, lowest first.
   *
   * @returns {SeqRange[]}
   */
  get missing() {
    const { to_seq } = this.#range;
    if (this.#passDone) return [];
    const parts = [this.#rest];
    const hasRead = this.#last !== Infinity;
    if (hasRead && to_seq !== OPEN_END) parts.push({ from_seq: this.#newest + 1, to_seq });
    return parts.filter((part) => part.from_seq <= part.to_seq);
  }

  /** The number up to which everything was read or left out. */
  get knownTo() {
    return this.#passDone ? Math.max(this.#newest, this.#floor - 1) : this.#floor - 1;
  }

  /** The part of the range that the pass has still to read. */
  get #rest() {
    return { from_seq: this.#floor, to_seq: Math.min(this.#range.to_seq, this.#last - 1) };
  }

  /**
   * Returns the parts of the range that were left out because of the limit, each once.
   *
   * @returns {SeqRange[]}
   */
  takeLeftOut() {
    return this.#leftOut.splice(0);
  }

  /**
   * Yields the comments of the range, each page in the order of the stream.
   *
   * @param {AbortSignal} [signal]
   * @returns {AsyncGenerator<Comment[], void, void>}
   */
  async *pages(signal) {
    this.#deadline ??= this.#again ? Infinity : this.#clock.now() + SETTLE_MS;
    for (;;) {
      while (!this.#passDone) {
        const comments = await this.#nextPage(signal);
        if (comments.length > 0) yield comments;
      }
      if (this.#isSettled || this.#clock.now() >= this.#deadline) return;
      await this.#wait(this.#deadline - this.#clock.now(), signal);
      this.#beginPass();
    }
  }

  /** Whether the history is complete up to the end of the range. */
  get #isSettled() {
    return this.#metKnown || this.#newest >= this.#range.to_seq;
  }

  /**
   * @param {number} left Time until the history is taken as it is.
   * @param {AbortSignal} [signal]
   */
  async #wait(left, signal) {
    const again = this.#again;
    const ms = again ? randomMs(this.#clock, again) : Math.min(left, this.#delay);
    this.#delay *= 2;
    await sleep(this.#clock, ms, signal);
    if (again) this.#deadline = this.#clock.now();
  }

  #beginPass() {
    this.#floor = Math.max(this.#floor, this.#newest + 1);
    this.#before = this.#start;
    this.#last = Infinity;
    this.#count = 0;
    this.#passDone = false;
  }

  /** @param {AbortSignal} [signal] */
  async #nextPage(signal) {
    const options = { before: this.#before, pageSize: this.#pageSize, signal };
    const { comments, next_before } = await this.#readPage(options);
    const wanted = [];
    for (const comment of comments) {
      // A number that rises belongs to an older log.
      const isOutside = comment.seq < this.#floor || comment.seq > this.#last;
      this.#metKnown = !isOutside && this.#isKnown(comment);
      const ends = isOutside || this.#metKnown;
      this.#passDone ||= ends;
      if (ends) break;
      this.#last = comment.seq;
      this.#newest = Math.max(this.#newest, comment.seq);
      if (comment.seq <= this.#range.to_seq) wanted.unshift(comment);
    }
    this.#count += comments.length;
    this.#before = next_before;
    this.#passDone ||= next_before === undefined;
    if (!this.#passDone && this.#count >= this.#limit) {
      if (this.#rest.from_seq <= this.#rest.to_seq) this.#leftOut.push(this.#rest);
      this.#passDone = true;
    }
    return wanted;
  }

  get #pageSize() {
    if (this.#before !== this.#start) return LARGEST_PAGE;
    const { to_seq } = this.#range;
    if (to_seq === OPEN_END) return OPEN_PAGE;
    // One more is the comment that tells that the range is complete.
    const size = Math.max(to_seq - this.#floor + 2, SMALLEST_PAGE);
    return Math.min(size, LARGEST_PAGE);
  }
}
