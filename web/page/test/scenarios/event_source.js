/** @import { Stage } from "../stage.js" */

import assert from "node:assert/strict";

import { LiveComments, LiveCommentsError } from "../../../client/index.js";

const COMMENTS = 100;

/**
 * The EventSource of the browser, without the client library: it continues by itself after the
 * server was killed, and stops for good after a ban.
 *
 * @param {Stage} stage
 */
export async function eventSource(stage) {
  // A page of the site, so that it may connect; its own script is not used.
  const page = await stage.open("overlay", null);
  const token = await stage.token("eve");
  await page.value(`(() => {
    globalThis.messages = [];
    globalThis.source = new EventSource("/api/streams/1/events?token=${token}");
    source.onmessage = ({ data }) => messages.push(JSON.parse(data));
  })()`);
  await page.until(`messages[0]?.type === "welcome" && messages[0].user.name === "eve"`);
  assert.deepEqual(await page.value("messages[0].reactions"), ["fire", "heart", "goal"]);
  await stage.post("around", { count: COMMENTS });
  const seen = `messages.filter(({ type }) => type === "comments")
    .flatMap(({ comments }) => comments.map(({ message }) => message))`;
  await page.until(`${seen}.length === ${COMMENTS}`);

  await stage.ask("kill");
  await page.until("source.readyState === EventSource.CONNECTING");
  await stage.ask("start");
  await stage.post("around", { from: COMMENTS, count: COMMENTS });
  await page.until(`${seen}.length >= ${2 * COMMENTS}`);
  const numbers = `${seen}.map((message) => parseInt(message.slice("around ".length), 10))`;
  const expected = Array.from({ length: 2 * COMMENTS }, (_, index) => index);
  assert.deepEqual(await page.value(numbers), expected);

  assert.equal(await stage.comment("eve", "also heard"), 201);
  await page.until(`${seen}.includes("also heard")`);
  const moderator = new LiveComments(stage.site, 1, {
    token: await stage.token("mia", "moderator"),
  });
  await onceKnown(() => moderator.moderation.ban("eve"));
  await page.until("source.readyState === EventSource.CLOSED");
  const last = `messages.slice(-2).map(({ type, code }) => [type, code])`;
  assert.deepEqual(await page.value(last), [
    ["error", "banned"],
    ["bye", "banned"],
  ]);
  assert.equal(await stage.comment("eve", "too late"), 403);
}

/**
 * Acts on a user by name, which is known about a second after the first comment.
 *
 * @param {() => Promise<unknown>} act
 */
async function onceKnown(act) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await act();
      return;
    } catch (error) {
      const isUnknown = error instanceof LiveCommentsError && error.code === "not_found";
      if (!isUnknown || attempt === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
