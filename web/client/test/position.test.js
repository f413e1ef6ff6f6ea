import assert from "node:assert/strict";
import { test } from "node:test";

import { PositionTracker } from "../position.js";
import { batch, comment } from "./support.js";

/** @typedef {import("../protocol.js").CommentsMessage} CommentsMessage */
/** @typedef {import("../protocol.js").WelcomeMessage} WelcomeMessage */

/**
 * @param {number} from
 * @param {number} to
 * @param {number[]} [seqs]
 */
function comments(from, to, seqs) {
  return /** @type {CommentsMessage} */ (batch(from, to, seqs));
}

/**
 * @param {number} seq
 * @param {number} [epoch]
 */
function welcome(seq, epoch = 3) {
  return /** @type {WelcomeMessage} */ ({ type: "welcome", epoch, seq });
}

test("batches that follow each other move the position, empty ones too", () => {
  const tracker = new PositionTracker();
  const ranges = tracker.connect(true);
  assert.equal(ranges.asked, null);
  assert.deepEqual(ranges.welcome(welcome(10)), { restarted: false, skipped: null });
  assert.deepEqual(ranges.comments(comments(11, 15, [12, 15])), [comment(12), comment(15)]);
  assert.deepEqual(ranges.comments(comments(16, 20, [])), []);
  assert.deepEqual(tracker.current, { epoch: 3, seq: 20 });
});

test("a range that is missing is noticed, and the position stays", () => {
  const tracker = new PositionTracker();
  const ranges = tracker.connect(true);
  ranges.welcome(welcome(10));
  assert.equal(ranges.comments(comments(12, 15)), null);
  assert.equal(ranges.gap({ type: "gap", from_seq: 13, to_seq: 14 }), "lost");
  assert.deepEqual(tracker.current, { epoch: 3, seq: 10 });
});

test("of two connections that overlap each comment is new once", () => {
  const tracker = new PositionTracker();
  const old = tracker.connect(true);
  old.welcome(welcome(10));
  const replacement = tracker.connect(true);
  old.comments(comments(11, 14));
  assert.deepEqual(replacement.welcome(welcome(10)), { restarted: false, skipped: null });
  assert.deepEqual(replacement.comments(comments(11, 12)), []);
  assert.deepEqual(replacement.comments(comments(13, 16)), [comment(15), comment(16)]);
  assert.deepEqual(tracker.current, { epoch: 3, seq: 16 });
});

test("a gap counts from where comments were seen", () => {
  const tracker = new PositionTracker();
  tracker.connect(true).welcome(welcome(10));
  const first = tracker.connect(true);
  const second = tracker.connect(true);
  first.welcome(welcome(10));
  second.welcome(welcome(10));
  first.comments(comments(11, 13));
  const gap = second.gap({ type: "gap", from_seq: 11, to_seq: 20 });
  assert.deepEqual(gap, { from_seq: 14, to_seq: 20 });
});

test("a connection that begins further on leaves a gap", () => {
  const tracker = new PositionTracker();
  tracker.connect(true).welcome(welcome(10));
  const skipped = { from_seq: 11, to_seq: 30 };
  assert.deepEqual(tracker.connect(false).welcome(welcome(30)), { restarted: false, skipped });
});

test("another epoch or a log that was restored voids the position", () => {
  for (const restarted of [welcome(90, 4), welcome(5)]) {
    const tracker = new PositionTracker();
    tracker.connect(true).welcome(welcome(10));
    const ranges = tracker.connect(true);
    assert.deepEqual(ranges.welcome(restarted), { restarted: true, skipped: null });
    assert.deepEqual(tracker.current, { epoch: restarted.epoch, seq: restarted.seq });
  }
});

test("a restored log is told after the position was repeated", () => {
  const tracker = new PositionTracker();
  tracker.connect(true).welcome(welcome(100));
  const ranges = tracker.connect(true);
  ranges.welcome(welcome(100));
  assert.equal(ranges.welcome(welcome(5)).restarted, true);
  assert.deepEqual(tracker.current, { epoch: 3, seq: 5 });
});
