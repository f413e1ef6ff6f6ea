/** The desk of a moderator: which comment a key is about, and what stays after signing out. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveCommentsError } from "../../client/index.js";
import { Desk } from "../desk.js";
import { FakeChat, comment } from "./fake_chat.js";
import { openFakeAddress, openFakePage, press, settled } from "./fake_page.js";

/** @import { TestContext } from "node:test" */
/** @import { User } from "../../client/index.js" */

/** @type {Partial<User>} */
const MIA = { user_id: "1", name: "mia", role: "moderator" };

/** @param {number} number */
function item(number) {
  const by = { user_id: `${20 + number}`, name: `user ${20 + number}` };
  const why = { reason: "links", held: true };
  return { comment_id: `q${number}`, ...by, message: `held ${number}`, ...why };
}

/**
 * Opens the desk with five comments in the chat and some in the queue.
 *
 * @param {TestContext} context
 * @param {number[]} [waiting]
 */
async function openDesk(context, waiting = [1, 2, 3]) {
  context.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const elementOf = openFakePage();
  openFakeAddress("https://comments.example.org/moderate/2");
  const chat = new FakeChat();
  const queue = { items: waiting.map(item) };
  const room = { settings: { shield: true }, in_force: {} };
  const nobody = { since: 0, said: 0, removed: 0, comments: [] };
  Object.assign(chat.answers, {
    "GET /moderation/queue": () => queue,
    "GET /room": () => room,
    "GET /room/terms": () => ({ terms: [{ term: "spoiler", action: "reject" }] }),
    "GET /users/7/comments": () => nobody,
    "POST /moderation/delete": () => ({ audit_id: 5 }),
  });
  new Desk(chat.asClient);
  chat.timeline.add([1, 2, 3, 4, 5].map((seq) => comment(seq)));
  chat.welcome(MIA);
  const wait = async (ms = 3_000) => {
    context.mock.timers.tick(ms);
    await settled();
  };
  await settled();
  await wait(0);
  const rows = () => elementOf("queue").children.map((row) => String(Object(row).text));
  const marked = () => {
    const all = elementOf("queue").all();
    return all.filter((row) => row.getAttribute("aria-current")).map(({ text }) => text);
  };
  // The page reads the history.
  chat.calls.length = 0;
  /** Items that the server has from the next answer on. @param {number[]} numbers */
  const has = (numbers) => {
    queue.items = numbers.map(item);
  };
  return { chat, elementOf, has, wait, rows, marked };
}

test("keys in the queue leave the live chat alone", async (context) => {
  const { chat, elementOf } = await openDesk(context);
  press("j");
  press("g");
  for (const key of ["d", "s", "i", "y", "Enter"]) press(key);
  await settled();
  assert.deepEqual(chat.calls, []);
  assert.equal(elementOf("replying-to").text, "");
  assert.match(elementOf("card-name").text, /user 21/, "the card is of the queue");
  press("g");
  for (const key of ["d", "y"]) press(key);
  await settled();
  assert.deepEqual(chat.calls, [`/moderation/delete {"comment_id":"c5"}`]);
  assert.match(elementOf("replying-to").text, /text 5/);
});

test("an empty queue opens no card of the chat", async (context) => {
  const { elementOf } = await openDesk(context, []);
  for (const key of ["j", "g", "Enter", "a"]) press(key);
  assert.equal(elementOf("card").hidden, true);
});

test("keys decide about the selected item or the first", async (context) => {
  const { chat, rows, marked, wait } = await openDesk(context, [1, 2, 3, 4]);
  press("a");
  assert.match(marked()[0] ?? "", /held 2/);
  press("g");
  press("j");
  press("r");
  assert.match(marked()[0] ?? "", /held 4/);
  press("t");
  await settled();
  assert.deepEqual(chat.calls, [
    `/moderation/approve {"comment_id":"q1"}`,
    `/moderation/reject {"comment_id":"q3"}`,
    `/moderation/timeout {"user":"id:24"}`,
  ]);
  // The server may still list what was decided.
  await wait();
  assert.deepEqual(rows().map((text) => /held \d/.exec(text)?.[0]), ["held 2", "held 4"]);
});

