/** @import { Comment, LiveComments } from "../client/index.js" */

import { quoteParts } from "./comment_view.js";
import { byId } from "./dom.js";

/**
 * The comment that the next one answers, and the line above the input that says so. In an empty
 * input the arrow keys choose it, from the newest comment back; Escape chooses none.
 */
export class ReplyTarget {
  #chat;
  /** @type {Comment | null} */
  #comment = null;

  /**
   * @param {LiveComments} chat
   * @param {() => void} deleted The comment was deleted, and none is chosen any longer.
   */
  constructor(chat, deleted) {
    this.#chat = chat;
    byId("reply-cancel").addEventListener("click", () => {
      this.set(null);
      byId("message").focus();
    });
    byId("message").addEventListener("keydown", (event) => this.#press(event));
    chat.on("deleted", ({ comment_id }) => {
      if (comment_id !== this.#comment?.comment_id) return;
      this.set(null);
      deleted();
    });
  }

  /**
   * Answers a comment, or none.
   *
   * @param {Comment | null} comment
   */
  set(comment) {
    this.#comment = comment;
    byId("reply-cancel").hidden = comment === null;
    // The region stays: a change of one that is not there is not read out.
    const parts = comment ? ["Reply to", ...quoteParts(comment)] : [];
    byId("replying-to").replaceChildren(...parts);
  }

  /**
   * Returns the id of the comment to answer, and chooses none.
   *
   * @returns {string | undefined}
   */
  take() {
    const id = this.#comment?.comment_id;
    this.set(null);
    return id;
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    const input = /** @type {HTMLInputElement} */ (event.currentTarget);
    if (event.isComposing) return;
    if (event.key === "Escape" && this.#comment) {
      event.preventDefault();
      event.stopPropagation();
      this.set(null);
    } else if (input.value === "" && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      this.#move(event.key === "ArrowUp" ? -1 : 1);
    }
  }

  /** @param {1 | -1} step */
  #move(step) {
    const { comments } = this.#chat.timeline;
    const id = this.#comment?.comment_id;
    const known = id === undefined ? -1 : comments.findIndex(({ comment_id }) => comment_id === id);
    const at = (known < 0 ? comments.length : known) + step;
    if (at >= 0) this.set(comments[at] ?? null);
  }
}
