/** @import { LiveComments, LiveCommentsError, Outgoing } from "../client/index.js" */

import { byId, showText } from "./dom.js";
import { keepToken } from "./session_token.js";
import { countdown, duration } from "./text.js";

/** @typedef {import("../client/index.js").RoomRules} RoomRules */

/** Time for which a notice is shown. */
const NOTICE_MS = 8_000;

const TIMED_OUT = "timed out";

/** Roles to which the rules of a room do not apply. */
const EXEMPT = new Set(["moderator", "broadcaster", "admin"]);

/** The input of comments: signing in and out, slow mode, timeouts, and what failed. */
export class Composer {
  #chat;
  #signedOut;
  #noticeTimer = 0;
  #waitTimer = 0;
  #waitUntil = 0;
  #waitReason = "";
  /** The `ref` of the latest comment that was stored. */
  #stored = "";

  /**
   * @param {LiveComments} chat
   * @param {() => void} signedOut
   */
  constructor(chat, signedOut) {
    this.#chat = chat;
    this.#signedOut = signedOut;
    byId("composer").addEventListener("submit", (event) => this.#submit(event));
    byId("sign-in").addEventListener("submit", (event) => this.#signIn(event));
    byId("leave").addEventListener("click", () => this.signOut());
    chat.on("welcome", () => this.#showUser());
    chat.on("welcome", () => this.#showRoom());
    chat.on("room", () => this.#showRoom());
    chat.on("outgoing", (outgoing) => this.#follow(outgoing));
    chat.on("error", ({ code, message }) => {
      if (code !== "unknown_reaction") this.notice(message);
    });
    chat.on("state", () => this.#showWait());
    chat.on("state", ({ state, error }) => {
      if (state === "closed" && error && isTokenFault(error)) this.#dropToken();
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

  signOut() {
    keepToken(null);
    this.#chat.setToken(null);
    this.#stopWaiting();
    this.#showForms(false);
    this.#signedOut();
    this.#chat.connect();
  }

  /** @param {Event} event */
  #submit(event) {
    event.preventDefault();
    const input = /** @type {HTMLInputElement} */ (byId("message"));
    const text = input.value.trim();
    if (text === "" || this.#blocks) return;
    input.value = "";
    void this.#chat.send(text);
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

  // The page goes on as a reader, if the stream admits one.
  #dropToken() {
    this.notice("The token was not accepted here, or has expired.");
    this.signOut();
  }

  #showUser() {
    const { user } = this.#chat;
    this.#showForms(user !== null);
    const input = /** @type {HTMLInputElement} */ (byId("message"));
    if (user) input.placeholder = `Say something as ${user.name}`;
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
    if (room.slow_ms && !EXEMPT.has(user?.role ?? "viewer")) this.#wait(room.slow_ms, "slow mode");
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
      this.#blocks || this.#chat.state === "closed";
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

/** @param {LiveCommentsError} error */
export function isTokenFault({ code }) {
  return (code.startsWith("token_") && code !== "token_required") || code === "unauthorized";
}
