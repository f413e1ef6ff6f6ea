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
    removeSurplus(this.#values, this.#limit);
  }

  /**
   * @param {Value} value
   * @returns {boolean}
   */
  has(value) {
    return this.#values.has(value);
  }

  /** @param {Value} value */
  delete(value) {
    this.#values.delete(value);
  }

  clear() {
    this.#values.clear();
  }
}

/**
 * A map that forgets the keys that were set longest ago beyond a limit.
 *
 * @template Key
 * @template Value
 */
export class BoundedMap {
  /** @type {Map<Key, Value>} */
  #values = new Map();
  #limit;

  /** @param {number} limit */
  constructor(limit) {
    this.#limit = limit;
  }

  /**
   * @param {Key} key
   * @param {Value} value
   */
  set(key, value) {
    this.#values.delete(key);
    this.#values.set(key, value);
    removeSurplus(this.#values, this.#limit);
  }

  /**
   * @param {Key} key
   * @returns {Value | undefined}
   */
  get(key) {
    return this.#values.get(key);
  }

  /**
   * @param {Key} key
   * @returns {boolean}
   */
  has(key) {
    return this.#values.has(key);
  }

  /** @param {Key} key */
  delete(key) {
    this.#values.delete(key);
  }
}

/**
 * @template Key
 * @param {{size: number, keys: () => Iterable<Key>, delete: (key: Key) => void}} values
 * @param {number} limit
 */
function removeSurplus(values, limit) {
  for (const oldest of values.keys()) {
    if (values.size <= limit) break;
    values.delete(oldest);
  }
}
