/**
 * A set that forgets its oldest values beyond a limit.
 *
 * @template Value
 */
export class BoundedSet {
  /** @type {Set<Value>} */
  #values = new Set();
  #limit;

  /** @param {number} limit */
  constructor(limit) {
    this.#limit = limit;
  }

  /** @returns {number} */
  get size() {
    return this.#values.size;
  }

  /** @param {Value} value */
  add(value) {
    this.#values.add(value);
    for (const oldest of this.#values) {
      if (this.#values.size <= this.#limit) break;
      this.#values.delete(oldest);
    }
  }

  /**
   * @param {Value} value
   * @returns {boolean}
   */
  has(value) {
    return this.#values.has(value);
  }

  clear() {
    this.#values.clear();
  }
}
