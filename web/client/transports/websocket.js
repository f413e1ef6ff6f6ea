/** @import { OpenTransport, Transport, TransportEnd } from "./transport.js" */

import { Timer } from "../clock.js";
import { codecs } from "../codec.js";
import { withQuery } from "../http.js";
import { badMessage, silent } from "./transport.js";

/** State of a socket that is open. */
const OPEN = 1;

/**
 * Opens a WebSocket. The token goes in a message, so that no log of addresses has it. Browsers hide
 * the pings of the server, so the transport sends its own on a quiet connection.
 *
 * @type {OpenTransport}
 */
export function openWebSocket(request, handlers) {
  const { clock, times, position, streamId } = request;
  const codec = codecs[request.encoding];
  const timer = new Timer(clock);
  let { token } = request;
  let opened = false;
  let ended = false;

  const WebSocket = request.WebSocket;
  if (!WebSocket) throw new TypeError("there is no WebSocket here: pass one as an option");
  const url = withQuery(`${request.site}ws/${streamId}`, { ...position }).replace(/^http/, "ws");
  const socket = new WebSocket(url, codec.subprotocol);
  socket.binaryType = "arraybuffer";

  const stop = () => {
    ended = true;
    timer.stop();
    socket.close(1000);
  };
  /** @param {Omit<TransportEnd, "opened">} reason */
  const end = (reason) => {
    if (ended) return;
    stop();
    handlers.end({ opened, ...reason });
  };
  /** @type {Transport["send"]} */
  const send = (message) => {
    if (socket.readyState === OPEN) socket.send(codec.encode(message));
  };
  const watch = () => {
    timer.set(times.pingMs, () => {
      send({ type: "ping" });
      timer.set(times.pongMs, () => end({ error: silent("a ping was not answered") }));
    });
  };

  timer.set(times.openMs, () => end({ error: silent("the WebSocket did not open in time") }));
  const authenticate = () => {
    if (token !== null) send({ type: "auth", token });
  };
  socket.onopen = () => {
    if (!ended) authenticate();
  };
  socket.onmessage = (/** @type {{data: unknown}} */ { data }) => {
    if (ended) return;
    opened = true;
    watch();
    let message;
    try {
      message = codec.decode(data);
    } catch (cause) {
      end({ error: badMessage(cause) });
      return;
    }
    if (message) handlers.message(message);
  };
  socket.onclose = (/** @type {{code: number}} */ { code }) => end({ closeCode: code });
  // An error is followed by a close in browsers. Other implementations may leave it out.
  socket.onerror = () => end({ error: silent("the WebSocket broke") });

  return {
    name: "websocket",
    duplex: true,
    takesTokens: true,
    send,
    // A socket that is still connecting sends it when it opens.
    setToken: (next) => {
      token = next;
      authenticate();
    },
    close: stop,
  };
}
