/** @import { Clock } from "./clock.js" */
/** @import { SeqRange } from "./position.js" */
/** @import { AckMessage } from "./protocol.js" */

import { Timer } from "./clock.js";
import { LiveCommentsError, isServerTrouble, rejected } from "./errors.js";
import { isUuid } from "./time_uuid.js";

/**
 * - `pending`: not answered yet;
 * - `acknowledged`: stored, not shown yet;
 * - `shown`: among the comments of the stream, or in a gap between them;
 * - `held`: waits for a moderator; nothing more is told;
 * - `failed`: see `error`.
 *
 * @typedef {"pending" | "acknowledged" | "shown" | "held" | "failed"} OutgoingState
 */

/**
 * A comment of this viewer on its way.
 *
 * @typedef {object} Outgoing
 * @property {string} ref
 * @property {string} message As it was written. The server may bring it into its normal form.
 * @property {OutgoingState} state
 * @property {number} sentAt
 * @property {string} [parent_id] The comment that it answers.
 * @property {string} [comment_id]
 * @property {number} [seq]
 * @property {LiveCommentsError} [error]
 */

/**
 * @typedef {{state: "acknowledged", ref: string, comment_id: string, seq: number}
 *   | {state: "held", ref: string}} SendResult
 */

/**
 * @typedef {object} OutboxConfig
 * @property {Clock} clock
 * @property {number} maxPending Comments without an answer.
 * @property {number} timeoutMs Longest time until an answer, over all reconnects.
 * @property {(commentId: string) => boolean} isShown
 * @property {(outgoing: Readonly<Outgoing>) => void} onChange
 */

/**
 * @typedef {object} Slot
 * @property {Outgoing} outgoing
 * @property {(result: SendResult) => void} resolve
 * @property {(error: LiveCommentsError) => void} reject
 * @property {Promise<SendResult>} result
 * @property {Timer} deadline
 * @property {Timer} retry
 * @property {number} refusals
 */

/** Times that a comment is sent again after refusals that concern the server. */
const MOST_RETRIES = 5;

/** Ranges that were not shown and are remembered: the answer to a comment may come after them. */
const MOST_PASSED = 20;

/**
 * The comments that this viewer has sent and that are not shown yet. Each keeps its `ref`, so that
 * one that is sent again after a lost connection is stored once.
 */
export class Outbox {
  #config;
  /** @type {Map<string, Slot>} */
  #slots = new Map();
  /** @type {((outgoing: Outgoing) => void) | null} */
  #deliver = null;
  /** @type {SeqRange[]} */
  #passed = [];
  #prefix;
  #count = 0;

  /** @param {OutboxConfig} config */
  constructor(config) {
    this.#config = config;
    const { random } = config.clock;
    // Unique among the refs of a user within ten minutes.
    this.#prefix = [random(), random()].map((part) => part.toString(36).slice(2, 9)).join("");
  }

