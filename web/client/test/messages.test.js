import assert from "node:assert/strict";
import { test } from "node:test";

import { decode, encode } from "../msgpack.js";
import { decodeServerMessage, encodeClientMessage } from "../msgpack_messages.js";
import { TimeUuid, uuidText } from "../time_uuid.js";
import { seeded } from "./support.js";

const ID = "2f5e1c80-c6e5-11f0-8000-0242ac120002";
const ID_BYTES = bytesOf(ID.replaceAll("-", ""));

/** @param {string} hex */
function bytesOf(hex) {
  return Uint8Array.from(Buffer.from(hex.replaceAll(/\s/g, ""), "hex"));
}

test("the batch of docs/protocol.md reads as it says", () => {
  const message = decodeServerMessage(
    bytesOf(`96 01 03 cd0349 cd034c ce000f4240 92
      96 c410 2f5e1c80c6e511f080000242ac120002 2a a3616e6e a568656c6c6f 00 00
      96 11 2b a3626f62 a26869 03 ff`),
  );
  const second = "2f5e1c91-c6e5-11f0-8000-0242ac120002";
  const at = Number((0x1f0c6e52f5e1c80n - 0x01b21dd213814000n) / 10_000n);
  assert.deepEqual(message, {
    type: "comments",
    epoch: 3,
    from_seq: 841,
    to_seq: 844,
    sample_rate: 1,
    comments: [
      { comment_id: ID, user_id: "42", name: "ann", message: "hello", created_at: at, seq: 841 },
      {
        comment_id: second,
        user_id: "43",
        name: "bob",
        message: "hi",
        created_at: at - 1,
        seq: 844,
      },
    ],
  });
});

const AVATAR = "https://example.org/ann.png";

