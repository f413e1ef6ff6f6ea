import { oncePerFrame } from "./dom.js";
import { RowOffsets } from "./row_offsets.js";

/**
 * @template Row
 * @typedef {object} ListView
 * @property {(row: Row) => string} keyOf
 * @property {(row: Row, index: number) => HTMLElement} createNode
 * @property {() => void} [moved] The reader scrolled, or the list was laid out.
 */

/** Pixels above and below what is visible that have elements, too. */
const OVERSCAN = 400;

/** Distance from the end within which the list counts as being at the end. */
const END_DISTANCE = 24;

/** Heights become known while rows are drawn, which moves others into view. */
const MOST_PASSES = 4;

/**
 * A list of any length with a bounded number of elements. It is drawn at most once per animation
 * frame. While it follows, the newest row stays in view; otherwise the row at the top stays where
 * it is, whatever is added, removed or measured around it.
 *
 * @template {object} Row
 */
export class VirtualList {
  #viewport;
  #view;
  #canvas = document.createElement("div");
  #window = document.createElement("ol");
  #offsets = new RowOffsets();
  /** @type {readonly Row[]} */
  #rows = [];
  /** @type {Map<string, {row: Row, node: HTMLElement}>} */
  #nodes = new Map();
  /** @type {Set<string>} Keys of rows whose elements are made again. */
  #outdated = new Set();
  /** First row that has an element. */
  #first = 0;
  #following = true;
  /**
   * The row at the top and the pixels of it that are hidden; keys that replace it if it is gone.
   *
   * @type {{index: number, hidden: number, keys: string[]}}
   */
  #anchor = { index: 0, hidden: 0, keys: [] };
  #writtenTop = 0;
  #width = 0;
  #height = 0;
  #request;

  /**
   * @param {HTMLElement} viewport An element with a height, that scrolls.
   * @param {ListView<Row>} view
   */
  constructor(viewport, view) {
    this.#viewport = viewport;
    this.#view = view;
    this.#canvas.className = "canvas";
    this.#window.className = "window";
    this.#canvas.append(this.#window);
    viewport.append(this.#canvas);
    this.#request = oncePerFrame(() => this.#layOut());
    viewport.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // The first step of a smooth movement is within END_DISTANCE.
    const upwards = (/** @type {WheelEvent} */ event) => event.deltaY < 0 && this.hold();
    viewport.addEventListener("wheel", upwards, { passive: true });
    new ResizeObserver(() => this.#resized()).observe(viewport);
  }

  /** Whether the newest row stays in view. */
  get following() {
    return this.#following;
  }

  /** Index of the first row that is visible. */
  get firstVisible() {
    return this.#offsets.indexAt(this.#viewport.scrollTop);
  }

  /** Pixels between the last visible one and the end. */
  get distanceToEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#viewport;
    return scrollHeight - scrollTop - clientHeight;
  }

  /** Number of rows that have elements. */
  get drawn() {
    return this.#nodes.size;
  }

  /**
   * Shows other rows. A row that is the same object as before keeps its element.
   *
   * @param {readonly Row[]} rows
   */
  setRows(rows) {
    const { keyOf } = this.#view;
    const places = new Map(this.#anchor.keys.map((key, place) => [key, place]));
    let best = Infinity;
    this.#rows = rows;
    this.#offsets.setRows(rows.length, (index) => {
      const key = keyOf(/** @type {Row} */ (rows[index]));
      const place = places.get(key);
      if (place !== undefined && place < best) {
        best = place;
        this.#anchor.index = index;
      }
      return key;
    });
    this.#anchor.index = Math.min(this.#anchor.index, Math.max(0, rows.length - 1));
    // Another row replaces the one at the top.
    if (best !== 0) this.#anchor.hidden = 0;
    this.#request();
  }

