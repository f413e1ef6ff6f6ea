/** @import { LiveComments, QueueItem } from "../client/index.js" */
/** @import { DeskActs } from "./desk_acts.js" */

import { nameElement } from "./comment_view.js";
import { LiveCommentsError } from "../client/index.js";
import { byId, button, element, showText } from "./dom.js";
import { errorInWords } from "./desk_acts.js";
import { codeInWords, withoutPiles } from "./text.js";

/** Nothing tells of new items, so they are asked for. */
const INTERVAL_MS = 3_000;
const FAILED_INTERVAL_MS = 10_000;

const MOST_ITEMS = 100;

/** Decided items that are remembered: an answer on its way may still list them. */
const MOST_DECIDED = 500;

/** The comments that wait for review, and the decisions about them. */
export class DeskQueue {
  #chat;
  #acts;
  #opened;
  /** @type {QueueItem[]} */
  #items = [];
  /** @type {Set<string>} */
  #decided = new Set();
  #selected = "";
  #timer = 0;
  #active = false;

  /**
   * @param {LiveComments} chat
   * @param {DeskActs} acts
   * @param {(author: {user_id: string, name: string}) => void} opened
   */
  constructor(chat, acts, opened) {
    this.#chat = chat;
    this.#acts = acts;
    this.#opened = opened;
    document.addEventListener("visibilitychange", () => this.#schedule(0));
  }

  /** @returns {QueueItem | undefined} */
  get selected() {
    return this.#items.find(({ comment_id }) => comment_id === this.#selected);
  }

  /**
   * Begins to ask for items, or stops.
   *
   * @param {boolean} active
   */
  setActive(active) {
    if (active === this.#active) return;
    this.#active = active;
    this.#schedule(0);
  }

  /**
   * Selects another item.
   *
   * @param {number} step
   */
  move(step) {
    const at = this.#items.findIndex(({ comment_id }) => comment_id === this.#selected);
    const next = at < 0 ? 0 : Math.min(this.#items.length - 1, Math.max(0, at + step));
    this.#selected = this.#items[next]?.comment_id ?? "";
    this.#draw();
    document.getElementById(`queue-${this.#selected}`)?.scrollIntoView({ block: "nearest" });
  }

  /**
   * Decides about the selected item, or the first one.
   *
   * @param {"approve" | "reject"} decision
   */
  decide(decision) {
    const item = this.selected ?? this.#items[0];
    if (item) void this.#decide(item, decision);
  }

  /**
   * @param {QueueItem} item
   * @param {"approve" | "reject"} decision
   */
  async #decide(item, decision) {
    const { comment_id, name, message } = item;
    const at = this.#items.indexOf(item);
    this.#decided.add(comment_id);
    for (const oldest of this.#decided) {
      if (this.#decided.size > MOST_DECIDED) this.#decided.delete(oldest);
    }
    this.#items = this.#items.filter((other) => other !== item);
    this.#selected = this.#items[Math.min(at, this.#items.length - 1)]?.comment_id ?? "";
    this.#draw();
    const word = decision === "approve" ? "Approve" : "Reject";
    const act = {
      text: `${word}: ${name}: ${message}`,
      run: () => this.#chat.moderation[decision](comment_id),
      undone: () => void this.#decided.delete(comment_id),
    };
    // What was not decided is shown again.
    if (!(await this.#acts.do(act))) this.#decided.delete(comment_id);
  }

  /** @param {number} ms */
  #schedule(ms) {
    clearTimeout(this.#timer);
    if (!this.#active || document.hidden) return;
    this.#timer = setTimeout(() => void this.#load(), ms);
  }

  async #load() {
    let wait = INTERVAL_MS;
    try {
      const items = await this.#chat.moderation.queue(MOST_ITEMS);
      this.#items = items.filter(({ comment_id }) => !this.#decided.has(comment_id));
      showText(byId("queue-problem"), "");
      this.#draw();
    } catch (error) {
      showText(byId("queue-problem"), errorInWords(error));
      const asked = error instanceof LiveCommentsError ? error.retryAfterMs : undefined;
      wait = Math.max(asked ?? 0, FAILED_INTERVAL_MS);
    }
    this.#schedule(wait);
  }

  #draw() {
    const list = byId("queue");
    const count = this.#items.length;
    byId("queue-count").textContent = count >= MOST_ITEMS ? `${count}+` : String(count);
    byId("queue-empty").hidden = count > 0;
    // Buttons keep the focus while the list is drawn again.
    const focused = document.activeElement?.id ?? "";
    list.replaceChildren(...this.#items.map((item) => this.#row(item)));
    if (focused.startsWith("queue-")) document.getElementById(focused)?.focus();
    if (this.#selected) list.setAttribute("aria-activedescendant", `queue-${this.#selected}`);
    else list.removeAttribute("aria-activedescendant");
  }

  /** @param {QueueItem} item */
  #row(item) {
    const { comment_id, reason, held, message } = item;
    const text = element("span", "text", withoutPiles(message));
    text.dir = "auto";
    const why = `${codeInWords(reason)}${held ? "" : ", already shown"}`;
    const approve = button("Approve", () => void this.#decide(item, "approve"), "small");
    const reject = button("Reject", () => void this.#decide(item, "reject"), "small danger");
    approve.id = `queue-approve-${comment_id}`;
    reject.id = `queue-reject-${comment_id}`;
    const buttons = element("span", "buttons", element("span", "mark", why), approve, reject);
    const row = element("li", "comment waiting", nameElement(item), text, buttons);
    row.id = `queue-${comment_id}`;
    row.setAttribute("role", "option");
    row.setAttribute("aria-selected", String(comment_id === this.#selected));
    row.addEventListener("click", ({ target }) => {
      if (target instanceof HTMLButtonElement) return;
      this.#selected = comment_id;
      this.#draw();
      this.#opened(item);
    });
    return row;
  }
}
