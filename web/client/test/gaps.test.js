import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveComments } from "../client.js";
import { connected, serveHistory, shown } from "./connected.js";
import { FakeClock, FakeFetch, ann, batch, comment, json } from "./support.js";
import { range, settle, welcome } from "./support.js";

/** @typedef {import("../protocol.js").ServerMessage} ServerMessage */
/** @typedef {import("./support.js").FakeSockets} FakeSockets */

/** @type {ServerMessage[]} */
const ENDED = [
  { type: "error", code: "stream_ended", message: "it is over" },
  { type: "bye", code: "stream_ended" },
];

/**
 * Breaks some of the requests for history.
 *
 * @param {FakeFetch} http
 * @param {(count: number) => boolean} breaks Given the number of the request, from 1 on.
 */
function breakHistory(http, breaks) {
  const { answer } = http;
  http.answer = (request) => {
    if (breaks(http.requests.length)) throw new TypeError("cut");
    return answer(request);
  };
}

/**
 * Connects to a stream that has ended.
 *
 * @param {LiveComments} client
 * @param {FakeSockets} sockets
 */
async function connectAgain(client, sockets) {
  client.connect();
  await settle();
  sockets.last.accept();
  sockets.last.receive(...ENDED);
  await settle();
}

/** @param {string[]} events */
const gaps = (events) => events.filter((event) => event.startsWith("gap"));

test("an old small gap is read with one request", async () => {
  const { client, sockets, http } = await connected({ maxComments: 5_000 });
  serveHistory(http, () => range(1, 3_000));
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 15 }, batch(16, 3_000));
  assert.equal(await client.fillGap({ from_seq: 11, to_seq: 15 }), 5);
  assert.deepEqual(shown(client), range(11, 3_000));
  assert.equal(http.requests.length, 1);
  assert.equal(http.requests[0]?.url.search, "?before=id-17&limit=20");
  client.close();
});

test("a fill tells only comments that had room", async () => {
  const { client, sockets, http, events } = await connected({ maxComments: 100 });
  serveHistory(http, () => range(1, 1_000));
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 900 }, batch(901, 1_000));
  assert.equal(await client.fillGap({ from_seq: 11, to_seq: 900 }), 0);
  assert.equal(events.length, 2);
  client.timeline.limit = 110;
  assert.equal(await client.fillGap({ from_seq: 11, to_seq: 900 }), 10);
  client.timeline.limit = 100;
  client.timeline.limit = 5_000;
  assert.equal(await client.fillGap({ from_seq: 11, to_seq: 900 }), 890);
  assert.deepEqual(shown(client), range(11, 1_000));
  client.close();
});

test("a gap far behind is read with large pages", async () => {
  const { client, sockets, http } = await connected({ maxComments: 5_000 });
  serveHistory(http, () => range(1, 3_000));
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 15 });
  assert.equal(await client.fillGap({ from_seq: 11, to_seq: 15 }), 5);
  assert.equal(http.requests.length, 7);
  client.close();
});

test("a background fill that fails is tried again", async () => {
  const { client, clock, sockets, http, events } = await connected({
    fillGaps: true,
    maxComments: 5_000,
  });
  serveHistory(http, () => range(1, 2_000));
  breakHistory(http, (count) => count === 1 || count === 3 || count === 4);
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 2_000 });
  await clock.advance(10_000);
  assert.deepEqual(shown(client), range(11, 2_000));
  assert.deepEqual(gaps(events), ["gap 11 2000 server"]);
  assert.equal(http.requests.length, 3 + 4, "no page twice");
  client.close();
});

test("fills that are refused are tried again apart", async () => {
  const { client, clock, sockets, http } = await connected({ fillGaps: true });
  /** @type {number[]} */
  const times = [];
  http.answer = () => {
    times.push(clock.now());
    return json({ code: "overloaded", detail: "wait", retry_after_ms: 5_000 }, 503);
  };
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 1_000 });
  await clock.advance(20_000);
  const waits = times.slice(1).map((time, index) => time - (times[index] ?? 0));
  assert.ok(waits.length >= 2);
  assert.ok(waits.every((ms) => ms > 5_000 && ms < 10_000), `${waits}`);
  client.close();
});

test("a fill that is given up is told as a gap", async () => {
  const { client, clock, sockets, http, events } = await connected({ fillGaps: true });
  serveHistory(http, () => range(1, 1_000));
  const { answer } = http;
  breakHistory(http, (count) => count > 1);
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 1_000 }, batch(1_001, 1_001));
  await clock.advance(120_000);
  assert.deepEqual(gaps(events), ["gap 11 1000 server", "gap 11 500 unread"]);
  assert.deepEqual(events.slice(-2), ["gap 11 500 unread", "error network"]);
  assert.deepEqual(shown(client), range(501, 1_001));
  http.answer = answer;
  client.timeline.limit = 2_000;
  assert.equal(await client.fillGap({ from_seq: 11, to_seq: 500 }), 490);
  assert.deepEqual(shown(client), range(11, 1_001));
  client.close();
});

