import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveComments } from "../client.js";
import { connected, serveHistory, shown } from "./connected.js";
import { FakeClock, FakeFetch, FakeSockets, ann, batch, comment } from "./support.js";
import { json, range, settle, welcome } from "./support.js";

/** @typedef {import("../protocol.js").ServerMessage} ServerMessage */

test("each comment is shown once, over a reconnect that overlaps", async () => {
  const { client, sockets, events, reconnect } = await connected();
  sockets.last.receive(batch(11, 12));
  await reconnect(welcome(12), batch(13, 14));
  assert.deepEqual(events, ["live 11 12", "live 13 14"]);
  assert.deepEqual(client.position, { epoch: 3, seq: 14 });
  client.close();
});

test("a hole between ranges is repaired by a resume", async () => {
  const { client, clock, sockets, events } = await connected();
  sockets.last.receive(batch(11, 12), batch(14, 15));
  assert.equal(sockets.last.closedWith, 1000);
  await clock.advance(500);
  assert.equal(sockets.last.url.search, "?epoch=3&seq=12");
  sockets.last.accept();
  sockets.last.receive(welcome(12), batch(13, 15));
  assert.deepEqual(events, ["live 11 12", "live 13 14 15"]);
  client.close();
});

test("an echo and its place show one comment", async () => {
  const { client, sockets, events } = await connected();
  const echo = { .../** @type {object} */ (batch(20, 20)), echo: true };
  sockets.last.receive(/** @type {ServerMessage} */ (echo));
  assert.deepEqual(client.position, { epoch: 3, seq: 10 });
  sockets.last.receive(batch(11, 12), batch(13, 20, [13, 20]));
  assert.deepEqual(events, ["echo 20", "live 11 12", "live 13"]);
  assert.deepEqual(shown(client), [11, 12, 13, 20]);
  client.close();
});

test("a deletion removes, also before its comment arrives", async () => {
  const { client, sockets, events } = await connected();
  /** @param {string} comment_id @returns {ServerMessage} */
  const deletion = (comment_id) => {
    return { type: "comment.deleted", comment_id, reason: "spam", timestamp: 1 };
  };
  sockets.last.receive(batch(11, 12), deletion("id-11"), deletion("id-13"), batch(13, 14));
  sockets.last.receive(deletion("id-13"));
  assert.deepEqual(shown(client), [12, 14]);
  assert.deepEqual(events, ["live 11 12", "deleted id-11", "deleted id-13", "live 14"]);
  client.close();
});

test("a comment that is deleted before its ack is on its way no more", async () => {
  const { client, sockets } = await connected({ token: "token" });
  client.send("hello");
  const ref = client.outgoing[0]?.ref;
  const deletion = { comment_id: "id-11", reason: "spam", timestamp: 1 };
  sockets.last.receive({ type: "comment.deleted", ...deletion });
  sockets.last.receive({ type: "ack", ref, comment_id: "id-11", seq: 11 });
  assert.deepEqual(client.outgoing, []);
  client.close();
});

test("another log is told, and its comments come after the old", async () => {
  const { client, sockets, events, reconnect } = await connected();
  sockets.last.receive(batch(11, 12));
  const other = { ...batch(3, 4), epoch: 4 };
  await reconnect(welcome(2, { epoch: 4 }), /** @type {ServerMessage} */ (other));
  assert.deepEqual(events, ["live 11 12", "restart 4 2", "live 3 4"]);
  assert.deepEqual(shown(client), [11, 12, 3, 4]);
  client.close();
});

test("a comment that another log repeats is shown once", async () => {
  const { client, sockets, events, reconnect } = await connected();
  sockets.last.receive(batch(11, 12));
  // Its id is that of the comment that was shown at 12.
  const again = { ...comment(1), comment_id: "id-12" };
  const repeated = { ...batch(1, 2), comments: [again, comment(2)], epoch: 4 };
  await reconnect(welcome(0, { epoch: 4 }), /** @type {ServerMessage} */ (repeated));
  // The server knows only on the first connection what was shown before.
  const second = { ...batch(3, 4), comments: [{ ...comment(3), comment_id: "id-11" }], epoch: 4 };
  await reconnect(welcome(2, { epoch: 4 }), /** @type {ServerMessage} */ (second));
  assert.deepEqual(events, ["live 11 12", "restart 4 0", "live 2"]);
  assert.deepEqual(shown(client), [11, 12, 2]);
  client.close();
});

