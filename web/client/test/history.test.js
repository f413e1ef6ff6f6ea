import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";

import { History } from "../history.js";
import { StreamApi } from "../http.js";
import { Replay } from "../replay.js";
import { TokenSource } from "../token.js";
import { FakeClock, comment, range } from "./support.js";

/** @import { AddressInfo } from "node:net" */
/** @import { Comment } from "../protocol.js" */

/**
 * A server of history over HTTP, with the header fields of the daemon.
 *
 * @param {Comment[]} stored In their order.
 */
async function served(stored) {
  const state = { started: 0 };
  /** @type {string[]} */
  const asked = [];
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "", "http://host");
    asked.push(url.search);
    const { searchParams } = url;
    const at = searchParams.get("at");
    const before = searchParams.get("before");
    const newestFirst = [...stored].reverse().filter(({ created_at }) => {
      return at === null || created_at - state.started <= Number(at);
    });
    const from = before ? newestFirst.findIndex(({ comment_id }) => comment_id === before) + 1 : 0;
    const limit = Number(searchParams.get("limit"));
    const comments = newestFirst.slice(from, from + limit);
    const more = from + limit < newestFirst.length;
    const page = more ? { comments, next_before: comments.at(-1)?.comment_id } : { comments };
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(JSON.stringify(page));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  const { port } = /** @type {AddressInfo} */ (server.address());
  const clock = new FakeClock();
  const history = () => {
    const tokens = new TokenSource(clock, null);
    return new History(
      new StreamApi(`http://127.0.0.1:${port}/api/streams/7`, tokens, fetch),
      clock,
    );
  };
  return { asked, clock, history, state, close: () => server.close() };
}

test("a replay returns each comment once, in step", async () => {
  const started_at = 1_795_254_408_000;
  // One comment every 100 ms for two minutes, and one after the end.
  const stored = range(1, 1_201).map((seq) => {
    return comment(seq, { created_at: started_at + seq * 100 });
  });
  const { asked, history, state, close } = await served(stored);
  state.started = started_at;
  const replay = new Replay(history(), { started_at, ended_at: started_at + 120_000 });
  /** @param {Comment[]} comments */
  const seqs = (comments) => comments.map(({ seq }) => seq);
  assert.deepEqual(seqs(await replay.advance(1_000)), range(1, 10));
  assert.deepEqual(seqs(await replay.advance(1_000)), []);
  assert.deepEqual(seqs(await replay.advance(61_000)), range(11, 610));
  assert.ok(
    asked.every((query) => !query.includes("at=61000")),
    "moments are shared by all viewers",
  );
  assert.deepEqual(seqs(await replay.seek(30_000, 5)), range(296, 300));
  const both = await Promise.all([replay.advance(30_050), replay.advance(30_200)]);
  assert.deepEqual(both.map(seqs), [[], [301, 302]]);
  assert.deepEqual(seqs(await replay.seek(119_000, 1)), [1_190]);
  assert.deepEqual(seqs(await replay.advance(999_999_999)), range(1_191, 1_200), "up to the end");
  assert.throws(() => new Replay(history(), {}), TypeError);
  close();
});

test("replies are read page by page, with their number", async () => {
  /** @type {string[]} */
  const asked = [];
  const pages = [
    { comments: [comment(9), comment(7)], count: 3, count_is_exact: true, next_before: "id-7" },
    { comments: [comment(5)], count: 3, count_is_exact: true },
  ];
  const fetch = async (/** @type {string | URL | Request} */ url) => {
    asked.push(String(url));
    return Response.json(pages[asked.length - 1]);
  };
  const clock = new FakeClock();
  const tokens = new TokenSource(clock, null);
  const history = new History(new StreamApi("http://host/api/streams/7", tokens, fetch), clock);
  const first = await history.replies("a/b", { pageSize: 2 });
  assert.deepEqual(first, pages[0]);
  const second = await history.replies("a/b", { pageSize: 2, before: first.next_before });
  assert.deepEqual(second, pages[1]);
  assert.deepEqual(asked, [
    "http://host/api/streams/7/comments/a%2Fb/replies?limit=2",
    "http://host/api/streams/7/comments/a%2Fb/replies?before=id-7&limit=2",
  ]);
});

test("a replay that is told an earlier moment jumps", async () => {
  const started_at = 1_795_254_408_000;
  const stored = range(1, 1_200).map((seq) => {
    return comment(seq, { created_at: started_at + seq * 100 });
  });
  const { history, state, close } = await served(stored);
  state.started = started_at;
  const replay = new Replay(history(), { started_at, ended_at: started_at + 120_000 });
  /** @param {number} ms */
  const advance = async (ms) => (await replay.advance(ms)).map(({ seq }) => seq);
  assert.equal((await advance(61_000)).length, 610);
  assert.deepEqual(await advance(40_000), range(301, 400));
  assert.deepEqual(await advance(41_000), range(401, 410));
  assert.deepEqual(await advance(0), []);
  assert.deepEqual(await advance(1_000), range(1, 10));
  close();
});

test("a replay continues behind a deleted comment", async () => {
  const started_at = 1_795_254_408_000;
  const stored = range(1, 300).map((seq) => {
    return comment(seq, { created_at: started_at + seq * 100 });
  });
  const { history, state, close } = await served(stored);
  state.started = started_at;
  const replay = new Replay(history(), { started_at });
  assert.equal((await replay.seek(10_000)).length, 100);
  stored.splice(99, 1);
  const next = await replay.advance(20_000);
  assert.deepEqual(
    next.map(({ seq }) => seq),
    range(101, 200),
  );
  close();
});