test("a fill that is refused is told at once", async () => {
  const { client, sockets, http, events } = await connected({ fillGaps: true });
  http.answer = () => json({ code: "banned", detail: "no" }, 403);
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 12 });
  await settle();
  assert.deepEqual(events, ["gap 11 12 server", "gap 11 12 unread", "error banned"]);
  client.close();
});

test("a fill that close ends is told to nobody", async () => {
  const { client, clock, sockets, http, events } = await connected({ fillGaps: true });
  http.answer = () => new Promise(() => {});
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 12 });
  await settle();
  client.close();
  await clock.advance(120_000);
  assert.deepEqual(events, ["gap 11 12 server"]);
  assert.equal(clock.pending, 0);
});

test("an own comment in a gap is on its way no more", async () => {
  const { client, sockets } = await connected({ token: "token" });
  client.pause();
  client.send("hello");
  const ref = client.outgoing[0]?.ref;
  sockets.last.receive({ type: "ack", ref, comment_id: "id-15", seq: 15 });
  assert.equal(client.outgoing.length, 1);
  client.resume({ skip: true });
  sockets.last.receive({ type: "gap", from_seq: 11, to_seq: 20 }, batch(21, 22));
  assert.deepEqual(client.outgoing, []);
  client.close();
});

test("a stream that ends while away is read to its end", async () => {
  const { client, clock, sockets, http, events, reconnect } = await connected();
  serveHistory(http, () => range(1, 19));
  sockets.last.receive(batch(11, 12));
  await reconnect(...ENDED);
  assert.equal(client.state, "closed");
  await clock.advance(2_000);
  assert.deepEqual(shown(client), range(11, 19));
  assert.deepEqual(events, [
    "live 11 12",
    "error stream_ended",
    "history 13 14 15 16 17 18 19",
  ]);
  await clock.advance(60_000);
  assert.equal(http.requests.length, 2, "it is read again once, for what is stored late");
  assert.equal(clock.pending, 0);
});

test("a viewer told the end asks for nothing", async () => {
  const { client, clock, sockets, http } = await connected();
  serveHistory(http, () => range(1, 12));
  sockets.last.receive(batch(11, 12), ...ENDED);
  await clock.advance(60_000);
  assert.equal(client.state, "closed");
  await connectAgain(client, sockets);
  await clock.advance(60_000);
  assert.deepEqual(http.requests, [], "nor when it comes again");
});

test("polls that are refused at the end read the rest", async () => {
  const clock = new FakeClock();
  const http = new FakeFetch();
  const options = { clock, fetch: http.fetch, transports: /** @type {const} */ (["polling"]) };
  const client = new LiveComments("https://host", "7", options);
  serveHistory(http, () => range(1, 14));
  const history = http.answer;
  let polls = 0;
  http.answer = (request) => {
    if (!request.url.pathname.endsWith("/poll")) return history(request);
    polls += 1;
    if (polls === 1) return json({ since: "s1", messages: [welcome(10)] });
    return json({ code: "stream_ended", detail: "it is over" }, 409);
  };
  client.connect();
  await clock.advance(60_000);
  assert.equal(client.state, "closed");
  assert.deepEqual(shown(client), range(11, 14));
});

test("comments that are stored after the end are shown", async () => {
  const { client, clock, sockets, http, reconnect } = await connected();
  let stored = 12;
  serveHistory(http, () => range(1, stored));
  sockets.last.receive(batch(11, 12));
  await reconnect(...ENDED);
  await clock.advance(2_000);
  await clock.advance(28_000);
  assert.equal(http.requests.length, 1);
  // A message delay of the room is over.
  stored = 14;
  await clock.advance(17_000);
  assert.deepEqual(shown(client), range(11, 14));
});

test("a long end leaves a gap before its newest comments", async () => {
  const { client, clock, sockets, http, events, reconnect } = await connected({ maxComments: 100 });
  serveHistory(http, () => range(1, 900));
  sockets.last.receive(batch(11, 12));
  await reconnect(...ENDED);
  await clock.advance(20_000);
  assert.deepEqual(gaps(events), ["gap 13 800 unread"]);
  assert.deepEqual(shown(client), range(801, 900));
  client.timeline.limit = 2_000;
  assert.equal(await client.fillGap({ from_seq: 13, to_seq: 800 }), 788);
});