test("each kind has the fields of JSON", () => {
  const rules = [30_000, null, true, false, null, false];
  /** @type {[import("../msgpack.js").Value[], object | null][]} */
  const cases = [
    [
      [0, 7, [2n ** 63n - 1n, "ann", "viewer", AVATAR], 3, 840, 500_000, 12, rules, ["wow"]],
      {
        type: "welcome",
        stream_id: "7",
        user: { user_id: "9223372036854775807", name: "ann", role: "viewer", avatar: AVATAR },
        epoch: 3,
        seq: 840,
        sample_rate: 0.5,
        viewers: 12,
        room: { slow_ms: 30_000, subscribers_only: true },
        reactions: ["wow"],
      },
    ],
    [
      [0, 2n ** 63n - 1n, null, 3, 840, 1_000_000, 0, null, []],
      {
        type: "welcome",
        stream_id: "9223372036854775807",
        user: null,
        epoch: 3,
        seq: 840,
        sample_rate: 1,
        viewers: 0,
      },
    ],
    [
      [0, 7, null, 3, 840, 1_000_000, 0, null, [], ["scheduled", 1_800_000_000_000]],
      {
        type: "welcome",
        stream_id: "7",
        user: null,
        epoch: 3,
        seq: 840,
        sample_rate: 1,
        viewers: 0,
        state: "scheduled",
        starts_at: 1_800_000_000_000,
      },
    ],
    [
      [0, 7, null, 3, 840, 1_000_000, 0, null, [], null, null, [17, "?", ["a"], 1, 2, false, [3]]],
      {
        type: "welcome",
        stream_id: "7",
        user: null,
        epoch: 3,
        seq: 840,
        sample_rate: 1,
        viewers: 0,
        poll: {
          poll_id: 17,
          question: "?",
          options: ["a"],
          opened_at: 1,
          closes_at: 2,
          votes: [3],
        },
      },
    ],
    [
      [0, 7, null, 3, 840, 1_000_000, 0, null, [], null, [ID_BYTES, 1, "n", "m", 5, 0, 6]],
      {
        type: "welcome",
        stream_id: "7",
        user: null,
        epoch: 3,
        seq: 840,
        sample_rate: 1,
        viewers: 0,
        pinned: {
          comment_id: ID,
          user_id: "1",
          name: "n",
          message: "m",
          created_at: 5,
          pinned_at: 6,
        },
      },
    ],
    [
      [19, [17, "?", ["a", "b"], 1, 2, true, [3, 4]]],
      {
        type: "poll",
        poll_id: 17,
        question: "?",
        options: ["a", "b"],
        opened_at: 1,
        closes_at: 2,
        closed: true,
        votes: [3, 4],
      },
    ],
    [
      [17, "live", "Final", "", null, 1_800_000_000_000],
      { type: "stream", state: "live", title: "Final", started_at: 1_800_000_000_000 },
    ],
    [[2, null, ID_BYTES, 9], { type: "ack", comment_id: ID, seq: 9 }],
    [[2, "a", ID_BYTES, 9], { type: "ack", ref: "a", comment_id: ID, seq: 9 }],
    [[3, "banned", "no", null, null], { type: "error", code: "banned", message: "no" }],
    [
      [3, "slow_mode", "wait", 500, "a"],
      { type: "error", code: "slow_mode", message: "wait", retry_after_ms: 500, ref: "a" },
    ],
    [
      [4, ID_BYTES, "spam", 5],
      { type: "comment.deleted", comment_id: ID, reason: "spam", timestamp: 5 },
    ],
    [[5, 100_000, "fast"], { type: "throttle_notification", sample_rate: 0.1, message: "fast" }],
    [
      [6, new Map().set("fire", 2n ** 63n).set("__proto__", 1)],
      {
        type: "reactions_update",
        reactions: Object.fromEntries([
          ["fire", 2 ** 53 - 1],
          ["__proto__", 1],
        ]),
      },
    ],
    [[7, 3], { type: "presence", viewers: 3 }],
    [[8, "moderator", "hi"], { type: "direct", from: "moderator", message: "hi" }],
    [
      [8, "moderator", "hi", 5, null],
      { type: "direct", from: "moderator", message: "hi", message_id: 5 },
    ],
    [
      [8, "ann", "hi", 6, 2n ** 63n - 1n],
      {
        type: "direct",
        from: "ann",
        message: "hi",
        message_id: 6,
        from_user: "9223372036854775807",
      },
    ],
    [[9, "hi", "a later field"], { type: "announcement", message: "hi" }],
    [[10, 1, 2], { type: "gap", from_seq: 1, to_seq: 2 }],
    [
      [10, 1, 2, "api/streams/7/comments"],
      { type: "gap", from_seq: 1, to_seq: 2, history: "api/streams/7/comments" },
    ],
    [[11, "kicked", 0], { type: "bye", code: "kicked", reconnect_after_ms: 0 }],
    [[11, "banned", null], { type: "bye", code: "banned" }],
    [[12], { type: "pong" }],
    [
      [13, 3, 1, 1, 1_000_000, [[ID_BYTES, 1, "n", "m", 0, 0, 9]]],
      {
        type: "comments",
        epoch: 3,
        from_seq: 1,
        to_seq: 1,
        sample_rate: 1,
        comments: [
          {
            comment_id: ID,
            user_id: "1",
            name: "n",
            message: "m",
            created_at: TimeUuid.fromBytes(ID_BYTES).unixMs(),
            seq: 1,
            badges: ["moderator", "subscriber"],
          },
        ],
        echo: true,
      },
    ],
    [
      [1, 3, 1, 1, 1_000_000, [[ID_BYTES, 1, "n", "m", 0, 0, 0, ID_BYTES]]],
      {
        type: "comments",
        epoch: 3,
        from_seq: 1,
        to_seq: 1,
        sample_rate: 1,
        comments: [
          {
            comment_id: ID,
            user_id: "1",
            name: "n",
            message: "m",
            created_at: TimeUuid.fromBytes(ID_BYTES).unixMs(),
            seq: 1,
            parent_id: ID,
          },
        ],
      },
    ],
    [
      [14, [null, 0, false, true, 5, true]],
      { type: "room", followers_ms: 0, emotes_only: true, unique_ms: 5, no_links: true },
    ],
    [[15, "a"], { type: "room_ack", ref: "a" }],
    [[16, null], { type: "moderate_ack" }],
    [[18, null], { type: "pinned", comment: null }],
    [
      [19, [17, "?", ["a", "b"], 1, 2, false, [3, 4]]],
      {
        type: "poll",
        poll_id: 17,
        question: "?",
        options: ["a", "b"],
        opened_at: 1,
        closes_at: 2,
        votes: [3, 4],
      },
    ],
    [[20, 17, [5, 6]], { type: "poll_votes", poll_id: 17, votes: [5, 6] }],
    [[21, "a"], { type: "vote_ack", ref: "a" }],
    [
      [18, [ID_BYTES, 1, "n", "m", 5, 1, 6]],
      {
        type: "pinned",
        comment: {
          comment_id: ID,
          user_id: "1",
          name: "n",
          message: "m",
          created_at: 5,
          badges: ["moderator"],
          pinned_at: 6,
        },
      },
    ],
    [[99, "a later kind"], null],
  ];
  for (const [values, expected] of cases) {
    assert.deepEqual(decodeServerMessage(encode(values)), expected);
  }
});

