/** @import { Comment, LiveComments, LiveCommentsError, Outgoing } from "../client/index.js" */

import { byId, showText } from "./dom.js";
import { ReplyTarget } from "./reply_target.js";
import { MODERATING_ROLES } from "./roles.js";
import { isTokenFault, keepToken } from "./session_token.js";
import { countdown, duration } from "./text.js";

/** @typedef {import("../client/index.js").RoomRules} RoomRules */

/** Time for which a notice is shown. */
const NOTICE_MS = 8_000;

const TIMED_OUT = "timed out";

/** Placeholders of the input while comments are refused. */
const NOT_LIVE = {
  scheduled: "Comments open when the stream starts",
  ended: "The stream has ended",
};

/** Placeholder of the token: the history of an ended stream may be for users only. */
const SIGN_IN_TO_READ = "Paste a token, if reading needs one";

/** The input of comments: signing in and out, slow mode, timeouts, and what failed. */
export class Composer {
  #chat;
  #target;
  #signedOut;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #noticeTimer;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #waitTimer;
  #waitUntil = 0;
  #waitReason = "";
  /** The `ref` of the latest comment that was stored. */
  #stored = "";
  #signInText;

  /**
   * @param {LiveComments} chat
   * @param {() => void} signedOut
   */
  constructor(chat, signedOut) {
    this.#chat = chat;
    this.#target = new ReplyTarget(chat, () => {
      this.notice("The comment that you were answering was deleted.");
    });
    this.#signedOut = signedOut;
    byId("composer").addEventListener("submit", (event) => this.#submit(event));
    byId("sign-in").addEventListener("submit", (event) => this.#signIn(event));
    byId("leave").addEventListener("click", () => this.signOut());
    this.#signInText = /** @type {HTMLInputElement} */ (byId("token")).placeholder;
    chat.on("welcome", () => this.#showUser());
    chat.on("stream", () => this.#showInput());
    chat.on("welcome", () => this.#showRoom());
    chat.on("room", () => this.#showRoom());
    chat.on("outgoing", (outgoing) => this.#follow(outgoing));
    chat.on("error", (error) => {
      this.notice(error.message);
      // The client reads the end of a stream by itself.
      if (chat.state === "closed") this.historyRefused(error);
    });
    chat.on("state", ({ state, error }) => {
      const isClosed = state === "closed";
      // An ended stream closes again after each sign-out: the notice about it stays.
      if (isClosed && error?.code !== "stream_ended") this.#clearNotice();
      if (isClosed) this.#stopWaiting();
      this.#showInput();
      // Signing out connects, and other listeners are to be told of the close before that.
      if (isClosed && error && isTokenFault(error)) queueMicrotask(() => this.#dropToken());
    });
  }

  /**
   * Shows a text for some seconds.
   *
   * @param {string} text
   */
  notice(text) {
    showText(byId("notice"), text);
    clearTimeout(this.#noticeTimer);
    this.#noticeTimer = setTimeout(() => showText(byId("notice"), ""), NOTICE_MS);
  }

  /**
   * Begins a reply to a comment.
   *
   * @param {Comment} comment
   */
  reply(comment) {
    if (!this.#takesComments) return;
    this.#target.set(comment);
    byId("message").focus();
  }

  signOut() {
    keepToken(null);
    this.#chat.setToken(null);
    this.#showForms(false);
    this.#target.set(null);
    this.#stopWaiting();
    this.#signedOut();
    this.#chat.connect();
  }

  /**
   * The history was refused. After its end a stream admits nobody, so this is how a token is found
   * to be of no use.
   *
   * @param {LiveCommentsError} error
   */
  historyRefused(error) {
    if (isTokenFault(error)) this.#dropToken();
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const input = /** @type {HTMLInputElement} */ (byId("message"));
    const text = input.value.trim();
    if (text === "" || this.#blocks || !this.#takesComments) return;
    input.value = "";
    // A comment that is refused gets a row, from which it can be sent again.
    void this.#chat.send(text, { parentId: this.#target.take() });
  }

  /** @param {Event} event */
  #signIn(event) {
    event.preventDefault();
    const input = /** @type {HTMLInputElement} */ (byId("token"));
    const token = input.value.trim();
    input.value = "";
    if (token === "") return;
    keepToken(token);
    this.#chat.setToken(token);
    this.#chat.connect();
  }

  // The page continues as a reader, if the stream admits one.
  #dropToken() {
    // Both the connection and the history may have refused it.
    if (!this.#chat.hasToken) return;
    this.notice("The token was not accepted here, or has expired.");
    this.signOut();
  }

  /**
   * Takes the notice away. Once the connection is closed only its reason matters, which the line
   * above the comments says.
   */
  #clearNotice() {
    clearTimeout(this.#noticeTimer);
    showText(byId("notice"), "");
  }

  #showUser() {
    const { user } = this.#chat;
    this.#showForms(user !== null);
    this.#showInput();
  }

  /** Comments of an event are refused before its start and after its end. */
  get #takesComments() {
    return this.#chat.state !== "closed" && this.#chat.schedule.state === "live";
  }

  #showInput() {
    const { user, schedule, state, hasToken } = this.#chat;
    // No `welcome` tells who it is, but a token that is kept can be dropped.
    if (state === "closed") this.#showForms(hasToken);
    const input = /** @type {HTMLInputElement} */ (byId("message"));
    input.disabled = !this.#takesComments;
    if (!this.#takesComments) this.#target.set(null);
    if (schedule.state !== "live") input.placeholder = NOT_LIVE[schedule.state];
    else if (user) input.placeholder = `Say something as ${user.name}`;
    /** @type {HTMLInputElement} */ (byId("token")).placeholder =
      schedule.state === "ended" ? SIGN_IN_TO_READ : this.#signInText;
    this.#showWait();
  }

  /** @param {boolean} signedIn */
  #showForms(signedIn) {
    byId("composer").hidden = !signedIn;
    byId("sign-in").hidden = signedIn;
  }

  #showRoom() {
    const rules = rulesInWords(this.#chat.room);
    showText(byId("rules"), rules && `In this room: ${rules}.`);
    if (this.#waitReason === "slow mode" && !this.#chat.room.slow_ms) this.#stopWaiting();
  }

  /** @param {Readonly<Outgoing>} outgoing */
  #follow({ ref, state, error }) {
    if (state === "held") this.notice("A moderator will look at your comment before it is shown.");
    else if (state === "failed" && error) this.#explain(error);
    // A comment may be shown before it is acknowledged.
    if ((state !== "acknowledged" && state !== "shown") || ref === this.#stored) return;
    this.#stored = ref;
    const { room, user } = this.#chat;
    if (this.#waitReason === TIMED_OUT) this.#stopWaiting();
    const isExempt = MODERATING_ROLES.has(user?.role ?? "viewer");
    if (room.slow_ms && !isExempt) this.#wait(room.slow_ms, "slow mode");
  }

  /** @param {LiveCommentsError} error */
  #explain({ code, message, retryAfterMs }) {
    this.notice(
      code === "timed_out" ? "You are timed out: you can read, but not comment." : message,
    );
    if (retryAfterMs === undefined) return;
    const reasons = { slow_mode: "slow mode", timed_out: TIMED_OUT };
    const reason = reasons[/** @type {keyof typeof reasons} */ (code)] ?? "wait";
    this.#wait(retryAfterMs, reason);
  }

  /**
   * @param {number} ms
   * @param {string} reason
   */
  #wait(ms, reason) {
    this.#waitUntil = Date.now() + ms;
    this.#waitReason = reason;
    clearInterval(this.#waitTimer);
    this.#waitTimer = setInterval(() => this.#showWait(), 250);
    this.#showWait();
  }

  #stopWaiting() {
    this.#waitUntil = 0;
    this.#waitReason = "";
    this.#showWait();
  }

  /** A timeout may be taken back, of which nothing tells: trying is allowed. */
  get #blocks() {
    return this.#waitUntil > Date.now() && this.#waitReason !== TIMED_OUT;
  }

  #showWait() {
    const left = this.#waitUntil - Date.now();
    const waits = left > 0;
    /** @type {HTMLButtonElement} */ (byId("send")).disabled =
      this.#blocks || !this.#takesComments;
    showText(byId("wait"), waits ? `${this.#waitReason} ${countdown(left)}` : "");
    if (!waits) clearInterval(this.#waitTimer);
  }
}

/**
 * Returns the rules of a room in words.
 *
 * @param {RoomRules} rules
 */
export function rulesInWords(rules) {
  const texts = [];
  if (rules.slow_ms) texts.push(`slow mode, one comment in ${duration(rules.slow_ms)}`);
  if (rules.followers_ms) texts.push(`followers of ${duration(rules.followers_ms)} only`);
  if (rules.followers_ms === 0) texts.push("followers only");
  if (rules.subscribers_only) texts.push("subscribers only");
  if (rules.emotes_only) texts.push("emoji only");
  if (rules.unique_ms) texts.push(`no text twice in ${duration(rules.unique_ms)}`);
  if (rules.no_links) texts.push("no links");
  return texts.join(", ");
}
