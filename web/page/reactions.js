/** @import { LiveComments } from "../client/index.js" */

import { byId, button } from "./dom.js";
import { compact } from "./text.js";

/** Faces of the kinds that are usual. Others are shown by their name. */
const FACES = new Map([
  ["like", "👍"],
  ["heart", "❤️"],
  ["fire", "🔥"],
  ["laugh", "😂"],
  ["wow", "😮"],
  ["sad", "😢"],
  ["clap", "👏"],
  ["hundred", "💯"],
]);

const MOST_KINDS = 64;

/** The buttons of the reactions, with their totals. */
export class ReactionBar {
  #chat;
  /** @type {Map<string, {pressable: HTMLButtonElement, total: number}>} */
  #kinds = new Map();
  #last = "";

  /** @param {LiveComments} chat */
  constructor(chat) {
    this.#chat = chat;
    for (const kind of FACES.keys()) this.#show(kind, 0);
    chat.on("reactions", (totals) => {
      for (const [kind, total] of Object.entries(totals)) this.#show(kind, total);
    });
    // The server has a list of its own, and says so when a kind is not on it.
    chat.on("error", ({ code }) => {
      if (code === "unknown_reaction") this.#remove(this.#last);
    });
  }

  /**
   * @param {string} kind
   * @param {number} total
   */
  #show(kind, total) {
    const known = this.#kinds.get(kind);
    if (known?.total === total || (!known && this.#kinds.size >= MOST_KINDS)) return;
    const pressable = known?.pressable ?? this.#addButton(kind);
    const face = FACES.get(kind) ?? kind;
    pressable.textContent = total > 0 ? `${face} ${compact(total)}` : face;
    pressable.setAttribute("aria-label", `${kind}, ${total}`);
    if (known) beat(pressable);
    this.#kinds.set(kind, { pressable, total });
  }

  /** @param {string} kind */
  #addButton(kind) {
    const made = button("", () => {
      this.#last = kind;
      this.#chat.react(kind);
    });
    made.title = kind;
    byId("reactions").append(made);
    return made;
  }

  /** @param {string} kind */
  #remove(kind) {
    this.#kinds.get(kind)?.pressable.remove();
    this.#kinds.delete(kind);
  }
}

/** @param {HTMLElement} target */
function beat(target) {
  target.classList.remove("beat");
  requestAnimationFrame(() => target.classList.add("beat"));
}
