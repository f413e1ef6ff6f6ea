/** @import { ByeMessage } from "./protocol.js" */
/** @import { TransportEnd } from "./transports/transport.js" */

import { LiveCommentsError } from "./errors.js";
import { isTokenRefused } from "./http.js";

/**
 * The next step after the end of a connection:
 * - `final`: none;
 * - `token`: reconnect at once with another token, if there is one; otherwise none;
 * - `wait`: reconnect after the time that the server named;
 * - `lost`: reconnect after a random and growing delay. `transportFailed` says that the transport
 *   itself may not work here.
 *
 * @typedef {{kind: "final"} | {kind: "token"} | {kind: "wait", ms: number}
 *   | {kind: "lost", transportFailed: boolean}} Verdict
 */

/** After these close codes the client has broken the protocol. */
const PROTOCOL_VIOLATIONS = new Set([1002, 1003, 1007, 1009]);

/** Close codes, and their names in `bye`, after which another token helps. */
const TOKEN_CLOSE_CODES = new Set([4500, 4501, 4502]);
const TOKEN_BYES = new Set(["auth_timeout", "unauthorized", "token_expired"]);

/** Refusals of a path or method that the server, or a proxy before it, does not have. */
const NO_SUCH_TRANSPORT = new Set(["not_found", "method_not_allowed", "bad_handshake"]);

/**
 * Decides as docs/protocol.md says under "Close codes".
 *
 * @param {TransportEnd} end
 * @param {ByeMessage | null} bye The last message, if it was one.
 * @returns {Verdict}
 */
export function verdictOf(end, bye) {
  if (bye) return verdictOfBye(bye);
  if (end.stopped) return { kind: "final" };
  if (end.error) return verdictOfError(end.error, end.opened);
  return verdictOfCode(end.closeCode ?? 1006, end.opened);
}

/**
 * @param {ByeMessage} bye
 * @returns {Verdict}
 */
function verdictOfBye(bye) {
  const ms = bye.reconnect_after_ms ?? null;
  if (ms !== null) return { kind: "wait", ms };
  return TOKEN_BYES.has(bye.code) ? { kind: "token" } : { kind: "final" };
}

/**
 * @param {LiveCommentsError} error
 * @param {boolean} opened
 * @returns {Verdict}
 */
function verdictOfError(error, opened) {
  if (error.retryAfterMs !== undefined) return { kind: "wait", ms: error.retryAfterMs };
  if (
    error.code === "network" ||
    error.code === "bad_answer" ||
    error.code === "token_unavailable"
  ) {
    return { kind: "lost", transportFailed: !opened && error.code !== "token_unavailable" };
  }
  if (NO_SUCH_TRANSPORT.has(error.code)) return { kind: "lost", transportFailed: true };
  return isTokenRefused(error) ? { kind: "token" } : { kind: "final" };
}

/**
 * @param {number} code
 * @param {boolean} opened
 * @returns {Verdict}
 */
function verdictOfCode(code, opened) {
  if (TOKEN_CLOSE_CODES.has(code)) return { kind: "token" };
  if (code >= 4500 && code <= 4999) return { kind: "final" };
  if (PROTOCOL_VIOLATIONS.has(code)) return { kind: "final" };
  // A close code of the server's own says that the transport works.
  const ofServer = code >= 4000 && code <= 4499;
  return { kind: "lost", transportFailed: !opened && !ofServer };
}

/**
 * Returns the reason of an end, for people and for code.
 *
 * @param {TransportEnd} end
 * @param {ByeMessage | null} bye
 * @param {LiveCommentsError | null} lastError The latest message `error` without a `ref`.
 * @returns {LiveCommentsError}
 */
export function reasonOf(end, bye, lastError) {
  if (bye) {
    const ms = bye.reconnect_after_ms ?? undefined;
    return (
      lastError ?? new LiveCommentsError(bye.code, `closed: ${bye.code}`, { retryAfterMs: ms })
    );
  }
  if (end.error) return end.error;
  if (end.stopped) return lastError ?? new LiveCommentsError("stopped", "the server ended this");
  return lastError ?? new LiveCommentsError("network", `the connection closed (${end.closeCode})`);
}
