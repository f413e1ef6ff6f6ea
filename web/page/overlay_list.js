/** @import { Comment, LiveComments } from "../client/index.js" */
/** @import { OverlayOptions } from "./overlay_options.js" */

import { commentRow } from "./comment_view.js";
import { oncePerFrame } from "./dom.js";

/** Time that the fading itself takes, as in overlay.css. */
const FADING_MS = 1_000;

/**
 * A comment on the overlay, and the timer with which it fades.
 *
 * @typedef {{row: HTMLElement, timer?: ReturnType<typeof setTimeout>}} Shown
 */

/** The elements of the newest comments: those of a timeline that keeps no others. */
export class OverlayList {
  #root;
  #options;
  #timeline;
  /** @type {Map<string, Shown>} By id. */
  #shown = new Map();
  /** @type {Set<string>} Comments of the timeline that have faded. */
  #faded = new Set();

  /**
   * @param {HTMLElement} root
   * @param {OverlayOptions} options
   * @param {LiveComments} chat
   */
  constructor(root, options, chat) {
    const { timeline } = chat;
    this.#root = root;
    this.#options = options;
    this.#timeline = timeline;
    const draw = oncePerFrame(() => this.#draw());
    timeline.on("change", ({ removed }) => {
      for (const { comment_id } of removed) this.#faded.delete(comment_id);
      draw();
    });
    chat.on("deleted", ({ comment_id }) => this.#forgetQuotes(comment_id));
  }

  /**
   * Takes the start of a deleted comment out of its replies.
   *
   * @param {string} commentId
   */
  #forgetQuotes(commentId) {
    for (const { comment_id, parent_id } of this.#timeline.comments) {
      if (parent_id !== commentId) continue;
      this.#shown.get(comment_id)?.row.querySelector(":scope > .answers")?.remove();
    }
  }

  #draw() {
    const comments = this.#timeline.comments.filter(({ comment_id }) => {
      return !this.#faded.has(comment_id);
    });
    const wanted = new Set(comments.map(({ comment_id }) => comment_id));
    for (const id of this.#shown.keys()) if (!wanted.has(id)) this.#remove(id);
    let next = this.#root.firstElementChild;
    for (const comment of comments) {
      const row = this.#shown.get(comment.comment_id)?.row ?? this.#make(comment);
      if (row === next) next = next.nextElementSibling;
      else this.#root.insertBefore(row, next);
    }
  }

  /** @param {Comment} comment */
  #make(comment) {
    const { fade, names, badges, times } = this.#options;
    const { comment_id, parent_id } = comment;
    // Of the older comments, an overlay shows none: it does not mention them either.
    const parent = parent_id === undefined ? undefined : this.#timeline.get(parent_id);
    const look = { name: names, badges, time: times, parent, earlier: false };
    const row = commentRow(comment, look);
    /** @type {Shown} */
    const shown = { row };
    this.#shown.set(comment_id, shown);
    if (fade > 0) this.#fadeLater(comment_id, shown);
    return row;
  }

  /**
   * @param {string} commentId
   * @param {Shown} shown
   */
  #fadeLater(commentId, shown) {
    const end = () => {
      this.#faded.add(commentId);
      this.#remove(commentId);
    };
    const begin = () => {
      shown.row.classList.add("fading");
      shown.timer = setTimeout(end, FADING_MS);
    };
    shown.timer = setTimeout(begin, this.#options.fade * 1_000);
  }

  /**
   * Removes a row with its timer, which would hold it for the rest of its time otherwise.
   *
   * @param {string} commentId
   */
  #remove(commentId) {
    const shown = this.#shown.get(commentId);
    if (!shown) return;
    clearTimeout(shown.timer);
    shown.row.remove();
    this.#shown.delete(commentId);
  }
}
