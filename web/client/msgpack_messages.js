/**
 * Messages in MessagePack (`lc.v1.msgpack`): arrays whose first element is the kind.
 *
 * @module
 */

/** @import { Badge, ClientMessage, Comment, PinnedComment, Poll } from "./protocol.js" */
/** @import { Role, RoomRules, ServerMessage, StreamState, User } from "./protocol.js" */
/** @import { Value } from "./msgpack.js" */

import { decode, encode } from "./msgpack.js";
import { TimeUuid, uuidBytes, uuidText } from "./time_uuid.js";

const ALL_COMMENTS_PPM = 1_000_000;

/** @type {[number, Badge][]} In the order in which JSON lists them. */
const BADGES = [
  [4, "admin"],
  [2, "broadcaster"],
  [1, "moderator"],
  [8, "subscriber"],
];

/**
 * Returns the message, or null for a kind that this client does not know.
 *
 * @param {Uint8Array} bytes
 * @returns {ServerMessage | null}
 * @throws {RangeError} The bytes are not a message.
 */
export function decodeServerMessage(bytes) {
  const message = read(new Fields(array(decode(bytes))));
  return message && present(message);
}

/**
 * @param {Fields} fields
 * @returns {ServerMessage | null} Fields that are nil are undefined.
 */
function read(fields) {
  switch (fields.number()) {
    case 0:
      return welcome(fields);
    case 1:
      return comments(fields, false);
    case 2:
      return {
        type: "ack",
        ref: fields.optional(text),
        comment_id: uuidText(fields.next(binary)),
        seq: fields.number(),
      };
    case 3:
      return {
        type: "error",
        code: fields.text(),
        message: fields.text(),
        retry_after_ms: fields.optional(number),
        ref: fields.optional(text),
      };
    case 4:
      return {
        type: "comment.deleted",
        comment_id: uuidText(fields.next(binary)),
        reason: fields.text(),
        timestamp: fields.number(),
      };
    case 5:
      return {
        type: "throttle_notification",
        sample_rate: fields.number() / ALL_COMMENTS_PPM,
        message: fields.text(),
      };
    case 6:
      return { type: "reactions_update", reactions: totals(fields.next(map)) };
    case 7:
      return { type: "presence", viewers: fields.number() };
    case 8:
      return {
        type: "direct",
        from: fields.text(),
        message: fields.text(),
        message_id: fields.optional(number),
        from_user: fields.optional((value) => String(integer(value))),
      };
    case 9:
      return { type: "announcement", message: fields.text() };
    case 10:
      return {
        type: "gap",
        from_seq: fields.number(),
        to_seq: fields.number(),
        history: fields.optional(text),
      };
    case 11:
      return {
        type: "bye",
        code: fields.text(),
        reconnect_after_ms: fields.optional(number),
      };
    case 12:
      return { type: "pong" };
    case 13:
      return comments(fields, true);
    case 14:
      return { type: "room", ...rules(fields.next(array)) };
    case 15:
      return { type: "room_ack", ref: fields.optional(text) };
    case 16:
      return { type: "moderate_ack", ref: fields.optional(text) };
    case 17:
      return {
        type: "stream",
        state: /** @type {StreamState} */ (fields.text()),
        title: fields.text(),
        description: fields.text() || undefined,
        starts_at: fields.optional(number),
        started_at: fields.optional(number),
      };
    case 18:
      return {
        type: "pinned",
        comment: fields.optional((value) => pinnedComment(array(value))) ?? null,
      };
    case 19:
      return { type: "poll", ...poll(fields.next(array)) };
    case 20:
      return {
        type: "poll_votes",
        poll_id: fields.number(),
        votes: fields.next(array).map(number),
      };
    case 21:
      return { type: "vote_ack", ref: fields.optional(text) };
    default:
      return null;
  }
}

/**
 * Returns a message of the viewer in MessagePack.
 *
 * @param {ClientMessage} message
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeClientMessage(message) {
  return encode(elements(message));
}

/**
 * @param {ClientMessage} message
 * @returns {Value[]}
 */
