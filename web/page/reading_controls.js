/** @import { LiveComments } from "../client/index.js" */
/** @import { Reading } from "./reading.js" */
/** @import { StreamRow } from "./rows.js" */
/** @import { VirtualList } from "./virtual_list.js" */

import { byId, showText } from "./dom.js";
import { compact, shareInWords } from "./text.js";

/** Distance from the end, in pixels, from which on a button leads there. */
const FAR_FROM_END = 120;

const PAUSED = "Paused. Every comment is here as you scroll up; what comes meanwhile waits.";

/** Event streams and polls are ended during a long pause. */
const PAUSED_FALLBACK = `${PAUSED} Deletions, messages and announcements may wait, too.`;

const PAUSED_ENDED = "Paused, and the stream has ended. Resume to see the comments up to its end.";

/** The controls around the list of comments: pause, resume, the throttle banner, "n new". */
export class ReadingControls {
  #chat;
  #list;
  #throttle = "";

  /**
   * @param {LiveComments} chat
   * @param {VirtualList<StreamRow>} list
   */
  constructor(chat, list) {
    this.#chat = chat;
    this.#list = list;
    chat.on("welcome", () => (this.#throttle = ""));
    chat.on("throttle", ({ message }) => (this.#throttle = message));
  }

  /** @param {Reading} reading */
  listen(reading) {
    const comments = byId("comments");
    byId("pause").addEventListener("click", () => {
      if (reading.paused) reading.resume();
      else reading.pause();
    });
    byId("read-all").addEventListener("click", () => {
      reading.pause();
      // The button is gone, and the next key scrolls.
      comments.focus({ preventScroll: true });
    });
    byId("resume").addEventListener("click", () => {
      reading.resume();
      comments.focus({ preventScroll: true });
    });
    byId("skip").addEventListener("click", () => {
      reading.skip();
      comments.focus({ preventScroll: true });
    });
    byId("newest").addEventListener("click", () => {
      this.#list.follow();
      comments.focus({ preventScroll: true });
    });
    comments.addEventListener("keydown", ({ key }) => {
      if (key === "End") this.#list.follow();
      else if (["Home", "PageUp", "ArrowUp"].includes(key)) this.#list.hold();
    });
  }

  get #pausedText() {
    const { state, schedule, transport } = this.#chat;
    if (state === "closed" && schedule.state === "ended") return PAUSED_ENDED;
    return state === "open" && transport !== "websocket" ? PAUSED_FALLBACK : PAUSED;
  }

  /** @param {Reading} reading */
  show(reading) {
    const { paused, unseen } = reading;
    const { sampleRate, state } = this.#chat;
    const pause = /** @type {HTMLButtonElement} */ (byId("pause"));
    pause.textContent = paused ? "Resume" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
    pause.disabled = state !== "open" && !paused;
    byId("paused").hidden = !paused;
    showText(byId("paused-text"), paused ? this.#pausedText : "");
    byId("throttle").hidden = paused || sampleRate >= 1 || state !== "open";
    showText(byId("throttled"), this.#throttle || throttleInWords(sampleRate));
    byId("loading").hidden = !reading.loading || this.#list.following;
    const atEnd = this.#list.following || this.#list.distanceToEnd < FAR_FROM_END;
    byId("newest").hidden = atEnd && (unseen === 0 || this.#list.following);
    byId("newest").textContent = unseen > 0 ? `↓ ${compact(unseen)} new` : "↓ Newest";
  }
}

/** @param {number} share */
function throttleInWords(share) {
  if (share <= 0) return "Chat is moving too fast to be shown. Pause to read all.";
  return `Chat moving fast! Showing ${shareInWords(share)} comments. Pause to read all.`;
}
