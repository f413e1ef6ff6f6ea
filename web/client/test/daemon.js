/**
 * Runs the client against a daemon. Prints what failed, and exits with 1 then.
 *
 * - `LCD_URL`: address of the daemon, such as http://127.0.0.1:8080;
 * - `LCD_STREAM`: a live stream that nobody else uses (default 1);
 * - `LCD_TOKEN_ANN`, `LCD_TOKEN_BOB`: tokens of two viewers without a rate limit;
 * - `LCD_TOKEN_MODERATOR`: the token of a moderator;
 * - `LCD_TRANSPORTS`: the transports to check, each by itself (default
 *   `websocket,events,polling`).
 */

/** @import { LiveCommentsOptions, TransportName } from "../index.js" */

import assert from "node:assert/strict";

import { WebSocket as PackagedWebSocket } from "ws";

import { LiveComments } from "../index.js";

const PATIENCE_MS = 20_000;

const site = required("LCD_URL");
const streamId = process.env.LCD_STREAM ?? "1";
const tokens = {
  ann: required("LCD_TOKEN_ANN"),
  bob: required("LCD_TOKEN_BOB"),
  moderator: required("LCD_TOKEN_MODERATOR"),
};
const transports = (process.env.LCD_TRANSPORTS ?? "websocket,events,polling").split(",");

/** @param {string} name */
function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

/**
 * Sockets that were opened, so that a check can cut them.
 *
 * @type {Set<WebSocket>}
 */
const sockets = new Set();
const CutSocket = class extends (globalThis.WebSocket ?? PackagedWebSocket) {
  /**
   * @param {string | URL} url
   * @param {string | string[]} [protocols]
   */
  constructor(url, protocols) {
    super(url, protocols);
    sockets.add(this);
  }
};

/**
 * Requests that were made, so that a check can cut them.
 *
 * @type {Set<AbortController>}
 */
const requests = new Set();

/** @type {typeof globalThis.fetch} */
const cutFetch = (input, init) => {
  const cut = new AbortController();
  requests.add(cut);
  const signal = init?.signal ? AbortSignal.any([init.signal, cut.signal]) : cut.signal;
  return fetch(input, { ...init, signal });
};

/** Breaks every connection that is open. */
function cutAll() {
  for (const socket of sockets) socket.close();
  for (const request of requests) request.abort(new Error("cut"));
  sockets.clear();
  requests.clear();
}

/**
 * Waits until something holds.
 *
 * @param {string} promise
 * @param {() => boolean} holds
 */
