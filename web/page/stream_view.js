/** @import { LiveComments } from "../client/index.js" */
/** @import { NoteRow, StreamRow } from "./rows.js" */

import { BoundedSet } from "../client/bounded_set.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { byId, oncePerFrame } from "./dom.js";
import { EventLine } from "./event_line.js";
import { showFacts } from "./facts.js";
import { MessagePanel } from "./message_panel.js";
import { showPinned } from "./pinned.js";
import { PollView } from "./poll_view.js";
import { Reading } from "./reading.js";
import { ReadingControls } from "./reading_controls.js";
import { rowElement } from "./row_view.js";
import { StreamRows, keyOf } from "./rows.js";
import { StatusLine } from "./status.js";
import { codeInWords } from "./text.js";
import { VirtualList } from "./virtual_list.js";

/** Ids of own comments that are remembered, to tell their author of a deletion. */
const MOST_OWN = 200;

/**
 * @typedef {object} StreamViewOptions
 * @property {(row: StreamRow, node: HTMLElement) => void} [dress] Adds to the element of a row.
 * @property {(rows: StreamRow[]) => void} [shown] The list has these rows.
 * @property {boolean} [replyButtons] Rows have a button that answers them. Absent: true.
 * @property {() => void} [signedOut] The user has signed out, or the token was dropped.
 */

/** The live comments of a stream with all that belongs to reading and writing them. */
export class StreamView {
  #chat;
  #options;
  #rows;
  #reading;
  #poll;
  #messages;
  /** @type {StreamRow[]} */
  #shown = [];

  /**
   * @param {LiveComments} chat
   * @param {StreamViewOptions} [options]
   */
  constructor(chat, options = {}) {
    this.#chat = chat;
    this.#options = options;
    const draw = oncePerFrame(() => this.#draw());
    this.#rows = new StreamRows(chat, draw);
    /** @readonly @type {VirtualList<StreamRow>} */
    this.list = new VirtualList(byId("comments"), {
      keyOf,
      createNode: (row) => this.#createNode(row),
      moved: () => this.#reading.moved(),
    });
    const controls = new ReadingControls(chat, this.list);
    const showControls = oncePerFrame(() => controls.show(this.#reading));
    for (const name of /** @type {const} */ (["state", "welcome", "throttle", "paused"])) {
      chat.on(name, showControls);
    }
    const status = new StatusLine(chat);
    const parts = { chat, rows: this.#rows, list: this.list };
    this.#reading = new Reading(parts, showControls, (error) => {
      status.historyRefused(error);
      this.composer.historyRefused(error);
    });
    controls.listen(this.#reading);
    /** @readonly */
    this.composer = new Composer(chat, () => this.#forgetUser());
    showFacts(chat);
    new EventLine(chat);
    showPinned(chat);
    this.#poll = new PollView(chat);
    this.#messages = new MessagePanel(chat);
    this.#followOwn();
    this.#followParents();
    this.#announce();
    for (const name of /** @type {const} */ (["state", "welcome", "stream"])) chat.on(name, draw);
  }

  /** The rows of the list, oldest first. */
  get rows() {
    return this.#shown;
  }

  #draw() {
    this.#shown = this.#rows.all();
    this.#reading.setShown(this.#shown);
    this.list.setRows(this.#shown);
    this.#showSchedule();
    this.#options.shown?.(this.#shown);
  }

  /** Nobody is invited to write before the start of the stream or after its end. */
  #showSchedule() {
    const { state, schedule } = this.#chat;
    const empty = byId("empty");
    empty.hidden = this.#shown.length > 0 || state !== "open";
    /** @type {HTMLElement | null} */
    const invitation = empty.querySelector(".invitation");
    if (invitation) invitation.hidden = schedule.state !== "live";
    byId("comments").classList.toggle("read-only", schedule.state !== "live");
  }

  /** @param {StreamRow} row */
  #createNode(row) {
    const { replyButtons = true } = this.#options;
    const node = rowElement(row, this.#chat.user, {
      fillGap: (gapRow) => this.#fillGap(gapRow),
      sendAgain: ({ outgoing: { message, ref, parent_id } }) =>
        void this.#chat.send(message, { ref, parentId: parent_id }),
      parentOf: (commentId) => this.#chat.timeline.get(commentId),
      reply: replyButtons ? (comment) => this.composer.reply(comment) : null,
      discard: (ownRow) => this.#rows.remove(ownRow),
    });
    this.#options.dress?.(row, node);
    return node;
  }

  /** @param {NoteRow} row */
  async #fillGap(row) {
    if (!row.gap) return;
    if ((await this.#reading.fill(row.gap)) === "failed") {
      this.composer.notice("These comments cannot be read now. Try again later.");
    }
  }

  /** Tells this viewer what becomes of the own comments. */
  #followOwn() {
    /** @type {BoundedSet<string>} */
    const own = new BoundedSet(MOST_OWN);
    this.#chat.on("outgoing", ({ state, comment_id }) => {
      if (state === "pending") this.list.follow();
      if (comment_id !== undefined) own.add(comment_id);
    });
    this.#chat.on("deleted", ({ comment_id, reason }) => {
      if (!own.has(comment_id)) return;
      this.composer.notice(`Your comment was removed: ${codeInWords(reason)}.`);
    });
    let userId = "";
    this.#chat.on("welcome", ({ user }) => {
      // Own comments look different.
      if ((user?.user_id ?? "") !== userId) this.list.refresh();
      userId = user?.user_id ?? "";
    });
  }

  /** Replies repeat the start of what they answer, once that is loaded, until it is deleted. */
  #followParents() {
    const redraw = (/** @type {Set<string>} */ parents) => {
      this.list.redraw((row) => {
        if ("comment_id" in row) return parents.has(row.parent_id ?? "");
        return row.kind === "outgoing" && parents.has(row.outgoing.parent_id ?? "");
      });
    };
    this.#chat.timeline.on("change", ({ added }) => {
      if (added.length > 0) redraw(new Set(added.map(({ comment_id }) => comment_id)));
    });
    this.#chat.on("deleted", ({ comment_id }) => redraw(new Set([comment_id])));
  }

  /** Forgets what belongs to a user that has signed out. */
  #forgetUser() {
    this.#rows.forgetOutgoing();
    this.#poll.forget();
    this.#messages.clear();
    // No `welcome` follows after the end of the stream.
    this.list.refresh();
    this.#options.signedOut?.();
  }

  #announce() {
    const announcer = new Announcer(byId("announcer"));
    this.#chat.on("comments", ({ comments, source }) => {
      if (source === "history" || !this.list.following) return;
      for (const { name, message, comment_id } of comments) {
        announcer.add(`${name}: ${message}`, comment_id);
      }
    });
    this.#chat.on("deleted", ({ comment_id }) => announcer.forget(comment_id));
  }
}
