/** @import { StreamApi } from "./http.js" */
/** @import * as protocol from "./protocol.js" */

import { BoundedMap } from "./bounded_set.js";

/** Deletions that are remembered, since a `welcome` may still have what they took down. */
const MOST_DELETIONS = 2_000;

/**
 * @typedef {object} RoomLifeHandlers
 * @property {(comment: protocol.PinnedComment | null) => void} pinned
 * @property {(poll: protocol.Poll | null) => void} poll
 */

/** The pinned comment above the chat, and the poll that is open or was the last. */
export class RoomLife {
  #api;
  #handlers;
  /** @type {protocol.PinnedComment | null} */
  #pinned = null;
  /** @type {protocol.Poll | null} */
  #poll = null;
  /** @type {BoundedMap<string, number>} Times at which comments were deleted. */
  #deletedAt = new BoundedMap(MOST_DELETIONS);

  /**
   * @param {StreamApi} api
   * @param {RoomLifeHandlers} handlers
   */
  constructor(api, handlers) {
    this.#api = api;
    this.#handlers = handlers;
  }

  get pinned() {
    return this.#pinned;
  }

  get poll() {
    return this.#poll;
  }

  /** @param {protocol.WelcomeMessage} message */
  welcome({ pinned, poll }) {
    this.setPinned(pinned && !this.#isDeleted(pinned) ? pinned : null);
    const before = this.#poll;
    if (poll) this.#setPoll(poll);
    else if (before && !before.closed) void this.#readResult(before.poll_id);
  }

  /** @param {protocol.PinnedComment | null} comment */
  setPinned(comment) {
    const told = this.#pinned?.pinned_at;
    this.#pinned = comment;
    if (comment?.pinned_at !== told) this.#handlers.pinned(comment);
  }

  /** @param {protocol.CommentDeletedMessage} message */
  deleted({ comment_id, timestamp }) {
    this.#deletedAt.set(comment_id, timestamp);
    if (this.#pinned?.comment_id === comment_id) this.setPinned(null);
  }

  /** @param {protocol.PollMessage} message */
  openedOrClosed({ type: _, ...poll }) {
    this.#setPoll(poll);
  }

  /** @param {protocol.PollVotesMessage} message */
  counted({ poll_id, votes }) {
    if (this.#poll?.poll_id === poll_id) this.#setPoll({ ...this.#poll, votes });
  }

  /** @param {protocol.PinnedComment} pinned A comment that is restored may be pinned again. */
  #isDeleted({ comment_id, pinned_at }) {
    return (this.#deletedAt.get(comment_id) ?? -1) >= pinned_at;
  }

  /**
   * Reads the result of a poll that closed while there was no connection.
   *
   * @param {number} pollId
   */
  async #readResult(pollId) {
    /** @type {{polls: protocol.Poll[]}} */
    const none = { polls: [] };
    const { polls } = await this.#api
      .request("/polls", { query: { limit: 1 } })
      .then((answer) => /** @type {typeof none} */ (answer))
      .catch(() => none);
    // It was told meanwhile, or another one is open.
    if (this.#poll?.poll_id !== pollId || this.#poll.closed) return;
    this.#setPoll(polls.find((poll) => poll.poll_id === pollId && poll.closed) ?? null);
  }

  /** @param {protocol.Poll | null} poll */
  #setPoll(poll) {
    this.#poll = poll;
    this.#handlers.poll(poll);
  }
}
