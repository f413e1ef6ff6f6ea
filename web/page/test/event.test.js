/** What a page says before an event starts, while it is live, and after its end. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveCommentsError } from "../../client/index.js";
import { Composer } from "../composer.js";
import { EventLine } from "../event_line.js";
import { StatusLine } from "../status.js";
import { openFakeAddress, openFakePage } from "./fake_page.js";

/** @import { LiveComments, Schedule, StreamState } from "../../client/index.js" */

const ENDED = "This stream has ended. Its comments can be read here.";

function openStream() {
  const elementOf = openFakePage();
  openFakeAddress("https://comments.example.org/stream/2");
  elementOf("token").placeholder = "Paste a token to comment";
  /** @type {Map<string, ((event: object) => void)[]>} */
  const listeners = new Map();
  const calls = /** @type {string[]} */ ([]);
  const on = (/** @type {string} */ name, /** @type {(event: object) => void} */ listener) => {
    listeners.set(name, [...(listeners.get(name) ?? []), listener]);
  };
  const chat = {
    state: "connecting",
    transport: "websocket",
    schedule: /** @type {Schedule} */ ({ state: "live" }),
    user: /** @type {{user_id: string, name: string} | null} */ (null),
    room: {},
    on,
    once: on,
    stream: async () => ({ title: "Final", stream_id: "2" }),
    setToken: (/** @type {string | null} */ token) => calls.push(`token ${token}`),
    connect: () => calls.push("connect"),
    send: async (/** @type {string} */ message) => calls.push(`send ${message}`),
  };
  const typed = /** @type {LiveComments} */ (/** @type {unknown} */ (chat));
  const composer = new Composer(typed, () => calls.push("forget"));
  new StatusLine(typed);
  new EventLine(typed);
  const tell = (/** @type {string} */ name, /** @type {object} */ event = {}) => {
    for (const listener of listeners.get(name) ?? []) listener(event);
  };
  return {
    calls,
    elementOf,
    composer,
    /** @param {Schedule} schedule */
    welcome(schedule) {
      Object.assign(chat, { schedule, user: { user_id: "7", name: "bob" } });
      tell("welcome", { user: chat.user });
      chat.state = "open";
      tell("state", { state: "open", transport: "websocket" });
    },
    /** @param {StreamState} state */
    change(state) {
      chat.schedule = { state };
      tell("stream", { state, title: "Final" });
    },
    /** @param {string} code */
    close(code) {
      if (code === "stream_ended") chat.schedule = { state: "ended" };
      Object.assign(chat, { state: "closed", transport: null });
      tell("state", { state: "closed", transport: null, error: { code, message: code } });
    },
    write(text = "hello") {
      elementOf("message").value = text;
      elementOf("composer").fire("submit");
    },
    facts() {
      return [elementOf("status").textContent, elementOf("dot").className];
    },
    input() {
      const { disabled, placeholder } = elementOf("message");
      return [disabled, elementOf("send").disabled, placeholder];
    },
  };
}

test("a scheduled stream is not live, takes no comment", () => {
  const { calls, elementOf, facts, input, ...stream } = openStream();
  stream.welcome({ state: "scheduled", starts_at: Date.now() + 3_521_000 });
  assert.deepEqual(facts(), ["connected", "dot scheduled"]);
  assert.match(elementOf("schedule").text, /^Starts in 58:4\d. Comments open then\.$/);
  assert.deepEqual(input(), [true, true, "Comments open when the stream starts"]);
  stream.write();
  assert.deepEqual(calls, []);
  stream.change("live");
  assert.deepEqual(facts(), ["live", "dot on"]);
  assert.deepEqual([elementOf("schedule").hidden, elementOf("news").text], [
    true,
    "The stream is live. Comments are open.",
  ]);
  assert.deepEqual(input(), [false, false, "Say something as bob"]);
  stream.write();
  assert.deepEqual(calls, ["send hello"]);
});

test("a stream that ends offers nothing in vain", () => {
  const { elementOf, facts, input, ...stream } = openStream();
  stream.welcome({ state: "live" });
  const over = ["ended", "dot ended", true, true, "The stream has ended"];
  stream.change("ended");
  assert.deepEqual([...facts(), ...input()], over);
  stream.close("stream_ended");
  assert.deepEqual([...facts(), ...input()], over);
  assert.deepEqual([elementOf("retry").hidden, elementOf("problem").hidden], [true, true]);
  assert.deepEqual([elementOf("schedule").text, elementOf("news").text], [ENDED, ENDED]);
});

test("the page of an ended stream says so", () => {
  const { elementOf, facts, ...stream } = openStream();
  stream.close("stream_ended");
  assert.deepEqual(facts(), ["ended", "dot ended"]);
  assert.deepEqual([elementOf("retry").hidden, elementOf("schedule").text], [true, ENDED]);
  assert.equal(elementOf("token").placeholder, "Paste a token, if reading needs one");
});

test("a viewer that is banned may try again", () => {
  const { elementOf, facts, ...stream } = openStream();
  stream.welcome({ state: "live" });
  stream.close("banned");
  assert.deepEqual(facts(), ["disconnected", "dot off"]);
  assert.deepEqual([elementOf("retry").hidden, elementOf("schedule").hidden], [false, true]);
  assert.equal(elementOf("problem").text, "You are banned from these comments.");
});

test("a token that the history refuses is dropped", () => {
  const { calls, composer, elementOf, ...stream } = openStream();
  stream.close("stream_ended");
  composer.historyRefused(new LiveCommentsError("forbidden", "another reason"));
  assert.deepEqual(calls, []);
  composer.historyRefused(new LiveCommentsError("token_expired", "it has expired"));
  assert.deepEqual(calls, ["token null", "forget", "connect"]);
  assert.match(elementOf("notice").text, /not accepted/);
});