test("a pending comment is sent again with its ref and shown once", async () => {
  const { client, sockets, reconnect } = await connected({ token: "token" });
  const result = client.send("hello");
  const [first] = sockets.last.sent.slice(-1);
  await reconnect(welcome(10), welcome(10, { user: ann }));
  assert.deepEqual(sockets.last.sent, [{ type: "auth", token: "token" }, first]);
  const ref = client.outgoing[0]?.ref ?? "";
  sockets.last.receive(batch(11, 11), { type: "ack", ref, comment_id: "id-11", seq: 11 });
  assert.deepEqual(await result, { state: "acknowledged", ref, comment_id: "id-11", seq: 11 });
  assert.deepEqual(client.outgoing, []);
  client.close();
});

test("comments of one user are not sent as another", async () => {
  const { client, sockets, reconnect } = await connected({ token: "ann" });
  sockets.last.end(1006);
  const result = client.send("hello");
  client.setToken("bob");
  await reconnect(welcome(10), welcome(10, { user: { ...ann, user_id: "43" } }));
  await assert.rejects(result, { code: "identity_changed" });
  assert.deepEqual(sockets.last.sent, [{ type: "auth", token: "bob" }]);
  client.close();
});

test("comments of a user that signs out fail at once", async () => {
  const { client, sockets } = await connected({ token: "ann" });
  sockets.last.end(1006);
  const result = client.send("hello");
  client.setToken(null);
  assert.deepEqual(client.outgoing, []);
  await assert.rejects(result, { code: "identity_changed" });
  client.close();
});

test("a sign-out after the end forgets the user", async () => {
  const { client, sockets } = await connected({ token: "ann" });
  sockets.last.receive({ type: "bye", code: "stream_ended" });
  assert.equal(client.state, "closed");
  assert.equal(client.user?.user_id, ann.user_id);
  client.setToken(null);
  assert.equal(client.user, null);
});

test("a reconnect with a token looks like no sign-out", async () => {
  const { client, reconnect } = await connected({ token: "token" });
  /** @type {(string | undefined)[]} */
  const users = [];
  client.on("welcome", ({ user }) => users.push(user?.user_id));
  client.on("message", ({ type }) => type === "welcome" && users.push(client.user?.user_id));
  await reconnect(welcome(10), batch(11, 12), welcome(12, { user: ann }));
  assert.deepEqual(users, ["42", "42", "42"]);
  assert.deepEqual(shown(client), [11, 12]);
  client.close();
});

test("a pause keeps what still arrives, for its end", async () => {
  const { client, sockets, events } = await connected();
  client.pause();
  sockets.last.receive(batch(11, 12));
  assert.deepEqual(events, []);
  client.resume();
  sockets.last.receive(batch(13, 13));
  assert.deepEqual(events, ["live 11 12", "live 13"]);
  assert.deepEqual(sockets.last.sent, [{ type: "pause" }, { type: "resume", skip: false }]);
  client.close();
});

test("a pause that overflows asks again for all of the rest", async () => {
  const { client, sockets, events } = await connected({ maxComments: 5 });
  client.pause();
  sockets.last.receive(batch(11, 13), batch(14, 18), batch(19, 19));
  assert.deepEqual(client.position, { epoch: 3, seq: 13 });
  client.resume();
  await settle();
  assert.equal(sockets.all.length, 2);
  assert.equal(sockets.last.url.search, "?epoch=3&seq=13");
  sockets.last.accept();
  sockets.last.receive(welcome(13), batch(14, 19));
  assert.deepEqual(events, ["live 11 12 13", "live 14 15 16 17 18 19"]);
  assert.deepEqual(shown(client), [15, 16, 17, 18, 19]);
  client.close();
});

test("a pause outlasts a reconnect", async () => {
  const { client, sockets, events, reconnect } = await connected();
  client.pause();
  await reconnect(welcome(10), batch(11, 12));
  assert.deepEqual(sockets.last.sent, [{ type: "pause" }]);
  assert.deepEqual(events, []);
  client.resume();
  assert.deepEqual(events, ["live 11 12"]);
  client.close();
});