test("an item that is not decided waits again", async (context) => {
  const { chat, rows, wait } = await openDesk(context, [1]);
  chat.answers["POST /moderation/approve"] = () => {
    throw new Error("no");
  };
  press("a");
  assert.equal(rows().length, 0);
  await settled();
  await wait();
  assert.equal(rows().length, 1);
});

test("what waits at the end can still be decided", async (context) => {
  const { chat, rows, wait, has } = await openDesk(context);
  chat.close("stream_ended");
  await settled();
  chat.calls.length = 0;
  has([]);
  await wait(30_000);
  assert.equal(rows().length, 3, "nothing is asked for");
  press("a");
  assert.deepEqual(chat.calls, [`/moderation/approve {"comment_id":"q1"}`]);
  await settled();
  chat.answers["POST /moderation/reject"] = () => {
    throw new LiveCommentsError("overloaded", "try again");
  };
  has([2, 3]);
  press("r");
  assert.equal(rows().length, 1);
  await settled();
  assert.equal(rows().length, 2, "one that was not decided waits again");
});

test("a key never decides about another item", async (context) => {
  const { chat, has, wait, marked } = await openDesk(context);
  press("g");
  press("j");
  assert.match(marked()[0] ?? "", /held 2/);
  has([1, 3]);
  await wait();
  assert.deepEqual(marked(), []);
  press("r");
  await wait(499);
  press("r");
  assert.deepEqual(chat.calls, []);
  await wait(1);
  press("r");
  assert.deepEqual(chat.calls, [`/moderation/reject {"comment_id":"q1"}`]);
});

test("the first item may not change under a key", async (context) => {
  const { chat, has, wait } = await openDesk(context);
  has([2, 3]);
  await wait();
  press("a");
  assert.deepEqual(chat.calls, []);
  await wait(500);
  press("a");
  assert.deepEqual(chat.calls, [`/moderation/approve {"comment_id":"q2"}`]);
});

test("rows of the queue stay while it is asked for", async (context) => {
  const { elementOf, has, wait } = await openDesk(context);
  const [, second] = elementOf("queue").all().filter(({ tagName }) => tagName === "LI");
  const approve = second?.button("Approve");
  approve?.focus();
  has([2, 3, 4]);
  await wait();
  const rows = elementOf("queue").children;
  assert.deepEqual([rows.length, rows[0] === second], [3, true]);
  assert.equal(Object(document.activeElement), approve);
  approve?.click();
  assert.match(Object(document.activeElement).text, /held 3/, "the next row has the focus");
});

test("signing out leaves nothing of the moderator", async (context) => {
  const { chat, elementOf, rows, wait } = await openDesk(context);
  press("j");
  press("Enter");
  press("d");
  await settled();
  assert.equal(elementOf("terms").children.length, 1);
  assert.equal(elementOf("acts").children.length, 1);
  assert.equal(elementOf("room-shield").checked, true);
  const answer = { resolve: (/** @type {object} */ _) => {} };
  chat.answers["GET /moderation/queue"] = () => {
    return new Promise((resolve) => (answer.resolve = resolve));
  };
  await wait();
  elementOf("leave").click();
  answer.resolve({ items: [item(9)] });
  await settled();
  assert.deepEqual([rows(), elementOf("queue-count").text], [[], "0"]);
  const lists = ["terms", "acts", "card-comments", "card-name", "news"];
  assert.deepEqual(lists.map((id) => elementOf(id).text), lists.map(() => ""));
  assert.deepEqual([elementOf("card").hidden, elementOf("room-shield").checked], [true, false]);
  press("u");
  press("a");
  chat.tell("room", {});
  await wait(30_000);
  assert.deepEqual(chat.calls, [
    `/moderation/delete {"comment_id":"c5"}`,
    "token null",
    "connect",
  ]);
  assert.equal(elementOf("terms").children.length, 0);
});

test("a refusal after signing out loads no room", async (context) => {
  const { chat, elementOf } = await openDesk(context);
  const answer = { reject: (/** @type {Error} */ _) => {} };
  chat.answers["PATCH /room"] = () => {
    return new Promise((_, reject) => (answer.reject = reject));
  };
  elementOf("room-shield").fire("change");
  await settled();
  elementOf("leave").click();
  answer.reject(new LiveCommentsError("token_expired", "too late"));
  await settled();
  assert.deepEqual([elementOf("terms").text, elementOf("room-shield").checked], ["", false]);
});

