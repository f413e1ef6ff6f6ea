import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveComments } from "../client.js";
import { FakeClock, FakeFetch, FakeSockets, ann, batch, json, settle, welcome } from "./support.js";

/** @typedef {import("../options.js").LiveCommentsOptions} Options */

/** @param {Options} [options] */
function start(options = {}) {
  const clock = new FakeClock();
  const sockets = new FakeSockets();
  const http = new FakeFetch();
  const { WebSocket } = sockets;
  const settings = { clock, WebSocket, fetch: http.fetch, ...options };
  const client = new LiveComments("https://host/base", "7", settings);
  /** @type {import("../connection.js").StateChange[]} */
  const states = [];
  client.on("state", (change) => states.push(change));
  client.connect();
  return { clock, sockets, http, client, states };
}

const bob = { ...ann, user_id: "43", name: "bob" };

/** @param {number} expiresMs */
function tokenUntil(expiresMs) {
  const claims = Buffer.from(JSON.stringify({ exp: expiresMs / 1000 })).toString("base64url");
  return `head.${claims}.signature`;
}

/** An event stream that stays open, with some messages at its beginning. */
function eventStream(/** @type {import("../protocol.js").ServerMessage[]} */ ...messages) {
  const text = messages.map((message) => `data: ${JSON.stringify(message)}\n\n`).join("");
  const body = new ReadableStream({
    start: (controller) => controller.enqueue(new TextEncoder().encode(text)),
  });
  return new Response(body, { headers: { "Content-Type": "text/event-stream" } });
}

test("a socket opens at the stream with its subprotocol", async () => {
  const { client, sockets, states } = start({ encoding: "msgpack" });
  await settle();
  assert.equal(sockets.last.url.href, "wss://host/base/ws/7");
  assert.equal(sockets.last.protocol, "lc.v1.msgpack");
  assert.deepEqual(
    states.map(({ state }) => state),
    ["connecting"],
  );
  client.close();
});

test("the token goes in a message, and the client is open after it", async () => {
  const { client, sockets } = start({ token: "secret" });
  await settle();
  sockets.last.accept();
  assert.deepEqual(sockets.last.sent, [{ type: "auth", token: "secret" }]);
  assert.ok(!sockets.last.url.href.includes("secret"));
  sockets.last.receive(welcome(5));
  assert.equal(client.state, "connecting");
  sockets.last.receive(welcome(5, { user: ann }));
  assert.equal(client.state, "open");
  assert.deepEqual(client.user, ann);
  client.close();
});

test("a reconnect resumes from the last position", async () => {
  const { client, clock, sockets } = start();
  await settle();
  sockets.last.accept();
  sockets.last.receive(welcome(5), batch(6, 9));
  sockets.last.end(1006);
  await clock.advance(500);
  assert.equal(sockets.all.length, 2);
  assert.equal(sockets.last.url.search, "?epoch=3&seq=9");
  client.close();
});

test("the time in a bye is kept to the millisecond", async () => {
  const { client, clock, sockets, states } = start();
  await settle();
  sockets.last.accept();
  sockets.last.receive(welcome(5), { type: "bye", code: "shutdown", reconnect_after_ms: 4_321 });
  sockets.last.end(4000);
  assert.equal(states.at(-1)?.retryInMs, 4_321);
  await clock.advance(4_320);
  assert.equal(sockets.all.length, 1);
  await clock.advance(1);
  assert.equal(sockets.all.length, 2);
  client.close();
});

test("a bye among the messages of a poll ends the polls", async () => {
  const { client, clock, http, states } = start({ transports: ["polling"] });
  const bye = { type: "bye", code: "shutdown", reconnect_after_ms: 5_000 };
  http.answer = () => json({ since: "s1", messages: [welcome(5), bye] });
  await settle();
  assert.equal(states.at(-1)?.retryInMs, 5_000);
  await clock.advance(4_999);
  assert.equal(http.requests.length, 1);
  await clock.advance(1);
  assert.equal(http.requests[1]?.url.search, "?since=s1&wait_ms=0");
  client.close();
});

