import assert from "node:assert/strict";
import { test } from "node:test";

import { MessageList, MessagePanel, senderInWords } from "../message_panel.js";
import { openFakePage } from "./fake_page.js";

/** @import { LiveComments } from "../../client/index.js" */
/** @import { FakeElement } from "./fake_page.js" */

const MOST_MESSAGES = 50;

/** @param {number} [message_id] */
function message(message_id, text = `m${message_id}`) {
  const fields = { from: "moderator", message: text, sent_at: 0 };
  return message_id === undefined ? fields : { message_id, ...fields };
}

/**
 * @param {number} first
 * @param {number} last
 */
function listed(first, last) {
  return Array.from({ length: last - first + 1 }, (_, index) => {
    return { ...message(first + index), message_id: first + index };
  });
}

/** @param {MessageList} list */
function ids(list) {
  return list.shown.map(({ message_id }) => message_id);
}

test("a live message is shown once and acknowledged", () => {
  const list = new MessageList();
  assert.equal(list.add([message(7)]).length, 1);
  assert.equal(list.add(listed(7, 7)).length, 0);
  assert.equal(list.add([message(7)]).length, 0);
  assert.equal(list.acknowledgeable(listed(7, 7)), 0);
  list.dismiss();
  assert.deepEqual([ids(list), list.acknowledgeable(listed(7, 7))], [[], 7]);
  // It may arrive again.
  assert.equal(list.add([message(7)]).length, 0);
});

test("a message without an id is not acknowledged", () => {
  const list = new MessageList();
  assert.equal(list.add([message(undefined, "old"), message(3)]).length, 2);
  assert.deepEqual(ids(list), [3, undefined]);
  list.dismiss();
  assert.equal(list.acknowledgeable([]), 0);
  assert.equal(list.acknowledgeable(listed(3, 4)), 3);
  for (let count = 0; count <= MOST_MESSAGES; count += 1) {
    list.add([message(undefined, `${count}`)]);
  }
  assert.deepEqual([list.shown.length, list.shown[0]?.message], [MOST_MESSAGES, "1"]);
});

test("messages beyond the oldest come after dismissal", () => {
  const list = new MessageList();
  const all = listed(1, 100);
  list.add(all);
  list.add([message(101)]);
  assert.deepEqual(ids(list), listed(1, MOST_MESSAGES).map(({ message_id }) => message_id));
  list.dismiss();
  assert.equal(list.acknowledgeable([...all, ...listed(101, 101)]), 50);
  list.add(listed(51, 101));
  assert.deepEqual([ids(list)[0], ids(list).at(-1)], [51, 100]);
  list.dismiss();
  list.add(listed(101, 101));
  assert.deepEqual([ids(list), list.acknowledgeable(listed(51, 101))], [[101], 100]);
});

test("a live message does not forget unseen ones", () => {
  const list = new MessageList();
  list.add([message(60)]);
  list.dismiss();
  assert.equal(list.acknowledgeable(listed(1, 60)), 0);
  list.add(listed(1, 60));
  assert.deepEqual([list.shown.length, ids(list).at(-1)], [50, 50]);
  list.dismiss();
  list.add(listed(51, 60));
  list.dismiss();
  assert.equal(list.acknowledgeable(listed(51, 60)), 60);
});

test("another user starts without messages", () => {
  const list = new MessageList();
  list.add(listed(1, 2));
  list.dismiss();
  list.clear();
  assert.equal(list.acknowledgeable(listed(1, 2)), 0);
  assert.equal(list.add(listed(1, 2)).length, 2);
});

test("a user called moderator does not look like the team", () => {
  const words = (/** @type {string | undefined} */ from_user) => {
    const { className, before, after } = senderInWords({ from_user });
    return `${className}: ${before}moderator${after}`;
  };
  assert.equal(words("42"), "of-user: from moderator (user 42)");
  assert.equal(words(undefined), "of-team: from the team (moderator)");
});

function openPanel() {
  const elementOf = openFakePage();
  /** @type {Map<string, (event: object) => void>} */
  const listeners = new Map();
  const server = { kept: listed(1, 0), acknowledged: /** @type {number[]} */ ([]) };
  const chat = {
    on: (/** @type {string} */ name, /** @type {(event: object) => void} */ listener) => {
      listeners.set(name, listener);
    },
    messages: async () => server.kept,
    acknowledgeMessages: async (/** @type {number} */ upTo) => {
      server.acknowledged.push(upTo);
      server.kept = server.kept.filter(({ message_id }) => message_id > upTo);
    },
  };
  new MessagePanel(/** @type {LiveComments} */ (/** @type {unknown} */ (chat)));
  const tell = async (/** @type {string} */ name, /** @type {object} */ event) => {
    listeners.get(name)?.(event);
    await settled();
  };
  const dismiss = async () => {
    elementOf("messages-dismiss").fire("click");
    await settled();
  };
  const rows = () => /** @type {FakeElement[]} */ (elementOf("messages-list").children);
  return { server, tell, dismiss, rows, welcome: { user: { user_id: "1" } } };
}

function settled() {
  return new Promise((resolve) => setImmediate(resolve));
}

test("the panel shows a live message once and acknowledges it", async () => {
  const { server, tell, dismiss, rows, welcome } = openPanel();
  await tell("welcome", welcome);
  server.kept = listed(7, 7);
  const sender = { from: "ann", from_user: "42" };
  await tell("direct", { type: "direct", ...sender, message: "hi", message_id: 7 });
  await tell("welcome", welcome);
  assert.equal(rows().length, 1);
  assert.match(rows()[0]?.text ?? "", /from ann \(user 42\): hi$/);
  assert.equal(rows()[0]?.className, "of-user");
  await dismiss();
  assert.deepEqual([rows().length, server.acknowledged], [0, [7]]);
});

test("the panel acknowledges only what it has shown", async () => {
  const { server, tell, dismiss, rows, welcome } = openPanel();
  server.kept = listed(1, 100);
  await tell("welcome", welcome);
  assert.equal(rows().length, MOST_MESSAGES);
  await dismiss();
  assert.deepEqual([rows().length, server.acknowledged], [50, [50]]);
  await dismiss();
  assert.deepEqual([rows().length, server.acknowledged], [0, [50, 100]]);
  await tell("direct", { type: "direct", from: "moderator", message: "of an older server" });
  assert.equal(rows()[0]?.className, "of-team");
  await dismiss();
  assert.deepEqual([rows().length, server.acknowledged], [0, [50, 100]]);
});
