/** @import { Clock } from "./clock.js" */
/** @import { StreamApi } from "./http.js" */
/** @import { Outbox, Outgoing } from "./outbox.js" */

import { Timer } from "./clock.js";
import { LiveCommentsError } from "./errors.js";

/**
 * Time after which a post without an answer is given up, so that others are sent. It is made again
 * with the same `ref`.
 */
const POST_MS = 15_000;

/**
 * Sends comments over HTTP, for transports without a way to the server: one after the other, so
 * that they keep their order.
 */
export class CommentPoster {
  #api;
  #outbox;
  #clock;
  #timeoutMs;
  /** @type {Set<string>} Refs that are queued or on their way. */
  #busy = new Set();
  /** @type {Promise<void>} */
  #queue = Promise.resolve();

  /**
   * @param {Pick<StreamApi, "request">} api
   * @param {Outbox} outbox
   * @param {Clock} clock
   * @param {number} sendTimeoutMs Time after which a comment has failed.
   */
  constructor(api, outbox, clock, sendTimeoutMs) {
    this.#api = api;
    this.#outbox = outbox;
    this.#clock = clock;
    this.#timeoutMs = Math.min(POST_MS, sendTimeoutMs);
  }

  /** @param {Pick<Outgoing, "ref">} outgoing */
  deliver({ ref }) {
    if (this.#busy.has(ref)) return;
    this.#busy.add(ref);
    this.#queue = this.#queue.then(() => this.#post(ref));
  }

  /** @param {string} ref */
  async #post(ref) {
    // While it was queued it may have failed, and may have been sent again.
    const outgoing = this.#outbox.pending(ref);
    const answer =
      outgoing && (await this.#request(outgoing).catch((error) => withRef(error, ref)));
    this.#busy.delete(ref);
    if (answer instanceof LiveCommentsError) this.#outbox.refuse(answer);
    else if (answer) this.#outbox.acknowledge({ ref, ...answer });
  }

  /**
   * @param {Readonly<Outgoing>} outgoing
   * @returns {Promise<{comment_id: string, seq: number}>}
   */
  async #request({ ref, message, parent_id }) {
    const abort = new AbortController();
    const timer = new Timer(this.#clock);
    timer.set(this.#timeoutMs, () => {
      abort.abort(new LiveCommentsError("network", "the comment was not answered in time"));
    });
    const body = { message, ref, parent_id };
    try {
      return await this.#api.request("/comments", { method: "POST", body, signal: abort.signal });
    } finally {
      timer.stop();
    }
  }
}

/**
 * @param {unknown} error
 * @param {string} ref
 * @returns {LiveCommentsError}
 */
function withRef(error, ref) {
  if (!(error instanceof LiveCommentsError)) {
    return new LiveCommentsError("network", "the comment was not sent", { ref, cause: error });
  }
  const { code, message, status, retryAfterMs } = error;
  return new LiveCommentsError(code, message, { status, retryAfterMs, ref, cause: error });
}