async function until(promise, holds) {
  const deadline = Date.now() + PATIENCE_MS;
  while (!holds()) {
    if (Date.now() > deadline) throw new Error(`not in time: ${promise}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** @param {LiveComments} client */
const opened = (client) => until("a connection", () => client.state === "open");

/** @type {LiveComments[]} */
let clients = [];

/**
 * @param {TransportName} transport
 * @param {LiveCommentsOptions} [options]
 */
function viewer(transport, options = {}) {
  const client = new LiveComments(site, streamId, {
    transports: [transport],
    WebSocket: CutSocket,
    fetch: cutFetch,
    backoff: { baseMs: 100, longestMs: 500 },
    maxComments: 10_000,
    maxPending: 200,
    ...options,
  });
  clients.push(client);
  client.connect();
  return client;
}

const WORDS = "amber birch cedar delta ember fjord grove haven inlet jetty koala lemon".split(" ");

/** Returns a text that nobody else has written: repetition is moderated. */
function anyText() {
  const words = Array.from({ length: 7 }, () => WORDS[Math.floor(Math.random() * WORDS.length)]);
  return `${words.join(" ")} é👍🏽 ${Math.random().toString(36).slice(2)}`;
}

/**
 * Sends comments in their order, and returns their texts.
 *
 * @param {LiveComments} client
 * @param {number} count
 */
async function say(client, count) {
  const texts = Array.from({ length: count }, anyText);
  const results = texts.map((text) => client.send(text));
  await Promise.all(results);
  return texts;
}

/** @param {LiveComments} client */
const texts = (client) => client.timeline.comments.map(({ message }) => message);

/**
 * @param {LiveComments} client
 * @param {string[]} wanted
 */
async function shows(client, wanted) {
  await until(`${wanted.length} comments`, () =>
    wanted.every((text) => texts(client).includes(text)),
  );
  const shown = texts(client).filter((text) => wanted.includes(text));
  assert.deepEqual(shown, wanted, "each once, in order");
}

/** @type {Record<string, (transport: TransportName) => Promise<void>>} */
const checks = {
  "both encodings show all comments in one order": async (transport) => {
    const ann = viewer(transport, { token: tokens.ann });
    const bob = viewer(transport, { token: () => tokens.bob, encoding: "msgpack" });
    await Promise.all([opened(ann), opened(bob)]);
    assert.equal(ann.user?.name, "ann");
    const said = await say(ann, 100);
    await shows(ann, said);
    await shows(bob, said);
    assert.deepEqual(ann.timeline.comments, bob.timeline.comments);
    await until("all shown", () => ann.outgoing.length === 0);
  },

  "a lost connection is resumed without a loss": async (transport) => {
    const ann = viewer(transport, { token: tokens.ann });
    const bob = viewer(transport);
    await Promise.all([opened(ann), opened(bob)]);
    const before = await say(ann, 20);
    await shows(bob, before);
    const saying = say(ann, 50);
    cutAll();
    const during = await saying;
    const after = await say(ann, 10);
    await shows(bob, [...before, ...during, ...after]);
    await shows(ann, [...before, ...during, ...after]);
  },

  "a pause shows everything at its end": async (transport) => {
    const ann = viewer(transport, { token: tokens.ann });
    const bob = viewer(transport, { maxComments: 40 });
    await Promise.all([opened(ann), opened(bob)]);
    bob.pause();
    /** @type {string[]} */
    const shown = [];
    bob.on("comments", ({ comments }) => shown.push(...comments.map(({ message }) => message)));
    const said = await say(ann, 100);
    await shows(ann, said);
    assert.deepEqual(shown, []);
    bob.resume();
    await until("all of the pause", () => shown.length >= said.length);
    assert.deepEqual(shown, said);
    const later = await say(ann, 1);
    await until("the stream after it", () => shown.length > said.length);
    assert.deepEqual(shown.slice(said.length), later);
  },

  "a skipped pause leaves a gap that the history fills": async (transport) => {
    const ann = viewer(transport, { token: tokens.ann });
    const bob = viewer(transport, { fillGaps: true });
    await Promise.all([opened(ann), opened(bob)]);
    let gaps = 0;
    bob.on("gap", () => {
      gaps += 1;
    });
    bob.pause();
    const said = await say(ann, 30);
    await shows(ann, said);
    bob.resume({ skip: true });
    const later = await say(ann, 5);
    await shows(bob, [...said, ...later]);
    assert.ok(gaps > 0);
  },

  "older pages lead to the first comment": async (transport) => {
    const ann = viewer(transport, { token: tokens.ann });
    await opened(ann);
    const said = await say(ann, 30);
    await shows(ann, said);
    const bob = viewer(transport);
    await opened(bob);
    let done = false;
    while (!done) ({ done } = await bob.loadOlder(70));
    await shows(bob, said);
    let stored = 0;
    for await (const page of bob.history.pages({ pageSize: 1000 })) stored += page.comments.length;
    assert.equal(bob.timeline.size, stored);
  },

  "a moment of the stream can be replayed": async (transport) => {
    const ann = viewer(transport, { token: tokens.ann });
    await opened(ann);
    const said = await say(ann, 30);
    await shows(ann, said);
    const bob = viewer(transport);
    const { started_at = 0 } = await bob.stream();
    const momentOf = (/** @type {string | undefined} */ text) => {
      const found = ann.timeline.comments.find(({ message }) => message === text);
      return (found?.created_at ?? 0) - started_at;
    };
    const replay = await bob.replay();
    const read = async (/** @type {string | undefined} */ text) => {
      return (await replay.seek(momentOf(text))).map(({ message }) => message);
    };
    const end = Date.now() + PATIENCE_MS;
    // The history is written shortly after comments are shown.
    while (!(await read(said[29])).includes(said[29] ?? "")) {
      assert.ok(Date.now() < end, "the last comment in the history");
    }
    const found = await read(said[19]);
    const rest = await replay.advance(Date.now() - started_at - 1);
    const later = [...found, ...rest.map(({ message }) => message)];
    assert.deepEqual(
      later.filter((text) => said.slice(15).includes(text)),
      said.slice(15),
      "each once, in order",
    );
    await assert.rejects(replay.seek(Date.now() - started_at + 600_000), { code: "beyond_end" });
  },

  "refusals are told, and change nothing": async (transport) => {
    const ann = viewer(transport, { token: tokens.ann });
    await opened(ann);
    await assert.rejects(ann.send(" "), { code: "comment_empty" });
    await assert.rejects(ann.send("x".repeat(501)), { code: "comment_too_long" });
    await assert.rejects(ann.moderation.queue(), { code: "forbidden" });
    const anonymous = viewer(transport);
    await opened(anonymous);
    await assert.rejects(anonymous.send("hello"), { code: "not_authenticated" });
    assert.equal(ann.state, "open");
  },

  "a reply, a pin and a vote reach everybody": async (transport) => {
    const moderator = viewer(transport, { token: tokens.moderator, encoding: "msgpack" });
    const ann = viewer(transport, { token: tokens.ann, encoding: "msgpack" });
    const bob = viewer(transport, { token: tokens.bob });
    await Promise.all([opened(moderator), opened(ann), opened(bob)]);
    const [question = ""] = await say(bob, 1);
    await shows(ann, [question]);
    const parent = ann.timeline.comments.find(({ message }) => message === question);
    const parentId = parent?.comment_id ?? "";
    const answer = anyText();
    await ann.send(answer, { parentId });
    await shows(bob, [answer]);
    const reply = bob.timeline.comments.find(({ message }) => message === answer);
    assert.equal(reply?.parent_id, parentId);

    await moderator.moderation.pin(parentId);
    const pinned = () => [moderator, ann, bob].every(({ pinned: it }) => it?.message === question);
    await until("the pin", pinned);
    await moderator.moderation.delete(parentId);
    await until("no pin", () => [moderator, ann, bob].every(({ pinned: it }) => it === null));

    const { poll_id } = await moderator.moderation.openPoll("Who wins?", ["red", "blue"], 60_000);
    try {
      await until("the poll", () => ann.poll?.question === "Who wins?");
      const pollId = ann.poll?.poll_id ?? 0;
      assert.equal(poll_id, pollId);
      await ann.vote(pollId, 1);
      await assert.rejects(ann.vote(pollId, 0), { code: "already_voted" });
      const counted = () => [ann, bob].every(({ poll }) => String(poll?.votes) === "0,1");
      await until("the vote", counted);
    } finally {
      await moderator.moderation.closePoll();
    }
    await until("the result", () => [ann, bob].every(({ poll }) => poll?.closed === true));
    assert.deepEqual((await ann.polls(1))[0]?.votes, [0, 1]);
  },

  "reactions are counted": async (transport) => {
    const ann = viewer(transport, { token: tokens.ann });
    const bob = viewer(transport);
    await Promise.all([opened(ann), opened(bob)]);
    const before = bob.reactions.fire ?? 0;
    ann.react("fire");
    await until("the reaction", () => (bob.reactions.fire ?? 0) > before);
  },

  "a moderator deletes, changes the room, times out and bans": async (transport) => {
    const moderator = viewer(transport, { token: tokens.moderator });
    const ann = viewer(transport, { token: tokens.ann });
    const bob = viewer(transport);
    await Promise.all([opened(moderator), opened(ann), opened(bob)]);
    const said = await say(ann, 2);
    await shows(bob, said);
    const id = bob.timeline.comments.find(({ message }) => message === said[0])?.comment_id ?? "";
    await moderator.moderation.delete(id, { reason: "spam" });
    await until("the deletion", () => !bob.timeline.has(id));

    await moderator.moderation.patchRoom({ slow_ms: 30_000 });
    await until("the rule", () => bob.room.slow_ms === 30_000);
    await ann.send("the first in slow mode").catch(() => {});
    await assert.rejects(ann.send("the second"), { code: "slow_mode" });
    await moderator.moderation.patchRoom({ slow_ms: null });
    await until("no rule", () => bob.room.slow_ms === undefined);

    await moderator.moderation.timeout("ann", { durationMs: 60_000 });
    await assert.rejects(ann.send("during a timeout"), { code: "timed_out" });
    await moderator.moderation.ban("ann");
    try {
      await until("the ban", () => ann.state === "closed");
    } finally {
      await moderator.moderation.unban("ann");
    }
  },
};

let failures = 0;
for (const name of transports) {
  for (const [promise, check] of Object.entries(checks)) {
    const began = Date.now();
    try {
      await check(/** @type {TransportName} */ (name));
      console.log(`ok      ${name}: ${promise} (${Date.now() - began} ms)`);
    } catch (error) {
      failures += 1;
      console.log(`FAILED  ${name}: ${promise}`);
      console.log(error);
    }
    for (const client of clients) client.close();
    clients = [];
  }
}
// A client that left a timer or a socket would keep the process alive: it must end by itself.
process.exitCode = failures === 0 ? 0 : 1;
