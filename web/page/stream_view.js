/** @import { LiveComments } from "../client/index.js" */
/** @import { StreamRow } from "./rows.js" */

import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { byId, oncePerFrame } from "./dom.js";
import { showFacts } from "./facts.js";
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
 */

/** The live comments of a stream with all that belongs to reading and writing them. */
export class StreamView {
  #chat;
  #options;
  #rows;
  #reading;
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
    this.#reading = new Reading({ chat, rows: this.#rows, list: this.list }, showControls);
    controls.listen(this.#reading);
    /** @readonly */
    this.composer = new Composer(chat, () => this.#rows.forgetOutgoing());
    new StatusLine(chat);
    showFacts(chat);
    this.#followOwn();
    this.#announce();
    chat.on("state", draw);
    chat.on("direct", ({ from, message }) => this.#rows.addNote("direct", `${from}: ${message}`));
  }

  /** The rows of the list, oldest first. */
  get rows() {
    return this.#shown;
  }

  #draw() {
    this.#shown = this.#rows.all();
    this.#reading.setShown(this.#shown);
    this.list.setRows(this.#shown);
    byId("empty").hidden = this.#shown.length > 0 || this.#chat.state !== "open";
    this.#options.shown?.(this.#shown);
  }

  /** @param {StreamRow} row */
  #createNode(row) {
    const node = rowElement(row, this.#chat.user, {
      fillGap: async (gapRow) => {
        if (gapRow.gap && (await this.#reading.fill(gapRow.gap))) this.#rows.remove(gapRow);
      },
      sendAgain: ({ outgoing: { message, ref } }) => void this.#chat.send(message, { ref }),
      discard: (ownRow) => this.#rows.remove(ownRow),
    });
    this.#options.dress?.(row, node);
    return node;
  }

  /** Tells this viewer what becomes of the own comments. */
  #followOwn() {
    /** @type {Set<string>} */
    const own = new Set();
    this.#chat.on("outgoing", ({ state, comment_id }) => {
      if (state === "pending") this.list.follow();
      if (comment_id === undefined) return;
      own.add(comment_id);
      for (const oldest of own) if (own.size > MOST_OWN) own.delete(oldest);
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

  #announce() {
    const announcer = new Announcer(byId("announcer"));
    this.#chat.on("comments", ({ comments, source }) => {
      if (source === "history" || !this.list.following) return;
      for (const { name, message } of comments) announcer.add(`${name}: ${message}`);
    });
  }
}
