import assert from "node:assert/strict";
import { test } from "node:test";

import { RowOffsets } from "../row_offsets.js";
import { keyOf, withNotes } from "../rows.js";

/** @typedef {import("../rows.js").NoteRow} NoteRow */

/** @param {number} seq */
function comment(seq, id = `c${seq}`) {
  const by = { user_id: "1", name: "ann", message: "x", created_at: 0 };
  return { comment_id: id, seq, ...by };
}

/**
 * @param {number} afterSeq
 * @returns {NoteRow}
 */
function note(afterSeq) {
  return { key: `n${afterSeq}`, kind: "note", text: "", afterSeq };
}

test("notes stand after the comments that came before them", () => {
  const rows = withNotes(
    [1, 3, 5].map((seq) => comment(seq)),
    [note(0), note(3), note(4), note(9)],
  );
  assert.deepEqual(rows.map(keyOf), ["n0", "c1", "c3", "n3", "n4", "c5", "n9"]);
});

test("notes belong to the newest log", () => {
  const older = [7, 8, 9].map((seq) => comment(seq, `old${seq}`));
  const rows = withNotes([...older, comment(2), comment(4)], [note(1), note(8)]);
  assert.deepEqual(rows.map(keyOf), ["old7", "old8", "old9", "n1", "c2", "c4", "n8"]);
  assert.deepEqual(withNotes([], [note(3)]).map(keyOf), ["n3"]);
});

/** @param {RowOffsets} offsets @param {string[]} keys */
function set(offsets, keys) {
  offsets.setRows(keys.length, (index) => keys[index] ?? "");
}

test("rows begin where those before them end", () => {
  const offsets = new RowOffsets();
  set(offsets, ["a", "b", "c"]);
  const { estimate } = offsets;
  assert.equal(offsets.total, 3 * estimate);
  assert.equal(offsets.measure(1, "b", 100), true);
  offsets.update(1);
  assert.equal(offsets.at(2), estimate + 100);
  assert.equal(offsets.measure(1, "b", 100), false);
  set(offsets, ["x", "b"]);
  assert.equal(offsets.at(2) - offsets.at(1), 100);
  assert.equal(offsets.at(1), 100, "the others count with the average");
});

test("the row at a distance is found, also beyond the ends", () => {
  const offsets = new RowOffsets();
  set(offsets, ["a", "b", "c"]);
  for (const [index, key] of ["a", "b", "c"].entries()) offsets.measure(index, key, 10);
  offsets.update(0);
  const found = [-5, 0, 9.9, 10, 29, 500].map((distance) => offsets.indexAt(distance));
  assert.deepEqual(found, [0, 0, 0, 1, 2, 2]);
  set(offsets, []);
  assert.equal(offsets.indexAt(7), 0);
  assert.equal(offsets.total, 0);
});

test("heights of rows that are gone are forgotten", () => {
  const offsets = new RowOffsets();
  for (let round = 0; round < 50; round += 1) {
    const keys = Array.from({ length: 200 }, (_, index) => `${round}-${index}`);
    set(offsets, keys);
    for (const [index, key] of keys.entries()) offsets.measure(index, key, round + 1);
    offsets.update(0);
  }
  set(offsets, ["new"]);
  assert.ok(offsets.estimate > 40, `${offsets.estimate} is the height of recent rows`);
});
