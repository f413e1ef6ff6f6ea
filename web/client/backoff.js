/** @import { Clock } from "./clock.js" */

/**
 * Growing delays with full jitter: each is a random time between 0 and a bound that doubles with
 * every failure, so that the viewers of a lost node do not all come back at once.
 */
export class Backoff {
  #clock;
  #baseMs;
  #longestMs;
  #failures = 0;

  /**
   * @param {Pick<Clock, "random">} clock
   * @param {{baseMs?: number, longestMs?: number}} [bounds] Bound of the first delay (500 ms) and
   *   of the longest (30 s).
   */
  constructor(clock, { baseMs = 500, longestMs = 30_000 } = {}) {
    this.#clock = clock;
    this.#baseMs = baseMs;
    this.#longestMs = longestMs;
  }

  /**
   * Returns the time to wait after one more failure, in milliseconds.
   *
   * @returns {number}
   */
  next() {
    const bound = Math.min(this.#longestMs, this.#baseMs * 2 ** this.#failures);
    // Beyond 2^30 the bound is the longest in any case.
    this.#failures = Math.min(this.#failures + 1, 30);
    return this.#clock.random() * bound;
  }

  /** Begins with the shortest bound again. */
  reset() {
    this.#failures = 0;
  }
}
