/**
 * Server-sent events, parsed as the HTML standard says, from bytes that are cut anywhere. `retry`
 * is ignored: this client has delays of its own, which grow.
 *
 * @module
 */

/**
 * @typedef {object} ServerSentEvent
 * @property {string} type `message` unless the event has a name.
 * @property {string} data
 * @property {string} lastEventId The latest `id` of the stream.
 */

/** Longest event, in characters. A server of this protocol stays far below. */
const LONGEST_EVENT = 2 ** 24;

export class EventStreamParser {
  #text = new TextDecoder();
  #rest = "";
  #afterReturn = false;
  #type = "";
  /** @type {string[]} */
  #data = [];
  #length = 0;
  #lastEventId = "";

  /**
   * Takes the next bytes. Returns the events that they complete.
   *
   * @param {Uint8Array} bytes
   * @returns {ServerSentEvent[]}
   * @throws {RangeError} An event is too long.
   */
  push(bytes) {
    let text = this.#text.decode(bytes, { stream: true });
    if (text === "") return [];
    // A line feed after a carriage return belongs to the same end of line.
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    this.#afterReturn = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop() ?? "";
    const events = lines.map((line) => this.#line(line)).filter((event) => event !== null);
    if (this.#length + this.#rest.length > LONGEST_EVENT) throw new RangeError("event too long");
    return events;
  }

  /**
   * @param {string} line
   * @returns {ServerSentEvent | null} An event that is complete.
   */
  #line(line) {
    if (line === "") return this.#dispatch();
    const colon = line.indexOf(":");
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (name === "data") {
      this.#data.push(value);
      this.#length += value.length + 1;
    } else if (name === "event") this.#type = value;
    else if (name === "id" && !value.includes("\0")) this.#lastEventId = value;
    return null;
  }

  #dispatch() {
    const data = this.#data;
    const type = this.#type || "message";
    this.#data = [];
    this.#length = 0;
    this.#type = "";
    if (data.length === 0) return null;
    return { type, data: data.join("\n"), lastEventId: this.#lastEventId };
  }
}
