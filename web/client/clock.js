/**
 * Time and chance, as one object that tests replace.
 *
 * @typedef {object} Clock
 * @property {() => number} now Milliseconds since the Unix epoch.
 * @property {() => number} random A number from 0 to below 1.
 * @property {(callback: () => void, ms: number) => unknown} setTimeout
 * @property {(timer: unknown) => void} clearTimeout
 */

/**
 * Bounds of a random time, which keeps viewers apart that begin at the same moment.
 *
 * @typedef {{leastMs: number, mostMs: number}} Spread
 */

/** Longest time that `setTimeout` keeps; it takes a longer one for none. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** @type {Clock} */
export const systemClock = {
  now: () => Date.now(),
  random: () => Math.random(),
  setTimeout: (callback, ms) => setTimeout(callback, Math.min(ms, LONGEST_TIMEOUT_MS)),
  clearTimeout: (timer) => clearTimeout(/** @type {number | undefined} */ (timer)),
};

/**
 * @param {Pick<Clock, "random">} clock
 * @param {Spread} spread
 */
export function randomMs({ random }, { leastMs, mostMs }) {
  return leastMs + random() * (mostMs - leastMs);
}

/**
 * Resolves after a time. Rejects with the reason of the signal when that is aborted.
 *
 * @param {Clock} clock
 * @param {number} ms
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
export function sleep(clock, ms, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clock.clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = clock.setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    else signal?.addEventListener("abort", stop, { once: true });
  });
}

/** One timer that can be set again, which replaces the time that it had. */
export class Timer {
  #clock;
  /** @type {unknown} */
  #handle;

  /** @param {Clock} clock */
  constructor(clock) {
    this.#clock = clock;
  }

  /**
   * @param {number} ms
   * @param {() => void} callback
   */
  set(ms, callback) {
    this.stop();
    this.#handle = this.#clock.setTimeout(() => {
      this.#handle = undefined;
      callback();
    }, ms);
  }

  stop() {
    if (this.#handle !== undefined) this.#clock.clearTimeout(this.#handle);
    this.#handle = undefined;
  }
}
