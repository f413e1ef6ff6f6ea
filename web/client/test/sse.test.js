import assert from "node:assert/strict";
import { test } from "node:test";

import { EventStreamParser } from "../sse.js";
import { seeded } from "./support.js";

const STREAM = new TextEncoder().encode(
  "\uFEFFretry: 2000\n\n: ping\n" +
    'id: 3:841\ndata: {"a":"é👍🏽"}\n\n' +
    "data: one\r\ndata:two\r\ndata\r\n\r\n" +
    "event: named\rdata:  spaced\r\r" +
    "id\nretry: soon\nunknown: x\ndata: last\n\n" +
    "id: 9\0\ndata: kept id\n\nevent: no data\n\ndata: not complete",
);

const EVENTS = [
  { type: "message", data: '{"a":"é👍🏽"}', lastEventId: "3:841" },
  { type: "message", data: "one\ntwo\n", lastEventId: "3:841" },
  { type: "named", data: " spaced", lastEventId: "3:841" },
  { type: "message", data: "last", lastEventId: "" },
  { type: "message", data: "kept id", lastEventId: "" },
];

/** @param {Uint8Array[]} pieces */
function parse(pieces) {
  const parser = new EventStreamParser();
  return pieces.flatMap((piece) => parser.push(piece));
}

test("a stream that is cut at every byte reads the same", () => {
  assert.deepEqual(parse([STREAM]), EVENTS);
  for (let cut = 0; cut <= STREAM.length; cut += 1) {
    assert.deepEqual(parse([STREAM.subarray(0, cut), STREAM.subarray(cut)]), EVENTS);
  }
  assert.deepEqual(parse(Array.from(STREAM, (byte) => Uint8Array.of(byte))), EVENTS);
});

test("a stream that is cut anywhere, many times, reads the same", () => {
  for (let seed = 0; seed < 300; seed += 1) {
    const random = seeded(seed);
    /** @type {Uint8Array[]} */
    const pieces = [];
    for (let start = 0; start < STREAM.length;) {
      const end = start + Math.floor(random() * 9);
      pieces.push(STREAM.subarray(start, end));
      start = end;
    }
    assert.deepEqual(parse(pieces), EVENTS);
  }
});

test("an event without an end is refused before it fills the memory", () => {
  const parser = new EventStreamParser();
  const piece = new TextEncoder().encode("data: " + "x".repeat(2 ** 20));
  assert.throws(() => {
    for (let count = 0; count < 20; count += 1) parser.push(piece);
  }, RangeError);
});
