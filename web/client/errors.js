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

/** Refusals that concern the server, not the request. */
const SERVER_TROUBLE = new Set([
  "internal",
  "log_unavailable",
  "moderation_late",
  "network",
  "overloaded",
  "shutting_down",
  "storage_full",
  "store_unavailable",
]);

/** Refusals after which waiting helps. */
const TEMPORARY = new Set(["identity_unavailable", "rate_limited", "token_unavailable"]);

/**
 * Tells whether the same request may succeed a moment later because the server, or a proxy before
 * it, was in trouble.
 *
 * @param {unknown} error
 * @returns {boolean}
 */
export function isServerTrouble(error) {
  if (!(error instanceof LiveCommentsError)) return false;
  const ofProxy = error.code === "bad_answer" && (error.status ?? 0) >= 500;
  return ofProxy || SERVER_TROUBLE.has(error.code);
}

/**
 * Tells whether the same request may succeed later, with the same token.
 *
 * @param {unknown} error
 * @returns {boolean}
 */
export function isTemporary(error) {
  if (isServerTrouble(error)) return true;
  if (!(error instanceof LiveCommentsError)) return false;
  return TEMPORARY.has(error.code);
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
