import assert from "node:assert/strict";
import { test } from "node:test";

import { Timeline } from "../../client/index.js";
import { OverlayList } from "../overlay_list.js";
import { overlayOptions } from "../overlay_options.js";
import { FakeChat, comment } from "./fake_chat.js";
import { FakeElement, openFakeAddress, openFakePage, settled } from "./fake_page.js";

/** @import { TestContext } from "node:test" */

const LINES = 3;

/**
 * @param {TestContext} context
 * @param {string} query
 */
function openOverlay(context, query) {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  openFakePage();
  const root = new FakeElement();
  const chat = new FakeChat();
  chat.timeline = new Timeline(LINES);
  const options = overlayOptions(new URLSearchParams(query));
  new OverlayList(/** @type {HTMLElement} */ (Object(root)), options, chat.asClient);
  const add = async (/** @type {number[]} */ ...seqs) => {
    chat.timeline.add(seqs.map((seq) => comment(seq)));
    await settled();
  };
  const texts = () => root.all().filter(({ className }) => className === "text");
  return { chat, root, add, shown: () => texts().map(({ text }) => text) };
}

test("comments fade, each after its own time", async (context) => {
  const { root, add, shown } = openOverlay(context, "fade=20");
  await add(1);
  context.mock.timers.tick(10_000);
  await add(2);
  context.mock.timers.tick(10_000);
  const fading = root.children.map((row) => Object(row).classList.contains("fading"));
  assert.deepEqual([fading, shown()], [[true, false], ["text 1", "text 2"]]);
  context.mock.timers.tick(1_000);
  assert.deepEqual(shown(), ["text 2"]);
  await add(3);
  assert.deepEqual(shown(), ["text 2", "text 3"], "a faded one stays away");
});

test("a row that goes leaves no timer behind", async (context) => {
  const { chat, add, shown } = openOverlay(context, "fade=3600");
  const clear = context.mock.method(globalThis, "clearTimeout");
  const set = context.mock.method(globalThis, "setTimeout");
  const left = () => set.mock.callCount() - clear.mock.callCount();
  for (let seq = 1; seq <= 100; seq += 1) await add(seq);
  assert.deepEqual([shown().length, left()], [LINES, LINES]);
  chat.delete("c99");
  await settled();
  assert.deepEqual([shown().length, left()], [2, 2]);
});

test("without a fade only newer comments take a place", async (context) => {
  const { add, shown } = openOverlay(context, "");
  await add(1, 2, 3);
  context.mock.timers.tick(3_700_000);
  await add(4);
  assert.deepEqual(shown(), ["text 2", "text 3", "text 4"]);
});

test("an overlay asks an ended stream less and less", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const random = context.mock.method(Math, "random", () => 0.5);
  // The page itself does not start without a stream.
  openFakeAddress("https://comments.example.org/overlay/none");
  const { reconnectForEver } = await import("../overlay.js");
  const chat = new FakeChat();
  reconnectForEver(chat.asClient);
  /** Ends the connection and returns the seconds until the next. @param {string} code */
  const refuse = (code) => {
    chat.close(code);
    chat.calls.length = 0;
    chat.schedule = { state: "live" };
    let seconds = 0;
    for (; chat.calls.length === 0; seconds += 1) context.mock.timers.tick(1_000);
    return seconds;
  };
  const waits = [];
  for (let tries = 0; tries < 6; tries += 1) waits.push(refuse("stream_ended"));
  assert.deepEqual(waits, [30, 60, 120, 240, 300, 300]);
  assert.equal(random.mock.callCount(), 6, "others wait for another time");
  assert.equal(refuse("unknown_stream"), 30);
  chat.welcome(null);
  assert.equal(refuse("stream_ended"), 30, "it was made live again");
});