test("a viewer's token shows nothing of the desk", async (context) => {
  const { chat, elementOf, rows } = await openDesk(context);
  chat.welcome({ user_id: "9", name: "bob", role: "viewer" });
  assert.deepEqual([rows(), elementOf("terms").text], [[], ""]);
  assert.match(elementOf("role").text, /signed in as viewer/);
});

test("a deletion by others selects no other comment", async (context) => {
  const { chat, elementOf } = await openDesk(context);
  for (const key of ["j", "k", "k"]) press(key);
  chat.delete("c3");
  await settled();
  press("d");
  assert.deepEqual(chat.calls, []);
  assert.equal(elementOf("comments").getAttribute("aria-activedescendant"), null);
  press("j");
  const selected = () => elementOf("comments").getAttribute("aria-activedescendant");
  assert.equal(selected(), "row-c4", "the place is kept");
  press("d");
  await settled();
  chat.delete("c4");
  assert.equal(selected(), "row-c5", "an own act moves on");
});

test("an act that failed or was undone removes nothing", async (context) => {
  const { chat, elementOf } = await openDesk(context);
  const selected = () => elementOf("comments").getAttribute("aria-activedescendant");
  const answer = chat.answers["POST /moderation/delete"];
  chat.answers["POST /moderation/delete"] = () => {
    throw new LiveCommentsError("network", "no answer");
  };
  for (const key of ["j", "d"]) press(key);
  await settled();
  chat.delete("c5");
  await settled();
  assert.equal(selected(), null, "it failed");
  Object.assign(chat.answers, { "POST /moderation/delete": answer });
  for (const key of ["j", "d"]) press(key);
  await settled();
  press("u");
  await settled();
  chat.delete("c4");
  await settled();
  assert.equal(selected(), null, "it was taken back");
});

test("a cleared room leaves older comments to others", async (context) => {
  const { chat, elementOf } = await openDesk(context);
  const selected = () => elementOf("comments").getAttribute("aria-activedescendant");
  chat.timeline.add([{ ...comment(6), created_at: Date.now() }]);
  await settled();
  elementOf("clear-time").value = "60000";
  elementOf("clear-form").fire("submit");
  press("j");
  chat.delete("c6");
  await settled();
  assert.equal(selected(), "row-c5", "the next key is for the one before");
  chat.delete("c5");
  assert.equal(selected(), null, "somebody else has deleted it");
});

test("an act is read out once and keeps its row", async (context) => {
  const { elementOf } = await openDesk(context);
  const acts = elementOf("acts");
  press("j");
  press("d");
  const [row] = acts.children;
  await settled();
  assert.match(elementOf("news").text, /^Delete: user 7: text 5: done$/);
  press("d");
  await settled();
  assert.equal(acts.children[1], row);
  acts.all().find(({ tagName }) => tagName === "BUTTON")?.focus();
  acts.button("Undo").click();
  assert.equal(Object(document.activeElement), acts.children[0]);
  await settled();
  assert.match(elementOf("news").text, /taken back$/);
  assert.match(acts.text, /taken back.*done/);
});

test("the card shows what was deleted or hidden", async (context) => {
  const { chat, elementOf, wait } = await openDesk(context);
  const asked = { stream_id: "2", created_at: 3 };
  chat.answers["GET /users/7/comments"] = () => ({
    since: 0,
    said: 9,
    removed: 2,
    comments: [
      { ...asked, comment_id: "gone", message: "was bad", removed: "moderator" },
      { ...asked, comment_id: "hid", message: "was odd", shadowed: true },
      { ...asked, comment_id: "c2", message: "text 2" },
    ],
  });
  press("j");
  press("Enter");
  await settled();
  assert.equal(elementOf("card-comments").children.length, 5, "those that are loaded");
  await wait(300);
  const card = elementOf("card-comments");
  assert.match(elementOf("card-said").text, /9 comments, 2 deleted or hidden/);
  assert.match(card.text, /was bad.*removed: moderator/);
  assert.match(card.text, /was odd.*only the user sees it/);
  assert.equal(card.children.length, 7);
  const [, kept] = card.children;
  chat.delete("c5");
  await settled();
  assert.match(Object(card.children[0]).text, /text 5.*removed: moderator/);
  assert.equal(card.children[1], kept);
});
