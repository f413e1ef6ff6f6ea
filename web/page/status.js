/** @import { LiveComments, LiveCommentsError, StateChange } from "../client/index.js" */

import { byId, showText } from "./dom.js";
import { isTokenFault } from "./session_token.js";
import { codeInWords, countdown } from "./text.js";

/** @typedef {import("../client/index.js").StreamState} StreamState */

/** A delay that is worth counting down. */
const LONG_WAIT_MS = 60_000;

/** @type {Record<StateChange["state"], string>} Classes of the dot. */
const DOTS = { idle: "", connecting: "", open: "on", waiting: "off", closed: "off" };

/** Shows whether comments arrive, and why not. */
export class StatusLine {
  #chat;
  #until = 0;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  #problem = "";

  /** @param {LiveComments} chat */
  constructor(chat) {
    this.#chat = chat;
    chat.on("state", (change) => this.#show(change));
    chat.on("stream", () => this.#showWord());
    chat.on("welcome", () => this.#showWord());
    byId("retry").addEventListener("click", () => chat.connect());
  }

  /** @param {StateChange} change */
  #show({ state, retryInMs, error }) {
    this.#showWord();
    clearInterval(this.#timer);
    showText(byId("countdown"), "");
    if (state === "waiting" && retryInMs !== undefined) this.#count(retryInMs);
    this.#problem = problemText(state, error);
    if (state === "waiting" && (retryInMs ?? 0) < LONG_WAIT_MS && error?.code !== "banned") {
      this.#problem = "";
    }
    showText(byId("problem"), this.#problem);
  }

  /**
   * Says why the comments cannot be read. After its end a stream admits nobody, so nothing else
   * tells. A token that was not accepted is dropped instead, and the page tries without it.
   *
   * @param {LiveCommentsError} error
   */
  historyRefused(error) {
    if (!isTokenFault(error)) showText(byId("problem"), errorText(error));
  }

  #showWord() {
    const { state, transport, schedule } = this.#chat;
    // An ended stream admits nobody: to try again is of no use.
    byId("retry").hidden =
      (state !== "waiting" && state !== "closed") || schedule.state === "ended";
    const isSettled = state === "open" || (state === "closed" && schedule.state === "ended");
    const dot = isSettled && schedule.state !== "live" ? schedule.state : DOTS[state];
    byId("dot").className = `dot ${dot}`;
    const words = isSettled ? streamText(schedule.state, transport) : connectionText(state);
    // A text that is set again would be read out again.
    if (byId("status").textContent !== words) byId("status").textContent = words;
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
 * Returns the state of a stream that is watched, or that has ended. Before its start that is only
 * the state of the connection.
 *
 * @param {StreamState} stream
 * @param {StateChange["transport"]} transport
 */
function streamText(stream, transport) {
  if (stream === "ended") return "ended";
  const word = stream === "live" ? "live" : "connected";
  return transport === "websocket" ? word : `${word}, by ${transport}`;
}

/** @param {StateChange["state"]} state */
function connectionText(state) {
  if (state === "waiting") return "reconnecting";
  return state === "closed" ? "disconnected" : "connecting…";
}

const SIGN_IN = "This stream is for people who have signed in.";

/** @type {Record<string, string>} */
const PROBLEMS = {
  banned: "You are banned from these comments.",
  unknown_stream: "There is no such stream.",
  token_required: SIGN_IN,
  auth_timeout: SIGN_IN,
  not_authenticated: SIGN_IN,
};

/**
 * @param {StateChange["state"]} state
 * @param {LiveCommentsError | undefined} error
 */
function problemText(state, error) {
  if (!error || (state !== "closed" && state !== "waiting")) return "";
  // The line of the event says it.
  return error.code === "stream_ended" ? "" : errorText(error);
}

/** @param {LiveCommentsError} error */
function errorText({ code, message }) {
  return PROBLEMS[code] ?? `${codeInWords(code)}: ${message}`;
}
