/** The words of a page before an event starts, while it is live, and after its end. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveCommentsError } from "../../client/index.js";
import { Composer } from "../composer.js";
import { EventLine } from "../event_line.js";
import { StatusLine } from "../status.js";
import { FakeChat } from "./fake_chat.js";
import { openFakeAddress, openFakePage, settled } from "./fake_page.js";

/** @import { Schedule, StreamState } from "../../client/index.js" */

const ENDED = "This stream has ended. Its comments can be read here.";

function openStream() {
  const elementOf = openFakePage();
  openFakeAddress("https://comments.example.org/stream/2");
  elementOf("token").placeholder = "Paste a token to comment";
  const chat = new FakeChat();
  chat.hasToken = true;
  const { calls } = chat;
  const composer = new Composer(chat.asClient, () => calls.push("forget"));
  const status = new StatusLine(chat.asClient);
  new EventLine(chat.asClient);
  return {
    calls,
    chat,
    elementOf,
    composer,
    status,
    /** @param {Schedule} schedule */
    welcome(schedule) {
      chat.schedule = schedule;
      chat.welcome({ user_id: "7", name: "bob" });
    },
    /** @param {StreamState} state */
    change(state) {
      chat.schedule = { state };
      chat.tell("stream", { state, title: "Final" });
    },
    /** @param {string} code */
    close(code) {
      chat.close(code);
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

/** @param {string} code */
function refusal(code) {
  return new LiveCommentsError(code, code);
}

test("a token that the history refuses is dropped", async () => {
  const { calls, composer, elementOf, ...stream } = openStream();
  stream.close("stream_ended");
  composer.historyRefused(refusal("forbidden"));
  assert.deepEqual(calls, []);
  composer.historyRefused(refusal("token_expired"));
  composer.historyRefused(refusal("token_expired"));
  await settled();
  assert.deepEqual(calls, ["token null", "forget", "connect"], "once");
  assert.match(elementOf("notice").text, /not accepted/, "the next close leaves it");
});

test("a token refused while the end is read is dropped", async () => {
  const { chat, calls, elementOf, ...stream } = openStream();
  stream.welcome({ state: "live" });
  chat.tell("error", refusal("token_expired"));
  assert.deepEqual(calls, [], "the connection has a renewal of its own");
  stream.close("stream_ended");
  chat.tell("error", refusal("network"));
  assert.deepEqual(calls, []);
  chat.tell("error", refusal("token_expired"));
  await settled();
  assert.deepEqual(calls, ["token null", "forget", "connect"]);
  assert.match(elementOf("notice").text, /not accepted/);
});

test("a refused token is dropped after the close is told", async () => {
  const { chat, calls, elementOf, ...stream } = openStream();
  chat.on("state", ({ state }) => calls.push(state));
  stream.close("token_expired");
  await settled();
  assert.deepEqual(calls, ["closed", "token null", "forget", "connect", "connecting"]);
  assert.match(elementOf("notice").text, /not accepted/);
});

test("a user can sign out of an ended stream", async () => {
  const { calls, elementOf, ...stream } = openStream();
  const forms = () => [elementOf("composer").hidden, elementOf("sign-in").hidden];
  stream.close("stream_ended");
  assert.deepEqual(forms(), [false, true]);
  elementOf("leave").click();
  await settled();
  assert.deepEqual(calls, ["token null", "forget", "connect"]);
  assert.deepEqual(forms(), [true, false]);
});

test("a page says why its history is refused", () => {
  const { status, elementOf, ...stream } = openStream();
  stream.close("stream_ended");
  assert.equal(elementOf("problem").hidden, true);
  status.historyRefused(refusal("token_expired"));
  assert.equal(elementOf("problem").hidden, true);
  status.historyRefused(refusal("banned"));
  assert.equal(elementOf("problem").text, "You are banned from these comments.");
});

test("who must sign in is told so in plain words", () => {
  for (const code of ["not_authenticated", "token_required", "auth_timeout"]) {
    const { elementOf, ...stream } = openStream();
    stream.close(code);
    assert.equal(elementOf("problem").text, "This stream is for people who have signed in.");
  }
});
