/** @import { LiveComments } from "../client/index.js" */
/** @import { DeskActs } from "./desk_acts.js" */

import { byId } from "./dom.js";

/** The form of the desk that opens and closes polls. */
export class PollPanel {
  #chat;
  #acts;

  /**
   * @param {LiveComments} chat
   * @param {DeskActs} acts
   */
  constructor(chat, acts) {
    this.#chat = chat;
    this.#acts = acts;
    byId("poll-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#open();
    });
    byId("poll-close").addEventListener("click", () => {
      void acts.do({ text: "Close the poll", run: () => closed(chat) });
    });
  }

  async #open() {
    const field = (/** @type {string} */ id) => /** @type {HTMLInputElement} */ (byId(id));
    const question = field("poll-question").value.trim();
    const lines = field("poll-lines").value.split("\n");
    const options = lines.map((line) => line.trim()).filter((line) => line !== "");
    const durationMs = Math.round(Number(field("poll-minutes").value) * 60_000);
    const done = await this.#acts.do({
      text: `Poll: ${question}`,
      run: async () => {
        await this.#chat.moderation.openPoll(question, options, durationMs);
      },
    });
    if (done) /** @type {HTMLFormElement} */ (byId("poll-form")).reset();
  }
}

/**
 * Closes the poll. It cannot be taken back, so its number is not kept.
 *
 * @param {LiveComments} chat
 */
async function closed(chat) {
  await chat.moderation.closePoll();
}
