/** @import { Clock } from "./clock.js" */
/** @import { LiveCommentsError } from "./errors.js" */
/** @import { ConnectionRanges } from "./position.js" */
/** @import { ByeMessage, Encoding, ServerMessage } from "./protocol.js" */
/** @import { OpenTransport, Transport, TransportEnd } from "./transports/transport.js" */
/** @import { SocketConstructor, TransportName, TransportTimes } from "./transports/transport.js" */

import { openEvents } from "./transports/events.js";
import { openPolling } from "./transports/polling.js";
import { openWebSocket } from "./transports/websocket.js";

/**
 * @typedef {object} LinkConfig
 * @property {string} site Address of the server, which ends with a slash.
 * @property {string} streamId
 * @property {Encoding} encoding
 * @property {Clock} clock
 * @property {typeof globalThis.fetch} fetch
 * @property {SocketConstructor | undefined} WebSocket
 * @property {TransportTimes} times
 */

/**
 * One transport from its opening to its end.
 *
 * @typedef {object} Link
 * @property {Transport} transport
 * @property {ConnectionRanges} ranges
 * @property {string | null} token
 * @property {boolean} ready
 * @property {ByeMessage | null} bye The last message, if the server ended the connection.
 * @property {LiveCommentsError | null} lastError The latest error that concerns the connection.
 */

/**
 * @typedef {object} LinkHandlers
 * @property {(link: Link, message: ServerMessage) => void} message
 * @property {(link: Link) => void} continued
 * @property {(since: string) => void} since
 * @property {(link: Link, end: TransportEnd) => void} end
 */

/** @type {Record<TransportName, OpenTransport>} */
const OPENERS = { websocket: openWebSocket, events: openEvents, polling: openPolling };

/**
 * Opens a transport. No handler is called before this returns.
 *
 * @param {LinkConfig} config
 * @param {{name: TransportName, token: string | null, since: string | null,
 *   ranges: ConnectionRanges}} choice
 * @param {LinkHandlers} handlers
 * @returns {Link}
 * @throws {Error} The environment has no such transport, or a policy of the page forbids it.
 */
export function openLink(config, { name, token, since, ranges }, handlers) {
  const transport = OPENERS[name](
    { ...config, position: ranges.asked, token, since },
    {
      message: (message) => handlers.message(link, message),
      continued: () => handlers.continued(link),
      since: handlers.since,
      end: (end) => handlers.end(link, end),
    },
  );
  /** @type {Link} */
  const link = { transport, ranges, token, ready: false, bye: null, lastError: null };
  return link;
}
