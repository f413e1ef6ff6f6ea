import assert from "node:assert/strict";
import { test } from "node:test";

import { BoundedSet } from "../bounded_set.js";
import { Timeline } from "../timeline.js";
import { comment, range, seeded } from "./support.js";

/** @param {Timeline} timeline */
function seqs(timeline) {
  return timeline.comments.map(({ seq }) => seq);
}

test("comments in any order are shown once and in order", () => {
  for (let seed = 0; seed < 50; seed += 1) {
    const random = seeded(seed);
    const timeline = new Timeline(1_000);
    const given = new Set();
    for (let round = 0; round < 40; round += 1) {
      const from = Math.floor(random() * 100);
      const numbers = range(from, from + Math.floor(random() * 10));
      timeline.add(numbers.map((seq) => comment(seq)));
      for (const seq of numbers) given.add(seq);
    }
    assert.deepEqual(
      seqs(timeline),
      [...given].sort((one, other) => one - other),
    );
  }
});

test("comments after a number are those of the last log", () => {
  const timeline = new Timeline(10);
  timeline.add([comment(8), comment(9)]);
  timeline.startLog();
  timeline.add([comment(1), comment(3), comment(4)]);
  const after = (/** @type {number} */ seq) => timeline.after(seq, 2).map(({ seq }) => seq);
  assert.deepEqual([after(0), after(1), after(2), after(4)], [[1, 3], [3, 4], [3, 4], []]);
});

test("the oldest comments leave a timeline that is full", () => {
  const timeline = new Timeline(3);
  /** @type {number[][]} */
  const changes = [];
  timeline.on("change", ({ added, removed }) => {
    changes.push([added.length, removed.length]);
  });
  timeline.add([1, 2, 3].map((seq) => comment(seq)));
  timeline.add([4, 5].map((seq) => comment(seq)));
  assert.deepEqual(seqs(timeline), [3, 4, 5]);
  assert.deepEqual(timeline.add([comment(1)]), []);
  assert.deepEqual(changes, [
    [3, 0],
    [2, 2],
  ]);
  timeline.limit = 1;
  assert.deepEqual(seqs(timeline), [5]);
});

test("comments of an older log come first, whatever their numbers", () => {
  const timeline = new Timeline(10);
  timeline.add([comment(8), comment(9)]);
  timeline.startLog();
  timeline.add([comment(1), comment(2)]);
  timeline.add([comment(7)], 1);
  timeline.add([comment(50)], 2);
  assert.deepEqual(seqs(timeline), [50, 7, 8, 9, 1, 2]);
});

test("a comment that was removed can come back", () => {
  const timeline = new Timeline(10);
  timeline.add([comment(1), comment(2)]);
  assert.equal(timeline.remove("id-1"), true);
  assert.equal(timeline.remove("id-1"), false);
  timeline.add([comment(1)]);
  assert.deepEqual(seqs(timeline), [1, 2]);
});

test("a bounded set forgets its oldest values", () => {
  const set = new BoundedSet(2);
  for (const value of [1, 2, 2, 3]) set.add(value);
  assert.deepEqual([set.has(1), set.has(2), set.has(3), set.size], [false, true, true, 2]);
});
