/** @import { Comment, LiveComments, UserCommentList } from "../client/index.js" */
/** @import { Author, DeskActs, DeskAct } from "./desk_acts.js" */

import { commentRow, nameElement } from "./comment_view.js";
import { actsOn, errorInWords } from "./desk_acts.js";
import { byId, button, element, oncePerFrame, showText } from "./dom.js";
import { KeyedRows } from "./keyed_rows.js";
import { codeInWords, dateAndTime, duration } from "./text.js";

const MOST_COMMENTS = 50;

/** Time before the server is asked: it searches the log, and keys may open card after card. */
const ASK_AFTER_MS = 300;

const TIMEOUTS_MS = [60_000, 600_000, 3_600_000, 86_400_000];
const CLEARED_MS = [600_000, 3_600_000, 86_400_000];
const BAN_MS = 7 * 86_400_000;

/** Fields of the card in which the moderator writes. */
const FIELDS = ["card-reason", "card-note", "card-message"];

/**
 * A comment of the user, as the card shows it.
 *
 * @typedef {object} CardComment
 * @property {string} comment_id
 * @property {string} user_id
 * @property {string} name
 * @property {Comment["badges"]} [badges]
 * @property {string} message
 * @property {number} created_at
 * @property {string} [parent_id]
 * @property {string} [removed] The reason why it was deleted, or is hidden from others.
 * @property {boolean} [shadowed] Only the user sees it.
 * @property {{name: string, message: string}} [parent] The comment that it answers, if known.
 */

/** Shows a user to a moderator, and what the moderator may do to that user. */
export class UserCard {
  #chat;
  #acts;
  #on;
  #reply;
  /** @type {Author | null} */
  #author = null;
  /** @type {Comment | null} The comment through which the card was opened. */
  #comment = null;
  /** @type {Map<string, CardComment>} */
  #comments = new Map();
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #askTimer;
  /** @type {number[]} */
  #timeouts = TIMEOUTS_MS;
  /** Buttons that the card has. */
  #buttons = "";
  #rows;
  #drawComments;