test("a poll continues after a loss without another welcome", async () => {
  const { client, clock, http, states } = start({ transports: ["polling"], token: "token" });
  /** @type {(Response | Error)[]} */
  const answers = [
    json({ since: "s1", messages: [welcome(5, { user: ann })] }),
    new TypeError("cut"),
    json({ since: "s1", messages: [] }),
    json({ since: "s2", messages: [batch(6, 7)] }),
  ];
  http.answer = () => {
    const answer = answers.shift() ?? new Promise(() => {});
    if (answer instanceof Error) throw answer;
    return answer;
  };
  await clock.advance(500);
  assert.deepEqual(
    states.map(({ state }) => state),
    ["connecting", "open", "waiting", "connecting", "open"],
  );
  const asked = http.requests.map(({ url }) => url.search);
  assert.deepEqual(asked.slice(1, 3), ["?since=s1&wait_ms=30000", "?since=s1&wait_ms=0"]);
  assert.deepEqual(client.position, { epoch: 3, seq: 7 });
  assert.deepEqual(client.user, ann);
  client.close();
});

test("a final bye closes the client with the reason", async () => {
  const { client, clock, sockets, states } = start();
  await settle();
  sockets.last.accept();
  const error = { type: /** @type {const} */ ("error"), code: "banned", message: "no" };
  sockets.last.receive(welcome(5), error, { type: "bye", code: "banned" });
  sockets.last.end(4503);
  assert.equal(client.state, "closed");
  assert.equal(states.at(-1)?.error?.code, "banned");
  await clock.advance(3_600_000);
  assert.equal(sockets.all.length, 1);
  assert.equal(clock.pending, 0);
});

test("delays grow while nothing opens, and begin again after a welcome", async () => {
  const { client, clock, sockets, states } = start({ transports: ["websocket"] });
  /** @type {(number | undefined)[]} */
  let delays = [];
  client.on("state", ({ retryInMs }) => retryInMs !== undefined && delays.push(retryInMs));
  for (let count = 0; count < 12; count += 1) {
    await clock.advance(30_000);
    sockets.last.end(1006);
  }
  delays.forEach((delay, index) => {
    assert.ok(Number(delay) < Math.min(30_000, 500 * 2 ** index), `${index}: ${delay}`);
  });
  assert.ok(Math.max(...delays.map(Number)) > 5_000);
  await clock.advance(30_000);
  delays = [];
  sockets.last.accept();
  sockets.last.receive(welcome(5));
  sockets.last.end(1006);
  assert.ok(Number(delays[0]) < 500);
  assert.equal(states.at(-1)?.state, "waiting");
  client.close();
});

test("transports are tried from the best to the last", async () => {
  const { client, clock, sockets, http, states } = start();
  await settle();
  sockets.last.end(1006);
  await settle();
  assert.deepEqual(http.paths, ["/base/api/streams/7/events", "/base/api/streams/7/comments/poll"]);
  assert.equal(states.at(-1)?.state, "waiting");
  await clock.advance(500);
  assert.equal(sockets.all.length, 2);
  client.close();
});

test("a socket that opens and stays silent is given up", async () => {
  const { client, clock, sockets, http } = start();
  http.answer = () => eventStream(welcome(5));
  await settle();
  sockets.last.accept();
  await clock.advance(9_999);
  assert.equal(http.requests.length, 0);
  await clock.advance(1);
  assert.equal(sockets.last.closedWith, 1000);
  assert.equal(client.transport, "events");
  assert.equal(client.state, "open");
  client.close();
});

test("an event stream that a proxy holds back falls to polling", async () => {
  const { client, clock, http } = start({ transports: ["events", "polling"] });
  http.answer = ({ url }) => {
    if (url.pathname.endsWith("/events")) return eventStream();
    if (url.searchParams.get("wait_ms") !== "0") return new Promise(() => {});
    return json({ since: "s1", messages: [welcome(5)] });
  };
  await clock.advance(10_000);
  assert.equal(client.transport, "polling");
  assert.equal(client.state, "open");
  client.close();
  assert.equal(clock.pending, 0);
});

test("a better transport replaces the present one without a loss", async () => {
  const { client, clock, sockets, http, states } = start();
  http.answer = () => eventStream(welcome(5), batch(6, 7));
  await settle();
  sockets.last.end(1006);
  await settle();
  assert.equal(client.transport, "events");
  let waited = 0;
  for (; sockets.all.length < 2 && waited < 60_000; waited += 1_000) await clock.advance(1_000);
  assert.ok(waited >= 30_000, `${waited}`);
  assert.equal(client.transport, "events");
  assert.equal(sockets.last.url.search, "?epoch=3&seq=7");
  sockets.last.accept();
  sockets.last.receive(welcome(7), batch(8, 9));
  assert.equal(client.transport, "websocket");
  assert.equal(states.at(-1)?.transport, "websocket");
  assert.deepEqual(
    client.timeline.comments.map(({ seq }) => seq),
    [6, 7, 8, 9],
  );
  client.close();
  assert.equal(clock.pending, 0);
});

