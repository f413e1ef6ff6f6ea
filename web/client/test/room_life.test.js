import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveComments } from "../client.js";
import { FakeClock, FakeFetch, FakeSockets, ann, json, settle, welcome } from "./support.js";

/** @import { PinnedComment, Poll, WelcomeMessage } from "../protocol.js" */

const PARENT = "2f5e1c80-c6e5-11f0-8000-0242ac120002";

/**
 * @param {number} pinned_at
 * @param {string} [comment_id]
 * @returns {PinnedComment}
 */
function pin(pinned_at, comment_id = "id-5") {
  return { comment_id, user_id: "9", name: "bob", message: "look", created_at: 5, pinned_at };
}

/**
 * @param {number} poll_id
 * @param {Partial<Poll>} [fields]
 * @returns {Poll}
 */
function poll(poll_id, fields = {}) {
  const times = { opened_at: 1_000, closes_at: 121_000 };
  return { poll_id, question: "Who?", options: ["a", "b"], votes: [0, 0], ...times, ...fields };
}

/** @param {Partial<WelcomeMessage>} [first] Fields of the first welcome. */
async function connected(first = {}) {
  const clock = new FakeClock();
  const sockets = new FakeSockets();
  const http = new FakeFetch();
  const client = new LiveComments("https://host", "7", {
    clock,
    token: "token",
    WebSocket: sockets.WebSocket,
    fetch: http.fetch,
    transports: ["websocket"],
  });
  /** @type {(string | null)[]} */
  const told = [];
  client.on("pinned", ({ comment }) => told.push(comment && `pinned ${comment.pinned_at}`));
  client.on("poll", ({ poll: it }) => {
    told.push(it && `poll ${it.poll_id} ${it.votes}${it.closed ? " closed" : ""}`);
  });
  client.connect();
  await settle();
  sockets.last.accept();
  sockets.last.receive(welcome(10, { user: ann, ...first }));
  /** @param {Partial<WelcomeMessage>} fields Of the next welcome. */
  const reconnect = async (fields) => {
    sockets.last.end(1006);
    await clock.advance(500);
    sockets.last.accept();
    sockets.last.receive(welcome(10, { user: ann, ...fields }));
    await settle();
  };
  return { client, sockets, http, told, reconnect };
}

test("a welcome tells what stands above the chat, each time", async () => {
  const { client, told, reconnect } = await connected({ pinned: pin(20), poll: poll(17) });
  assert.deepEqual(told, ["pinned 20", "poll 17 0,0"]);
  await reconnect({ pinned: pin(20), poll: poll(17, { votes: [1, 0] }) });
  assert.deepEqual(told.splice(0), ["pinned 20", "poll 17 0,0", "poll 17 1,0"]);
  await reconnect({ poll: poll(18) });
  assert.deepEqual(told, [null, "poll 18 0,0"]);
  assert.equal(client.pinned, null);
  assert.equal(client.poll?.poll_id, 18);
  client.close();
});

test("a pin that is repeated is told once, and votes of another poll never", async () => {
  const { client, sockets, told } = await connected({ pinned: pin(20), poll: poll(17) });
  sockets.last.receive(
    { type: "pinned", comment: pin(20) },
    { type: "poll_votes", poll_id: 16, votes: [9, 9] },
    { type: "poll_votes", poll_id: 17, votes: [2, 3] },
    { type: "poll", ...poll(17, { votes: [2, 4], closed: true }) },
    { type: "pinned", comment: null },
  );
  const votes = ["poll 17 2,3", "poll 17 2,4 closed"];
  assert.deepEqual(told, ["pinned 20", "poll 17 0,0", ...votes, null]);
  client.close();
});

test("a pinned comment that is deleted is pinned no more", async () => {
  const { client, sockets, told, reconnect } = await connected({ pinned: pin(20) });
  const deletion = { comment_id: "id-5", reason: "spam", timestamp: 30 };
  sockets.last.receive({ type: "comment.deleted", ...deletion });
  sockets.last.receive({ type: "pinned", comment: null });
  assert.deepEqual(told.splice(0), ["pinned 20", null]);
  // A node that has not heard of the deletion yet.
  await reconnect({ pinned: pin(20) });
  assert.deepEqual([client.pinned, told], [null, []]);
  // It was restored, and pinned again.
  await reconnect({ pinned: pin(40) });
  assert.deepEqual(told, ["pinned 40"]);
  client.close();
});

test("the result of a poll that closed meanwhile is read", async () => {
  const { client, http, told, reconnect } = await connected({ poll: poll(17) });
  http.answer = () => json({ polls: [poll(17, { votes: [5, 6], closed: true })] });
  await reconnect({});
  assert.deepEqual(told.splice(0), ["poll 17 0,0", "poll 17 5,6 closed"]);
  assert.equal(http.requests[0]?.url.search, "?limit=1");
  // That of a poll which is closed already is not.
  await reconnect({});
  assert.deepEqual([http.requests.length, told], [1, []]);
  client.close();
});

test("a result that cannot be read ends the poll", async () => {
  const { client, told, reconnect } = await connected({ poll: poll(17) });
  await reconnect({});
  assert.deepEqual([client.poll, told], [null, ["poll 17 0,0", null]]);
  client.close();
});

test("votes and messages have the paths and fields of the protocol", async () => {
  const { client, http } = await connected();
  const kept = [{ message_id: 3, from: "mia", from_user: "42", message: "hi", sent_at: 5 }];
  http.answer = ({ url, method }) => {
    if (url.pathname.endsWith("/polls")) return json({ polls: [] });
    if (method === "GET") return json({ messages: kept });
    return new Response(null, { status: 204 });
  };
  await client.vote(17, 1);
  assert.deepEqual(await client.polls(5), []);
  assert.deepEqual(await client.messages(), kept);
  await client.acknowledgeMessages(3);
  await client.sendMessage("id:43", "hi");
  const asked = http.requests.map(({ method, url, body }) => {
    const path = url.pathname.replace("/api/streams/7/", "") + url.search;
    return `${method} ${path} ${JSON.stringify(body) ?? ""}`.trim();
  });
  assert.deepEqual(asked, [
    'POST polls/17/votes {"option":1}',
    "GET polls?limit=5",
    "GET messages",
    'POST messages/acknowledged {"up_to":3}',
    'POST messages {"user":"id:43","message":"hi"}',
  ]);
  http.answer = () => json({ code: "messages_off", detail: "not between users" }, 403);
  const refused = client.sendMessage("bob", "hi");
  await assert.rejects(refused, { name: "LiveCommentsError", code: "messages_off", status: 403 });
  client.close();
});

test("an answer to no comment id breaks no connection, in both encodings", async () => {
  for (const encoding of /** @type {const} */ (["json", "msgpack"])) {
    const client = new LiveComments("https://host", "7", { clock: new FakeClock(), encoding });
    await assert.rejects(client.send("hi", { parentId: "nope" }), { code: "bad_message" });
    assert.equal(client.outgoing.length, 0);
    client.send("hi", { parentId: PARENT }).catch(() => {});
    const parents = client.outgoing.map(({ parent_id }) => parent_id);
    assert.deepEqual(parents, [PARENT]);
    client.close();
  }
});
