import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveCommentsError } from "../errors.js";
import { verdictOf } from "../reconnect.js";
import { TransportLadder } from "../transport_ladder.js";

const opened = true;

test("close codes decide as docs/protocol.md says", () => {
  const lost = [4000, 4001, 4002, 4003, 4005, 4006, 4499, 1000, 1001, 1006, 1011, 1015, 3999];
  for (const closeCode of lost) {
    const verdict = verdictOf({ opened, closeCode }, null);
    assert.deepEqual(verdict, { kind: "lost", transportFailed: false }, `${closeCode}`);
  }
  for (const closeCode of [1002, 1003, 1007, 1009, 4503, 4504, 4505, 4507, 4999]) {
    assert.deepEqual(verdictOf({ opened, closeCode }, null), { kind: "final" }, `${closeCode}`);
  }
  for (const closeCode of [4500, 4501, 4502]) {
    assert.deepEqual(verdictOf({ opened, closeCode }, null), { kind: "token" }, `${closeCode}`);
  }
});

test("a bye decides whatever the code is", () => {
  /** @param {string} code @param {number} [reconnect_after_ms] */
  const after = (code, reconnect_after_ms) =>
    verdictOf({ opened, closeCode: 4503 }, { type: "bye", code, reconnect_after_ms });
  assert.deepEqual(after("banned", 60_000), { kind: "wait", ms: 60_000 });
  assert.deepEqual(after("shutdown", 0), { kind: "wait", ms: 0 });
  assert.deepEqual(after("banned"), { kind: "final" });
  assert.deepEqual(after("shutdown"), { kind: "final" });
  assert.deepEqual(after("token_expired"), { kind: "token" });
});

test("refusals over HTTP decide by their wait", () => {
  /** @param {string} code @param {number} [retryAfterMs] */
  const refused = (code, retryAfterMs) =>
    verdictOf({ opened: false, error: new LiveCommentsError(code, "", { retryAfterMs }) }, null);
  assert.deepEqual(refused("node_full", 5_000), { kind: "wait", ms: 5_000 });
  assert.deepEqual(refused("token_not_yet_valid", 9), { kind: "wait", ms: 9 });
  assert.deepEqual(refused("banned"), { kind: "final" });
  assert.deepEqual(refused("a_later_code"), { kind: "final" });
  assert.deepEqual(refused("token_expired"), { kind: "token" });
  assert.deepEqual(refused("network"), { kind: "lost", transportFailed: true });
  assert.deepEqual(refused("bad_answer"), { kind: "lost", transportFailed: true });
  assert.deepEqual(refused("not_found"), { kind: "lost", transportFailed: true });
  assert.deepEqual(verdictOf({ opened, stopped: true }, null), { kind: "final" });
});

test("a socket that never opened is one that failed", () => {
  const verdict = verdictOf({ opened: false, closeCode: 1006 }, null);
  assert.deepEqual(verdict, { kind: "lost", transportFailed: true });
});

test("transports that never worked are tried once each", () => {
  const ladder = new TransportLadder(["websocket", "events", "polling"]);
  const steps = [];
  for (let count = 0; count < 4; count += 1) steps.push([ladder.current, ladder.failed()]);
  assert.deepEqual(steps, [
    ["websocket", "fall"],
    ["events", "fall"],
    ["polling", "exhausted"],
    ["websocket", "fall"],
  ]);
});

test("a transport that has worked is not given up at once", () => {
  const ladder = new TransportLadder(["websocket", "events"]);
  ladder.opened("websocket");
  assert.deepEqual([ladder.failed(), ladder.failed(), ladder.failed()], ["retry", "retry", "fall"]);
  assert.equal(ladder.current, "events");
  ladder.opened("events");
  assert.equal(ladder.failed(), "retry");
});

test("better transports take turns", () => {
  const ladder = new TransportLadder(["websocket", "events", "polling"]);
  assert.equal(ladder.better(0), null);
  ladder.opened("polling");
  assert.deepEqual(
    [0, 1, 2].map((turn) => ladder.better(turn)),
    ["websocket", "events", "websocket"],
  );
});
