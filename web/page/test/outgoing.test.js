import assert from "node:assert/strict";
import { test } from "node:test";

import { LiveCommentsError } from "../../client/index.js";
import { StreamView } from "../stream_view.js";
import { FakeChat, comment } from "./fake_chat.js";
import { openFakeAddress, openFakePage, settled } from "./fake_page.js";

test("a comment that is refused at once is not lost", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const elementOf = openFakePage();
  openFakeAddress("https://comments.example.org/stream/2");
  const comments = elementOf("comments");
  comments.clientHeight = 400;
  const chat = new FakeChat();
  new StreamView(chat.asClient);
  chat.welcome({ user_id: "7", name: "ann" });
  await settled();
  chat.calls.length = 0;
  elementOf("message").value = "hello";
  elementOf("composer").fire("submit");
  const error = new LiveCommentsError("too_many_pending", "too many comments wait");
  chat.tell("outgoing", { ref: "r1", message: "hello", state: "failed", sentAt: 0, error });
  await settled();
  assert.match(comments.text, /hello.*not sent/);
  assert.equal(elementOf("notice").text, "too many comments wait");
  comments.button("Try again").click();
  assert.deepEqual(chat.calls, ["send hello", "send hello"]);
});

test("after a sign-out no comment is the viewer's own", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout", "setInterval"] });
  const elementOf = openFakePage();
  openFakeAddress("https://comments.example.org/stream/2");
  const comments = elementOf("comments");
  comments.clientHeight = 400;
  const chat = new FakeChat();
  new StreamView(chat.asClient);
  chat.timeline.add([comment(1, "7"), comment(2, "8")]);
  chat.welcome({ user_id: "7", name: "ann" });
  await settled();
  const own = () => comments.all().filter(({ classList }) => classList.contains("mine"));
  assert.equal(own().length, 1);
  chat.close("stream_ended");
  elementOf("leave").click();
  await settled();
  assert.equal(own().length, 0);
});