function elements(message) {
  switch (message.type) {
    case "auth":
      return [0, message.token];
    case "comment":
      return message.parent_id === undefined
        ? [1, message.message, message.ref ?? null]
        : [1, message.message, message.ref ?? null, uuidBytes(message.parent_id)];
    case "reaction":
      return [2, message.reaction];
    case "pause":
      return [3];
    case "resume":
      return [4, message.skip ?? null];
    case "ping":
      return [5];
    case "room":
      return [6, JSON.stringify(message.patch), message.ref ?? null];
    case "moderate":
      return [7, JSON.stringify(message.act), message.ref ?? null];
    case "vote":
      return [8, message.poll_id, message.option, message.ref ?? null];
  }
}

/**
 * @param {Fields} fields
 * @returns {ServerMessage}
 */
function welcome(fields) {
  return {
    type: "welcome",
    stream_id: fields.id(),
    user: fields.optional((value) => user(array(value))) ?? null,
    epoch: fields.number(),
    seq: fields.number(),
    sample_rate: fields.number() / ALL_COMMENTS_PPM,
    viewers: fields.number(),
    room: fields.optional((value) => rules(array(value))),
    reactions: fields.optional((value) => names(array(value))),
    ...fields.optional((value) => schedule(array(value))),
    pinned: fields.optional((value) => pinnedComment(array(value))),
    poll: fields.optional((value) => poll(array(value))),
  };
}

/**
 * @param {Value[]} values
 * @returns {PinnedComment}
 */
function pinnedComment(values) {
  const fields = new Fields(values);
  return present({
    comment_id: uuidText(fields.next(binary)),
    user_id: fields.id(),
    name: fields.text(),
    message: fields.text(),
    created_at: fields.number(),
    badges: badgesOf(fields.number()),
    pinned_at: fields.number(),
  });
}

/**
 * @param {Value[]} values
 * @returns {Poll}
 */
function poll(values) {
  const fields = new Fields(values);
  return present({
    poll_id: fields.number(),
    question: fields.text(),
    options: fields.next(array).map(text),
    opened_at: fields.number(),
    closes_at: fields.number(),
    closed: fields.optional(boolean) || undefined,
    votes: fields.next(array).map(number),
  });
}

/**
 * Returns the badges of a sum, or undefined for none.
 *
 * @param {number} sum
 * @returns {Badge[] | undefined}
 */
function badgesOf(sum) {
  const badges = BADGES.filter(([bit]) => (sum & bit) !== 0).map(([, badge]) => badge);
  return sum === 0 ? undefined : badges;
}

/**
 * @param {Value[]} values
 * @returns {User}
 */
function user(values) {
  const fields = new Fields(values);
  return present({
    user_id: fields.id(),
    name: fields.text(),
    role: /** @type {Role} */ (fields.text()),
    avatar: fields.optional(text),
  });
}

/**
 * @param {Value[]} values
 * @returns {{state: StreamState, starts_at?: number}}
 */
function schedule(values) {
  const fields = new Fields(values);
  const state = /** @type {StreamState} */ (fields.text());
  return present({ state, starts_at: fields.optional(number) });
}

/**
 * @param {Value[]} values
 * @returns {RoomRules}
 */
function rules(values) {
  const fields = new Fields(values);
  return present({
    slow_ms: fields.optional(number),
    followers_ms: fields.optional(number),
    subscribers_only: fields.optional(boolean) || undefined,
    emotes_only: fields.optional(boolean) || undefined,
    unique_ms: fields.optional(number),
    no_links: fields.optional(boolean) || undefined,
  });
}

/**
 * @param {Value[]} values
 * @returns {string[] | undefined} Undefined for none, which JSON leaves out.
 */
function names(values) {
  return values.length > 0 ? values.map(text) : undefined;
}

/**
 * @param {Fields} fields
 * @param {boolean} echo
 * @returns {ServerMessage}
 */
function comments(fields, echo) {
  const epoch = fields.number();
  const from_seq = fields.number();
  const to_seq = fields.number();
  const sample_rate = fields.number() / ALL_COMMENTS_PPM;
  const list = batch(fields.next(array), from_seq);
  const message = { epoch, from_seq, to_seq, sample_rate, comments: list };
  return echo ? { type: "comments", ...message, echo } : { type: "comments", ...message };
}

