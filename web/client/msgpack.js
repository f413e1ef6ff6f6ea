/**
 * The part of MessagePack that the viewer protocol uses: nil, booleans, integers of 64 bits,
 * floats, strings, byte strings, arrays and maps with string keys. No extension types.
 *
 * @module
 */

/**
 * A decoded value. Integers beyond 2^53 − 1 are bigints, so that none is rounded.
 *
 * @typedef {null | boolean | number | bigint | string | Uint8Array | Value[] | Map<string, Value>
 *   } Value
 */

/** Deepest nesting that is decoded. The protocol needs four levels. */
const DEEPEST = 16;

/**
 * Decodes one value that fills all the bytes.
 *
 * @param {Uint8Array} bytes
 * @returns {Value}
 * @throws {RangeError} The bytes end inside the value, continue after it, or have a type that the
 *   protocol does not use.
 */
export function decode(bytes) {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  if (reader.offset !== bytes.length) throw new RangeError("bytes after the MessagePack value");
  return value;
}

class Reader {
  offset = 0;
  #bytes;
  #view;
  #text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /**
   * @param {number} depth
   * @returns {Value}
   */
  value(depth) {
    if (depth > DEEPEST) throw new RangeError("MessagePack nested too deeply");
    const first = this.#view.getUint8(this.#take(1));
    if (first < 0x80) return first;
    if (first < 0x90) return this.#map(first & 0x0f, depth);
    if (first < 0xa0) return this.#array(first & 0x0f, depth);
    if (first < 0xc0) return this.#string(first & 0x1f);
    if (first >= 0xe0) return first - 0x100;
    switch (first) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xc4:
        return this.#binary(this.#uint8());
      case 0xc5:
        return this.#binary(this.#uint16());
      case 0xc6:
        return this.#binary(this.#uint32());
      case 0xca:
        return this.#view.getFloat32(this.#take(4));
      case 0xcb:
        return this.#view.getFloat64(this.#take(8));
      case 0xcc:
        return this.#uint8();
      case 0xcd:
        return this.#uint16();
      case 0xce:
        return this.#uint32();
      case 0xcf:
        return narrow(this.#view.getBigUint64(this.#take(8)));
      case 0xd0:
        return this.#view.getInt8(this.#take(1));
      case 0xd1:
        return this.#view.getInt16(this.#take(2));
      case 0xd2:
        return this.#view.getInt32(this.#take(4));
      case 0xd3:
        return narrow(this.#view.getBigInt64(this.#take(8)));
      case 0xd9:
        return this.#string(this.#uint8());
      case 0xda:
        return this.#string(this.#uint16());
      case 0xdb:
        return this.#string(this.#uint32());
      case 0xdc:
        return this.#array(this.#uint16(), depth);
      case 0xdd:
        return this.#array(this.#uint32(), depth);
      case 0xde:
        return this.#map(this.#uint16(), depth);
      case 0xdf:
        return this.#map(this.#uint32(), depth);
      default:
        throw new RangeError(`MessagePack type 0x${first.toString(16)} is not used here`);
    }
  }

  /**
   * Moves past bytes and returns where they begin.
   *
   * @param {number} length
   * @returns {number}
   */
  #take(length) {
    const start = this.offset;
    if (length > this.#bytes.length - start) throw new RangeError("MessagePack ends too early");
    this.offset += length;
    return start;
  }

  #uint8() {
    return this.#view.getUint8(this.#take(1));
  }

  #uint16() {
    return this.#view.getUint16(this.#take(2));
  }

  #uint32() {
    return this.#view.getUint32(this.#take(4));
  }

  /** @param {number} length */
  #binary(length) {
    const start = this.#take(length);
    return this.#bytes.slice(start, start + length);
  }

  /** @param {number} length */
  #string(length) {
    const start = this.#take(length);
    return this.#text.decode(this.#bytes.subarray(start, start + length));
  }

  /**
   * @param {number} length
   * @param {number} depth
   */
  #array(length, depth) {
    // A declared length is not trusted with memory: the array grows as elements are read.
    /** @type {Value[]} */
    const values = [];
    for (let index = 0; index < length; index += 1) values.push(this.value(depth + 1));
    return values;
  }

  /**
   * @param {number} length
   * @param {number} depth
   */
  #map(length, depth) {
    /** @type {Map<string, Value>} */
    const map = new Map();
    for (let index = 0; index < length; index += 1) {
      const key = this.value(depth + 1);
      if (typeof key !== "string") throw new RangeError("a MessagePack key is not a string");
      map.set(key, this.value(depth + 1));
    }
    return map;
  }
}

