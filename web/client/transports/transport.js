/** @import { Clock } from "../clock.js" */
/** @import { ClientMessage, Encoding, Position, ServerMessage } from "../protocol.js" */

import { LiveCommentsError } from "../errors.js";

/** @typedef {"websocket" | "events" | "polling"} TransportName */

/**
 * The part of a WebSocket that is used. That of browsers has it, and those of node and of the
 * package `ws`.
 *
 * @typedef {object} Socket
 * @property {string} binaryType
 * @property {number} readyState
 * @property {(data: string | Uint8Array<ArrayBuffer>) => void} send
 * @property {(code?: number) => void} close
 * @property {((event: never) => void) | null} onopen
 * @property {((event: never) => void) | null} onmessage
 * @property {((event: never) => void) | null} onerror
 * @property {((event: never) => void) | null} onclose
 */

/** @typedef {new (url: string, protocol: string) => Socket} SocketConstructor */

/**
 * The needs of a transport that is opened.
 *
 * @typedef {object} TransportRequest
 * @property {string} site Address of the server, which ends with a slash.
 * @property {string} streamId
 * @property {Position | null} position Where to resume; null starts at the newest comment.
 * @property {string | null} token
 * @property {string | null} since Place of an earlier poll, which only polling uses.
 * @property {Encoding} encoding Of a WebSocket. The others are always JSON.
 * @property {Clock} clock
 * @property {typeof fetch} fetch
 * @property {SocketConstructor | undefined} WebSocket
 * @property {TransportTimes} times
 */

/**
 * @typedef {object} TransportTimes
 * @property {number} openMs Longest time until the first message.
 * @property {number} pingMs A WebSocket without a message for this time is sent a ping.
 * @property {number} pongMs Longest time until it is answered.
 * @property {number} silenceMs An event stream without a byte for this time is dead.
 * @property {number} pollMs Time for which the server holds a poll.
 */

/**
 * The end of a transport that it was not told to close.
 *
 * @typedef {object} TransportEnd
 * @property {boolean} opened Whether anything of the server arrived.
 * @property {number} [closeCode] Of a WebSocket that was closed.
 * @property {boolean} [stopped] The server has nothing more for this viewer (204).
 * @property {LiveCommentsError} [error] A refusal over HTTP, or the reason.
 */

/**
 * @typedef {object} TransportHandlers
 * @property {(message: ServerMessage) => void} message
 * @property {() => void} continued A poll continues where an earlier one ended, without a
 *   `welcome`.
 * @property {(since: string) => void} since The place of the next poll.
 * @property {(end: TransportEnd) => void} end Called once, unless `close` was called before.
 */

/**
 * An open transport, or one that is being opened.
 *
 * @typedef {object} Transport
 * @property {TransportName} name
 * @property {boolean} duplex Whether `send` reaches the server.
 * @property {(message: ClientMessage) => void} send
 * @property {(token: string | null) => void} setToken Uses another token from now on. Only for a
 *   transport that does not have to be opened again for that.
 * @property {boolean} takesTokens Whether `setToken` does so.
 * @property {() => void} close Ends it for good: no handler is called any more.
 */

/**
 * @typedef {(request: TransportRequest, handlers: TransportHandlers) => Transport} OpenTransport
 */

/**
 * Returns the reason of a transport that stayed silent.
 *
 * @param {string} message
 * @returns {LiveCommentsError}
 */
export function silent(message) {
  return new LiveCommentsError("network", message);
}

/**
 * Returns the error of anything that was thrown while messages were read.
 *
 * @param {unknown} cause
 * @returns {LiveCommentsError}
 */
export function readError(cause) {
  if (cause instanceof LiveCommentsError) return cause;
  return new LiveCommentsError("network", "the connection was lost", { cause });
}

/**
 * @param {unknown} cause
 * @returns {LiveCommentsError}
 */
export function badMessage(cause) {
  return new LiveCommentsError("bad_answer", "the server sent what is no message", { cause });
}
