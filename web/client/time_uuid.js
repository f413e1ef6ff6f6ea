/**
 * Ids of comments: UUIDs of version 1, whose time counts ticks of 100 ns since 15 October 1582.
 *
 * @module
 */

/** Ticks from 1582, where the time of a UUID begins, to 1970. */
const UNIX_EPOCH_TICKS = 0x01b21dd213814000n;
const TICKS_PER_MS = 10_000n;

/** An id whose time can be read and moved. */
export class TimeUuid {
  /**
   * @param {bigint} ticks
   * @param {string} rest Clock sequence and node: the last 16 hexadecimal digits.
   */
  constructor(ticks, rest) {
    this.ticks = ticks;
    this.rest = rest;
  }

  /**
   * @param {Uint8Array} bytes
   * @returns {TimeUuid}
   * @throws {RangeError} There are not 16 bytes.
   */
  static fromBytes(bytes) {
    const hex = hexOfUuid(bytes);
    const ticks = BigInt(`0x${hex.slice(13, 16)}${hex.slice(8, 12)}${hex.slice(0, 8)}`);
    return new TimeUuid(ticks, hex.slice(16));
  }

  /**
   * Returns the id that is some ticks later and equal otherwise.
   *
   * @param {bigint} ticks
   * @returns {TimeUuid}
   */
  later(ticks) {
    return new TimeUuid(this.ticks + ticks, this.rest);
  }

  /**
   * Returns the time in milliseconds since the Unix epoch, rounded down.
   *
   * @returns {number}
   */
  unixMs() {
    const ticks = this.ticks - UNIX_EPOCH_TICKS;
    const whole = ticks / TICKS_PER_MS;
    // Division of bigints rounds toward zero.
    return Number(ticks < 0n && ticks % TICKS_PER_MS !== 0n ? whole - 1n : whole);
  }

  /** @returns {string} */
  toString() {
    const hex = this.ticks.toString(16).padStart(15, "0");
    return withDashes(`${hex.slice(7)}${hex.slice(3, 7)}1${hex.slice(0, 3)}${this.rest}`);
  }
}

/**
 * Returns any UUID in its usual form, in lower case.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 * @throws {RangeError} There are not 16 bytes.
 */
export function uuidText(bytes) {
  return withDashes(hexOfUuid(bytes));
}

/**
 * Tells whether a value is a UUID in its usual form.
 *
 * @param {unknown} value
 * @returns {boolean}
 */
export function isUuid(value) {
  return typeof value === "string" && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(value);
}

/**
 * Returns the 16 bytes of a UUID.
 *
 * @param {string} uuid
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {RangeError} It is no UUID.
 */
export function uuidBytes(uuid) {
  const hex = uuid.replaceAll("-", "");
  if (!/^[0-9a-fA-F]{32}$/.test(hex)) throw new RangeError("a comment id is no UUID");
  const byteAt = (/** @type {number} */ at) => Number.parseInt(hex.slice(2 * at, 2 * at + 2), 16);
  return Uint8Array.from({ length: 16 }, (_, at) => byteAt(at));
}

/** @param {Uint8Array} bytes */
function hexOfUuid(bytes) {
  if (bytes.length !== 16) throw new RangeError("a comment id does not have 16 bytes");
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** @param {string} hex */
function withDashes(hex) {
  const cuts = [0, 8, 12, 16, 20, 32];
  return cuts
    .slice(1)
    .map((end, index) => hex.slice(cuts[index], end))
    .join("-");
}
