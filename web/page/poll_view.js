/** @import { LiveComments, Poll } from "../client/index.js" */

import { LiveCommentsError } from "../client/index.js";
import { button, byId, element, showText } from "./dom.js";
import { putAway, tellNews } from "./news.js";
import { PollClock } from "./poll_clock.js";
import { compact, countdown, withoutPiles } from "./text.js";

/** A page so low that a poll would leave no room for comments. */
const LOW = "(max-height: 30rem)";

/**
 * The element of an option.
 *
 * @typedef {object} OptionView
 * @property {HTMLButtonElement} button
 * @property {HTMLElement} count
 * @property {HTMLProgressElement} bar
 */

/**
 * A vote of this viewer. `option` is -1 if it was made elsewhere.
 *
 * @typedef {{user: string, poll: number, option: number}} Vote
 */

/** Shows the poll above the chat, and votes in it. */
export class PollView {
  #chat;
  #clock = new PollClock();
  /** @type {Vote | null} */
  #vote = null;
  /** Poll that the elements are of. */
  #built = -1;
  /** @type {OptionView[]} */
  #options = [];
  /** Polls that the reader has hidden, that was opened just now, and whose end was told. */
  #hidden = -1;
  #fresh = -1;
  #told = -1;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {LiveComments} chat */
  constructor(chat) {
    this.#chat = chat;
    chat.on("message", (message) => {
      if (message.type === "poll" && !message.closed) this.#fresh = message.poll_id;
    });
    for (const name of /** @type {const} */ (["poll", "stream", "state"])) {
      chat.on(name, () => this.#draw());
    }
    chat.on("welcome", ({ user }) => {
      if (this.#vote && this.#vote.user !== user?.user_id) this.forget();
      else this.#draw();
    });
    byId("poll-hide").addEventListener("click", () => {
      this.#hidden = chat.poll?.poll_id ?? -1;
      this.#draw();
    });
    const low = matchMedia(LOW);
    const fold = () => {
      /** @type {HTMLDetailsElement} */ (byId("poll-details")).open = !low.matches;
    };
    low.addEventListener("change", fold);
    fold();
  }

  /** Forgets the vote of a user that has signed out. */
  forget() {
    this.#vote = null;
    showText(byId("poll-problem"), "");
    this.#draw();
  }

  #draw() {
    const { poll } = this.#chat;
    clearInterval(this.#timer);
    if (poll) this.#take(poll);
    if (!poll || poll.poll_id === this.#hidden || this.#clock.isOver) {
      putAway(byId("poll"));
      return;
    }
    byId("poll").hidden = false;
    this.#showVotes(poll);
    this.#showTime();
    this.#timer = setInterval(() => this.#showTime(), 1_000);
  }

  /** @param {Poll} poll */
  #take(poll) {
    const isFresh = this.#fresh === poll.poll_id;
    this.#clock.take(poll, { isFresh, wallClock: Date.now() });
    if (this.#built !== poll.poll_id) this.#build(poll);
    if (!poll.closed || this.#told === poll.poll_id) return;
    this.#told = poll.poll_id;
    if (this.#hidden === poll.poll_id) return;
    const results = poll.options.map((option, at) => `${option}: ${poll.votes[at] ?? 0}`);
    tellNews(`The poll has closed. ${poll.question} ${results.join(", ")}.`);
  }

  /**
   * Makes the elements of a poll. They stay as long as it does: a press on a button that is made
   * again would be lost, and so would the focus.
   *
   * @param {Poll} poll
   */
  #build(poll) {
    this.#built = poll.poll_id;
    showText(byId("poll-problem"), "");
    byId("poll-asked").textContent = withoutPiles(poll.question);
    this.#options = poll.options.map((option, at) => {
      const text = element("span", "text", withoutPiles(option));
      text.dir = "auto";
      const count = element("span", "mark");
      const bar = element("progress", "share");
      bar.max = 100;
      bar.setAttribute("aria-hidden", "true");
      const made = button("", () => void this.#press(poll.poll_id, at), "option");
      made.append(text, count, bar);
      return { button: made, count, bar };
    });
    const rows = this.#options.map((option) => element("li", "", option.button));
    byId("poll-options").replaceChildren(...rows);
    if (!poll.closed) tellNews(`A poll: ${poll.question} ${poll.options.join(", ")}.`);
  }

  /** @param {Poll} poll */
  #showVotes(poll) {
    const votes = poll.votes.reduce((sum, count) => sum + count, 0);
    const vote = this.#voteIn(poll.poll_id);
    // The result of a poll is to be read: it is not dimmed as a control that is off would be.
    const isOver = this.#chat.state === "closed" || this.#chat.schedule.state === "ended";
    const isOff = vote !== null || this.#clock.isClosed || this.#chat.user === null || isOver;
    this.#options.forEach(({ button: made, count, bar }, at) => {
      const own = poll.votes[at] ?? 0;
      const share = votes === 0 ? 0 : Math.round((100 * own) / votes);
      setText(count, `${compact(own)} · ${share} %`);
      bar.value = share;
      const isMine = vote?.option === at;
      made.classList.toggle("mine", isMine);
      made.setAttribute("aria-pressed", String(isMine));
      made.setAttribute("aria-disabled", String(isOff));
    });
    setText(byId("poll-votes"), `${compact(votes)} ${votes === 1 ? "vote" : "votes"}`);
  }

  #showTime() {
    if (this.#clock.isOver) {
      this.#draw();
      return;
    }
    const { isClosed, left } = this.#clock;
    // With a clock that is wrong, the time may be over before the poll is.
    const open = left > 0 ? countdown(left) : "open";
    setText(byId("poll-left"), isClosed ? "closed" : open);
  }

  /** @param {number} pollId */
  #voteIn(pollId) {
    const vote = this.#vote;
    return vote?.poll === pollId && vote.user === this.#chat.user?.user_id ? vote : null;
  }

  /**
   * @param {number} poll
   * @param {number} option
   */
  async #press(poll, option) {
    const { user } = this.#chat;
    if (this.#clock.isClosed || this.#voteIn(poll)) return;
    const problem = byId("poll-problem");
    if (!user) {
      showText(problem, "Sign in to vote.");
      return;
    }
    /** @type {Vote} */
    const vote = { user: user.user_id, poll, option };
    this.#vote = vote;
    showText(problem, "");
    this.#draw();
    try {
      await this.#chat.vote(poll, option);
      tellNews(`You voted for: ${this.#chat.poll?.options[option] ?? option + 1}.`);
    } catch (error) {
      // Another user has signed in, or another poll is open.
      if (this.#vote !== vote || this.#built !== poll) return;
      const code = error instanceof LiveCommentsError ? error.code : "";
      // The first vote counts, wherever it was made.
      this.#vote = code === "already_voted" ? { ...vote, option: -1 } : null;
      if (code === "poll_closed") this.#clock.close();
      showText(problem, error instanceof Error ? error.message : String(error));
    }
    this.#draw();
  }
}

/**
 * @param {HTMLElement} target
 * @param {string} text
 */
function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}
