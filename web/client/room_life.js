/** @import { StreamApi } from "./http.js" */
/** @import * as protocol from "./protocol.js" */

import { BoundedMap } from "./bounded_set.js";

/** Deletions that are remembered, since a `welcome` may still have what they took down. */
const MOST_DELETIONS = 2_000;

/**
 * @typedef {object} RoomEvents
 * @property {protocol.ThrottleMessage} throttle
 * @property {Readonly<Record<string, number>>} reactions All totals.
 * @property {protocol.PresenceMessage} presence
 * @property {protocol.RoomRules} room All rules in force.
 * @property {StreamEvent} stream The event has changed: it has started, or is called otherwise.
 * @property {{comment: protocol.PinnedComment | null}} pinned The comment above the chat; null:
 *   none.
 * @property {{poll: protocol.Poll | null}} poll It opened, closed, or has votes; null: it is over.
 */

/** @typedef {Omit<protocol.StreamMessage, "type">} StreamEvent */

/**
 * The life of a stream: before its start also when it starts by itself.
 *
 * @typedef {{state: protocol.StreamState, starts_at?: number}} Schedule
 */

/**
 * The facts of a room beside its comments: rules, totals, the state of the event, the pinned
 * comment, and the poll that is open or was the last.
 */
export class RoomLife {
  #api;
  #emit;
  #viewers = 0;
  #sampleRate = 1;
  /** @type {Record<string, number>} */
  #reactions = {};
  /** @type {readonly string[]} */
  #reactionKinds = [];
  /** @type {protocol.RoomRules} */
  #rules = {};
  /** @type {Schedule} */
  #schedule = { state: "live" };
  /** @type {protocol.PinnedComment | null} */
  #pinned = null;
  /** @type {protocol.Poll | null} */
  #poll = null;
  /** @type {BoundedMap<string, number>} Times at which comments were deleted. */
  #deletedAt = new BoundedMap(MOST_DELETIONS);

  /**
   * @param {StreamApi} api
   * @param {<Name extends keyof RoomEvents>(name: Name, payload: RoomEvents[Name]) => void} emit
   */
  constructor(api, emit) {
    this.#api = api;
    this.#emit = emit;
  }

  get viewers() {
    return this.#viewers;
  }

  /** Share of the comments that is shown live, from 0 to 1. */
  get sampleRate() {
    return this.#sampleRate;
  }

  get reactions() {
    return { ...this.#reactions };
  }

  get reactionKinds() {
    return this.#reactionKinds;
  }

  get rules() {
    return this.#rules;
  }

  /** @returns {Readonly<Schedule>} */
  get schedule() {
    return this.#schedule;
  }

  get pinned() {
    return this.#pinned;
  }

  get poll() {
    return this.#poll;
  }

  /** @param {protocol.WelcomeMessage} message */
  welcome({ viewers, sample_rate, room = {}, reactions = [], pinned, poll, ...event }) {
    this.#viewers = viewers;
    this.#sampleRate = sample_rate;
    this.#rules = rulesIn(room);
    this.#reactionKinds = reactions;
    this.#schedule = scheduleIn(event);
    this.#setPinned(pinned && !this.#isDeleted(pinned) ? pinned : null);
    const before = this.#poll;
    if (poll) this.#setPoll(poll);
    else if (before && !before.closed) void this.#readResult(before.poll_id);
  }

  /** Records that the server admits nobody any more. */
  ended() {
    this.#schedule = { state: "ended" };
  }

  /**
   * Takes a message that is about the room; any other is for somebody else.
   *
   * @param {protocol.ServerMessage} message
   */
  receive(message) {
    switch (message.type) {
      case "comment.deleted":
        this.#deleted(message);
        break;
      case "throttle_notification":
        this.#sampleRate = message.sample_rate;
        this.#emit("throttle", message);
        break;
      case "reactions_update":
        Object.assign(this.#reactions, message.reactions);
        this.#emit("reactions", this.reactions);
        break;
      case "presence":
        this.#viewers = message.viewers;
        this.#emit("presence", message);
        break;
      case "room":
        this.#rules = rulesIn(message);
        this.#emit("room", this.#rules);
        break;
      case "stream":
        this.#changed(message);
        break;
      case "pinned":
        this.#setPinned(message.comment);
        break;
      case "poll":
        this.#openedOrClosed(message);
        break;
      case "poll_votes":
        this.#counted(message);
        break;
      default:
    }
  }

  /** @param {protocol.StreamMessage} message */
  #changed({ type: _, ...event }) {
    this.#schedule = scheduleIn(event);
    this.#emit("stream", event);
  }

  /** @param {protocol.PinnedComment | null} comment */
  #setPinned(comment) {
    const told = this.#pinned?.pinned_at;
    this.#pinned = comment;
    if (comment?.pinned_at !== told) this.#emit("pinned", { comment });
  }

  /** @param {protocol.CommentDeletedMessage} message */
  #deleted({ comment_id, timestamp }) {
    this.#deletedAt.set(comment_id, timestamp);
    if (this.#pinned?.comment_id === comment_id) this.#setPinned(null);
  }

  /** @param {protocol.PollMessage} message */
  #openedOrClosed({ type: _, ...poll }) {
    this.#setPoll(poll);
  }

  /** @param {protocol.PollVotesMessage} message */
  #counted({ poll_id, votes }) {
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
    this.#emit("poll", { poll });
  }
}

/**
 * Returns the rules that are in force, without those that are off.
 *
 * @param {protocol.RoomRules} room
 * @returns {protocol.RoomRules}
 */
function rulesIn({ slow_ms, followers_ms, subscribers_only, emotes_only, unique_ms, no_links }) {
  const rules = { slow_ms, followers_ms, subscribers_only, emotes_only, unique_ms, no_links };
  return Object.fromEntries(Object.entries(rules).filter(([, rule]) => rule !== undefined));
}

/**
 * @param {{state?: protocol.StreamState, starts_at?: number}} event
 * @returns {Schedule}
 */
function scheduleIn({ state = "live", starts_at }) {
  return starts_at === undefined ? { state } : { state, starts_at };
}
