/** Pauses, gaps, and the history on the page of a viewer. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveCommentsError } from "../../client/index.js";
import { StreamView } from "../stream_view.js";
import { FakeChat, comment } from "./fake_chat.js";
import { openFakeAddress, openFakePage, settled } from "./fake_page.js";

/** @import { TestContext } from "node:test" */

const FAILED = () => Promise.reject(new LiveCommentsError("network", "no answer"));

/** @param {TestContext} context */
async function openPage(context) {
  context.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const elementOf = openFakePage();
  openFakeAddress("https://comments.example.org/stream/2");
  const comments = elementOf("comments");
  comments.clientHeight = 400;
  const chat = new FakeChat();
  new StreamView(chat.asClient);
  chat.timeline.add([1, 2, 9].map((seq) => comment(seq)));
  const gaps = () => comments.all().filter(({ className }) => className === "note");
  const settle = async () => {
    await settled();
    chat.calls.length = 0;
  };
  return { chat, elementOf, comments, gaps, settle };
}

test("a skip leaves a line that loads what was skipped", async (context) => {
  const { chat, elementOf, comments, gaps, settle } = await openPage(context);
  chat.welcome(null);
  await settle();
  elementOf("read-all").click();
  await settle();
  elementOf("skip").click();
  assert.deepEqual(chat.calls, ["skip"]);
  chat.calls.length = 0;
  chat.tell("gap", { from_seq: 3, to_seq: 8, cause: "skip" });
  await settled();
  assert.equal(gaps().length, 1);
  assert.deepEqual(chat.calls, [], "it waits for the reader");
  chat.filling = FAILED;
  comments.button("Load them").click();
  comments.button("Loading…").click();
  await settled();
  assert.deepEqual(chat.calls, ["fill 3 to 8"], "a second press asks for nothing");
  assert.match(elementOf("notice").text, /cannot be read now/);
  chat.filling = async () => 6;
  comments.button("Load them").click();
  await settled();
  assert.equal(gaps().length, 0);
});

test("a gap of a pause that cannot be filled is shown", async (context) => {
  const { chat, elementOf, gaps, settle } = await openPage(context);
  chat.welcome(null);
  elementOf("read-all").click();
  elementOf("resume").click();
  await settle();
  chat.tell("gap", { from_seq: 3, to_seq: 8, cause: "server" });
  await settled();
  assert.deepEqual([chat.calls, gaps().length], [["fill 3 to 8"], 0]);
  chat.filling = FAILED;
  chat.tell("gap", { from_seq: 3, to_seq: 8, cause: "server" });
  await settled();
  assert.equal(gaps().length, 1);
});

test("an unread gap waits for a press after a pause", async (context) => {
  const { chat, elementOf, gaps, settle } = await openPage(context);
  chat.welcome(null);
  elementOf("read-all").click();
  elementOf("resume").click();
  await settle();
  chat.tell("gap", { from_seq: 3, to_seq: 8, cause: "unread" });
  await settled();
  assert.deepEqual([chat.calls, gaps().length], [[], 1]);
});

test("a gap that the client has given up is shown", async (context) => {
  const { chat, gaps, settle } = await openPage(context);
  chat.welcome(null);
  await settle();
  chat.tell("gap", { from_seq: 3, to_seq: 8, cause: "transport" });
  await settled();
  assert.equal(gaps().length, 0);
  chat.tell("gap", { from_seq: 3, to_seq: 8, cause: "unread" });
  await settled();
  assert.deepEqual([gaps().length, chat.calls], [1, []]);
});

const END = Number.MAX_SAFE_INTEGER;

