/** @import { LiveComments, LiveCommentsError, StateChange } from "../client/index.js" */

import { byId, showText } from "./dom.js";
import { codeInWords, countdown } from "./text.js";

/** A delay that is worth counting down. */
const LONG_WAIT_MS = 60_000;

/** Shows whether comments arrive, and why not. */
export class StatusLine {
  #chat;
  #until = 0;
  #timer = 0;
  #problem = "";

  /** @param {LiveComments} chat */
  constructor(chat) {
    this.#chat = chat;
    chat.on("state", (change) => this.#show(change));
    byId("retry").addEventListener("click", () => chat.connect());
  }

  /** @param {StateChange} change */
  #show({ state, transport, retryInMs, error }) {
    const dot = { idle: "", connecting: "", open: "on", waiting: "off", closed: "off" }[state];
    byId("dot").className = `dot ${dot}`;
    byId("retry").hidden = state !== "waiting" && state !== "closed";
    byId("status").textContent = statusText(state, transport);
    clearInterval(this.#timer);
    showText(byId("countdown"), "");
    if (state === "waiting" && retryInMs !== undefined) this.#count(retryInMs);
    this.#problem = problemText(state, error, this.#chat);
    if (state === "waiting" && (retryInMs ?? 0) < LONG_WAIT_MS && error?.code !== "banned") {
      this.#problem = "";
    }
    showText(byId("problem"), this.#problem);
  }

  /** @param {number} ms */
  #count(ms) {
    this.#until = Date.now() + ms;
    const show = () => showText(byId("countdown"), `in ${countdown(this.#until - Date.now())}`);
    this.#timer = setInterval(show, 1_000);
    show();
  }
}

/**
 * @param {StateChange["state"]} state
 * @param {StateChange["transport"]} transport
 */
function statusText(state, transport) {
  if (state === "open") return transport === "websocket" ? "live" : `live, by ${transport}`;
  if (state === "waiting") return "reconnecting";
  return state === "closed" ? "disconnected" : "connecting…";
}

/** @type {Record<string, string>} */
const PROBLEMS = {
  banned: "You are banned from these comments.",
  stream_ended: "This stream has ended. Its comments can be read here.",
  unknown_stream: "There is no such stream.",
  token_required: "This stream is for people who have signed in.",
  auth_timeout: "This stream is for people who have signed in.",
};

/**
 * @param {StateChange["state"]} state
 * @param {LiveCommentsError | undefined} error
 * @param {LiveComments} chat
 */
function problemText(state, error, chat) {
  if (!error || (state !== "closed" && state !== "waiting")) return "";
  if (chat.user === null && error.code === "auth_timeout") return PROBLEMS.auth_timeout ?? "";
  return PROBLEMS[error.code] ?? `${codeInWords(error.code)}: ${error.message}`;
}