test("a skip leaves a gap over what was kept and what is skipped", async () => {
  const { client, sockets, events } = await connected();
  client.pause();
  sockets.last.receive(batch(11, 12));
  client.resume({ skip: true });
  sockets.last.receive({ type: "gap", from_seq: 13, to_seq: 20 }, batch(21, 21));
  assert.deepEqual(events, ["gap 11 12 skip", "gap 13 20 server", "live 21"]);
  client.close();
});

test("a skip without a connection begins at the newest comment", async () => {
  const { client, sockets, events } = await connected();
  client.pause();
  sockets.last.end(1006);
  client.resume({ skip: true });
  await settle();
  assert.equal(sockets.last.url.search, "");
  sockets.last.accept();
  sockets.last.receive(welcome(20), batch(21, 21));
  assert.deepEqual(events, ["gap 11 20 skip", "live 21"]);
  client.close();
});

test("a gap is filled where it was, across pages", async () => {
  const { client, clock, sockets, http, events } = await connected({
    fillGaps: true,
    maxComments: 5_000,
  });
  serveHistory(http, () => [...range(1, 9), ...range(12, 1_300)]);
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 1_200 }, batch(1_201, 1_201));
  await clock.advance(0);
  assert.deepEqual(shown(client), range(12, 1_201));
  assert.equal(events[0], "gap 11 1200 server");
  assert.equal(http.requests.length, 3);
  client.close();
});

test("a gap waits until the history has reached its end", async () => {
  const { client, clock, sockets, http } = await connected({ fillGaps: true });
  let stored = 13;
  serveHistory(http, () => range(1, stored));
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 20 });
  await clock.advance(0);
  assert.deepEqual(shown(client), [11, 12, 13]);
  stored = 21;
  await clock.advance(2_000);
  assert.deepEqual(shown(client), range(11, 20));
  client.close();
});

test("a gap whose end was deleted is given up after some seconds", async () => {
  const { client, clock, sockets, http } = await connected({ fillGaps: true });
  serveHistory(http, () => range(1, 19));
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 20 });
  await clock.advance(20_000);
  const requests = http.requests.length;
  await clock.advance(20_000);
  assert.equal(http.requests.length, requests);
  assert.deepEqual(shown(client), range(11, 19));
  client.close();
});

test("a gap stops at an older log", async () => {
  const { client, clock, sockets, http } = await connected({ fillGaps: true });
  serveHistory(http, () => [...range(30, 40), ...range(12, 20)]);
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 18 });
  await clock.advance(0);
  assert.deepEqual(shown(client), range(12, 18));
  client.close();
});

test("reading back during a pause shows every comment", async () => {
  const { client, sockets, http } = await connected({ maxComments: 30_000 });
  serveHistory(http, () => range(1, 20_000));
  sockets.last.receive(batch(11, 20_000, [15_000, 20_000]));
  client.pause();
  let done = false;
  while (!done) ({ done } = await client.loadOlder(1_000));
  assert.deepEqual(shown(client), range(1, 20_000));
  client.resume();
  sockets.last.receive(batch(20_001, 20_002));
  assert.deepEqual(shown(client), range(1, 20_002));
  client.close();
});

test("reading back after comments were dropped leaves no hole", async () => {
  const { client, sockets, http } = await connected({ maxComments: 10 });
  serveHistory(http, () => range(1, 60));
  sockets.last.receive(batch(11, 20));
  client.timeline.limit = 30;
  await client.loadOlder(50);
  assert.deepEqual(shown(client), range(31, 60));
  client.timeline.limit = 10;
  client.timeline.limit = 40;
  const { added, oldest } = await client.loadOlder(20);
  assert.equal(added, 20);
  assert.equal(oldest?.seq, 31);
  assert.deepEqual(shown(client), range(31, 60));
  client.close();
});

