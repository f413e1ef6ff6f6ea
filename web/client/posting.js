/** @import { StreamApi } from "./http.js" */
/** @import { Outbox, Outgoing } from "./outbox.js" */

import { LiveCommentsError } from "./errors.js";

/**
 * Sends comments over HTTP, for transports without a way to the server: one after the other, so
 * that they keep their order.
 */
export class CommentPoster {
  #api;
  #outbox;
  /** @type {Set<string>} Refs that are queued or on their way. */
  #busy = new Set();
  /** @type {Promise<void>} */
  #queue = Promise.resolve();

  /**
   * @param {StreamApi} api
   * @param {Outbox} outbox
   */
  constructor(api, outbox) {
    this.#api = api;
    this.#outbox = outbox;
  }

  /** @param {Outgoing} outgoing */
  deliver(outgoing) {
    const { ref } = outgoing;
    if (this.#busy.has(ref)) return;
    this.#busy.add(ref);
    this.#queue = this.#queue.then(() => this.#post(outgoing));
  }

  /** @param {Outgoing} outgoing */
  async #post({ ref, message, parent_id, state }) {
    /** @type {Promise<{comment_id: string, seq: number}> | null} */
    const request =
      state === "pending"
        ? this.#api.request("/comments", { method: "POST", body: { message, ref, parent_id } })
        : null;
    const answer = await request?.catch((error) => withRef(error, ref));
    this.#busy.delete(ref);
    if (answer instanceof LiveCommentsError) this.#outbox.refuse(answer);
    else if (answer) this.#outbox.acknowledge({ ref, ...answer });
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
