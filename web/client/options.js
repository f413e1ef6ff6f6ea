/** @import { Clock } from "./clock.js" */
/** @import { Encoding } from "./protocol.js" */
/** @import { TokenProvider } from "./token.js" */
/** @import { SocketConstructor, TransportName, TransportTimes } from "./transports/transport.js" */

import { systemClock } from "./clock.js";

/**
 * All are optional.
 *
 * @typedef {object} LiveCommentsOptions
 * @property {string | TokenProvider | null} [token] A token, or a function that returns one.
 *   Absent: an anonymous viewer.
 * @property {Encoding} [encoding] Of a WebSocket: `json` (default) or `msgpack`, which is smaller.
 * @property {readonly TransportName[]} [transports] The best first. Default: `websocket`, `events`,
 *   `polling`.
 * @property {number} [maxComments] Comments that the timeline keeps (default 1,000).
 * @property {number} [maxPending] Comments sent without an answer (default 50).
 * @property {number} [sendTimeoutMs] Time after which a comment without an answer fails as
 *   `not_sent` (default 60 s). Later, the server may no longer know a `ref`.
 * @property {boolean} [fillGaps] Fills each gap from the history (default: false). Gaps that a
 *   change of the transport leaves are always filled.
 * @property {{baseMs?: number, longestMs?: number}} [backoff] Bounds of the random delay before a
 *   reconnect: the first (default 500 ms) and the longest (30 s).
 * @property {number} [upgradeMs] Time after which a better transport is tried again (default 60 s,
 *   growing to 30 min).
 * @property {Partial<TransportTimes>} [times]
 * @property {typeof globalThis.fetch} [fetch] Default: that of the environment.
 * @property {SocketConstructor} [WebSocket] Default: that of the environment. Node before
 *   22 has none: pass that of the package `ws`.
 * @property {Clock} [clock] For tests.
 */

/**
 * Options with their defaults, and addresses in the form that requests use.
 *
 * @typedef {Required<Omit<LiveCommentsOptions, "WebSocket" | "times">>
 *   & {WebSocket: SocketConstructor | undefined, times: TransportTimes, site: string,
 *      streamId: string}} Settings
 */

/** @type {TransportTimes} */
const TIMES = { openMs: 10_000, pingMs: 25_000, pongMs: 10_000, silenceMs: 75_000, pollMs: 30_000 };

/**
 * @param {string | URL} site
 * @param {string | number | bigint} streamId
 * @param {LiveCommentsOptions} options
 * @returns {Settings}
 * @throws {TypeError} An argument is invalid.
 */
export function settingsOf(site, streamId, options) {
  const transports = options.transports ?? ["websocket", "events", "polling"];
  if (transports.length === 0) throw new TypeError("transports is empty");
  return {
    token: null,
    encoding: "json",
    maxComments: 1_000,
    maxPending: 50,
    sendTimeoutMs: 60_000,
    fillGaps: false,
    backoff: {},
    upgradeMs: 60_000,
    fetch: (input, init) => globalThis.fetch(input, init),
    clock: systemClock,
    ...options,
    WebSocket: options.WebSocket ?? globalThis.WebSocket,
    transports,
    times: { ...TIMES, ...options.times },
    site: siteAddress(site),
    streamId: idText(streamId),
  };
}

/**
 * @param {string | URL} site
 * @returns {string}
 */
function siteAddress(site) {
  const url = new URL(site, globalThis.location?.href);
  // Addresses of sockets name the same server.
  url.protocol = url.protocol.replace(/^ws/, "http");
  if (!/^https?:$/.test(url.protocol)) throw new TypeError("the site is not an address of http");
  url.search = "";
  url.hash = "";
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url.href;
}

/**
 * @param {string | number | bigint} id
 * @returns {string}
 */
function idText(id) {
  const text = String(id);
  if (typeof id === "number" && !Number.isSafeInteger(id)) {
    throw new TypeError("a stream id beyond 2^53 must be a string");
  }
  if (!/^[1-9][0-9]{0,19}$/.test(text)) throw new TypeError("the stream id is not a number");
  return text;
}
