/**
 * A request or connection that failed.
 *
 * `code` is an error code of docs/protocol.md, or one of the client's own: `network` (no answer),
 * `bad_answer` (an answer that is not of the server), `token_unavailable` (the token provider
 * failed), `not_sent` (no answer to a comment in time; it may be stored or not),
 * `too_many_pending`, `identity_changed` and `client_closed`.
 */
export class LiveCommentsError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {{status?: number, retryAfterMs?: number, ref?: string, cause?: unknown}} [details]
   */
  constructor(code, message, details = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "LiveCommentsError";
    /** @readonly */
    this.code = code;
    /** @readonly HTTP status, if it was an answer over HTTP. */
    this.status = details.status;
    /** @readonly Waiting this long may help. Absent: it does not help, or nobody knows. */
    this.retryAfterMs = details.retryAfterMs;
    /** @readonly The comment that was refused. */
    this.ref = details.ref;
  }
}

/**
 * Returns the error of a message `error`.
 *
 * @param {import("./protocol.js").ErrorMessage} message
 * @returns {LiveCommentsError}
 */
export function errorOfMessage(message) {
  return new LiveCommentsError(message.code, message.message, {
    retryAfterMs: message.retry_after_ms ?? undefined,
    ref: message.ref ?? undefined,
  });
}

/**
 * Returns a promise that is rejected. Ignoring it is safe.
 *
 * @param {LiveCommentsError} error
 * @returns {Promise<never>}
 */
export function rejected(error) {
  const promise = Promise.reject(error);
  promise.catch(() => {});
  return promise;
}
