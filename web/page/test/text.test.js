import assert from "node:assert/strict";
import { test } from "node:test";

import { overlayOptions } from "../overlay_options.js";
import { streamIdOf } from "../site.js";
import { compact, countdown, duration, shareInWords, withoutPiles } from "../text.js";

test("piles of marks are cut, and marks of languages are not", () => {
  assert.equal(withoutPiles(`z${"\u0300".repeat(40)}a`), `z${"\u0300".repeat(6)}a`);
  const plain = ["é", "ที่นี่", "ཀྵྲྀ", "שָׁלוֹם", "❤️", "👨‍👩‍👧‍👦"];
  for (const text of plain) assert.equal(withoutPiles(text), text);
});

test("times and numbers are in words", () => {
  assert.equal(duration(30_000), "30 s");
  assert.equal(duration(600_000), "10 min");
  assert.equal(duration(7_200_000), "2 h");
  assert.equal(countdown(61_001), "1:02");
  assert.equal(countdown(7_261_000), "2:01:01");
  assert.equal(countdown(-1), "0:00");
  assert.equal(compact(999), "999");
  assert.equal(shareInWords(0.1), "1 in 10");
  assert.equal(shareInWords(0.4), "40 % of the");
  assert.equal(shareInWords(0.001), "1 in 1000");
});

test("an address names one stream, or none that can be", () => {
  const id = (/** @type {string} */ path) => streamIdOf(new URL(path, "https://host"));
  assert.equal(id("/"), "1");
  assert.equal(id("/?stream=7"), "7");
  assert.equal(id("/site/stream/9223372036854775807"), "9223372036854775807");
  assert.equal(id("/overlay/7?size=3"), "7");
  for (const wrong of ["/stream/0", "/stream/x", "/?stream=", "/stream/9223372036854775808"]) {
    assert.equal(id(wrong), "", wrong);
  }
});

test("what is wrong in the address of an overlay is left out", () => {
  const options = (/** @type {string} */ query) => overlayOptions(new URLSearchParams(query));
  const given = options("size=40&lines=5&fade=2.5&align=right&color=ff0000&names=0&font=Open Sans");
  assert.deepEqual(
    { ...given },
    {
      ...options(""),
      size: 40,
      lines: 5,
      fade: 2.5,
      align: "right",
      color: "#ff0000",
      names: false,
      font: "Open Sans",
    },
  );
  const wrong = "size=4000&lines=0&fade=-1&align=x&color=url(x)&width=5&names=yes&font=a;b:c";
  assert.deepEqual(options(wrong), options(""));
});