  /**
   * @param {LiveComments} chat
   * @param {DeskActs} acts
   * @param {(comment: Comment) => void} reply
   */
  constructor(chat, acts, reply) {
    this.#chat = chat;
    this.#acts = acts;
    this.#on = actsOn(chat);
    this.#reply = reply;
    /** @type {KeyedRows<CardComment>} */
    this.#rows = new KeyedRows(byId("card-comments"), {
      keyOf: ({ comment_id }) => comment_id,
      create: (comment) => this.#row(comment),
    });
    this.#drawComments = oncePerFrame(() => this.#showComments());
    chat.timeline.on("change", ({ added }) => {
      if (this.#author) this.#addLoaded(added);
    });
    chat.on("deleted", ({ comment_id, reason }) => this.#mark(comment_id, reason));
    byId("card-close").addEventListener("click", () => this.close());
    byId("card-send").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#send();
    });
  }

  get isOpen() {
    return this.#author !== null;
  }

  /**
   * Shows the times that moderators of the room choose from.
   *
   * @param {number[] | undefined} timeouts
   */
  setTimeouts(timeouts) {
    this.#timeouts = timeouts && timeouts.length > 0 ? timeouts : TIMEOUTS_MS;
    if (this.#author) this.#showButtons(this.#author);
  }

  /**
   * @param {Author} author
   * @param {Comment | null} [comment]
   */
  open(author, comment = null) {
    const isOther = author.user_id !== this.#author?.user_id;
    this.#author = author;
    this.#comment = comment;
    if (isOther) {
      this.#clear();
      this.#addLoaded(this.#chat.timeline.comments);
      this.#askTimer = setTimeout(() => void this.#readComments(author), ASK_AFTER_MS);
    }
    byId("card").hidden = false;
    byId("card-name").replaceChildren(nameElement(author), ` id ${author.user_id}`);
    this.#showButtons(author);
    this.#showComments();
  }

  /** Closes the card and forgets the user. */
  close() {
    this.#author = null;
    this.#comment = null;
    byId("card").hidden = true;
    byId("card-name").replaceChildren();
    byId("card-acts").replaceChildren();
    this.#buttons = "";
    this.#clear();
    this.#rows.show([]);
  }

  #clear() {
    clearTimeout(this.#askTimer);
    this.#comments.clear();
    showText(byId("card-said"), "");
    for (const id of FIELDS) /** @type {HTMLInputElement} */ (byId(id)).value = "";
  }

  /** Returns the reason and the note that the moderator has written for the next act, if any. */
  #why() {
    const text = (/** @type {string} */ id) => {
      return /** @type {HTMLInputElement} */ (byId(id)).value.trim() || undefined;
    };
    return { reason: text("card-reason"), note: text("card-note") };
  }

  async #send() {
    const input = /** @type {HTMLInputElement} */ (byId("card-message"));
    const text = input.value.trim();
    if (!this.#author || text === "") return;
    const sent = await this.#acts.do(this.#on.message(this.#author, text));
    if (sent && input.value.trim() === text) input.value = "";
  }

  /** @param {Author} author */
  #showButtons(author) {
    const on = this.#on;
    const { user_id, name } = author;
    const about = [user_id, name, this.#comment?.comment_id, this.#timeouts];
    const buttons = JSON.stringify(about);
    // A press on a button that is made again would be lost.
    if (buttons === this.#buttons) return;
    this.#buttons = buttons;
    const act = (/** @type {string} */ text, /** @type {() => DeskAct} */ make, danger = false) => {
      return button(text, () => void this.#acts.do(make()), danger ? "small danger" : "small");
    };
    const comment = this.#comment;
    const onComment = comment
      ? [
          act("Delete the comment", () => on.delete(comment), true),
          act("Shadow the comment", () => on.shadow(comment)),
          act("Pin", () => on.pin(comment)),
          button("Reply", () => this.#reply(comment), "small"),
        ]
      : [];
    const timeouts = this.#timeouts.map((durationMs) => {
      const make = () => on.timeout(author, { durationMs, ...this.#why() });
      return act(`Timeout ${duration(durationMs)}`, make);
    });
    const clears = CLEARED_MS.map((ms) => {
      return act(`Clear ${duration(ms)}`, () => on.clear(author, ms), true);
    });
    const bans = [
      act(
        `Ban ${duration(BAN_MS)}`,
        () => {
          return on.ban(author, { durationMs: BAN_MS, ...this.#why() });
        },
        true,
      ),
      act("Ban", () => on.ban(author, this.#why()), true),
      act("Unban", () => on.unban(author)),
    ];
    const shadows = [
      act("Shadow", () => on.shadowUser(author)),
      act("Unshadow", () => on.unshadowUser(author)),
    ];
    const groups = [onComment, timeouts, bans, clears, shadows];
    const rows = groups
      .filter((group) => group.length > 0)
      .map((group) => {
        return element("div", "buttons", ...group);
      });
    byId("card-acts").replaceChildren(...rows);
  }

  /** @param {Comment[]} comments */
  #addLoaded(comments) {
    const ofUser = comments.filter(({ user_id }) => user_id === this.#author?.user_id);
    for (const comment of ofUser) {
      const { comment_id, user_id, name, badges, message, created_at, parent_id } = comment;
      const known = { comment_id, user_id, name, badges, message, created_at, parent_id };
      this.#comments.set(comment_id, known);
    }
    if (ofUser.length > 0) this.#drawComments();
  }

  /**
   * Asks the server for the comments of the user, which has those that are not loaded here, and
   * those that were deleted.
   *
   * @param {Author} author
   */
  async #readComments(author) {
    /** @type {UserCommentList} */
    let list;
    const isShown = () => author.user_id === this.#author?.user_id;
    try {
      list = await this.#chat.moderation.commentsOf(author.user_id, MOST_COMMENTS);
    } catch (error) {
      if (isShown()) showText(byId("card-said"), errorInWords(error));
      return;
    }
    if (!isShown()) return;
    const { since, said, removed: gone, comments } = list;
    const counts = `${said} comments, ${gone} deleted or hidden`;
    showText(byId("card-said"), `Since ${dateAndTime(since)}: ${counts}.`);
    const { user_id, name } = author;
    for (const { comment_id, message, created_at, ...marks } of comments) {
      const known = this.#comments.get(comment_id);
      const asked = { comment_id, user_id, name, message, created_at, ...known };
      // A deletion may have come since the answer was made.
      const removed = marks.removed ?? known?.removed;
      this.#comments.set(comment_id, { ...asked, shadowed: marks.shadowed, removed });
    }
    this.#showComments();
  }

  /**
   * @param {string} commentId
   * @param {string | undefined} removed The reason, or nothing if it is shown again.
   */
  #mark(commentId, removed) {
    const known = this.#comments.get(commentId);
    if (known) this.#comments.set(commentId, { ...known, removed });
    // It may have been quoted.
    if (this.isOpen) this.#drawComments();
  }

  #showComments() {
    if (!this.#author) return;
    const newest = [...this.#comments.values()]
      .sort((one, other) => other.created_at - one.created_at)
      .slice(0, MOST_COMMENTS);
    this.#comments = new Map(newest.map((comment) => [comment.comment_id, comment]));
    this.#rows.show(newest.map((comment) => ({ ...comment, parent: this.#parentOf(comment) })));
    showText(byId("card-none"), newest.length > 0 ? "" : "No comment of this user is known.");
  }

  /** @param {CardComment} comment */
  #row(comment) {
    const { comment_id, removed, shadowed, parent } = comment;
    const row = commentRow(comment, { name: false, parent });
    const mark = element("span", "mark");
    if (removed !== undefined) mark.append(`removed: ${codeInWords(removed)}`);
    else {
      if (shadowed) mark.append("only the user sees it");
      mark.append(button("Delete", () => this.#delete(comment_id), "small"));
    }
    row.append(mark);
    return row;
  }

  /** @param {string} commentId */
  #delete(commentId) {
    const shown = this.#chat.timeline.get(commentId) ?? this.#comments.get(commentId);
    if (!shown) return;
    const act = this.#on.delete(shown);
    const undone = () => {
      act.undone();
      this.#mark(commentId, undefined);
    };
    void this.#acts.do({ ...act, undone });
  }

  /** @param {CardComment} comment */
  #parentOf({ parent_id }) {
    if (parent_id === undefined) return undefined;
    const known = this.#comments.get(parent_id);
    const own = known?.removed === undefined ? known : undefined;
    const parent = this.#chat.timeline.get(parent_id) ?? own;
    return parent && { name: parent.name, message: parent.message };
  }
}