test("what the history gets late is added to the page that was read", async () => {
  const { client, clock, http } = await connected();
  let stored = 7;
  serveHistory(http, () => range(1, stored));
  await client.loadOlder(3);
  assert.deepEqual(shown(client), [5, 6, 7]);
  stored = 10;
  await clock.advance(1_000);
  assert.deepEqual(shown(client), range(5, 10));
  const requests = http.requests.length;
  await clock.advance(20_000);
  assert.equal(http.requests.length, requests);
  client.close();
});

test("a page that is read before the connection leaves no hole", async () => {
  const clock = new FakeClock();
  const sockets = new FakeSockets();
  const http = new FakeFetch();
  const { WebSocket } = sockets;
  const client = new LiveComments("https://host", "7", { clock, WebSocket, fetch: http.fetch });
  let stored = 7;
  serveHistory(http, () => range(1, stored));
  await client.loadOlder(3);
  stored = 9;
  client.connect();
  await settle();
  sockets.last.accept();
  sockets.last.receive(welcome(9), batch(10, 10));
  await clock.advance(1_000);
  assert.deepEqual(shown(client), range(5, 10));
  client.close();
});

test("history can be read as one sequence", async () => {
  const { client, http } = await connected();
  serveHistory(http, () => range(1, 250));
  const seqs = [];
  for await (const { seq } of client.history.comments({ pageSize: 100 })) seqs.push(seq);
  assert.deepEqual(seqs, range(1, 250).reverse());
  assert.equal(http.requests.length, 3);
  client.close();
});

test("older logs in the history stay before the newer", async () => {
  const { client, http } = await connected();
  serveHistory(http, () => [...range(5, 8), ...range(1, 3)]);
  await client.loadOlder(2);
  await client.loadOlder(4);
  await client.loadOlder(4);
  assert.deepEqual(shown(client), [5, 6, 7, 8, 1, 2, 3]);
  client.close();
});

test("the facts of the room follow the messages", async () => {
  const { client, sockets } = await connected();
  sockets.last.receive(
    { type: "reactions_update", reactions: { fire: 1, heart: 2 } },
    { type: "reactions_update", reactions: { fire: 5 } },
    { type: "presence", viewers: 99 },
    { type: "throttle_notification", sample_rate: 0.1, message: "fast" },
    { type: "room", slow_ms: 1_000 },
  );
  assert.deepEqual(client.reactions, { fire: 5, heart: 2 });
  assert.equal(client.viewers, 99);
  assert.equal(client.sampleRate, 0.1);
  assert.deepEqual(client.room, { slow_ms: 1_000 });
  client.react("fire");
  assert.deepEqual(sockets.last.sent, [{ type: "reaction", reaction: "fire" }]);
  client.close();
});

test("types that are newer than the client are passed on", async () => {
  const { client, sockets, events } = await connected();
  /** @type {string[]} */
  const types = [];
  client.on("message", ({ type }) => types.push(type));
  const newer = /** @type {ServerMessage} */ (/** @type {unknown} */ ({ type: "quiz" }));
  sockets.last.receive(newer, { type: "pong" });
  assert.deepEqual(types, ["quiz", "pong"]);
  assert.deepEqual(events, []);
  client.close();
});

test("a listener that throws stops nobody else", async () => {
  const { client, sockets, events } = await connected();
  /** @type {unknown[]} */
  const thrown = [];
  globalThis.reportError = (error) => thrown.push(error);
  const off = client.on("comments", () => {
    throw new Error("of the page");
  });
  sockets.last.receive(batch(11, 11));
  off();
  sockets.last.receive(batch(12, 12));
  assert.equal(thrown.length, 1);
  assert.deepEqual(events, ["live 11", "live 12"]);
  client.close();
});

