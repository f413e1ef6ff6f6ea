/** @import { LiveComments } from "../client/index.js" */

import { BoundedSet } from "../client/bounded_set.js";
import { LiveCommentsError } from "../client/index.js";
import { byId, element } from "./dom.js";
import { putAway, tellNews } from "./news.js";
import { dateAndTime, withoutPiles } from "./text.js";

/** Messages with an id that are shown at once, and messages without one. */
const MOST_MESSAGES = 50;

const MOST_DISMISSED = 1_000;

const RETRY_MS = 5_000;

/**
 * A message to this user. One that a server of an earlier version sent live has no id.
 *
 * @typedef {object} Shown
 * @property {number} [message_id]
 * @property {string} from
 * @property {string} [from_user] Absent for the team.
 * @property {string} message
 * @property {number} sent_at
 */

/**
 * The direct messages that are shown. The server keeps each that has an id, and may send it both
 * live and in a list. When the list is full, later ones are left to the server.
 */
export class MessageList {
  /** @type {(Shown & {message_id: number})[]} In the order of their ids. */
  #kept = [];
  /** @type {Shown[]} */
  #withoutId = [];
  /** @type {BoundedSet<number>} */
  #dismissed = new BoundedSet(MOST_DISMISSED);

  /** @returns {Shown[]} */
  get shown() {
    return [...this.#kept, ...this.#withoutId];
  }

  /**
   * Returns the messages that were added. A message that is shown stays, so older ones that come
   * later take only the room that is left.
   *
   * @param {Shown[]} messages
   * @returns {Shown[]}
   */
  add(messages) {
    const known = new Set(this.#kept.map(({ message_id }) => message_id));
    const room = MOST_MESSAGES - this.#kept.length;
    const kept = messages
      .filter(hasId)
      .filter(({ message_id: id }) => !known.has(id) && !this.#dismissed.has(id))
      .sort(byMessageId)
      .slice(0, room);
    const withoutId = messages.filter((message) => !hasId(message));
    this.#kept = [...this.#kept, ...kept].sort(byMessageId);
    this.#withoutId = [...this.#withoutId, ...withoutId].slice(-MOST_MESSAGES);
    return [...kept, ...withoutId];
  }

  dismiss() {
    for (const { message_id } of this.#kept) this.#dismissed.add(message_id);
    this.#kept = [];
    this.#withoutId = [];
  }

  /**
   * Returns the id up to which every message of the server's list was dismissed, or 0. The server
   * forgets all up to an id, so messages that were not shown yet stop it. Later messages have
   * higher ids than those of any list.
   *
   * @param {{message_id: number}[]} listed
   * @returns {number}
   */
  acknowledgeable(listed) {
    let upTo = 0;
    for (const { message_id } of [...listed].sort(byMessageId)) {
      if (!this.#dismissed.has(message_id)) break;
      upTo = message_id;
    }
    return upTo;
  }

  clear() {
    this.#kept = [];
    this.#withoutId = [];
    this.#dismissed.clear();
  }
}

/**
 * The direct messages to this user, until the user dismisses them. The server keeps them until
 * then, also those that came while the page was open.
 */
export class MessagePanel {
  #chat;
  #list = new MessageList();
  /** User that the messages are of, and how often that has changed. */
  #userId = "";
  #session = 0;
  /** @type {Element[]} What was read out of them. */
  #told = [];
  #isBusy = false;
  #again = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {LiveComments} chat */
  constructor(chat) {
    this.#chat = chat;
    // Messages may have come between two connections.
    chat.on("welcome", ({ user }) => {
      if ((user?.user_id ?? "") !== this.#userId) this.clear();
      this.#userId = user?.user_id ?? "";
      void this.#work();
    });
    chat.on("direct", ({ type: _, ...message }) => {
      if (this.#userId !== "") this.#add([{ ...message, sent_at: Date.now() }]);
    });
    byId("messages-dismiss").addEventListener("click", () => this.#dismiss());
  }

  /** Forgets the messages of a user that has signed out. */
  clear() {
    clearTimeout(this.#timer);
    this.#session += 1;
    this.#userId = "";
    this.#list.clear();
    this.#draw();
  }

  #dismiss() {
    this.#list.dismiss();
    this.#draw();
    void this.#work();
  }

  /** Reads what is kept, and tells the server what was dismissed: one request at a time. */
  async #work() {
    this.#again = true;
    if (this.#isBusy) return;
    this.#isBusy = true;
    clearTimeout(this.#timer);
    while (this.#again && this.#userId !== "") {
      this.#again = false;
      const session = this.#session;
      try {
        await this.#exchange(session);
      } catch (error) {
        if (session === this.#session) this.#tryLater(error);
      }
    }
    this.#isBusy = false;
  }

  /** @param {number} session */
  async #exchange(session) {
    const messages = await this.#chat.messages();
    // Another user may have signed in meanwhile.
    if (session !== this.#session) return;
    this.#add(messages);
    const upTo = this.#list.acknowledgeable(messages);
    if (upTo > 0) await this.#chat.acknowledgeMessages(upTo);
  }

  /** @param {unknown} error */
  #tryLater(error) {
    const { status = 0, retryAfterMs = RETRY_MS } = error instanceof LiveCommentsError ? error : {};
    // Of a refusal, only the next connection may change something.
    if (status >= 400 && status < 500 && status !== 429) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#work(), retryAfterMs);
  }

  /** @param {Shown[]} messages */
  #add(messages) {
    const fresh = this.#list.add(messages);
    if (fresh.length === 0) return;
    this.#draw();
    const told = fresh.map((shown) => {
      const { before, after } = senderInWords(shown);
      return tellNews(`Message ${before}${shown.from}${after}: ${shown.message}`);
    });
    this.#told = [...this.#told, ...told].slice(-MOST_MESSAGES);
  }

  #draw() {
    const rows = this.#list.shown.map(({ from, from_user, message, sent_at }) => {
      const time = element("time", "", dateAndTime(sent_at));
      time.dateTime = new Date(sent_at).toISOString();
      const text = element("span", "text", withoutPiles(message));
      text.dir = "auto";
      const { className, before, after } = senderInWords({ from_user });
      const name = element("bdi", "", withoutPiles(from));
      const sender = element("span", "sender", before, name, after);
      return element("li", className, time, " ", sender, ": ", text);
    });
    byId("messages-list").replaceChildren(...rows);
    if (rows.length > 0) {
      byId("messages").hidden = false;
      return;
    }
    putAway(byId("messages"));
    for (const line of this.#told) line.remove();
    this.#told = [];
  }
}

/**
 * Returns the class of a sender, and the words around the name. Any user may be called `moderator`.
 *
 * @param {Pick<Shown, "from_user">} message
 */
export function senderInWords({ from_user }) {
  return typeof from_user === "string"
    ? { className: "of-user", before: "from ", after: ` (user ${from_user})` }
    : { className: "of-team", before: "from the team (", after: ")" };
}

/**
 * @param {Shown} message
 * @returns {message is Shown & {message_id: number}}
 */
function hasId(message) {
  return typeof message.message_id === "number";
}

/**
 * @param {{message_id: number}} one
 * @param {{message_id: number}} other
 */
function byMessageId(one, other) {
  return one.message_id - other.message_id;
}
