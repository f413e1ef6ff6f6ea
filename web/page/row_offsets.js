/** Height of a row before the first one was measured, in CSS pixels. */
const FIRST_ESTIMATE = 28;

/**
 * The places at which the rows of a list begin, from their heights. Rows that were never shown
 * count with the average of those that were.
 */
export class RowOffsets {
  /** @type {Map<string, number>} Measured heights by key. */
  #known = new Map();
  #sum = 0;
  /** Heights, NaN where unknown. */
  #heights = new Float64Array(0);
  /** The place at which each row begins, and the end of the last one. */
  #offsets = new Float64Array(1);
  #count = 0;

  /** Height of all rows. */
  get total() {
    return this.at(this.#count);
  }

  get estimate() {
    return this.#known.size > 0 ? this.#sum / this.#known.size : FIRST_ESTIMATE;
  }

  /**
   * Returns where a row begins.
   *
   * @param {number} index
   */
  at(index) {
    return this.#offsets[index] ?? 0;
  }

  /**
   * Takes other rows, by their keys. Heights of rows that are gone are forgotten in time.
   *
   * @param {number} count
   * @param {(index: number) => string} keyAt
   */
  setRows(count, keyAt) {
    this.#count = count;
    if (this.#heights.length < count) {
      this.#heights = new Float64Array(count * 2);
      this.#offsets = new Float64Array(count * 2 + 1);
    }
    const forgotten = this.#known.size > count * 2 + 1_000;
    const known = this.#known;
    if (forgotten) {
      this.#known = new Map();
      this.#sum = 0;
    }
    for (let index = 0; index < count; index += 1) {
      const key = keyAt(index);
      const height = known.get(key);
      this.#heights[index] = height ?? NaN;
      if (forgotten && height !== undefined) this.#remember(key, height);
    }
    this.#sumFrom(0);
  }

  /**
   * Records the height of a row. Call `update` after the last one.
   *
   * @param {number} index
   * @param {string} key
   * @param {number} height
   * @returns {boolean} Whether it differs from what was known or assumed.
   */
  measure(index, key, height) {
    const before = this.at(index + 1) - this.at(index);
    this.#remember(key, height);
    this.#heights[index] = height;
    return Math.abs(before - height) > 0.01;
  }

  /**
   * Computes the offsets again.
   *
   * @param {number} from First row with another height.
   */
  update(from) {
    this.#sumFrom(from);
  }

  /** Forgets all heights, as after a change of the width. */
  forgetAll() {
    this.#known.clear();
    this.#sum = 0;
    this.#heights.fill(NaN);
    this.#sumFrom(0);
  }

  /**
   * Tells whether the height of a row was measured.
   *
   * @param {number} index
   */
  knows(index) {
    return !Number.isNaN(this.#heights[index] ?? NaN);
  }

  /**
   * Returns the row at a distance from the top: the first or last one if there is none.
   *
   * @param {number} distance
   */
  indexAt(distance) {
    let [low, high] = [0, this.#count - 1];
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.at(middle) <= distance) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }

  /**
   * @param {string} key
   * @param {number} height
   */
  #remember(key, height) {
    this.#sum += height - (this.#known.get(key) ?? 0);
    this.#known.set(key, height);
  }

  /** @param {number} from */
  #sumFrom(from) {
    const { estimate } = this;
    let offset = from === 0 ? 0 : this.at(from);
    for (let index = from; index < this.#count; index += 1) {
      this.#offsets[index] = offset;
      const height = this.#heights[index] ?? NaN;
      offset += Number.isNaN(height) ? estimate : height;
    }
    this.#offsets[this.#count] = offset;
  }
}
