/** @import { Comment, LiveComments, User } from "../client/index.js" */
/** @import { Author, DeskAct } from "./desk_acts.js" */
/** @import { DeskKey } from "./desk_keys.js" */
/** @import { StreamRow } from "./rows.js" */

import { DeskActs, actsOn } from "./desk_acts.js";
import { listenToKeys } from "./desk_keys.js";
import { DeskQueue } from "./desk_queue.js";
import { byId, showText } from "./dom.js";
import { tellNews } from "./news.js";
import { PollPanel } from "./poll_panel.js";
import { MODERATING_ROLES } from "./roles.js";
import { RoomPanel } from "./room_panel.js";
import { keyOf } from "./rows.js";
import { StreamView } from "./stream_view.js";
import { UserCard } from "./user_card.js";

/** Time that the key for clearing goes back. */
const CLEARED_BY_KEY_MS = 600_000;

/**
 * The desk of a moderator: the live chat, the review queue, a user's card and the room. Everything
 * can be done with one key, and taken back.
 */
export class Desk {
  #chat;
  #view;
  #acts;
  #on;
  #queue;
  #card;
  #room;
  /** @type {Comment | null} */
  #selected = null;
  /** @type {Comment | null} The one beside a selected comment that somebody else has deleted. */
  #place = null;
  /** Whether keys act on the queue; otherwise on the live chat. */
  #inQueue = false;
  /** Id of the moderator, or "" while there is none. */
  #moderator = "";

