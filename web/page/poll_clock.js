/** @import { Poll } from "../client/index.js" */

/** Time for which the result of a poll is shown. */
const RESULT_MS = 60_000;

/**
 * The times of a poll on a clock that nobody sets. That of the viewer may be wrong by hours:
 * whether a poll is open is for the server to say, and the time that is left counts from its
 * arrival.
 */
export class PollClock {
  #now;
  /** Poll that the times are of. */
  #poll = -1;
  #endsAt = 0;
  #closedAt = Infinity;

  /** @param {() => number} now Milliseconds that only grow. */
  constructor(now = () => performance.now()) {
    this.#now = now;
  }

  /**
   * Takes a poll as it has arrived.
   *
   * @param {Poll} poll
   * @param {{isFresh: boolean, wallClock: number}} arrival `isFresh`: it was opened just now.
   *   `wallClock`: milliseconds since the Unix epoch, as the viewer's device says.
   */
  take({ poll_id, opened_at, closes_at, closed }, { isFresh, wallClock }) {
    const now = this.#now();
    if (poll_id !== this.#poll) {
      this.#poll = poll_id;
      this.#closedAt = Infinity;
      const whole = closes_at - opened_at;
      // No more can be left than it lasts, whatever the device says, and it has not ended yet.
      const left = isFresh ? whole : Math.min(whole, Math.max(0, closes_at - wallClock));
      this.#endsAt = now + left;
    }
    if (closed) this.close();
  }

  /** The server has said that the poll is closed. */
  close() {
    this.#closedAt = Math.min(this.#closedAt, this.#now());
  }

  get isClosed() {
    return this.#closedAt !== Infinity;
  }

  /** Whether the result was shown long enough. */
  get isOver() {
    return this.#now() >= this.#closedAt + RESULT_MS;
  }

  /** Milliseconds until it closes by itself. */
  get left() {
    return Math.max(0, this.#endsAt - this.#now());
  }
}