test("a pause that outlasts the stream ends complete", async () => {
  const { client, clock, sockets, http, events } = await connected();
  serveHistory(http, () => range(1, 30));
  client.pause();
  sockets.last.receive(batch(11, 12), ...ENDED);
  await clock.advance(60_000);
  assert.deepEqual(shown(client), []);
  client.resume();
  assert.equal(client.paused, false);
  await clock.advance(0);
  assert.deepEqual(shown(client), range(11, 30));
  assert.deepEqual(gaps(events), []);
  client.close();
});

test("a skip after the end leaves a gap, and the rest", async () => {
  const { client, clock, sockets, http, events } = await connected();
  serveHistory(http, () => range(1, 30));
  client.pause();
  sockets.last.receive(batch(11, 12), ...ENDED);
  client.resume({ skip: true });
  await clock.advance(20_000);
  assert.deepEqual(gaps(events), ["gap 11 12 skip"]);
  assert.deepEqual(shown(client), range(13, 30));
});

test("the end of a stream is read once", async () => {
  const { client, clock, sockets, http, events, reconnect } = await connected({ maxComments: 100 });
  serveHistory(http, () => range(1, 300));
  await reconnect(...ENDED);
  for (let count = 0; count < 10; count += 1) {
    await clock.advance(30_000);
    await connectAgain(client, sockets);
  }
  assert.deepEqual(gaps(events), ["gap 11 200 unread"]);
  assert.equal(http.requests.length, 2);
  client.connect();
  await settle();
  sockets.last.accept();
  sockets.last.receive(welcome(10), batch(11, 300));
  await reconnect(...ENDED);
  await clock.advance(60_000);
  assert.equal(http.requests.length, 4, "again after another welcome");
});

test("an end that is refused is told once", async () => {
  const { client, clock, sockets, http, events, reconnect } = await connected({ token: "old" });
  serveHistory(http, () => range(1, 14));
  const { answer } = http;
  http.answer = () => json({ code: "token_expired", detail: "no" }, 401);
  await reconnect(...ENDED);
  for (let count = 0; count < 4; count += 1) {
    await clock.advance(60_000);
    await connectAgain(client, sockets);
  }
  const last = Number.MAX_SAFE_INTEGER;
  assert.deepEqual(gaps(events), [`gap 11 ${last} unread`]);
  assert.equal(http.requests.length, 1);
  client.setToken(null);
  http.answer = answer;
  const added = client.fillGap({ from_seq: 11, to_seq: last });
  await clock.advance(10_000);
  assert.equal(await added, 4);
});

test("an end whose reading close cuts is read later", async () => {
  const { client, clock, sockets, http, reconnect } = await connected({ maxComments: 5_000 });
  serveHistory(http, () => range(1, 2_000));
  const { answer } = http;
  http.answer = (request) => {
    return http.requests.length === 2 ? new Promise(() => {}) : answer(request);
  };
  await reconnect(...ENDED);
  await clock.advance(5_000);
  assert.deepEqual(shown(client), range(1_901, 2_000));
  client.close();
  await connectAgain(client, sockets);
  await clock.advance(60_000);
  assert.deepEqual(shown(client), range(11, 2_000));
});

test("a close after the end was read tells no gap again", async () => {
  const { client, clock, sockets, http, events, reconnect } = await connected({ maxComments: 100 });
  serveHistory(http, () => range(1, 300));
  await reconnect(...ENDED);
  await clock.advance(2_000);
  client.close();
  await connectAgain(client, sockets);
  await clock.advance(60_000);
  assert.deepEqual(gaps(events), ["gap 11 200 unread"]);
});

test("history can be read after a stream has ended", async () => {
  const { client, sockets, http } = await connected();
  serveHistory(http, () => range(1, 10));
  http.answer = ((answer) => async (request) => {
    await settle();
    return answer(request);
  })(http.answer);
  const reading = client.loadOlder(4);
  sockets.last.receive(...ENDED);
  assert.equal((await reading).added, 4);
  assert.equal((await client.loadOlder(4)).added, 4);
  assert.equal(await client.fillGap({ from_seq: 1, to_seq: 2 }), 2);
  assert.deepEqual(shown(client), range(1, 10));
  client.close();
  assert.equal((await client.loadOlder(4)).done, true, "also after a close");
});

test("close ends every request with its reason", async () => {
  const { client, http } = await connected({ token: "token" });
  http.answer = () => new Promise(() => {});
  const requests = [
    client.loadOlder(),
    client.fillGap({ from_seq: 1, to_seq: 2 }),
    client.vote(1, 0),
    client.moderation.pin("id"),
    client.messages(),
  ];
  await settle();
  client.close();
  for (const request of requests) await assert.rejects(request, { code: "client_closed" });
});