/**
 * Returns the comments of a batch, in which ids, numbers and times are differences.
 *
 * @param {Value[]} rows
 * @param {number} fromSeq
 * @returns {Comment[]}
 */
function batch(rows, fromSeq) {
  let seq = fromSeq;
  /** @type {TimeUuid | undefined} */
  let id;
  return rows.map((row) => {
    const fields = new Fields(array(row));
    id = fields.next((value) => commentId(value, id));
    const user_id = fields.id();
    const name = fields.text();
    const message = fields.text();
    seq += fields.number();
    const created_at = id.unixMs() + fields.number();
    const sum = fields.optional(number) ?? 0;
    return present({
      comment_id: id.toString(),
      user_id,
      name,
      message,
      created_at,
      seq,
      badges: badgesOf(sum),
      parent_id: fields.optional((value) => uuidText(binary(value))),
    });
  });
}

/**
 * @param {Value | undefined} value
 * @param {TimeUuid | undefined} previous
 * @returns {TimeUuid}
 */
function commentId(value, previous) {
  if (value instanceof Uint8Array) return TimeUuid.fromBytes(value);
  if (previous === undefined) throw new RangeError("the first comment of a batch has no whole id");
  return previous.later(BigInt(integer(value)));
}

/**
 * @param {Map<string, Value>} reactions
 * @returns {Record<string, number>}
 */
function totals(reactions) {
  return Object.fromEntries([...reactions].map(([name, total]) => [name, number(total)]));
}

/** Reads the elements of an array in their order. Elements that nobody reads are ignored. */
class Fields {
  #values;
  #index = 0;

  /** @param {Value[]} values */
  constructor(values) {
    this.#values = values;
  }

  /**
   * @template Result
   * @param {(value: Value | undefined) => Result} read
   * @returns {Result}
   */
  next(read) {
    const value = this.#values[this.#index];
    this.#index += 1;
    return read(value);
  }

  /**
   * @template Result
   * @param {(value: Value | undefined) => Result} read
   * @returns {Result | undefined} Undefined for nil and for an element that is left out.
   */
  optional(read) {
    return this.next((value) => (value === null || value === undefined ? undefined : read(value)));
  }

  number() {
    return this.next(number);
  }

  text() {
    return this.next(text);
  }

  /** Returns a number of 64 bits as a string. */
  id() {
    return this.next((value) => String(integer(value)));
  }
}

/**
 * Leaves out fields without a value, as JSON does.
 *
 * @template {object} Message
 * @param {Message} message
 * @returns {Message}
 */
function present(message) {
  for (const [name, value] of Object.entries(message)) {
    if (value === undefined) Reflect.deleteProperty(message, name);
  }
  return message;
}

/**
 * @param {Value | undefined} value
 * @returns {number | bigint}
 */
function integer(value) {
  if (typeof value === "bigint" || Number.isSafeInteger(value)) {
    return /** @type {number | bigint} */ (value);
  }
  throw wrongType("an integer");
}

/**
 * @param {Value | undefined} value
 * @returns {number}
 */
function number(value) {
  if (typeof value === "number") return value;
  // A counter beyond 2^53 − 1 is shown as that number.
  if (typeof value === "bigint") return Number.MAX_SAFE_INTEGER;
  throw wrongType("a number");
}

/**
 * @param {Value | undefined} value
 * @returns {string}
 */
function text(value) {
  if (typeof value === "string") return value;
  throw wrongType("a string");
}

/**
 * @param {Value | undefined} value
 * @returns {boolean}
 */
function boolean(value) {
  if (typeof value === "boolean") return value;
  throw wrongType("a boolean");
}

/**
 * @param {Value | undefined} value
 * @returns {Uint8Array}
 */
function binary(value) {
  if (value instanceof Uint8Array) return value;
  throw wrongType("bytes");
}

/**
 * @param {Value | undefined} value
 * @returns {Value[]}
 */
function array(value) {
  if (Array.isArray(value)) return value;
  throw wrongType("an array");
}

/**
 * @param {Value | undefined} value
 * @returns {Map<string, Value>}
 */
function map(value) {
  if (value instanceof Map) return value;
  throw wrongType("a map");
}

/** @param {string} wanted */
function wrongType(wanted) {
  return new RangeError(`a field of a message is not ${wanted}`);
}
