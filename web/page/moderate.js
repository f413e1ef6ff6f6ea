/**
 * The desk of a moderator: the live chat, the review queue, a user's card and the room. Everything
 * can be done with one key, and taken back.
 */

/** @import { Comment } from "../client/index.js" */

import { LiveComments } from "../client/index.js";
import { DeskActs, actsOn } from "./desk_acts.js";
import { listenToKeys } from "./desk_keys.js";
import { DeskQueue } from "./desk_queue.js";
import { byId, showText } from "./dom.js";
import { PollPanel } from "./poll_panel.js";
import { FOLLOWED_COMMENTS } from "./reading.js";
import { RoomPanel } from "./room_panel.js";
import { keyOf } from "./rows.js";
import { reloadOnToken, takeToken } from "./session_token.js";
import { site, streamIdOf } from "./site.js";
import { StreamView } from "./stream_view.js";
import { UserCard } from "./user_card.js";

/** @typedef {import("./rows.js").StreamRow} StreamRow */

const MODERATORS = new Set(["moderator", "broadcaster", "admin"]);

/** Time that the key for clearing goes back. */
const CLEARED_MS = 600_000;

class Desk {
  #chat;
  #view;
  #acts;
  #on;
  #queue;
  #card;
  #room;
  /** @type {Comment | null} */
  #selected = null;
  /** Whether keys act on the queue; otherwise on the live chat. */
  #inQueue = false;

  /**
   * @param {string} streamId
   * @param {string | null} token
   */
  constructor(streamId, token) {
    const options = { token, maxComments: FOLLOWED_COMMENTS };
    this.#chat = new LiveComments(site, streamId, options);
    this.#view = new StreamView(this.#chat, {
      dress: (row, node) => this.#dress(row, node),
      replyButtons: false,
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
    byId("queue").addEventListener("focus", () => this.#enter(true));
    byId("unpin").addEventListener("click", () => this.#unpin());
    byId("help-open").addEventListener("click", () => this.#help());
    listenToKeys(this.#keys());
    this.#chat.on("welcome", ({ user }) => this.#admit(user?.role ?? null));
    this.#chat.on("deleted", ({ comment_id }) => {
      if (comment_id === this.#selected?.comment_id) this.#selectAfterDeletion(comment_id);
    });
    this.#chat.on("state", ({ state }) => {
      if (state === "closed") this.#queue.setActive(false);
    });
    Object.assign(globalThis, { liveComments: { chat: this.#chat, view: this.#view } });
    this.#chat.connect();
  }

  /** @returns {import("./desk_keys.js").DeskKey[]} */
  #keys() {
    const on = this.#on;
    const comment = (
      /** @type {(comment: Comment) => import("./desk_acts.js").DeskAct} */ make,
    ) => {
      return () => this.#selected && void this.#acts.do(make(this.#selected));
    };
    const author = (/** @type {(author: Author) => import("./desk_acts.js").DeskAct} */ make) => {
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
        press: author((chosen) => on.clear(chosen, CLEARED_MS)),
      },
      { keys: ["w"], text: "Shadow the author", press: author(on.shadowUser) },
      { keys: ["a"], text: "Approve what waits", press: () => this.#queue.decide("approve") },
      { keys: ["r"], text: "Reject what waits", press: () => this.#queue.decide("reject") },
      { keys: ["u"], text: "Take the last act back", press: () => this.#acts.undoLast() },
      {
        keys: ["y"],
        text: "Reply to the selected comment",
        press: () => this.#selected && this.#view.composer.reply(this.#selected),
      },
      { keys: ["p"], text: "Pause, or resume", press: () => byId("pause").click() },
      { keys: ["Escape"], text: "Back to the newest comment", press: () => this.#leave() },
      { keys: ["?"], text: "This list", press: () => this.#help() },
    ];
  }

  /** @param {string | null} role */
  #admit(role) {
    const admitted = role !== null && MODERATORS.has(role);
    const texts = { none: "Sign in with the token of a moderator.", other: "" };
    if (role !== null) texts.other = `You are signed in as ${role}: this desk is for moderators.`;
    showText(byId("role"), admitted ? "" : texts.other || texts.none);
    this.#queue.setActive(admitted);
    if (admitted) void this.#room.load();
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
    const known = selected ? rows.findIndex((row) => keyOf(row) === selected.comment_id) : -1;
    // The first press takes the newest comment.
    let at = known < 0 ? rows.length - 1 : known + step;
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
   * Selects the comment after one that is gone, or the one before: the next key is for it.
   *
   * @param {string} commentId
   */
  #selectAfterDeletion(commentId) {
    // The list still has the rows of before.
    const { rows } = this.#view;
    const at = rows.findIndex((row) => keyOf(row) === commentId);
    const others = [...rows.slice(at + 1), ...rows.slice(0, Math.max(0, at)).reverse()];
    const next = others.find((row) => "comment_id" in row);
    this.#select(next && "comment_id" in next ? next : null);
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
    mark(comment, true);
    const comments = byId("comments");
    if (!comment) comments.removeAttribute("aria-activedescendant");
    else {
      comments.setAttribute("aria-activedescendant", `row-${comment.comment_id}`);
      list.hold();
    }
  }

  #openCard() {
    const waiting = this.#queue.selected;
    if (this.#inQueue && waiting) this.#card.open(waiting);
    else if (this.#selected) this.#card.open(this.#selected, this.#selected);
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

/** @typedef {import("./desk_acts.js").Author} Author */

const streamId = streamIdOf(location);
const token = takeToken();
reloadOnToken();
if (streamId) new Desk(streamId, token);
else showText(byId("problem"), "The address names no stream.");