test("a better transport that fails again changes nothing", async () => {
  const { client, clock, sockets, http } = start({ times: { silenceMs: 1e9 } });
  http.answer = () => eventStream(welcome(5));
  await settle();
  sockets.last.end(1006);
  await clock.advance(60_000);
  sockets.last.end(1006);
  await clock.advance(59_000);
  assert.equal(sockets.all.length, 2);
  await clock.advance(61_000);
  assert.equal(sockets.all.length, 3);
  assert.equal(client.transport, "events");
  assert.equal(client.state, "open");
  client.close();
});

test("a refusal over HTTP is waited for, then the best is tried", async () => {
  const { client, clock, sockets, http, states } = start();
  http.answer = () => {
    return json({ code: "connection_rate", detail: "wait", retry_after_ms: 7_000 }, 503);
  };
  await settle();
  sockets.last.end(1006);
  await settle();
  assert.equal(states.at(-1)?.retryInMs, 7_000);
  assert.equal(states.at(-1)?.error?.code, "connection_rate");
  await clock.advance(7_000);
  assert.equal(sockets.all.length, 2);
  client.close();
});

test("without sockets the next transport is used", async () => {
  const own = Object.getOwnPropertyDescriptor(globalThis, "WebSocket");
  Reflect.deleteProperty(globalThis, "WebSocket");
  try {
    const { client, http } = start({ WebSocket: undefined });
    http.answer = () => eventStream(welcome(5));
    await settle();
    assert.equal(client.transport, "events");
    client.close();
  } finally {
    if (own) Object.defineProperty(globalThis, "WebSocket", own);
  }
});

test("a quiet socket is pinged, and closed without an answer", async () => {
  const { client, clock, sockets } = start();
  await settle();
  sockets.last.accept();
  sockets.last.receive(welcome(5));
  await clock.advance(25_000);
  assert.deepEqual(sockets.last.sentTypes, ["ping"]);
  sockets.last.receive({ type: "pong" });
  await clock.advance(25_000);
  assert.deepEqual(sockets.last.sentTypes, ["ping", "ping"]);
  await clock.advance(10_000);
  assert.equal(sockets.all.length > 1 || client.state === "waiting", true);
  client.close();
});

test("a token is renewed before it expires, over the same socket", async () => {
  let count = 0;
  const { client, clock, sockets } = start({
    token: async () => {
      count += 1;
      return tokenUntil(1_800_000_600_000) + count;
    },
    times: { pingMs: 1e9 },
  });
  await settle();
  sockets.last.accept();
  sockets.last.receive(welcome(5, { user: ann }));
  await clock.advance(569_999);
  assert.equal(count, 1);
  await clock.advance(1);
  assert.equal(count, 2);
  assert.deepEqual(sockets.last.sentTypes, ["auth", "auth"]);
  assert.equal(client.state, "open");
  client.close();
});

test("a refused token is replaced once, then the client closes", async () => {
  let count = 0;
  const { client, sockets, states } = start({ token: () => `token-${(count += 1)}` });
  const refuse = async () => {
    await settle();
    sockets.last.accept();
    sockets.last.receive({ type: "bye", code: "unauthorized" });
    sockets.last.end(4501);
    await settle();
  };
  await refuse();
  assert.equal(count, 2);
  assert.equal(client.state, "connecting");
  await refuse();
  assert.equal(client.state, "closed");
  assert.equal(states.at(-1)?.error?.code, "unauthorized");
});

test("a provider that fails is asked again later", async () => {
  let fails = true;
  const { client, clock, sockets } = start({
    token: () => (fails ? Promise.reject(new Error("offline")) : "token"),
  });
  /** @type {string[]} */
  const errors = [];
  client.on("error", ({ code }) => errors.push(code));
  await settle();
  assert.equal(client.state, "waiting");
  assert.deepEqual(errors, ["token_unavailable"]);
  fails = false;
  await clock.advance(500);
  assert.equal(sockets.all.length, 1);
  client.close();
});

test("signing in over a socket needs no other one", async () => {
  const { client, sockets } = start();
  await settle();
  sockets.last.accept();
  sockets.last.receive(welcome(5));
  client.setToken("token");
  const sent = client.send("hello");
  await settle();
  assert.deepEqual(sockets.last.sentTypes, ["comment", "auth"]);
  sockets.last.receive(welcome(5, { user: ann }));
  assert.deepEqual(sockets.last.sentTypes, ["comment", "auth", "comment"]);
  client.close();
  await assert.rejects(sent, { code: "client_closed" });
});