test("moderation calls have the paths and fields of the protocol", async () => {
  const { client, http } = await connected({ token: "token" });
  http.answer = ({ url }) => json(url.pathname.endsWith("queue") ? { items: [] } : {});
  const { moderation } = client;
  await moderation.delete("id", { reason: "spam" });
  await moderation.clearUser("bob", 60_000);
  await moderation.clearRoom(1_000);
  await moderation.timeout("id:43", { durationMs: 5_000, note: "n" });
  await moderation.ban("bob");
  await moderation.unban("bob");
  await moderation.approve("id");
  await moderation.reject("id", { reason: "off_topic" });
  await moderation.shadowComment("id");
  await moderation.shadowUser("bob", { durationMs: 5_000 });
  await moderation.unshadowComment("id");
  await moderation.unshadowUser("bob", { note: "n" });
  await moderation.undo(12);
  await moderation.pin("id", { note: "n" });
  await moderation.unpin();
  await moderation.openPoll("Who?", ["a", "b"], 60_000);
  await moderation.closePoll();
  await moderation.message("id:43", "hi");
  assert.deepEqual(await moderation.queue(5), []);
  await moderation.commentsOf("42", 20);
  await moderation.patchRoom({ slow_ms: null });
  const asked = http.requests.map(({ method, url, body }) => {
    const path = url.pathname.replace("/api/streams/7/", "") + url.search;
    return `${method} ${path} ${JSON.stringify(body) ?? ""}`.trim();
  });
  assert.deepEqual(asked, [
    'POST moderation/delete {"comment_id":"id","reason":"spam"}',
    'POST moderation/clear_user {"user":"bob","last_ms":60000}',
    'POST moderation/clear_room {"last_ms":1000}',
    'POST moderation/timeout {"user":"id:43","duration_ms":5000,"note":"n"}',
    'POST moderation/ban {"user":"bob"}',
    'POST moderation/unban {"user":"bob"}',
    'POST moderation/approve {"comment_id":"id"}',
    'POST moderation/reject {"comment_id":"id","reason":"off_topic"}',
    'POST moderation/shadow {"comment_id":"id"}',
    'POST moderation/shadow {"user":"bob","duration_ms":5000}',
    'POST moderation/unshadow {"comment_id":"id"}',
    'POST moderation/unshadow {"user":"bob","note":"n"}',
    'POST moderation/undo {"audit_id":12}',
    'POST moderation/pin {"comment_id":"id","note":"n"}',
    "POST moderation/unpin {}",
    'POST moderation/open_poll {"question":"Who?","options":["a","b"],"duration_ms":60000}',
    "POST moderation/close_poll {}",
    'POST moderation/message {"user":"id:43","message":"hi"}',
    "GET moderation/queue?limit=5",
    "GET users/42/comments?limit=20",
    'PATCH room {"slow_ms":null}',
  ]);
  assert.equal(http.requests[0]?.headers.get("Authorization"), "Bearer token");
  client.close();
});

test("an expired token is replaced once for a request", async () => {
  let count = 0;
  const { client, http } = await connected({ token: () => `token-${(count += 1)}` });
  http.answer = ({ headers }) => {
    if (headers.get("Authorization") === "Bearer token-2") return json({ terms: [] });
    return json({ code: "token_expired", detail: "expired" }, 401);
  };
  assert.deepEqual(await client.moderation.terms(), []);
  http.answer = () => json({ code: "forbidden", detail: "no" }, 403);
  await assert.rejects(client.moderation.terms(), { code: "forbidden", status: 403 });
  http.answer = () => new Response("<html>proxy</html>", { status: 502 });
  await assert.rejects(client.moderation.terms(), { code: "bad_answer", status: 502 });
  client.close();
});

test("a body that is cut is a lost answer", async () => {
  const { client, http } = await connected();
  /** @param {string} text */
  const cut = (text) => {
    const body = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode(text)),
      pull: (controller) => controller.error(new TypeError("terminated")),
    });
    return body;
  };
  http.answer = () => new Response(cut('{"comm'), { status: 200 });
  await assert.rejects(client.loadOlder(), { code: "network" });
  http.answer = () => new Response(cut('{"code'), { status: 503 });
  await assert.rejects(client.loadOlder(), { code: "network" });
  http.answer = () => new Response("<html>", { status: 200 });
  await assert.rejects(client.loadOlder(), { code: "bad_answer" });
  client.close();
});

test("a closed client tells that it sends nothing", async () => {
  const { client } = await connected();
  /** @type {(string | undefined)[]} */
  const failed = [];
  client.on("outgoing", ({ message, error }) => failed.push(message, error?.code));
  client.close();
  await assert.rejects(client.send("hello"), { code: "client_closed" });
  assert.deepEqual(failed, ["hello", "client_closed"]);
});