  /** @param {LiveComments} chat */
  constructor(chat) {
    this.#chat = chat;
    this.#view = new StreamView(this.#chat, {
      dress: (row, node) => this.#dress(row, node),
      replyButtons: false,
      signedOut: () => this.#admit(null),
    });
    this.#acts = new DeskActs(this.#chat, byId("acts"));
    this.#on = actsOn(this.#chat);
    const reply = (/** @type {Comment} */ comment) => this.#view.composer.reply(comment);
    this.#card = new UserCard(this.#chat, this.#acts, reply);
    this.#queue = new DeskQueue(this.#chat, this.#acts, (author) => this.#card.open(author));
    this.#room = new RoomPanel(this.#chat, this.#acts, ({ settings }) => {
      const { timeouts_ms } = /** @type {{timeouts_ms?: number[]}} */ (settings);
      this.#card.setTimeouts(timeouts_ms);
    });
    new PollPanel(this.#chat, this.#acts);
    // Its rows are options of the element around it.
    byId("comments").querySelector("ol")?.setAttribute("role", "presentation");
    byId("comments").addEventListener("focus", () => this.#enter(false));
    byId("queue").addEventListener("focusin", () => this.#enter(true));
    byId("unpin").addEventListener("click", () => this.#unpin());
    byId("help-open").addEventListener("click", () => this.#help());
    listenToKeys(this.#keys());
    this.#chat.on("welcome", ({ user }) => this.#admit(user));
    this.#chat.on("deleted", ({ comment_id }) => {
      if (comment_id === this.#selected?.comment_id) this.#leaveDeleted(this.#selected);
    });
    this.#chat.on("state", ({ state }) => {
      // What waits at the end of the stream can still be decided.
      if (state === "closed") this.#queue.setActive(false);
    });
  }

  get view() {
    return this.#view;
  }

  /** @returns {DeskKey[]} */
  #keys() {
    const on = this.#on;
    const comment = (/** @type {(comment: Comment) => DeskAct} */ make) => {
      return () => {
        // In the queue, the comment that is selected in the chat is not the one in view.
        if (this.#selected && !this.#inQueue) void this.#acts.do(make(this.#selected));
      };
    };
    const author = (/** @type {(author: Author) => DeskAct} */ make) => {
      return () => {
        const chosen = this.#inQueue ? this.#queue.selected : this.#selected;
        if (chosen) void this.#acts.do(make(chosen));
      };
    };
    return [
      { keys: ["j", "ArrowDown"], text: "Next", press: () => this.#move(1) },
      { keys: ["k", "ArrowUp"], text: "Previous", press: () => this.#move(-1) },
      { keys: ["g"], text: "Go to the queue, or back to the chat", press: () => this.#switch() },
      { keys: ["Enter"], text: "Open the user's card", press: () => this.#openCard() },
      { keys: ["d"], text: "Delete the selected comment", press: comment(on.delete) },
      { keys: ["s"], text: "Shadow the selected comment", press: comment(on.shadow) },
      { keys: ["i"], text: "Pin the selected comment", press: comment(on.pin) },
      { keys: ["o"], text: "Take the pinned comment down", press: () => this.#unpin() },
      { keys: ["t"], text: "Time the author out", press: author(on.timeout) },
      { keys: ["b"], text: "Ban the author", press: author(on.ban) },
      {
        keys: ["c"],
        text: "Clear the author's comments of 10 minutes",
        press: author((chosen) => on.clear(chosen, CLEARED_BY_KEY_MS)),
      },
      { keys: ["w"], text: "Shadow the author", press: author(on.shadowUser) },
      { keys: ["a"], text: "Approve what waits", press: () => this.#queue.decide("approve") },
      { keys: ["r"], text: "Reject what waits", press: () => this.#queue.decide("reject") },
      { keys: ["u"], text: "Take the last act back", press: () => this.#acts.undoLast() },
      {
        keys: ["y"],
        text: "Reply to the selected comment",
        press: () => {
          if (this.#selected && !this.#inQueue) this.#view.composer.reply(this.#selected);
        },
      },
      { keys: ["p"], text: "Pause, or resume", press: () => byId("pause").click() },
      { keys: ["Escape"], text: "Back to the newest comment", press: () => this.#leave() },
      { keys: ["?"], text: "This list", press: () => this.#help() },
    ];
  }

  /** @param {User | null} user */
  #admit(user) {
    const role = user?.role ?? null;
    const admitted = role !== null && MODERATING_ROLES.has(role);
    const texts = { none: "Sign in with the token of a moderator.", other: "" };
    if (role !== null) texts.other = `You are signed in as ${role}: this desk is for moderators.`;
    showText(byId("role"), admitted ? "" : texts.other || texts.none);
    const moderator = admitted && user ? user.user_id : "";
    if (moderator !== this.#moderator) this.#forget();
    this.#moderator = moderator;
    this.#queue.setActive(admitted);
    if (admitted) void this.#room.load();
  }

  /** Forgets what only the moderator so far may see, and the acts that another cannot undo. */
  #forget() {
    this.#queue.clear();
    this.#card.close();
    this.#acts.clear();
    this.#room.clear();
  }

  /**
   * @param {StreamRow} row
   * @param {HTMLElement} node
   */
  #dress(row, node) {
    node.id = `row-${keyOf(row)}`;
    node.setAttribute("role", "option");
    if (!("comment_id" in row)) return;
    node.setAttribute("aria-selected", String(row === this.#selected));
    node.addEventListener("click", () => {
      this.#enter(false);
      this.#select(row);
      this.#card.open(row, row);
    });
  }

  #unpin() {
    if (this.#chat.pinned) void this.#acts.do(this.#on.unpin());
  }

  /** @param {boolean} inQueue */
  #enter(inQueue) {
    this.#inQueue = inQueue;
    document.body.dataset.area = inQueue ? "queue" : "live";
  }

  #switch() {
    byId(this.#inQueue ? "comments" : "queue").focus({ preventScroll: true });
    if (this.#inQueue && !this.#queue.selected) this.#queue.move(0);
  }

  /** @param {1 | -1} step */
  #move(step) {
    if (this.#inQueue) this.#queue.move(step);
    else this.#moveInChat(step);
  }

  /** @param {1 | -1} step */
  #moveInChat(step) {
    const { rows, list } = this.#view;
    const selected = this.#selected;
    const indexOf = (/** @type {Comment | null} */ comment) => {
      return comment ? rows.findIndex((row) => keyOf(row) === comment.comment_id) : -1;
    };
    const known = indexOf(selected);
    const place = indexOf(this.#place);
    // The first press takes the newest comment, or the one at the place of before.
    const first = place < 0 ? rows.length - 1 : place;
    let at = known < 0 ? first : known + step;
    while (rows[at] && !("comment_id" in /** @type {StreamRow} */ (rows[at]))) {
      at += known < 0 ? -1 : step;
    }
    const row = rows[at];
    if (!row || !("comment_id" in row)) return;
    list.reveal(at);
    this.#select(row);
    if (this.#card.isOpen) this.#card.open(row, row);
  }

  /**
   * Selects the comment after one that this desk has removed, or the one before: the next key is
   * for it. After a deletion by somebody else none is selected, because the next key was meant for
   * the comment that is gone.
   *
   * @param {Comment} deleted
   */
  #leaveDeleted(deleted) {
    // The list still has the rows of before.
    const { rows } = this.#view;
    const at = rows.findIndex((row) => keyOf(row) === deleted.comment_id);
    const others = [...rows.slice(at + 1), ...rows.slice(0, Math.max(0, at)).reverse()];
    const found = others.find((row) => "comment_id" in row);
    const next = found && "comment_id" in found ? found : null;
    if (this.#acts.hasRemoved(deleted)) {
      this.#select(next);
      return;
    }
    this.#select(null);
    this.#place = next;
    tellNews("The selected comment was deleted.");
  }

  /** @param {Comment | null} comment */
  #select(comment) {
    const { list } = this.#view;
    const mark = (/** @type {Comment | null} */ marked, /** @type {boolean} */ selected) => {
      const node = marked && list.nodeOf(marked.comment_id);
      node?.setAttribute("aria-selected", String(selected));
    };
    mark(this.#selected, false);
    this.#selected = comment;
    this.#place = null;
    mark(comment, true);
    const comments = byId("comments");
    if (!comment) comments.removeAttribute("aria-activedescendant");
    else {
      comments.setAttribute("aria-activedescendant", `row-${comment.comment_id}`);
      list.hold();
    }
  }

  #openCard() {
    if (this.#inQueue) {
      if (this.#queue.selected) this.#card.open(this.#queue.selected);
    } else if (this.#selected) this.#card.open(this.#selected, this.#selected);
  }

  #leave() {
    const active = document.activeElement;
    if (active instanceof HTMLElement) active.blur();
    this.#select(null);
    this.#card.close();
    this.#view.list.follow();
  }

  #help() {
    /** @type {HTMLDialogElement} */ (byId("help")).showModal();
  }
}
