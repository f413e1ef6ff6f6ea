import assert from "node:assert/strict";
import { test } from "node:test";

import { PollClock } from "../poll_clock.js";

/** @import { Poll } from "../../client/index.js" */

const OPENED = 1_800_000_000_000;

/**
 * @param {number} poll_id
 * @param {Partial<Poll>} [fields]
 * @returns {Poll}
 */
function poll(poll_id, fields = {}) {
  const times = { opened_at: OPENED, closes_at: OPENED + 120_000 };
  return { poll_id, question: "?", options: ["a", "b"], votes: [0, 0], ...times, ...fields };
}

function clockAtZero() {
  const time = { now: 0 };
  return { time, clock: new PollClock(() => time.now) };
}

test("the time that is left counts from the arrival of a poll that has just opened", () => {
  for (const wallClock of [OPENED, OPENED - 600_000, OPENED + 600_000]) {
    const { time, clock } = clockAtZero();
    clock.take(poll(1), { isFresh: true, wallClock });
    time.now = 30_000;
    assert.equal(clock.left, 90_000);
  }
});

test("a clock that is wrong closes no poll", () => {
  for (const ahead of [-600_000, 0, 600_000]) {
    const { time, clock } = clockAtZero();
    clock.take(poll(1), { isFresh: false, wallClock: OPENED + 60_000 + ahead });
    assert.equal(clock.left, Math.max(0, Math.min(120_000, 60_000 - ahead)));
    time.now = 3_600_000;
    assert.deepEqual([clock.left, clock.isClosed, clock.isOver], [0, false, false]);
  }
});

test("the result is shown for a minute after it has arrived", () => {
  const { time, clock } = clockAtZero();
  clock.take(poll(1), { isFresh: true, wallClock: OPENED });
  time.now = 500_000;
  clock.take(poll(1, { closed: true }), { isFresh: true, wallClock: OPENED });
  time.now = 559_999;
  clock.take(poll(1, { closed: true }), { isFresh: true, wallClock: OPENED });
  assert.deepEqual([clock.isClosed, clock.isOver], [true, false]);
  time.now = 560_000;
  assert.equal(clock.isOver, true);
  clock.take(poll(2), { isFresh: true, wallClock: OPENED });
  assert.deepEqual([clock.isClosed, clock.isOver, clock.left], [false, false, 120_000]);
});
