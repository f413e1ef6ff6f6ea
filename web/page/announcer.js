import { oncePerFrame } from "./dom.js";

/** Time between two announcements: speech takes time, and a busy stream has no pauses. */
const INTERVAL_MS = 4_000;

/** Comments that are read out each time. */
const MOST_READ = 3;

/**
 * Reads new comments to people who use a screen reader: the newest few, and how many others came.
 * The visible list is no live region, since its elements come and go with scrolling.
 */
export class Announcer {
  #region;
  /** @type {{text: string, id: string}[]} */
  #waiting = [];
  #others = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  #show;

  /** @param {HTMLElement} region A live region that is not visible. */
  constructor(region) {
    this.#region = region;
    this.#show = oncePerFrame(() => this.#read());
  }

  /**
   * @param {string} text
   * @param {string} id That of the comment.
   */
  add(text, id) {
    this.#waiting.push({ text, id });
    if (this.#waiting.length > MOST_READ) {
      this.#waiting.shift();
      this.#others += 1;
    }
    this.#timer ||= setTimeout(this.#show, INTERVAL_MS);
  }

  /**
   * Forgets a comment that was deleted, also after it was read out.
   *
   * @param {string} id
   */
  forget(id) {
    this.#waiting = this.#waiting.filter((waiting) => waiting.id !== id);
    for (const line of [...this.#region.children]) {
      if (line instanceof HTMLElement && line.dataset.id === id) line.remove();
    }
  }

  #read() {
    this.#timer = undefined;
    if (this.#waiting.length === 0) return;
    const others = this.#others > 0 ? [{ text: `${this.#others} more comments.`, id: "" }] : [];
    const lines = [...others, ...this.#waiting].map(({ text, id }) => {
      const line = document.createElement("p");
      line.textContent = text;
      line.dataset.id = id;
      return line;
    });
    this.#region.replaceChildren(...lines);
    this.#waiting = [];
    this.#others = 0;
  }
}