  /**
   * The comments that are not shown yet, oldest first: copies.
   *
   * @returns {Outgoing[]}
   */
  get outgoing() {
    return [...this.#slots.values()].map(({ outgoing }) => ({ ...outgoing }));
  }

  /**
   * Sends a comment, now or as soon as there is a connection. Ignoring the promise is safe: what it
   * tells is also reported by `onChange`.
   *
   * @param {string} message
   * @param {{ref?: string, parentId?: string}} [options] The `ref` of an earlier attempt, to send
   *   the same comment again; the comment that this one answers.
   * @returns {Promise<SendResult>}
   */
  send(message, { ref = this.#nextRef(), parentId } = {}) {
    const known = this.#slots.get(ref);
    if (known) return known.result;
    // An encoding may have no room for anything else, and each connection would try again.
    if (parentId !== undefined && !isUuid(parentId)) {
      return this.reject(message, { ref }, "bad_message", "parentId is no comment id");
    }
    const { clock, maxPending, timeoutMs } = this.#config;
    if (this.#inState("pending").length >= maxPending) {
      return this.reject(message, { ref, parentId }, "too_many_pending", "too many comments wait");
    }
    const outgoing = this.#outgoing(message, { ref, parentId });
    const timers = { deadline: new Timer(clock), retry: new Timer(clock) };
    /** @type {Pick<Slot, "resolve" | "reject">} */
    let settle = { resolve: () => {}, reject: () => {} };
    /** @type {Promise<SendResult>} */
    const result = new Promise((resolve, reject) => {
      settle = { resolve, reject };
    });
    result.catch(() => {});
    this.#slots.set(ref, { outgoing, ...timers, ...settle, result, refusals: 0 });
    timers.deadline.set(timeoutMs, () => {
      this.#fail(ref, new LiveCommentsError("not_sent", "the comment was not answered", { ref }));
    });
    this.#config.onChange({ ...outgoing });
    this.#deliver?.(outgoing);
    return result;
  }

  /**
   * Refuses a comment that was not sent, with the reports of one that was.
   *
   * @param {string} message
   * @param {{ref?: string, parentId?: string}} options
   * @param {string} code
   * @param {string} reason
   * @returns {Promise<never>}
   */
  reject(message, { ref = this.#nextRef(), parentId }, code, reason) {
    const error = new LiveCommentsError(code, reason, { ref });
    const outgoing = this.#outgoing(message, { ref, parentId });
    this.#config.onChange({ ...outgoing, state: "failed", error });
    return rejected(error);
  }

  /**
   * @param {string} message
   * @param {{ref: string, parentId?: string}} options
   * @returns {Outgoing}
   */
  #outgoing(message, { ref, parentId }) {
    /** @type {Outgoing} */
    const outgoing = { ref, message, state: "pending", sentAt: this.#config.clock.now() };
    if (parentId !== undefined) outgoing.parent_id = parentId;
    return outgoing;
  }

  /**
   * Returns a comment that has no answer yet, or null.
   *
   * @param {string} ref
   * @returns {Readonly<Outgoing> | null}
   */
  pending(ref) {
    const outgoing = this.#slots.get(ref)?.outgoing;
    return outgoing?.state === "pending" ? outgoing : null;
  }

  /**
   * Uses a connection: sends what has no answer, in its order.
   *
   * @param {(outgoing: Outgoing) => void} deliver
   */
  attach(deliver) {
    this.#deliver = deliver;
    for (const { outgoing, retry } of this.#slots.values()) {
      retry.stop();
      if (outgoing.state === "pending") deliver(outgoing);
    }
  }

  /** Keeps what has no answer until there is another connection. */
  detach() {
    this.#deliver = null;
  }

  /** @param {Pick<AckMessage, "ref" | "comment_id" | "seq">} ack */
  acknowledge({ ref, comment_id, seq }) {
    const slot = this.#slots.get(ref ?? "");
    if (!slot || slot.outgoing.state !== "pending") return;
    stopTimers(slot);
    Object.assign(slot.outgoing, { comment_id, seq });
    slot.resolve({ state: "acknowledged", ref: slot.outgoing.ref, comment_id, seq });
    const isOver = this.#config.isShown(comment_id) || this.#passed.some((gap) => isIn(gap, seq));
    this.#change(slot, isOver ? "shown" : "acknowledged");
    this.#forgetAcknowledged();
  }

  /**
   * Records a refusal. Returns false if it is about no comment that waits.
   *
   * @param {LiveCommentsError} error
   * @returns {boolean}
   */
  refuse(error) {
    const slot = this.#slots.get(error.ref ?? "");
    if (!slot || slot.outgoing.state !== "pending") return false;
    const { ref } = slot.outgoing;
    if (error.code === "held_for_review") {
      stopTimers(slot);
      slot.resolve({ state: "held", ref });
      this.#change(slot, "held");
    } else if (isServerTrouble(error) && slot.refusals < MOST_RETRIES) {
      this.#sendLater(slot, error.retryAfterMs);
    } else this.#fail(ref, error);
    return true;
  }

  /**
   * Tells which comments are shown, or deleted.
   *
   * @param {Iterable<string>} commentIds
   */
  markShown(commentIds) {
    const ids = new Set(commentIds);
    for (const slot of [...this.#slots.values()]) {
      const { comment_id } = slot.outgoing;
      if (comment_id !== undefined && ids.has(comment_id)) this.#change(slot, "shown");
    }
  }

  /**
   * Tells that a range of the stream was left out: comments in it are not on their way any more.
   *
   * @param {SeqRange} range
   */
  markPassed(range) {
    this.#passed = [...this.#passed, range].slice(-MOST_PASSED);
    for (const slot of this.#inState("acknowledged")) {
      if (isIn(range, slot.outgoing.seq ?? -1)) this.#change(slot, "shown");
    }
  }

  /** Forgets ranges that were left out, as their numbers mean nothing in another log. */
  forgetPassed() {
    this.#passed = [];
  }

  /**
   * Gives up everything that has no answer.
   *
   * @param {string} code
   * @param {string} message
   */
  failAll(code, message) {
    for (const { outgoing } of [...this.#slots.values()]) {
      const { ref } = outgoing;
      if (outgoing.state === "pending") {
        this.#fail(ref, new LiveCommentsError(code, message, { ref }));
      }
    }
  }

  /** Bounds the comments that are stored but do not arrive, as during a long pause. */
  #forgetAcknowledged() {
    const acknowledged = this.#inState("acknowledged");
    const surplus = Math.max(0, acknowledged.length - this.#config.maxPending);
    for (const { outgoing } of acknowledged.slice(0, surplus)) this.#slots.delete(outgoing.ref);
  }

  /** @param {OutgoingState} state */
  #inState(state) {
    return [...this.#slots.values()].filter(({ outgoing }) => outgoing.state === state);
  }

  /**
   * @param {Slot} slot
   * @param {number} [ms] Time that the server names, to all that it refuses.
   */
  #sendLater(slot, ms = 0) {
    slot.refusals += 1;
    const spread = 500 * 2 ** slot.refusals * this.#config.clock.random();
    slot.retry.set(ms + spread, () => this.#deliver?.(slot.outgoing));
  }

  /**
   * @param {string} ref
   * @param {LiveCommentsError} error
   */
  #fail(ref, error) {
    const slot = this.#slots.get(ref);
    if (!slot) return;
    stopTimers(slot);
    slot.outgoing.error = error;
    slot.reject(error);
    this.#change(slot, "failed");
  }

  /**
   * @param {Slot} slot
   * @param {OutgoingState} state
   */
  #change(slot, state) {
    slot.outgoing.state = state;
    if (state !== "acknowledged") this.#slots.delete(slot.outgoing.ref);
    this.#config.onChange({ ...slot.outgoing });
  }

  #nextRef() {
    this.#count += 1;
    return `${this.#prefix}-${this.#count}`;
  }
}

/**
 * @param {SeqRange} range
 * @param {number} seq
 */
function isIn({ from_seq, to_seq }, seq) {
  return from_seq <= seq && seq <= to_seq;
}

/** @param {Slot} slot */
function stopTimers(slot) {
  slot.deadline.stop();
  slot.retry.stop();
}