/**
 * @param {bigint} value
 * @returns {number | bigint}
 */
function narrow(value) {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

/**
 * Encodes a value. Numbers that are no safe integers become floats of 64 bits.
 *
 * @param {Value} value
 * @returns {Uint8Array<ArrayBuffer>}
 * @throws {RangeError} An integer does not fit 64 bits.
 */
export function encode(value) {
  /** @type {number[]} */
  const bytes = [];
  write(bytes, value);
  return Uint8Array.from(bytes);
}

/**
 * @param {number[]} bytes
 * @param {Value} value
 */
function write(bytes, value) {
  if (value === null) bytes.push(0xc0);
  else if (typeof value === "boolean") bytes.push(value ? 0xc3 : 0xc2);
  else if (typeof value === "bigint") writeInteger(bytes, value);
  else if (typeof value === "number") writeNumber(bytes, value);
  else if (typeof value === "string") {
    const text = new TextEncoder().encode(value);
    writeHead(bytes, text.length, { fix: 0xa0, fixMax: 31, one: 0xd9, two: 0xda, four: 0xdb });
    append(bytes, text);
  } else if (value instanceof Uint8Array) {
    writeHead(bytes, value.length, { fix: 0, fixMax: -1, one: 0xc4, two: 0xc5, four: 0xc6 });
    append(bytes, value);
  } else if (value instanceof Map) {
    writeHead(bytes, value.size, { fix: 0x80, fixMax: 15, two: 0xde, four: 0xdf });
    for (const [key, item] of value) {
      write(bytes, key);
      write(bytes, item);
    }
  } else {
    writeHead(bytes, value.length, { fix: 0x90, fixMax: 15, two: 0xdc, four: 0xdd });
    for (const item of value) write(bytes, item);
  }
}

/**
 * @param {number[]} bytes
 * @param {number} value
 */
function writeNumber(bytes, value) {
  if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
    writeInteger(bytes, BigInt(value));
    return;
  }
  const view = new DataView(new ArrayBuffer(9));
  view.setUint8(0, 0xcb);
  view.setFloat64(1, value);
  append(bytes, new Uint8Array(view.buffer));
}

/**
 * Writes an integer in its shortest form.
 *
 * @param {number[]} bytes
 * @param {bigint} value
 */
function writeInteger(bytes, value) {
  if (value >= -32n && value < 128n) bytes.push(Number(value & 0xffn));
  else if (value >= 0n) {
    if (value < 0x100n) writeBytes(bytes, 0xcc, value, 1);
    else if (value < 0x1_0000n) writeBytes(bytes, 0xcd, value, 2);
    else if (value < 0x1_0000_0000n) writeBytes(bytes, 0xce, value, 4);
    else if (value < 2n ** 64n) writeBytes(bytes, 0xcf, value, 8);
    else throw new RangeError("an integer does not fit 64 bits");
  } else if (value >= -0x80n) writeBytes(bytes, 0xd0, value, 1);
  else if (value >= -0x8000n) writeBytes(bytes, 0xd1, value, 2);
  else if (value >= -0x8000_0000n) writeBytes(bytes, 0xd2, value, 4);
  else if (value >= -(2n ** 63n)) writeBytes(bytes, 0xd3, value, 8);
  else throw new RangeError("an integer does not fit 64 bits");
}

/**
 * @param {number[]} bytes
 * @param {number} type
 * @param {bigint} value
 * @param {number} width
 */
function writeBytes(bytes, type, value, width) {
  bytes.push(type);
  for (let shift = (width - 1) * 8; shift >= 0; shift -= 8) {
    bytes.push(Number((value >> BigInt(shift)) & 0xffn));
  }
}

/**
 * Writes a type with a length, in the shortest form that the type has.
 *
 * @param {number[]} bytes
 * @param {number} length
 * @param {{fix: number, fixMax: number, one?: number, two: number, four: number}} forms
 */
function writeHead(bytes, length, forms) {
  if (length <= forms.fixMax) bytes.push(forms.fix | length);
  else if (forms.one !== undefined && length < 0x100) bytes.push(forms.one, length);
  else if (length < 0x1_0000) writeBytes(bytes, forms.two, BigInt(length), 2);
  else writeBytes(bytes, forms.four, BigInt(length), 4);
}

/**
 * @param {number[]} bytes
 * @param {Uint8Array} more
 */
function append(bytes, more) {
  for (const byte of more) bytes.push(byte);
}