test("a token set while the socket connects is sent", async () => {
  for (const token of [undefined, "old"]) {
    const { client, sockets } = start({ token });
    await settle();
    client.setToken("token");
    await settle();
    sockets.last.accept();
    assert.deepEqual(sockets.last.sent, [{ type: "auth", token: "token" }]);
    sockets.last.receive(welcome(5), welcome(5, { user: ann }));
    assert.equal(client.state, "open");
    client.close();
  }
});

test("a token set while a provider is asked replaces it", async () => {
  /** @type {(token: string) => void} */
  let provide = () => {};
  const { client, sockets } = start({
    token: () => new Promise((resolve) => (provide = resolve)),
  });
  await settle();
  client.setToken("bob");
  await settle();
  assert.equal(sockets.all.length, 1);
  sockets.last.accept();
  provide("ann");
  await settle();
  assert.deepEqual(sockets.last.sent, [{ type: "auth", token: "bob" }]);
  client.close();
});

test("a new token is replaced once more when refused", async () => {
  let count = 0;
  /** @type {((token: string) => void) | undefined} */
  let provide;
  const { client, sockets } = start({
    token: () => {
      count += 1;
      return count === 1 ? "old" : new Promise((resolve) => (provide = resolve));
    },
  });
  const refuse = async () => {
    await settle();
    sockets.last.accept();
    sockets.last.receive({ type: "bye", code: "unauthorized" });
    await settle();
  };
  await refuse();
  assert.ok(provide, "the provider is asked again");
  client.setToken(() => `new-${(count += 1)}`);
  await refuse();
  assert.equal(client.state, "connecting");
  sockets.last.accept();
  assert.deepEqual(sockets.last.sent, [{ type: "auth", token: "new-4" }]);
  client.close();
});

test("a candidate that a later one replaces is closed", async () => {
  /** @type {((token: string) => void)[]} */
  const provide = [];
  const { client, clock, sockets, http } = start({
    transports: ["websocket", "events"],
    times: { silenceMs: 1e9 },
    token: "first",
  });
  http.answer = () => eventStream(welcome(5, { user: ann }));
  await settle();
  sockets.last.end(1006);
  await settle();
  assert.equal(client.transport, "events");
  // The change of the token opens a candidate, and so does the return to a better transport.
  client.setToken(() => new Promise((resolve) => provide.push(resolve)));
  await clock.advance(60_000);
  http.answer = () => eventStream(welcome(5, { user: bob }));
  for (const give of provide) give("second");
  await settle();
  const opened = sockets.all.length + http.requests.length;
  assert.equal(opened, 3, "the later of both candidates only");
  assert.equal(client.user?.user_id, bob.user_id);
  client.close();
  assert.ok(sockets.all.slice(1).every(({ closedWith }) => closedWith === 1000));
});

test("a candidate with the token of before is closed", async () => {
  const { client, clock, sockets, http } = start({
    transports: ["websocket", "polling"],
    times: { silenceMs: 1e9, openMs: 1e9 },
    token: "ann",
  });
  http.answer = ({ url }) => {
    if (url.searchParams.get("wait_ms") !== "0") return new Promise(() => {});
    return json({ since: "s1", messages: [welcome(5, { user: ann })] });
  };
  await settle();
  sockets.last.end(1006);
  await clock.advance(60_000);
  assert.equal(client.transport, "polling");
  assert.equal(sockets.all.length, 2);
  client.setToken("bob");
  await settle();
  assert.equal(sockets.last.closedWith, 1000);
  await clock.advance(120_000);
  assert.equal(sockets.all.length, 3, "the better transport is tried again");
  sockets.last.accept();
  assert.deepEqual(sockets.last.sent, [{ type: "auth", token: "bob" }]);
  client.close();
});

test("a better transport that fails loses no new token", async () => {
  const { client, clock, sockets, http } = start({
    transports: ["websocket", "events"],
    times: { silenceMs: 1e9, openMs: 1e9 },
    token: "ann",
  });
  http.answer = () => eventStream(welcome(5, { user: ann }));
  await settle();
  sockets.last.end(1006);
  await settle();
  http.answer = () => new Promise(() => {});
  client.setToken("bob");
  await clock.advance(60_000);
  assert.equal(sockets.all.length, 2, "the better transport takes the place of the candidate");
  http.answer = () => eventStream(welcome(5, { user: bob }));
  sockets.last.end(1006);
  await clock.advance(1_000);
  assert.equal(client.user?.user_id, bob.user_id);
  client.close();
});