test("messages that break the layout are refused", () => {
  const bad = [7, [], [1, 3, 1, 2, 0, [[5, 1, "n", "m", 0, 0]]], [4, new Uint8Array(3), "a", 1]];
  for (const value of [...bad, [7, "many"], [1, 3, 1, 2, 0, "none"]]) {
    assert.throws(() => decodeServerMessage(encode(value)), RangeError);
  }
});

test("messages of a viewer have the layout of docs/protocol.md", () => {
  const ban = { ban: { user: "id:42" } };
  /** @type {[import("../protocol.js").ClientMessage, unknown[]][]} */
  const cases = [
    [{ type: "auth", token: "t" }, [0, "t"]],
    [{ type: "comment", message: "hello", ref: "a" }, [1, "hello", "a"]],
    [{ type: "comment", message: "hello" }, [1, "hello", null]],
    [{ type: "comment", message: "hello", parent_id: ID }, [1, "hello", null, ID_BYTES]],
    [{ type: "vote", poll_id: 17, option: 1 }, [8, 17, 1, null]],
    [{ type: "reaction", reaction: "fire" }, [2, "fire"]],
    [{ type: "pause" }, [3]],
    [{ type: "resume" }, [4, null]],
    [{ type: "resume", skip: true }, [4, true]],
    [{ type: "ping" }, [5]],
    [{ type: "room", patch: { slow_ms: null }, ref: "a" }, [6, '{"slow_ms":null}', "a"]],
    [{ type: "moderate", act: ban }, [7, '{"ban":{"user":"id:42"}}', null]],
  ];
  for (const [message, expected] of cases) {
    assert.deepEqual(decode(encodeClientMessage(message)), expected);
  }
});

test("ids move by ticks as whole numbers of 60 bits do", () => {
  const random = seeded(3);
  for (let round = 0; round < 500; round += 1) {
    const bytes = Uint8Array.from({ length: 16 }, () => Math.floor(random() * 256));
    bytes[6] = 0x10 | (Number(bytes[6]) & 0x0f);
    const id = TimeUuid.fromBytes(bytes);
    assert.equal(id.toString(), uuidText(bytes));
    const ticks = BigInt(Math.floor(random() * 2 ** 40));
    const later = TimeUuid.fromBytes(bytesOf(id.later(ticks).toString().replaceAll("-", "")));
    if (id.ticks + ticks < 2n ** 60n) assert.equal(later.ticks - id.ticks, ticks);
  }
});

test("times before 1970 round down, too", () => {
  assert.equal(new TimeUuid(0x01b21dd213814000n - 1n, "0".repeat(16)).unixMs(), -1);
  assert.equal(new TimeUuid(0x01b21dd213814000n, "0".repeat(16)).unixMs(), 0);
});
