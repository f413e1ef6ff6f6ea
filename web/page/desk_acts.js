/** @import { LiveComments, Comment } from "../client/index.js" */
/** @import { ActAnswer } from "../client/moderation.js" */

import { LiveCommentsError } from "../client/index.js";
import { button, element } from "./dom.js";
import { tellNews } from "./news.js";
import { codeInWords, timeOfDay, withoutPiles } from "./text.js";

/** @typedef {{user_id: string, name: string}} Author */

/**
 * A comment of which the desk knows no more than it shows.
 *
 * @typedef {Pick<Comment, "comment_id" | "user_id" | "name" | "message">} ShownComment
 */

/**
 * Something that a moderator does.
 *
 * @typedef {object} DeskAct
 * @property {string} text Such as "Delete a comment of ann".
 * @property {() => Promise<ActAnswer | void>} run
 * @property {() => Promise<unknown>} [undo] Absent: by the number in the audit log.
 * @property {() => void} [undone] Called when it was taken back.
 * @property {(comment: Comment) => boolean} [removes] Whether a comment goes with it.
 */

/**
 * @typedef {object} Entry
 * @property {DeskAct} act
 * @property {number} at
 * @property {HTMLElement} row
 * @property {HTMLElement} mark How the act went, in words.
 * @property {HTMLButtonElement} button Takes it back.
 * @property {(() => Promise<unknown>) | null} undo Null: it cannot be taken back.
 * @property {boolean} inForce False: it failed, or was taken back.
 */

const MOST_ENTRIES = 50;

/** Time after an act in which the comments that it removes go. */
const REMOVAL_MS = 10_000;

/** Does what the moderator decides, lists it, and takes it back. */
export class DeskActs {
  #chat;
  #list;
  /** @type {Entry[]} Newest first. */
  #entries = [];
  /** @type {Element[]} Results that were read out. */
  #told = [];

  /**
   * @param {LiveComments} chat
   * @param {HTMLElement} list
   */
  constructor(chat, list) {
    this.#chat = chat;
    this.#list = list;
  }

  /**
   * Does an act. What goes wrong is shown in the list.
   *
   * @param {DeskAct} act
   * @returns {Promise<boolean>} Whether it was done.
   */
  async do(act) {
    const entry = this.#add(act);
    try {
      const answer = await act.run();
      const id = answer?.audit_id;
      const byNumber = id === undefined ? null : () => this.#chat.moderation.undo(id);
      this.#finish(entry, resultInWords(answer), act.undo ?? byNumber);
      return true;
    } catch (error) {
      entry.inForce = false;
      this.#finish(entry, errorInWords(error), null);
      return false;
    }
  }

  /** Takes back the latest act that can be. */
  undoLast() {
    const latest = this.#entries.find(({ undo }) => undo !== null);
    if (latest) void this.#takeBack(latest);
  }

  /**
   * Tells whether a comment that is gone was removed by an act of this desk.
   *
   * @param {Comment} comment
   */
  hasRemoved(comment) {
    const since = Date.now() - REMOVAL_MS;
    return this.#entries.some(({ act, at, inForce }) => {
      return inForce && at > since && act.removes?.(comment);
    });
  }

  /** Forgets all acts: they are those of a moderator that has signed out. */
  clear() {
    this.#entries = [];
    this.#list.replaceChildren();
    for (const line of this.#told) line.remove();
    this.#told = [];
  }

  /**
   * @param {DeskAct} act
   * @returns {Entry}
   */
  #add(act) {
    const at = Date.now();
    const text = element("span", "text", withoutPiles(act.text));
    text.dir = "auto";
    const mark = element("span", "mark", "…");
    const row = element("li", "act", element("time", "", timeOfDay(at)), text, mark);
    row.tabIndex = -1;
    const takeBack = button("Undo", () => void this.#takeBack(entry), "small");
    /** @type {Entry} */
    const entry = { act, at, row, mark, button: takeBack, undo: null, inForce: true };
    this.#entries.unshift(entry);
    this.#list.prepend(row);
    for (const { row: oldest } of this.#entries.splice(MOST_ENTRIES)) oldest.remove();
    return entry;
  }

  /** @param {Entry} entry */
  async #takeBack(entry) {
    const { undo, act } = entry;
    if (undo === null) return;
    this.#show(entry, "taking it back…", null);
    try {
      await undo();
    } catch (error) {
      this.#finish(entry, `not taken back: ${errorInWords(error)}`, null);
      return;
    }
    entry.inForce = false;
    this.#finish(entry, "taken back", null);
    act.undone?.();
  }

  /**
   * Shows how an act went. The row stays: one that is made again would lose a press and the focus.
   *
   * @param {Entry} entry
   * @param {string} state In words.
   * @param {Entry["undo"]} undo
   */
  #show(entry, state, undo) {
    const { row, mark, button: takeBack } = entry;
    entry.undo = undo;
    mark.textContent = state;
    if (undo) row.append(takeBack);
    else {
      if (takeBack.contains(document.activeElement)) row.focus({ preventScroll: true });
      takeBack.remove();
    }
  }

  /**
   * Shows the result of an act, and reads it out.
   *
   * @param {Entry} entry
   * @param {string} state In words.
   * @param {Entry["undo"]} undo
   */
  #finish(entry, state, undo) {
    this.#show(entry, state, undo);
    // The moderator has signed out, or so many acts came since that its row is gone.
    if (!this.#entries.includes(entry)) return;
    this.#told = [...this.#told, tellNews(`${entry.act.text}: ${state}`)].slice(-MOST_ENTRIES);
  }
}