test("a gap that is told again has one line", async (context) => {
  const { chat, comments, gaps, settle } = await openPage(context);
  chat.welcome(null);
  await settle();
  const tell = async (/** @type {number} */ from_seq, /** @type {number} */ to_seq) => {
    chat.tell("gap", { from_seq, to_seq, cause: "unread" });
    await settled();
    return gaps().length;
  };
  assert.deepEqual([await tell(3, 4), await tell(6, 8)], [1, 2]);
  const [, line] = gaps();
  assert.deepEqual([await tell(6, 8), await tell(6, 7)], [2, 2]);
  assert.equal(gaps()[1], line, "a press on it is not lost");
  assert.equal(await tell(3, END), 1, "it takes in the others");
  comments.button("Load them").click();
  await settled();
  assert.deepEqual([chat.calls, gaps().length], [[`fill 3 to ${END}`], 0]);
});

test("the line of an end goes when the client reads it", async (context) => {
  const { chat, comments, gaps, settle } = await openPage(context);
  chat.close("stream_ended");
  await settle();
  const read = async (/** @type {number} */ seq) => {
    chat.tell("comments", { comments: [comment(seq)], source: "history" });
    await settled();
    return gaps().length;
  };
  chat.tell("gap", { from_seq: 10, to_seq: END, cause: "unread" });
  assert.equal(await read(8), 1, "that is before the end");
  const answer = { reject: (/** @type {Error} */ _) => {} };
  chat.filling = () => new Promise((_, reject) => (answer.reject = reject));
  comments.button("Load them").click();
  assert.equal(await read(30), 1, "the other pages of the reader may fail");
  answer.reject(new LiveCommentsError("network", "no answer"));
  await settled();
  assert.equal(await read(20), 0);
  chat.tell("gap", { from_seq: 10, to_seq: 15, cause: "unread" });
  assert.equal(await read(20), 1, "what was left out of the end");
});

test("a token that a gap meets expired is dropped", async (context) => {
  const { chat, elementOf, comments, gaps, settle } = await openPage(context);
  chat.hasToken = true;
  chat.close("stream_ended");
  chat.tell("gap", { from_seq: 3, to_seq: 8, cause: "unread" });
  await settle();
  chat.filling = () => Promise.reject(new LiveCommentsError("token_expired", "", { status: 401 }));
  comments.button("Load them").click();
  await settled();
  assert.deepEqual(chat.calls, ["fill 3 to 8", "token null", "connect"]);
  assert.match(elementOf("notice").text, /The token was not accepted/);
  chat.filling = async () => 6;
  comments.button("Load them").click();
  await settled();
  assert.equal(gaps().length, 0, "read without it");
});

test("the client reads the history of an ended stream", async (context) => {
  const { chat } = await openPage(context);
  chat.close("stream_ended");
  await settled();
  assert.deepEqual(chat.calls, ["older"]);
});

test("only a stream that continues is paused by itself", async (context) => {
  const { chat, comments, settle } = await openPage(context);
  chat.welcome(null);
  await settle();
  const hold = async () => {
    comments.fire("keydown", { key: "Home" });
    chat.tell("stream", { state: "live", title: "Final" });
    await settled();
    chat.timeline.limit = 3;
    chat.tell("stream", { state: "live", title: "Final" });
    await settle();
  };
  await hold();
  assert.equal(chat.paused, true);
  chat.resume();
  chat.close("stream_ended");
  await hold();
  assert.equal(chat.paused, false);
});

test("a refused token reads no history before it goes", async (context) => {
  const { chat } = await openPage(context);
  chat.hasToken = true;
  chat.close("token_expired");
  await settled();
  assert.deepEqual(chat.calls, ["token null", "connect"]);
});

test("a pause says what waits", async (context) => {
  const { chat, elementOf } = await openPage(context);
  const text = () => elementOf("paused-text").text;
  chat.welcome(null);
  elementOf("read-all").click();
  await settled();
  assert.match(text(), /what comes meanwhile waits\.$/);
  chat.transport = null;
  chat.tell("paused", { paused: true });
  await settled();
  assert.match(text(), /Deletions, messages and announcements may wait/);
  chat.close("stream_ended");
  await settled();
  assert.match(text(), /the stream has ended/);
});
