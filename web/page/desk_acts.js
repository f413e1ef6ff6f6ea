/** @import { LiveComments, Comment } from "../client/index.js" */
/** @import { ActAnswer } from "../client/moderation.js" */

import { LiveCommentsError } from "../client/index.js";
import { button, element } from "./dom.js";
import { codeInWords, timeOfDay, withoutPiles } from "./text.js";

/**
 * Something that a moderator does.
 *
 * @typedef {object} DeskAct
 * @property {string} text Such as "Delete a comment of ann".
 * @property {() => Promise<ActAnswer | void>} run
 * @property {() => Promise<unknown>} [undo] Absent: by the number in the audit log.
 * @property {() => void} [undone] Called when it was taken back.
 */

/**
 * @typedef {object} Entry
 * @property {DeskAct} act
 * @property {number} at
 * @property {string} state In words.
 * @property {(() => Promise<unknown>) | null} undo Null: it cannot be taken back.
 */

const MOST_ENTRIES = 50;

/** Does what the moderator decides, lists it, and takes it back. */
export class DeskActs {
  #chat;
  #list;
  /** @type {Entry[]} Newest first. */
  #entries = [];

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
    /** @type {Entry} */
    const entry = { act, at: Date.now(), state: "…", undo: null };
    this.#entries.unshift(entry);
    this.#entries.length = Math.min(this.#entries.length, MOST_ENTRIES);
    this.#draw();
    try {
      const answer = await act.run();
      entry.state = resultInWords(answer);
      const id = answer?.audit_id;
      const byId = id === undefined ? null : () => this.#chat.moderation.undo(id);
      entry.undo = act.undo ?? byId;
      return true;
    } catch (error) {
      entry.state = errorInWords(error);
      return false;
    } finally {
      this.#draw();
    }
  }

  /** Takes back the latest act that can be. */
  undoLast() {
    const latest = this.#entries.find(({ undo }) => undo !== null);
    if (latest) void this.#takeBack(latest);
  }

  /** @param {Entry} entry */
  async #takeBack(entry) {
    const { undo, act } = entry;
    if (undo === null) return;
    entry.undo = null;
    entry.state = "taking it back…";
    this.#draw();
    try {
      await undo();
      entry.state = "taken back";
      act.undone?.();
    } catch (error) {
      entry.state = `not taken back: ${errorInWords(error)}`;
    }
    this.#draw();
  }

  #draw() {
    const rows = this.#entries.map((entry) => {
      const text = element("span", "text", withoutPiles(entry.act.text));
      text.dir = "auto";
      const state = element("span", "mark", entry.state);
      const row = element("li", "act", element("time", "", timeOfDay(entry.at)), text, state);
      if (entry.undo) row.append(button("Undo", () => void this.#takeBack(entry), "small"));
      return row;
    });
    this.#list.replaceChildren(...rows);
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
    /** @param {Comment} comment */
    delete: (comment) => ({
      text: `Delete: ${comment.name}: ${comment.message}`,
      run: () => moderation.delete(comment.comment_id),
      // It comes back for those who load it again, and here at once.
      undone: () => void chat.timeline.add([comment]),
    }),
    /** @param {Comment} comment */
    shadow: (comment) => ({
      text: `Shadow: ${comment.name}: ${comment.message}`,
      run: () => moderation.shadowComment(comment.comment_id),
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

/** @typedef {{user_id: string, name: string}} Author */
