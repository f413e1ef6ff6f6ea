/** @import { LiveComments } from "../client/index.js" */

import { byId, showText } from "./dom.js";
import { tellNews } from "./news.js";
import { countdown, withoutPiles } from "./text.js";

const ENDED = "This stream has ended. Its comments can be read here.";

/**
 * Shows which event this is: its title, its description, the time until it starts, and that it has
 * ended.
 */
export class EventLine {
  #chat;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @type {import("../client/index.js").StreamState} State that readers were told. */
  #told = "live";

  /** @param {LiveComments} chat */
  constructor(chat) {
    this.#chat = chat;
    chat.on("welcome", () => this.#showSchedule());
    chat.on("state", () => this.#showSchedule());
    chat.on("stream", ({ title, description }) => {
      this.#showTexts(title, description);
      this.#showSchedule();
    });
    // The page also works without the title. It may be for those who have signed in.
    const tryTitle = () => void this.#readTexts().catch(() => chat.once("welcome", tryTitle));
    tryTitle();
  }

  async #readTexts() {
    const { title, description, stream_id } = await this.#chat.stream();
    this.#showTexts(title || `Stream ${stream_id}`, description);
  }

  /**
   * @param {string} title
   * @param {string} [description]
   */
  #showTexts(title, description = "") {
    const named = withoutPiles(title) || "Live comments";
    byId("title").textContent = named;
    document.title = named;
    showText(byId("description"), withoutPiles(description));
  }

  #showSchedule() {
    clearInterval(this.#timer);
    const { state, starts_at } = this.#chat.schedule;
    const isScheduled = state === "scheduled" && this.#chat.state === "open";
    const closing = state === "ended" ? ENDED : "";
    const show = () => showText(byId("schedule"), isScheduled ? untilStart(starts_at) : closing);
    if (isScheduled && starts_at !== undefined) this.#timer = setInterval(show, 1_000);
    show();
    this.#tell(state);
  }

  /** @param {import("../client/index.js").StreamState} state */
  #tell(state) {
    if (state === this.#told) return;
    if (state === "ended") tellNews(ENDED);
    else if (state === "live") tellNews("The stream is live. Comments are open.");
    this.#told = state;
  }
}

/** @param {number} [startsAt] */
function untilStart(startsAt) {
  if (startsAt === undefined) return "Comments open when the stream starts.";
  const left = startsAt - Date.now();
  return left > 0 ? `Starts in ${countdown(left)}. Comments open then.` : "Starting…";
}
