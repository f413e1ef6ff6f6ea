import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveCommentsError } from "../errors.js";
import { Outbox } from "../outbox.js";
import { CommentPoster } from "../posting.js";
import { FakeClock, settle } from "./support.js";

/** @param {{maxPending?: number}} [options] */
function outboxWith({ maxPending = 3 } = {}) {
  const clock = new FakeClock();
  /** @type {string[]} */
  const states = [];
  /** @type {string[]} */
  const delivered = [];
  const shown = new Set();
  const outbox = new Outbox({
    clock,
    maxPending,
    timeoutMs: 60_000,
    isShown: (id) => shown.has(id),
    onChange: ({ message, state, error }) => {
      states.push([message, state, error?.code].filter(Boolean).join(" "));
    },
  });
  /** @param {{message: string, ref: string}} outgoing */
  const deliver = ({ message, ref }) => delivered.push(`${message} ${ref}`);
  return { clock, outbox, states, delivered, shown, deliver };
}

/** @param {Outbox} outbox @param {number} [index] */
function refOf(outbox, index = 0) {
  return outbox.outgoing[index]?.ref ?? "none";
}

test("a comment is pending, then acknowledged, then shown", async () => {
  const { outbox, states, delivered, deliver } = outboxWith();
  outbox.attach(deliver);
  const result = outbox.send("hello");
  const ref = refOf(outbox);
  assert.deepEqual(delivered, [`hello ${ref}`]);
  outbox.acknowledge({ ref, comment_id: "id", seq: 5 });
  outbox.acknowledge({ ref, comment_id: "id", seq: 5 });
  outbox.markShown(["other", "id"]);
  assert.deepEqual(await result, { state: "acknowledged", ref, comment_id: "id", seq: 5 });
  assert.deepEqual(states, ["hello pending", "hello acknowledged", "hello shown"]);
  assert.deepEqual(outbox.outgoing, []);
});

test("an ack after the comment was shown ends it", () => {
  const { outbox, states, shown, deliver } = outboxWith();
  outbox.attach(deliver);
  outbox.send("hello");
  shown.add("id");
  outbox.acknowledge({ ref: refOf(outbox), comment_id: "id", seq: 5 });
  assert.deepEqual(states, ["hello pending", "hello shown"]);
});

test("what has no answer is sent again with its ref, in order", () => {
  const { outbox, delivered, deliver } = outboxWith();
  outbox.send("one");
  outbox.attach(deliver);
  outbox.send("two");
  const [one, two] = [refOf(outbox, 0), refOf(outbox, 1)];
  outbox.detach();
  outbox.send("three");
  outbox.acknowledge({ ref: one, comment_id: "id", seq: 1 });
  outbox.attach(deliver);
  const three = refOf(outbox, 2);
  assert.deepEqual(delivered, [`one ${one}`, `two ${two}`, `two ${two}`, `three ${three}`]);
});

test("a refusal of the comment is reported once", async () => {
  const { outbox, states, deliver } = outboxWith();
  outbox.attach(deliver);
  const result = outbox.send("hello");
  const ref = refOf(outbox);
  const error = new LiveCommentsError("slow_mode", "wait", { ref, retryAfterMs: 900 });
  assert.equal(outbox.refuse(error), true);
  assert.equal(outbox.refuse(error), false);
  await assert.rejects(result, { code: "slow_mode", retryAfterMs: 900 });
  assert.deepEqual(states, ["hello pending", "hello failed slow_mode"]);
});

test("a held comment succeeds as held and is not sent again", async () => {
  const { outbox, delivered, deliver } = outboxWith();
  outbox.attach(deliver);
  const result = outbox.send("hello");
  const ref = refOf(outbox);
  outbox.refuse(new LiveCommentsError("held_for_review", "waits", { ref }));
  assert.deepEqual(await result, { state: "held", ref });
  outbox.attach(deliver);
  assert.equal(delivered.length, 1);
});

test("a refusal of the server is retried after its wait", async () => {
  const { clock, outbox, delivered, deliver } = outboxWith();
  outbox.attach(deliver);
  outbox.send("hello").catch(() => {});
  const ref = refOf(outbox);
  const error = new LiveCommentsError("overloaded", "full", { ref, retryAfterMs: 1_000 });
  outbox.refuse(error);
  await clock.advance(999);
  assert.equal(delivered.length, 1);
  await clock.advance(1);
  assert.equal(delivered.length, 1, "others were told the same time");
  await clock.advance(1_000);
  assert.equal(delivered.length, 2);
  for (let count = 0; count < 5; count += 1) outbox.refuse(error);
  assert.deepEqual(outbox.outgoing, []);
});

test("a comment without an answer in time fails, for a retry by hand", async () => {
  const { clock, outbox, delivered, deliver } = outboxWith();
  outbox.attach(deliver);
  const result = outbox.send("hello");
  const ref = refOf(outbox);
  await clock.advance(60_000);
  await assert.rejects(result, { code: "not_sent", ref });
  outbox.send("hello", { ref });
  assert.deepEqual(delivered, [`hello ${ref}`, `hello ${ref}`]);
});

test("pending and acknowledged comments are bounded", async () => {
  const { outbox, states, deliver } = outboxWith({ maxPending: 2 });
  outbox.attach(deliver);
  outbox.send("one");
  outbox.send("two");
  await assert.rejects(outbox.send("three"), { code: "too_many_pending" });
  assert.equal(states.at(-1), "three failed too_many_pending");
  for (let count = 0; count < 10; count += 1) {
    const ref = outbox.outgoing.find(({ state }) => state === "pending")?.ref;
    outbox.acknowledge({ ref, comment_id: `id-${count}`, seq: count });
    outbox.send("more");
  }
  assert.ok(outbox.outgoing.length <= 4);
});

