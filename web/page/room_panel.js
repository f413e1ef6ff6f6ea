/** @import { LiveComments, Room, RoomPatch } from "../client/index.js" */
/** @import { RoomTerm, TermsPatch } from "../client/moderation.js" */
/** @import { DeskActs } from "./desk_acts.js" */

import { errorInWords } from "./desk_acts.js";
import { byId, button, element, showText } from "./dom.js";
import { KeyedRows } from "./keyed_rows.js";
import { duration } from "./text.js";

/**
 * A setting of the room that has a time, with the times to choose from.
 *
 * @type {Record<"slow_ms" | "followers_ms" | "unique_ms" | "delay_ms", number[]>}
 */
const TIMES_MS = {
  slow_ms: [3_000, 5_000, 10_000, 30_000, 60_000, 300_000],
  followers_ms: [0, 600_000, 3_600_000, 86_400_000, 604_800_000],
  unique_ms: [60_000, 600_000, 3_600_000],
  delay_ms: [2_000, 5_000, 10_000, 30_000],
};
const TIMED = /** @type {(keyof typeof TIMES_MS)[]} */ (Object.keys(TIMES_MS));
const SWITCHES = /** @type {const} */ (["subscribers_only", "emotes_only", "no_links", "shield"]);

/** @typedef {Partial<Record<keyof typeof TIMES_MS, number | null>>} Times */
/** @typedef {Partial<Record<typeof SWITCHES[number], boolean>>} Switches */

/** The settings of the room, its blocked terms, and clearing of all it said. */
export class RoomPanel {
  #chat;
  #acts;
  #loaded;
  /** @type {Times & Switches} */
  #settings = {};
  #terms;
  #active = false;
  /** Changes whenever an answer on its way is for somebody else. */
  #session = 0;

