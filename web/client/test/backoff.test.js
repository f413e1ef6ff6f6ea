import assert from "node:assert/strict";
import { test } from "node:test";

import { Backoff } from "../backoff.js";
import { seeded } from "./support.js";

test("delays stay within bounds that double up to the longest", () => {
  for (let seed = 0; seed < 200; seed += 1) {
    const backoff = new Backoff({ random: seeded(seed) }, { baseMs: 500, longestMs: 30_000 });
    for (let failures = 0; failures < 40; failures += 1) {
      const delay = backoff.next();
      assert.ok(delay >= 0 && delay < Math.min(30_000, 500 * 2 ** failures), `${delay}`);
    }
  }
});

test("the jitter is full: delays spread over the whole range", () => {
  const random = seeded(7);
  const quarters = [0, 0, 0, 0];
  for (let client = 0; client < 4_000; client += 1) {
    const backoff = new Backoff({ random }, { baseMs: 1_000, longestMs: 1_000 });
    const quarter = Math.floor(backoff.next() / 250);
    quarters[quarter] = (quarters[quarter] ?? 0) + 1;
  }
  for (const count of quarters) assert.ok(count > 850 && count < 1_150, `${quarters}`);
});

test("a reset begins with the shortest bound again", () => {
  const backoff = new Backoff({ random: () => 0.999 }, { baseMs: 100, longestMs: 10_000 });
  for (let failures = 0; failures < 5; failures += 1) backoff.next();
  backoff.reset();
  assert.ok(backoff.next() < 100);
});
