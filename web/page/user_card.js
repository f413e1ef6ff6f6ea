/** @import { Comment, LiveComments } from "../client/index.js" */
/** @import { Author, DeskActs, DeskAct } from "./desk_acts.js" */

import { commentRow, nameElement } from "./comment_view.js";
import { actsOn, errorInWords } from "./desk_acts.js";
import { byId, button, element, oncePerFrame, showText } from "./dom.js";
import { duration } from "./text.js";

const MOST_COMMENTS = 50;

/** Pages of the history that a search reads at most, and comments of each. */
const SEARCHED_PAGES = 20;
const PAGE_COMMENTS = 500;

const TIMEOUTS_MS = [60_000, 600_000, 3_600_000, 86_400_000];
const CLEARED_MS = [600_000, 3_600_000, 86_400_000];
const BAN_MS = 7 * 86_400_000;

/** What a moderator sees of a user, and does to one. */
export class UserCard {
  #chat;
  #acts;
  #on;
  #reply;
  /** @type {Author | null} */
  #author = null;
  /** @type {Comment | null} The comment through which the card was opened. */
  #comment = null;
  /** @type {Map<string, Comment>} Comments that were found in the history. */
  #found = new Map();
  #search = new AbortController();
  /** @type {number[]} */
  #timeouts = TIMEOUTS_MS;
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
    this.#drawComments = oncePerFrame(() => this.#showComments());
    chat.timeline.on("change", ({ added, removed }) => {
      const ofUser = (/** @type {Comment} */ { user_id }) => user_id === this.#author?.user_id;
      if (added.some(ofUser) || removed.some(ofUser)) this.#drawComments();
    });
    chat.on("deleted", ({ comment_id }) => {
      this.#found.delete(comment_id);
      // It may have been quoted.
      if (this.isOpen) this.#drawComments();
    });
    byId("card-close").addEventListener("click", () => this.close());
    byId("card-search").addEventListener("click", () => void this.#searchHistory());
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
      this.#search.abort();
      this.#found.clear();
      showText(byId("card-searched"), "");
      for (const id of ["card-reason", "card-note", "card-message"]) {
        /** @type {HTMLInputElement} */ (byId(id)).value = "";
      }
    }
    byId("card").hidden = false;
    byId("card-name").replaceChildren(nameElement(author), ` id ${author.user_id}`);
    this.#showButtons(author);
    this.#showComments();
  }

  close() {
    this.#search.abort();
    this.#author = null;
    byId("card").hidden = true;
  }

  /** What the moderator has written about the next act, if anything. */
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

  #showComments() {
    const author = this.#author;
    if (!author) return;
    const live = this.#chat.timeline.comments.filter(({ user_id }) => user_id === author.user_id);
    const all = new Map(this.#found);
    for (const comment of live) all.set(comment.comment_id, comment);
    const newest = [...all.values()]
      .sort((one, other) => other.created_at - one.created_at)
      .slice(0, MOST_COMMENTS);
    const rows = newest.map((comment) => {
      const row = commentRow(comment, { name: false, parent: this.#parentOf(comment) });
      const remove = () => void this.#acts.do(this.#on.delete(comment));
      row.append(element("span", "mark", button("Delete", remove, "small")));
      return row;
    });
    byId("card-comments").replaceChildren(...rows);
    showText(byId("card-none"), rows.length > 0 ? "" : "No comment of this user is loaded.");
  }

  /** @param {Comment} comment */
  #parentOf({ parent_id }) {
    if (parent_id === undefined) return undefined;
    return this.#chat.timeline.get(parent_id) ?? this.#found.get(parent_id);
  }

  /** Reads the history for comments of the user. */
  async #searchHistory() {
    const author = this.#author;
    if (!author) return;
    this.#search.abort();
    this.#search = new AbortController();
    const { signal } = this.#search;
    let pages = 0;
    let read = 0;
    try {
      const options = { pageSize: PAGE_COMMENTS, signal };
      for await (const { comments } of this.#chat.history.pages(options)) {
        if (signal.aborted) return;
        read += comments.length;
        pages += 1;
        for (const comment of comments) {
          if (comment.user_id === author.user_id) this.#found.set(comment.comment_id, comment);
        }
        showText(byId("card-searched"), `Searched the newest ${read} comments.`);
        this.#drawComments();
        if (pages >= SEARCHED_PAGES || this.#found.size >= MOST_COMMENTS) return;
      }
    } catch (error) {
      if (!signal.aborted) showText(byId("card-searched"), errorInWords(error));
    }
  }
}