const PARENT = "2f5e1c80-c6e5-11f0-8000-0242ac120002";

test("what a comment answers stays with it, over a reconnect and a retry", async () => {
  const { clock, outbox } = outboxWith();
  /** @type {(string | undefined)[]} */
  const parents = [];
  const deliver = (/** @type {{parent_id?: string}} */ { parent_id }) => parents.push(parent_id);
  outbox.attach(deliver);
  outbox.send("hello", { parentId: PARENT }).catch(() => {});
  const ref = refOf(outbox);
  outbox.detach();
  outbox.attach(deliver);
  outbox.refuse(new LiveCommentsError("overloaded", "full", { ref, retryAfterMs: 1_000 }));
  await clock.advance(2_000);
  assert.deepEqual(parents, [PARENT, PARENT, PARENT]);
  assert.equal(outbox.outgoing[0]?.parent_id, PARENT);
});

test("a reply to no comment id is refused at once", async () => {
  const { outbox, states, delivered, deliver } = outboxWith();
  outbox.attach(deliver);
  const failed = "hello failed bad_message";
  const odd = /** @type {string} */ (/** @type {unknown} */ (7));
  for (const parentId of ["", "nope", `${PARENT}0`, PARENT.replaceAll("-", ""), odd]) {
    await assert.rejects(outbox.send("hello", { parentId }), { code: "bad_message" });
  }
  assert.deepEqual(states, Array(5).fill(failed));
  assert.deepEqual([delivered, outbox.outgoing], [[], []]);
});

test("a rejection that nobody awaits is no unhandled one", async () => {
  const { outbox } = outboxWith();
  outbox.send("hello");
  outbox.failAll("client_closed", "closed");
  await settle();
  assert.deepEqual(outbox.outgoing, []);
});

test("a comment in a gap is on its way no more", () => {
  const { outbox, states, deliver } = outboxWith();
  outbox.attach(deliver);
  outbox.send("before the gap");
  outbox.send("in the gap");
  outbox.send("answered late");
  const [before, inside, late] = outbox.outgoing.map(({ ref }) => ref);
  outbox.acknowledge({ ref: before, comment_id: "id-5", seq: 5 });
  outbox.acknowledge({ ref: inside, comment_id: "id-6", seq: 6 });
  outbox.markPassed({ from_seq: 6, to_seq: 20 });
  outbox.acknowledge({ ref: late, comment_id: "id-20", seq: 20 });
  assert.deepEqual(states.slice(-2), ["in the gap shown", "answered late shown"]);
  assert.deepEqual(
    outbox.outgoing.map(({ message }) => message),
    ["before the gap"],
  );
});

test("the 502 of a proxy is retried, its 404 is not", async () => {
  const { clock, outbox, delivered, deliver } = outboxWith();
  outbox.attach(deliver);
  outbox.send("hello");
  const ref = refOf(outbox);
  outbox.refuse(new LiveCommentsError("bad_answer", "html", { ref, status: 502 }));
  await clock.advance(1_000);
  assert.equal(delivered.length, 2);
  outbox.refuse(new LiveCommentsError("bad_answer", "html", { ref, status: 404 }));
  assert.deepEqual(outbox.outgoing, []);
});

/** Posts of which the test is the server, in their order. */
function postsWith() {
  const { clock, outbox, states } = outboxWith();
  /** @type {{message: string, ref: string, answer: (seq: number) => void}[]} */
  const posts = [];
  const api = {
    request: (/** @type {string} */ _, /** @type {import("../http.js").HttpRequest} */ request) => {
      const { signal } = request;
      const body = /** @type {{message: string, ref: string}} */ (request.body);
      return new Promise((resolve, reject) => {
        const answer = (/** @type {number} */ seq) => resolve({ comment_id: `id-${seq}`, seq });
        posts.push({ ...body, answer });
        signal?.addEventListener("abort", () => reject(signal.reason));
      });
    },
  };
  const poster = new CommentPoster(/** @type {never} */ (api), outbox, clock, 60_000);
  outbox.attach((outgoing) => poster.deliver(outgoing));
  return { clock, outbox, states, posts };
}

test("a post that hangs is made again, after others", async () => {
  const { clock, outbox, posts } = postsWith();
  outbox.send("one");
  outbox.send("two");
  const one = refOf(outbox);
  await clock.advance(15_000);
  posts[1]?.answer(1);
  await clock.advance(5_000);
  posts[2]?.answer(2);
  await settle();
  assert.deepEqual(
    posts.map(({ message }) => message),
    ["one", "two", "one"],
  );
  assert.equal(posts[2]?.ref, one);
});

test("a comment that failed in the queue can be retried", async () => {
  const { clock, outbox, states, posts } = postsWith();
  outbox.send("one");
  outbox.send("two");
  const two = refOf(outbox, 1);
  await settle();
  outbox.failAll("client_closed", "closed");
  outbox.send("two", { ref: two });
  posts[0]?.answer(1);
  await settle();
  posts[1]?.answer(2);
  await clock.advance(60_000);
  assert.equal(posts.length, 2);
  assert.equal(states.at(-1), "two acknowledged");
});