test("a candidate for a new token is tried again", async () => {
  const { client, clock, http } = start({
    transports: ["events"],
    times: { silenceMs: 1e9 },
    token: "ann",
  });
  http.answer = () => eventStream(welcome(5, { user: ann }));
  await settle();
  http.answer = () => {
    return json({ code: "overloaded", detail: "wait", retry_after_ms: 7_000 }, 503);
  };
  client.setToken("bob");
  await clock.advance(6_999);
  assert.equal(http.requests.length, 2);
  http.answer = () => {
    throw new TypeError("cut");
  };
  await clock.advance(60_000);
  const tries = http.requests.length - 2;
  assert.ok(tries > 2 && tries < 20, `with growing delays: ${tries}`);
  http.answer = () => eventStream(welcome(5, { user: bob }));
  await clock.advance(30_000);
  assert.equal(client.user?.user_id, bob.user_id);
  assert.equal(http.requests.at(-1)?.headers.get("Authorization"), "Bearer bob");
  client.close();
});

test("a new token that is refused is told, once", async () => {
  const { client, clock, http } = start({
    transports: ["events"],
    times: { silenceMs: 1e9 },
    token: "ann",
  });
  /** @type {string[]} */
  const errors = [];
  client.on("error", ({ code }) => errors.push(code));
  http.answer = () => eventStream(welcome(5, { user: ann }));
  await settle();
  http.answer = () => json({ code: "token_expired", detail: "no" }, 401);
  client.setToken("bob");
  await clock.advance(600_000);
  assert.deepEqual(errors, ["token_expired"]);
  assert.equal(http.requests.length, 2);
  assert.equal(client.state, "open");
  client.close();
});

test("a new token reaches a link that came meanwhile", async () => {
  /** @type {((token: string) => void) | undefined} */
  let provide;
  const { client, clock, sockets, http } = start({
    transports: ["websocket", "events"],
    times: { silenceMs: 1e9, openMs: 1e9 },
    token: "ann",
  });
  http.answer = () => eventStream(welcome(5, { user: ann }));
  await settle();
  sockets.last.end(1006);
  await clock.advance(60_000);
  assert.equal(sockets.all.length, 2);
  client.setToken(() => new Promise((resolve) => (provide = resolve)));
  sockets.last.accept();
  sockets.last.receive(welcome(5), welcome(5, { user: ann }));
  assert.equal(client.transport, "websocket");
  provide?.("bob");
  await settle();
  assert.deepEqual(sockets.last.sent.at(-1), { type: "auth", token: "bob" });
  client.close();
});

test("an upgrade without a token ends no retries", async () => {
  let fails = true;
  const { client, clock, sockets, http } = start({
    transports: ["websocket", "events"],
    times: { silenceMs: 1e9, openMs: 1e9 },
    token: "ann",
  });
  http.answer = () => eventStream(welcome(5, { user: ann }));
  await settle();
  sockets.last.end(1006);
  await settle();
  client.setToken(() => (fails ? Promise.reject(new Error("offline")) : "bob"));
  await clock.advance(60_000);
  assert.equal(sockets.all.length, 1, "the better transport needs a token, too");
  fails = false;
  http.answer = () => eventStream(welcome(5, { user: bob }));
  await clock.advance(6_000);
  assert.equal(client.user?.user_id, bob.user_id);
  client.close();
});

test("a new provider that fails is asked again", async () => {
  let fails = true;
  const { client, clock, sockets } = start({ token: "ann", times: { pingMs: 1e9 } });
  await settle();
  sockets.last.accept();
  sockets.last.receive(welcome(5, { user: ann }));
  client.setToken(() => (fails ? Promise.reject(new Error("offline")) : "bob"));
  await settle();
  assert.equal(sockets.last.sent.length, 1);
  fails = false;
  await clock.advance(5_000);
  assert.deepEqual(sockets.last.sent.at(-1), { type: "auth", token: "bob" });
  client.close();
});

test("close ends timers and sockets in every state", async () => {
  const { client, clock, sockets } = start();
  client.send("never sent");
  client.close();
  await settle();
  assert.equal(sockets.all.length, 0);
  assert.equal(clock.pending, 0);
  client.connect();
  await settle();
  client.close();
  assert.equal(sockets.last.closedWith, 1000);
  assert.equal(clock.pending, 0);
});

test("invalid arguments are refused at once", () => {
  assert.throws(() => new LiveComments("ftp://host", "7"), TypeError);
  assert.throws(() => new LiveComments("https://host", "seven"), TypeError);
  assert.throws(() => new LiveComments("https://host", 2 ** 60), TypeError);
  assert.throws(() => new LiveComments("https://host", "7", { transports: [] }), TypeError);
});