  /**
   * @param {LiveComments} chat
   * @param {DeskActs} acts
   * @param {(room: Room) => void} loaded
   */
  constructor(chat, acts, loaded) {
    this.#chat = chat;
    this.#acts = acts;
    this.#loaded = loaded;
    /** @type {KeyedRows<RoomTerm>} */
    this.#terms = new KeyedRows(byId("terms"), {
      keyOf: ({ term }) => term,
      create: (term) => this.#termRow(term),
    });
    for (const name of TIMED) {
      byId(`room-${name}`).addEventListener("change", ({ target }) => {
        const { value } = /** @type {HTMLSelectElement} */ (target);
        void this.#change({ [name]: value === "" ? null : Number(value) });
      });
    }
    for (const name of SWITCHES) {
      byId(`room-${name}`).addEventListener("change", ({ target }) => {
        void this.#change({ [name]: /** @type {HTMLInputElement} */ (target).checked });
      });
    }
    byId("term-form").addEventListener("submit", (event) => this.#addTerm(event));
    byId("clear-form").addEventListener("submit", (event) => this.#clear(event));
    // Another moderator has changed it.
    chat.on("room", () => {
      if (this.#active) void this.load();
    });
  }

  /** Shows the room to a moderator, and its changes from now on. */
  async load() {
    this.#active = true;
    const session = this.#session;
    const { moderation } = this.#chat;
    try {
      const room = await moderation.room();
      if (session === this.#session) this.#take(room);
      const terms = await moderation.terms();
      if (session !== this.#session) return;
      this.#terms.show(terms);
      showText(byId("room-problem"), "");
    } catch (error) {
      if (session === this.#session) showText(byId("room-problem"), errorInWords(error));
    }
  }

  /** Forgets what only moderators may see. */
  clear() {
    this.#active = false;
    this.#session += 1;
    this.#settings = {};
    this.#showSettings();
    this.#terms.show([]);
    /** @type {HTMLInputElement} */ (byId("term")).value = "";
    showText(byId("room-problem"), "");
  }

  /** @param {Room} room */
  #take(room) {
    const { rules, ...others } = /** @type {{rules?: object}} */ (room.settings);
    this.#settings = { ...rules, ...others };
    this.#showSettings();
    this.#loaded(room);
  }

  #showSettings() {
    for (const name of TIMED) showTime(name, this.#settings[name] ?? null);
    for (const name of SWITCHES) {
      /** @type {HTMLInputElement} */ (byId(`room-${name}`)).checked = Boolean(
        this.#settings[name],
      );
    }
  }

  /** @param {Times & Switches} patch */
  async #change(patch) {
    const before = Object.fromEntries(
      Object.keys(patch).map((name) => {
        const isSwitch = SWITCHES.some((known) => known === name);
        const value = this.#settings[/** @type {keyof Times} */ (name)];
        return [name, value ?? (isSwitch ? false : null)];
      }),
    );
    const session = this.#session;
    const done = await this.#acts.do({
      text: `Room: ${patchInWords(patch)}`,
      run: () => this.#patch(patch),
      undo: () => this.#patch(before),
    });
    // A control that was refused shows what is in force, unless the moderator has signed out.
    if (!done && session === this.#session) await this.load();
  }

  /** @param {RoomPatch} patch */
  async #patch(patch) {
    const session = this.#session;
    const room = await this.#chat.moderation.patchRoom(patch);
    if (session === this.#session) this.#take(room);
  }

  /** @param {Event} event */
  #addTerm(event) {
    event.preventDefault();
    const input = /** @type {HTMLInputElement} */ (byId("term"));
    const term = input.value.trim();
    const action = /** @type {"reject" | "flag" | "shadow_ban"} */ (
      /** @type {HTMLSelectElement} */ (byId("term-action")).value
    );
    if (term === "") return;
    input.value = "";
    void this.#acts.do({
      text: `Block the term “${term}”`,
      run: () => this.#patchTerms({ add: [{ term, action }] }),
      undo: () => this.#patchTerms({ remove: [term] }),
    });
  }

  /** @param {TermsPatch} patch */
  async #patchTerms(patch) {
    const session = this.#session;
    const terms = await this.#chat.moderation.patchTerms(patch);
    if (session === this.#session) this.#terms.show(terms);
  }

  /** @param {RoomTerm} blocked */
  #termRow({ term, action }) {
    const text = element("bdi", "", term);
    const mark = element("span", "mark", action.replace("_", " "));
    const remove = () => {
      void this.#acts.do({
        text: `Unblock the term “${term}”`,
        run: () => this.#patchTerms({ remove: [term] }),
        undo: () => this.#patchTerms({ add: [{ term, action }] }),
      });
    };
    return element("li", "term", text, mark, button("Remove", remove, "small"));
  }

  /** @param {Event} event */
  #clear(event) {
    event.preventDefault();
    const ms = Number(/** @type {HTMLSelectElement} */ (byId("clear-time")).value);
    const since = Date.now() - ms;
    void this.#acts.do({
      text: `Clear the last ${duration(ms)} of the room`,
      run: () => this.#chat.moderation.clearRoom(ms),
      removes: ({ created_at }) => created_at >= since,
    });
  }
}

/**
 * @param {keyof typeof TIMES_MS} name
 * @param {number | null} value
 */
function showTime(name, value) {
  const select = /** @type {HTMLSelectElement} */ (byId(`room-${name}`));
  const times = TIMES_MS[name];
  const all = value === null || times.includes(value) ? times : [...times, value];
  // A list that is open would be closed.
  if (select.dataset.times !== all.join(" ")) {
    const words = (/** @type {number} */ ms) => (ms === 0 ? "all followers" : duration(ms));
    const options = all.map((ms) => new Option(words(ms), `${ms}`));
    select.replaceChildren(new Option("off", ""), ...options);
    select.dataset.times = all.join(" ");
  }
  select.value = value === null ? "" : String(value);
}

/** @param {Times & Switches} patch */
function patchInWords(patch) {
  return Object.entries(patch)
    .map(([name, value]) => {
      const words = name.replace(/_ms$/, "").replaceAll("_", " ");
      if (typeof value === "number") return `${words} ${value === 0 ? "any" : duration(value)}`;
      return `${words} ${value ? "on" : "off"}`;
    })
    .join(", ");
}