test("what another log had before is read from it", async () => {
  const { client, clock, sockets, http, events, reconnect } = await connected();
  http.answer = () => json({ comments: [4, 3, 2, 1].map((seq) => comment(seq)) });
  sockets.last.receive(batch(11, 12));
  const live = { ...batch(4, 4), epoch: 4 };
  await reconnect(welcome(3, { epoch: 4 }), /** @type {ServerMessage} */ (live));
  await clock.advance(999);
  assert.equal(http.requests.length, 0, "all viewers come to another log at once");
  await clock.advance(2_001);
  assert.deepEqual(events, ["live 11 12", "restart 4 3", "live 4", "history 1 2 3"]);
  assert.deepEqual(shown(client), [11, 12, 1, 2, 3, 4]);
  client.close();
});

test("another log that is long leaves a gap", async () => {
  const { client, clock, http, events, reconnect } = await connected({ maxComments: 2_000 });
  serveHistory(http, () => range(100, 2_000));
  await reconnect(welcome(2_000, { epoch: 4 }));
  await clock.advance(60_000);
  assert.equal(http.requests.length, 1);
  assert.deepEqual(shown(client), range(1_501, 2_000));
  assert.deepEqual(gaps(events), ["gap 0 1500 unread"]);
  client.close();
});

test("a log that was restored shows no comment twice", async () => {
  const { client, clock, sockets, http, events, reconnect } = await connected();
  serveHistory(http, () => range(1, 19));
  sockets.last.receive(batch(11, 20));
  await reconnect(welcome(19));
  await clock.advance(60_000);
  assert.deepEqual(events, [`live ${range(11, 20).join(" ")}`, "restart 3 19"]);
  assert.equal(http.requests.length, 1, "a comment that is known ends it");
  client.close();
});

test("a skip over a restart leaves a gap over its log", async () => {
  const { client, sockets, http, events, reconnect } = await connected();
  serveHistory(http, () => range(1, 9));
  client.pause();
  await reconnect(welcome(5, { epoch: 4 }));
  sockets.last.receive(/** @type {ServerMessage} */ ({ ...batch(6, 8), epoch: 4 }));
  client.resume({ skip: true });
  assert.deepEqual(events, ["restart 4 5", "gap 0 8 skip"]);
  assert.equal(await client.fillGap({ from_seq: 0, to_seq: 8 }), 8);
  client.close();
});

test("another log that is empty is not read", async () => {
  const { client, clock, http, reconnect } = await connected();
  serveHistory(http, () => range(1, 10));
  await reconnect(welcome(0, { epoch: 4 }));
  await clock.advance(60_000);
  assert.deepEqual(http.requests, []);
  client.close();
});

test("another log that is stored late is read again once", async () => {
  const { client, clock, http, reconnect } = await connected();
  let stored = 5;
  serveHistory(http, () => range(3, stored));
  await reconnect(welcome(9, { epoch: 4 }));
  await clock.advance(3_000);
  assert.deepEqual(shown(client), [3, 4, 5]);
  stored = 7;
  await clock.advance(1_000);
  assert.equal(http.requests.length, 1);
  await clock.advance(60_000);
  assert.deepEqual(shown(client), range(3, 7));
  assert.equal(http.requests.length, 2);
  client.close();
});

test("a restored comment is shown when it comes again", async () => {
  const { client, clock, sockets, http, reconnect } = await connected();
  serveHistory(http, () => range(11, 13));
  /** @param {string} comment_id @returns {ServerMessage} */
  const deletion = (comment_id) => {
    return { type: "comment.deleted", comment_id, reason: "spam", timestamp: 1 };
  };
  sockets.last.receive(batch(11, 12), deletion("id-11"), deletion("id-13"));
  await client.loadOlder();
  assert.deepEqual(shown(client), [12], "a cache may have the page of before");
  await clock.advance(50_000);
  await reconnect(welcome(12));
  await clock.advance(10_000);
  sockets.last.receive(batch(13, 13));
  assert.deepEqual(shown(client), [12, 13]);
  client.pause();
  await client.loadOlder();
  assert.deepEqual(shown(client), [11, 12, 13]);
  client.close();
});

test("a comment that is deleted in a pause stays away", async () => {
  const { client, clock, sockets } = await connected({ token: "token" });
  client.pause();
  sockets.last.receive(batch(11, 12));
  const deletion = { comment_id: "id-11", reason: "spam", timestamp: 1 };
  sockets.last.receive({ type: "comment.deleted", ...deletion });
  for (let count = 0; count < 4; count += 1) {
    await clock.advance(20_000);
    sockets.last.receive({ type: "presence", viewers: 1 });
  }
  client.resume();
  assert.deepEqual(shown(client), [12]);
  assert.equal(client.user?.user_id, ann.user_id);
  client.close();
});