  /** Draws all rows again, as when their look has changed. */
  refresh() {
    for (const { node } of this.#nodes.values()) node.remove();
    this.#nodes.clear();
    this.#offsets.forgetAll();
    this.#request();
  }

  /**
   * Draws some rows again, as far as they have elements.
   *
   * @param {(row: Row) => boolean} wanted
   */
  redraw(wanted) {
    for (const [key, { row }] of this.#nodes) if (wanted(row)) this.#outdated.add(key);
    if (this.#outdated.size > 0) this.#request();
  }

  /** Goes to the newest row and stays there. */
  follow() {
    this.#following = true;
    this.#request();
  }

  /** Stays at the present place. */
  hold() {
    if (!this.#following) return;
    this.#following = false;
    this.#takeAnchor();
  }

  /**
   * Scrolls a row into view, and holds there.
   *
   * @param {number} index
   */
  reveal(index) {
    const { clientHeight, scrollTop } = this.#viewport;
    const top = this.#offsets.at(index);
    const bottom = this.#offsets.at(index + 1);
    this.hold();
    if (top >= scrollTop && bottom <= scrollTop + clientHeight) return;
    const wanted = top < scrollTop ? top : bottom - clientHeight;
    this.#anchorAt(Math.max(0, wanted));
    this.#request();
  }

  /**
   * Returns the element of a row, if it has one now.
   *
   * @param {string} key
   */
  nodeOf(key) {
    return this.#nodes.get(key)?.node ?? null;
  }

  #scrolled() {
    const { scrollTop, clientHeight, clientWidth } = this.#viewport;
    // A change of the size scrolls, too, and so does the list itself.
    if (clientHeight !== this.#height || clientWidth !== this.#width) return;
    if (Math.abs(scrollTop - this.#writtenTop) < 1) return;
    const upwards = scrollTop < this.#writtenTop;
    this.#writtenTop = scrollTop;
    this.#following = !upwards && this.distanceToEnd < END_DISTANCE;
    this.#takeAnchor();
    this.#request();
  }

  #resized() {
    const { clientWidth, clientHeight } = this.#viewport;
    // The anchor may be of another width, so it is not taken from what is visible now.
    if (clientWidth !== this.#width) this.#offsets.forgetAll();
    this.#width = clientWidth;
    this.#height = clientHeight;
    this.#layOut();
  }

  #layOut() {
    const { clientHeight } = this.#viewport;
    if (clientHeight === 0) return;
    let top = 0;
    for (let pass = 0; pass < MOST_PASSES; pass += 1) {
      top = this.#wantedTop(clientHeight);
      const first = this.#offsets.indexAt(top - OVERSCAN);
      const last = this.#offsets.indexAt(top + clientHeight + OVERSCAN);
      if (!this.#draw(first, Math.min(last + 1, this.#rows.length))) break;
    }
    top = this.#wantedTop(clientHeight);
    this.#canvas.style.height = `${this.#offsets.total}px`;
    this.#window.style.transform = `translateY(${this.#offsets.at(this.#first)}px)`;
    if (Math.abs(this.#viewport.scrollTop - top) >= 1) this.#viewport.scrollTop = top;
    this.#writtenTop = this.#viewport.scrollTop;
    this.#takeAnchor();
    this.#view.moved?.();
  }

  /** @param {number} height */
  #wantedTop(height) {
    const end = Math.max(0, this.#offsets.total - height);
    if (this.#following) return end;
    return Math.min(end, this.#offsets.at(this.#anchor.index) + this.#anchor.hidden);
  }

  #takeAnchor() {
    this.#anchorAt(this.#viewport.scrollTop);
  }

  /** @param {number} top */
  #anchorAt(top) {
    const index = this.#offsets.indexAt(top);
    // If the row goes, the next one takes its place, then the one before.
    const keys = [];
    const { keyOf } = this.#view;
    const last = Math.min(index + this.#nodes.size + 1, this.#rows.length);
    for (const row of this.#rows.slice(index, last)) keys.push(keyOf(row));
    for (const row of this.#rows.slice(Math.max(0, index - 20), index).reverse()) {
      keys.push(keyOf(row));
    }
    this.#anchor = { index, hidden: top - this.#offsets.at(index), keys };
  }

  /**
   * Gives the rows of a range elements, and no others. Returns whether a height was not as assumed.
   *
   * @param {number} first
   * @param {number} end
   */
  #draw(first, end) {
    const { keyOf, createNode } = this.#view;
    const rows = this.#rows.slice(first, end);
    const wanted = new Map(rows.map((row) => [keyOf(row), row]));
    /** @type {Set<string>} Keys whose rows are other objects than before. */
    const changed = new Set();
    for (const [key, { row, node }] of this.#nodes) {
      if (wanted.get(key) === row && !this.#outdated.has(key)) continue;
      if (wanted.has(key)) changed.add(key);
      // The focus would fall back to the page.
      if (node.contains(document.activeElement)) this.#viewport.focus({ preventScroll: true });
      node.remove();
      this.#nodes.delete(key);
    }
    this.#outdated.clear();
    /** @type {{index: number, key: string, node: HTMLElement}[]} Rows of unknown height. */
    const fresh = [];
    let next = this.#window.firstElementChild;
    rows.forEach((row, place) => {
      const key = keyOf(row);
      const known = this.#nodes.get(key);
      const index = first + place;
      const node = known?.node ?? createNode(row, index);
      if (node === next) next = next.nextElementSibling;
      else this.#window.insertBefore(node, next);
      if (!known) this.#nodes.set(key, { row, node });
      // After a change of the width, elements that are there have other heights.
      if (changed.has(key) || !this.#offsets.knows(index)) fresh.push({ index, key, node });
    });
    this.#first = first;
    return this.#measure(fresh);
  }

  /** @param {{index: number, key: string, node: HTMLElement}[]} fresh */
  #measure(fresh) {
    let changed = -1;
    for (const { index, key, node } of fresh) {
      const differs = this.#offsets.measure(index, key, node.getBoundingClientRect().height);
      if (differs && changed < 0) changed = index;
    }
    if (changed >= 0) this.#offsets.update(changed);
    return changed >= 0;
  }
}
