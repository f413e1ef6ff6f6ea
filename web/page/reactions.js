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

/** The buttons of the reactions that the server offers, with their totals. */
export class ReactionBar {
  #chat;
  #root = byId("reactions");
  /** @type {Map<string, HTMLButtonElement>} In the order of the server. */
  #buttons = new Map();

  /** @param {LiveComments} chat */
  constructor(chat) {
    this.#chat = chat;
    chat.on("welcome", () => this.#offer());
    chat.on("reactions", () => this.#showTotals());
    // Without a connection a reaction would be lost.
    chat.on("state", () => this.#enable());
  }

  #offer() {
    const kinds = this.#chat.reactionKinds.slice(0, MOST_KINDS);
    const known = [...this.#buttons.keys()];
    if (kinds.length !== known.length || kinds.some((kind, index) => kind !== known[index])) {
      this.#buttons = new Map(kinds.map((kind) => [kind, this.#makeButton(kind)]));
      this.#root.replaceChildren(...this.#buttons.values());
      this.#root.hidden = kinds.length === 0;
    }
    this.#showTotals();
    this.#enable();
  }

  /** @param {string} kind */
  #makeButton(kind) {
    const made = button("", () => this.#chat.react(kind));
    made.dataset.kind = kind;
    return made;
  }

  #showTotals() {
    const totals = this.#chat.reactions;
    for (const [kind, pressable] of this.#buttons) {
      const total = totals[kind] ?? 0;
      const face = FACES.get(kind) ?? kind;
      const text = total > 0 ? `${face} ${compact(total)}` : face;
      if (pressable.textContent === text) continue;
      const isFirst = pressable.textContent === "";
      pressable.textContent = text;
      pressable.setAttribute("aria-label", total > 0 ? `${kind}, ${total}` : kind);
      if (!isFirst) beat(pressable);
    }
  }

  #enable() {
    const { user, state } = this.#chat;
    for (const [kind, pressable] of this.#buttons) {
      pressable.disabled = user === null || state !== "open";
      pressable.title = user === null ? `${kind} (sign in to react)` : kind;
    }
  }
}

/** @param {HTMLElement} target */
function beat(target) {
  target.classList.remove("beat");
  requestAnimationFrame(() => target.classList.add("beat"));
}
