/** @import { ClientMessage, Encoding, ServerMessage } from "./protocol.js" */

import { decodeServerMessage, encodeClientMessage } from "./msgpack_messages.js";
import { isServerMessage } from "./protocol.js";

/**
 * The encoding of a WebSocket: its subprotocol, and messages in its form.
 *
 * @typedef {object} Codec
 * @property {string} subprotocol
 * @property {(data: unknown) => ServerMessage | null} decode Returns null for a message of a kind
 *   that is not known. Throws if the data are no message.
 * @property {(message: ClientMessage) => string | Uint8Array<ArrayBuffer>} encode
 */

/** @type {Record<Encoding, Codec>} */
export const codecs = {
  json: {
    subprotocol: "lc.v1.json",
    decode: (data) => parseMessage(String(data)),
    encode: (message) => JSON.stringify(message),
  },
  msgpack: {
    subprotocol: "lc.v1.msgpack",
    decode: (data) => {
      if (!(data instanceof ArrayBuffer)) throw new RangeError("a message is not binary");
      return decodeServerMessage(new Uint8Array(data));
    },
    encode: encodeClientMessage,
  },
};

/**
 * Returns a message in JSON.
 *
 * @param {string} text
 * @returns {ServerMessage}
 * @throws {SyntaxError | RangeError} The text is no message.
 */
export function parseMessage(text) {
  /** @type {unknown} */
  const value = JSON.parse(text);
  if (!isServerMessage(value)) throw new RangeError("a message has no type");
  return value;
}
