import assert from "node:assert/strict";
import { afterEach, test } from "node:test";

import { LiveComments } from "../client.js";
import { HttpDaemon } from "./http_daemon.js";
import { FakeSockets, range } from "./support.js";

/** @typedef {import("../options.js").LiveCommentsOptions} Options */

/** @type {(() => void)[]} */
let endings = [];

afterEach(() => {
  for (const end of endings) end();
  endings = [];
});

/** @param {() => boolean} holds */
async function until(holds) {
  const deadline = Date.now() + 5_000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, `not in time: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/**
 * @param {Options} options
 * @param {(daemon: HttpDaemon) => void} [prepare]
 */
async function connected(options, prepare = () => {}) {
  const daemon = new HttpDaemon();
  prepare(daemon);
  const client = new LiveComments(await daemon.listen(), "7", {
    // Sockets that never open, as behind a proxy that blocks them.
    WebSocket: new FakeSockets().WebSocket,
    backoff: { baseMs: 20, longestMs: 50 },
    ...options,
  });
  client.connect();
  endings.push(() => {
    client.close();
    daemon.close();
  });
  return { daemon, client };
}

/** @param {LiveComments} client */
function shown(client) {
  return client.timeline.comments.map(({ seq }) => seq);
}

for (const transport of /** @type {const} */ (["events", "polling"])) {
  const transports = [transport];

  test(`${transport}: comments arrive, over a cut, in order and once`, async () => {
    const { daemon, client } = await connected({ transports });
    await until(() => client.state === "open");
    daemon.publish(3);
    await until(() => client.timeline.size === 3);
    daemon.cut();
    daemon.publish(4);
    await until(() => client.timeline.size === 7);
    daemon.publish(1);
    await until(() => client.timeline.size === 8);
    assert.deepEqual(shown(client), range(1, 8));
  });

  test(`${transport}: the token goes in a header, and comments by post`, async () => {
    const { daemon, client } = await connected({ transports, token: "secret" });
    const results = await Promise.all(["one", "two", "three"].map((text) => client.send(text)));
    assert.deepEqual(
      results.map(({ state }) => state),
      Array(3).fill("acknowledged"),
    );
    await until(() => client.outgoing.length === 0);
    assert.deepEqual(
      client.timeline.comments.map(({ message }) => message),
      ["one", "two", "three"],
    );
    assert.ok(daemon.requests.every((request) => request.endsWith(" secret")));
    client.react("fire");
    await until(() => daemon.reactions === 1);
  });

  test(`${transport}: a post whose answer is lost is stored once`, async () => {
    const { daemon, client } = await connected({ transports, token: "secret" });
    daemon.posts = "cut";
    assert.equal((await client.send("hello")).state, "acknowledged");
    await until(() => client.outgoing.length === 0);
    assert.deepEqual(
      daemon.log.map(({ message }) => message),
      ["hello"],
    );
  });

  test(`${transport}: refusals of a post are those of the server`, async () => {
    const { daemon, client } = await connected({ transports, token: "secret" });
    daemon.posts = { status: 202, code: "held_for_review" };
    assert.equal((await client.send("hello")).state, "held");
    daemon.posts = { status: 403, code: "timed_out", retry_after_ms: 9_000 };
    await assert.rejects(client.send("hello"), { code: "timed_out", retryAfterMs: 9_000 });
  });

  test(`${transport}: a long pause ends the requests, and its end has all`, async () => {
    const { daemon, client } = await connected({ transports, token: "t", maxComments: 10 });
    await until(() => client.state === "open");
    client.pause();
    daemon.publish(5);
    daemon.publish(20);
    await until(() => client.transport === null);
    const requests = daemon.requests.length;
    assert.equal((await client.send("during the pause")).state, "acknowledged");
    assert.equal(daemon.requests.length, requests + 1);
    daemon.publish(5);
    /** @type {number[]} */
    const seqs = [];
    client.on("comments", ({ comments }) => seqs.push(...comments.map(({ seq }) => seq)));
    client.resume();
    await until(() => seqs.length >= 31);
    assert.deepEqual(
      seqs.sort((one, other) => one - other),
      range(1, 31),
    );
    assert.equal(client.state, "open");
  });

  test(`${transport}: signing out reaches a parked pause`, async () => {
    const { daemon, client } = await connected({ transports, token: "t", maxComments: 10 });
    await until(() => client.state === "open");
    client.pause();
    daemon.publish(5);
    daemon.publish(20);
    await until(() => client.transport === null);
    /** @type {unknown[]} */
    const users = [];
    client.on("welcome", ({ user }) => users.push(user));
    client.setToken(null);
    await until(() => users.length > 0);
    assert.deepEqual(users, [null]);
    assert.equal(client.paused, true);
  });

  test(`${transport}: a pause of a throttled stream has all at its end`, async () => {
    const { daemon, client } = await connected({ transports });
    await until(() => client.state === "open");
    let batches = 0;
    client.on("message", ({ type }) => (batches += type === "comments" ? 1 : 0));
    client.pause();
    daemon.publish(6, true);
    await until(() => batches === 1);
    daemon.publish(2);
    await until(() => batches === 2);
    assert.equal(client.state, "open");
    assert.deepEqual(client.timeline.comments, []);
    client.resume();
    await until(() => client.timeline.size === 8);
    assert.deepEqual(shown(client), range(1, 8));
  });

  test(`${transport}: a ban that the server tells closes the client`, async () => {
    const { client } = await connected({ transports, token: "secret" }, (daemon) => {
      daemon.events = { status: 403, code: "banned" };
      daemon.polls = { status: 403, code: "banned" };
    });
    /** @type {(string | undefined)[]} */
    const errors = [];
    client.on("state", ({ state, error }) => state === "closed" && errors.push(error?.code));
    await until(() => client.state === "closed");
    assert.deepEqual(errors, ["banned"]);
  });
}

test("a blocked socket falls to events, blocked events to polling", async () => {
  const times = { openMs: 50 };
  const { daemon, client } = await connected({ times }, (daemon) => {
    daemon.events = "silent";
  });
  await until(() => client.state === "open");
  assert.equal(client.transport, "polling");
  assert.deepEqual(daemon.requests.slice(0, 2), ["GET events", "GET comments/poll"]);
  daemon.publish(2);
  await until(() => client.timeline.size === 2);
});

test("what a change to polling misses comes from the history", async () => {
  const times = { openMs: 50 };
  const transports = /** @type {const} */ (["events", "polling"]);
  const { daemon, client } = await connected({ times, transports });
  await until(() => client.state === "open");
  daemon.publish(2);
  await until(() => client.timeline.size === 2);
  daemon.events = "silent";
  daemon.cut();
  daemon.publish(5);
  await until(() => client.transport === "polling" && client.timeline.size === 7);
  assert.deepEqual(shown(client), range(1, 7));
});

test("a bye ends an event stream as it ends a socket", async () => {
  const { daemon, client } = await connected({ transports: ["events"] });
  await until(() => client.state === "open");
  daemon.endStreams({ type: "bye", code: "stream_ended" });
  await until(() => client.state === "closed");
  assert.deepEqual(client.schedule, { state: "ended" });
});

test("204 stops an event stream for good", async () => {
  const { daemon, client } = await connected({ transports: ["events"] }, (daemon) => {
    daemon.events = "stopped";
  });
  await until(() => client.state === "closed");
  assert.equal(daemon.requests.length, 1);
});
