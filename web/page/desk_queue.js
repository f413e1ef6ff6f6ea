/** @import { LiveComments, QueueItem } from "../client/index.js" */
/** @import { DeskActs } from "./desk_acts.js" */

import { BoundedSet } from "../client/bounded_set.js";
import { LiveCommentsError } from "../client/index.js";
import { nameElement } from "./comment_view.js";
import { errorInWords } from "./desk_acts.js";
import { byId, button, element, showText } from "./dom.js";
import { KeyedRows } from "./keyed_rows.js";
import { tellNews } from "./news.js";
import { codeInWords, withoutPiles } from "./text.js";

/** Nothing tells of new items, so they are asked for. */
const INTERVAL_MS = 3_000;
const FAILED_INTERVAL_MS = 10_000;

const MOST_ITEMS = 100;

/** Decided items that are remembered: an answer on its way may still list them. */
const MOST_DECIDED = 500;

/** Time for which keys decide nothing after an answer has changed the item they are about. */
const UNSURE_MS = 500;

/** The comments that wait for review, and the decisions about them. */
export class DeskQueue {
  #chat;
  #acts;
  #opened;
  #rows;
  /** @type {QueueItem[]} */
  #items = [];
  /** @type {BoundedSet<string>} */
  #decided = new BoundedSet(MOST_DECIDED);
  #selected = "";
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #unsureTimer;
  #unsure = false;
  #active = false;
  /** Changes whenever an answer on its way is for somebody else. */
  #session = 0;

