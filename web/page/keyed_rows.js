/**
 * @template Item
 * @typedef {object} KeyedRowsView
 * @property {(item: Item) => string} keyOf
 * @property {(item: Item) => HTMLElement} create The row shows nothing but what is in the item.
 */

/**
 * The rows of a short list. A row stays as long as its item says the same: a press on a button that
 * is made again would be lost, and so would the focus.
 *
 * @template Item
 */
export class KeyedRows {
  #list;
  #view;
  /** @type {Map<string, {row: HTMLElement, look: string}>} */
  #rows = new Map();

  /**
   * @param {HTMLElement} list It takes the focus of a row that goes.
   * @param {KeyedRowsView<Item>} view
   */
  constructor(list, view) {
    this.#list = list;
    this.#view = view;
  }

  /** @param {readonly Item[]} items In their order. */
  show(items) {
    const { keyOf, create } = this.#view;
    const looks = new Map(items.map((item) => [keyOf(item), JSON.stringify(item)]));
    let hadFocus = false;
    for (const [key, { row, look }] of this.#rows) {
      if (looks.get(key) === look) continue;
      hadFocus ||= row.contains(document.activeElement);
      row.remove();
      this.#rows.delete(key);
    }
    let next = this.#list.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      const known = this.#rows.get(key);
      const row = known?.row ?? create(item);
      if (row === next) next = next.nextElementSibling;
      else this.#list.insertBefore(row, next);
      if (!known) this.#rows.set(key, { row, look: looks.get(key) ?? "" });
    }
    // Otherwise it would fall back to the page.
    if (hadFocus) this.#list.focus({ preventScroll: true });
  }

  /** @param {string} key */
  rowOf(key) {
    return this.#rows.get(key)?.row ?? null;
  }
}