/** @param {ActAnswer | void} answer */
function resultInWords(answer) {
  const parts = ["done"];
  if (answer?.deleted !== undefined) parts.push(`${answer.deleted} deleted`);
  if (answer?.expires_at !== undefined) parts.push(`until ${timeOfDay(answer.expires_at)}`);
  const leftOut = answer?.left_out?.length ?? 0;
  if (leftOut > 0) parts.push(`${leftOut} left out`);
  if (answer?.kept) parts.push("kept until the user reads it");
  return parts.join(", ");
}

/** @param {unknown} error */
export function errorInWords(error) {
  if (!(error instanceof LiveCommentsError)) return String(error);
  return `${codeInWords(error.code)}: ${error.message}`;
}

/**
 * Returns the acts about a comment and about its author.
 *
 * @param {LiveComments} chat
 */
export function actsOn(chat) {
  const { moderation } = chat;
  const user = (/** @type {{user_id: string}} */ { user_id }) => `id:${user_id}`;
  return {
    /** @param {Comment | ShownComment} comment */
    delete: (comment) => ({
      text: `Delete: ${comment.name}: ${comment.message}`,
      run: () => moderation.delete(comment.comment_id),
      // It comes back for those who load it again, and here at once.
      undone: () => {
        if ("seq" in comment) chat.timeline.add([comment]);
      },
      removes: isComment(comment),
    }),
    /** @param {Comment} comment */
    shadow: (comment) => ({
      text: `Shadow: ${comment.name}: ${comment.message}`,
      run: () => moderation.shadowComment(comment.comment_id),
      removes: isComment(comment),
    }),
    /** @param {Comment} comment */
    pin: (comment) => ({
      text: `Pin: ${comment.name}: ${comment.message}`,
      run: () => moderation.pin(comment.comment_id),
    }),
    unpin: () => ({ text: "Take the pinned comment down", run: () => moderation.unpin() }),
    /**
     * @param {Author} author
     * @param {{durationMs?: number, reason?: string, note?: string}} [how]
     */
    timeout: (author, how) => ({
      text: `Time out ${author.name}`,
      run: () => moderation.timeout(user(author), how),
    }),
    /**
     * @param {Author} author
     * @param {{durationMs?: number, reason?: string, note?: string}} [how]
     */
    ban: (author, how) => ({
      text: `Ban ${author.name}`,
      run: () => moderation.ban(user(author), how),
    }),
    /**
     * @param {Author} author
     * @param {string} text
     */
    message: (author, text) => ({
      text: `Message to ${author.name}: ${text}`,
      run: async () => {
        // It cannot be taken back, so its number is not kept.
        const { audit_id: _, ...answer } = await moderation.message(user(author), text);
        return answer;
      },
    }),
    /** @param {Author} author */
    unban: (author) => ({
      text: `End the timeout and the ban of ${author.name}`,
      run: () => moderation.unban(user(author)),
    }),
    /**
     * @param {Author} author
     * @param {number} lastMs
     */
    clear: (author, lastMs) => ({
      text: `Clear ${author.name}`,
      run: () => moderation.clearUser(user(author), lastMs),
      removes: (/** @type {Comment} */ { user_id }) => user_id === author.user_id,
    }),
    /** @param {Author} author */
    shadowUser: (author) => ({
      text: `Shadow ${author.name}`,
      run: () => moderation.shadowUser(user(author)),
    }),
    /** @param {Author} author */
    unshadowUser: (author) => ({
      text: `End the shadow of ${author.name}`,
      run: () => moderation.unshadowUser(user(author)),
    }),
  };
}

/** @param {{comment_id: string}} one */
function isComment({ comment_id }) {
  return (/** @type {Comment} */ other) => other.comment_id === comment_id;
}