  /**
   * @param {LiveComments} chat
   * @param {DeskActs} acts
   * @param {(author: {user_id: string, name: string}) => void} opened
   */
  constructor(chat, acts, opened) {
    this.#chat = chat;
    this.#acts = acts;
    this.#opened = opened;
    /** @type {KeyedRows<QueueItem>} */
    this.#rows = new KeyedRows(byId("queue"), {
      keyOf: ({ comment_id }) => comment_id,
      create: (item) => this.#row(item),
    });
    document.addEventListener("visibilitychange", () => this.#schedule(0));
  }

  /** @returns {QueueItem | undefined} */
  get selected() {
    return this.#items.find(({ comment_id }) => comment_id === this.#selected);
  }

  /**
   * Begins to ask for items, or stops. Items that are shown can be decided about all the same.
   *
   * @param {boolean} active
   */
  setActive(active) {
    if (active === this.#active) return;
    this.#active = active;
    this.#schedule(0);
  }

  /** Stops and shows none: the items are for the moderator that has signed out. */
  clear() {
    this.setActive(false);
    this.#session += 1;
    this.#items = [];
    this.#selected = "";
    showText(byId("queue-problem"), "");
    this.#draw();
  }

  /**
   * Selects another item and gives it the focus, so that it is read out.
   *
   * @param {number} step
   */
  move(step) {
    const at = this.#items.findIndex(({ comment_id }) => comment_id === this.#selected);
    const next = at < 0 ? 0 : Math.min(this.#items.length - 1, Math.max(0, at + step));
    this.#select(this.#items[next]?.comment_id ?? "");
    const row = this.#rows.rowOf(this.#selected);
    row?.focus({ preventScroll: true });
    row?.scrollIntoView({ block: "nearest" });
  }

  /**
   * Decides about the selected item, or the first one if none is selected.
   *
   * @param {"approve" | "reject"} decision
   */
  decide(decision) {
    const item = this.#next;
    if (item && !this.#unsure) void this.#decide(item, decision);
  }

  /** The item that a key decides about. */
  get #next() {
    return this.selected ?? this.#items[0];
  }

  /**
   * @param {QueueItem} item
   * @param {"approve" | "reject"} decision
   */
  async #decide(item, decision) {
    const { comment_id, name, message } = item;
    const at = this.#items.findIndex((other) => other.comment_id === comment_id);
    this.#decided.add(comment_id);
    const hadFocus = byId("queue").contains(document.activeElement);
    this.#items = this.#items.filter((other) => other.comment_id !== comment_id);
    this.#draw();
    this.#select(this.#items[Math.min(at, this.#items.length - 1)]?.comment_id ?? "");
    if (hadFocus) this.#rows.rowOf(this.#selected)?.focus({ preventScroll: true });
    const word = decision === "approve" ? "Approve" : "Reject";
    const session = this.#session;
    const waitsAgain = () => {
      this.#decided.delete(comment_id);
      const isListed = this.#items.some((other) => other.comment_id === comment_id);
      if (session !== this.#session || isListed) return;
      this.#items = [...this.#items.slice(0, at), item, ...this.#items.slice(at)];
      this.#draw();
    };
    const act = {
      text: `${word}: ${name}: ${message}`,
      run: () => this.#chat.moderation[decision](comment_id),
      undone: waitsAgain,
    };
    if (!(await this.#acts.do(act))) waitsAgain();
  }

  /** @param {number} ms */
  #schedule(ms) {
    clearTimeout(this.#timer);
    if (!this.#active || document.hidden) return;
    this.#timer = setTimeout(() => void this.#load(), ms);
  }

  async #load() {
    const session = this.#session;
    let wait = INTERVAL_MS;
    try {
      const items = await this.#chat.moderation.queue(MOST_ITEMS);
      if (session !== this.#session) return;
      this.#take(items.filter(({ comment_id }) => !this.#decided.has(comment_id)));
      showText(byId("queue-problem"), "");
    } catch (error) {
      if (session !== this.#session) return;
      showText(byId("queue-problem"), errorInWords(error));
      const asked = error instanceof LiveCommentsError ? error.retryAfterMs : undefined;
      wait = Math.max(asked ?? 0, FAILED_INTERVAL_MS);
    }
    this.#schedule(wait);
  }

  /** @param {QueueItem[]} items */
  #take(items) {
    const before = this.#next?.comment_id;
    this.#items = items;
    if (this.#selected !== "" && !this.selected) {
      this.#selected = "";
      tellNews("The selected comment does not wait any longer.");
    }
    this.#draw();
    if (before === undefined || before === this.#next?.comment_id) return;
    // A press that was on its way was meant for the comment before.
    this.#unsure = true;
    clearTimeout(this.#unsureTimer);
    this.#unsureTimer = setTimeout(() => (this.#unsure = false), UNSURE_MS);
  }

  /** @param {string} commentId */
  #select(commentId) {
    const before = this.#rows.rowOf(this.#selected);
    before?.removeAttribute("aria-current");
    this.#selected = commentId;
    this.#rows.rowOf(commentId)?.setAttribute("aria-current", "true");
  }

  #draw() {
    const count = this.#items.length;
    byId("queue-count").textContent = count >= MOST_ITEMS ? `${count}+` : String(count);
    byId("queue-empty").hidden = count > 0 || !this.#active;
    this.#rows.show(this.#items);
  }

  /** @param {QueueItem} item */
  #row(item) {
    const { comment_id, reason, held, message } = item;
    const text = element("span", "text", withoutPiles(message));
    text.dir = "auto";
    const why = `${codeInWords(reason)}${held ? "" : ", already shown"}`;
    const approve = button("Approve", () => void this.#decide(item, "approve"), "small");
    const reject = button("Reject", () => void this.#decide(item, "reject"), "small danger");
    const buttons = element("span", "buttons", element("span", "mark", why), approve, reject);
    const row = element("li", "comment waiting", nameElement(item), text, buttons);
    row.tabIndex = -1;
    if (comment_id === this.#selected) row.setAttribute("aria-current", "true");
    row.addEventListener("click", ({ target }) => {
      if (target instanceof HTMLButtonElement) return;
      this.#select(comment_id);
      this.#opened(item);
    });
    return row;
  }
}
