/** @import { TransportName } from "./transports/transport.js" */

/**
 * The next step after a transport failed to open: `retry` the same one after a delay, `fall` to the
 * next one at once, or begin at the top after a delay since all of them are `exhausted`.
 *
 * @typedef {"retry" | "fall" | "exhausted"} LadderStep
 */

/** Failures in a row of a transport that has worked before it is taken for blocked. */
const PATIENCE = 3;

/**
 * Chooses the transport: the best one that opens here.
 *
 * A transport that never worked is given up at its first failure. One that has worked is tried some
 * times again, since a server that restarts fails like a proxy that blocks.
 */
export class TransportLadder {
  #names;
  #index = 0;
  #failures = 0;
  /** @type {Set<TransportName>} */
  #worked = new Set();

  /** @param {readonly TransportName[]} names The best first; at least one. */
  constructor(names) {
    this.#names = names;
  }

  /** The transport to open now. */
  get current() {
    return this.#at(this.#index);
  }

  /**
   * Returns a better transport than the present one, or null if there is none. Turn by turn, all
   * of them come up.
   *
   * @param {number} turn
   * @returns {TransportName | null}
   */
  better(turn) {
    return this.#index > 0 ? this.#at(turn % this.#index) : null;
  }

  /**
   * Records that a transport has opened, and keeps it.
   *
   * @param {TransportName} name
   */
  opened(name) {
    this.#worked.add(name);
    this.#index = Math.max(0, this.#names.indexOf(name));
    this.#failures = 0;
  }

  /**
   * Records that the present transport failed to open.
   *
   * @returns {LadderStep}
   */
  failed() {
    this.#failures += 1;
    if (this.#worked.has(this.current) && this.#failures < PATIENCE) return "retry";
    this.#failures = 0;
    const isLast = this.#index === this.#names.length - 1;
    this.#index = isLast ? 0 : this.#index + 1;
    return isLast ? "exhausted" : "fall";
  }

  /**
   * Begins at the top. For a refusal in words: the better transport may have failed because of the
   * same refusal, which browsers hide there.
   */
  reset() {
    if (!this.#worked.has(this.current)) this.#index = 0;
    this.#failures = 0;
  }

  /** @param {number} index */
  #at(index) {
    const name = this.#names[index];
    if (name === undefined) throw new RangeError("there is no transport to choose");
    return name;
  }
}
