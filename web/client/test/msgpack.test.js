/** @import { Value } from "../msgpack.js" */

import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode } from "../msgpack.js";
import { seeded } from "./support.js";

/** @param {string} text */
function hex(text) {
  return Uint8Array.from(Buffer.from(text.replaceAll(/\s/g, ""), "hex"));
}

test("values keep their value and their type", () => {
  const random = seeded(20);
  for (let round = 0; round < 3_000; round += 1) {
    const value = anyValue(random, 0);
    assert.deepEqual(decode(encode(value)), value);
  }
});

test("integers at the edges of each form survive", () => {
  const powers = [5n, 7n, 8n, 15n, 16n, 31n, 32n, 53n, 63n].map((bits) => 2n ** bits);
  const edges = powers.flatMap((power) => [power - 1n, power, power + 1n]);
  for (const edge of [...edges, 2n ** 64n - 1n, ...edges.map((value) => -value)]) {
    if (edge < -(2n ** 63n)) continue;
    assert.equal(BigInt(/** @type {bigint} */ (decode(encode(edge)))), edge);
  }
});

test("integers use their shortest form", () => {
  const forms = { "7f": 127, cc80: 128, cd0100: 256, ce00010000: 65536, e0: -32, d0df: -33 };
  for (const [bytes, value] of Object.entries(forms)) assert.deepEqual(encode(value), hex(bytes));
});

test("integers that do not fit are refused", () => {
  assert.throws(() => encode(2n ** 64n), RangeError);
  assert.throws(() => encode(-(2n ** 63n) - 1n), RangeError);
});

test("lengths at the edges of each form survive", () => {
  for (const length of [0, 15, 16, 31, 32, 255, 256, 65_535, 65_536]) {
    const text = "x".repeat(length);
    assert.equal(decode(encode(text)), text);
    assert.deepEqual(decode(encode(new Uint8Array(length))), new Uint8Array(length));
    assert.deepEqual(decode(encode(new Array(length).fill(1))), new Array(length).fill(1));
  }
});

test("a value that is cut anywhere is refused", () => {
  const value = [1, "text", new Map([["a", 300]]), new Uint8Array(3), 1.5, 2n ** 60n];
  const whole = encode(value);
  for (let length = 0; length < whole.length; length += 1) {
    assert.throws(() => decode(whole.subarray(0, length)), RangeError);
  }
});

test("bytes that are no value of the protocol are refused", () => {
  const bad = ["c1", "d40100", "c7010203", "0000", "dd7fffffff", "a1ff", "8101c0"];
  for (const bytes of [...bad, "91".repeat(40) + "c0"]) {
    assert.throws(() => decode(hex(bytes)), { name: /RangeError|TypeError/ }, bytes);
  }
});

/**
 * @param {() => number} random
 * @param {number} depth
 * @returns {Value}
 */
function anyValue(random, depth) {
  const kinds = depth < 3 ? 9 : 7;
  const length = Math.floor(random() * 20);
  switch (Math.floor(random() * kinds)) {
    case 0:
      return null;
    case 1:
      return random() < 0.5;
    case 2:
      return Math.floor((random() - 0.5) * 2 ** Math.floor(random() * 54));
    case 3: {
      const big = BigInt(Math.floor(random() * 2 ** 40)) * 2n ** 22n + 2n ** 53n;
      return random() < 0.5 ? big : -big;
    }
    case 4:
      return random() * 1e6 + 0.5 ** 20;
    case 5:
      return Array.from({ length }, () => anyCharacter(random)).join("");
    case 6:
      return Uint8Array.from({ length }, () => Math.floor(random() * 256));
    case 7:
      return Array.from({ length }, () => anyValue(random, depth + 1));
    default:
      return new Map(
        Array.from({ length }, (_, index) => [
          anyCharacter(random) + index,
          anyValue(random, depth + 1),
        ]),
      );
  }
}

/** @param {() => number} random */
function anyCharacter(random) {
  const code = Math.floor(random() * 0x11_0000);
  return code >= 0xd800 && code < 0xe000 ? "é" : String.fromCodePoint(code);
}
