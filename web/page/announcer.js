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
  /** @type {string[]} */
  #waiting = [];
  #others = 0;
  #timer = 0;
  #show;

  /** @param {HTMLElement} region A live region that is not visible. */
  constructor(region) {
    this.#region = region;
    this.#show = oncePerFrame(() => this.#read());
  }

  /** @param {string} text */
  add(text) {
    this.#waiting.push(text);
    if (this.#waiting.length > MOST_READ) {
      this.#waiting.shift();
      this.#others += 1;
    }
    this.#timer ||= setTimeout(this.#show, INTERVAL_MS);
  }

  /** Forgets what was not read yet. */
  clear() {
    this.#waiting = [];
    this.#others = 0;
  }

  #read() {
    this.#timer = 0;
    if (this.#waiting.length === 0) return;
    const others = this.#others > 0 ? [`${this.#others} more comments.`] : [];
    const lines = [...others, ...this.#waiting].map((text) => {
      const line = document.createElement("p");
      line.textContent = text;
      return line;
    });
    this.#region.replaceChildren(...lines);
    this.clear();
  }
}
