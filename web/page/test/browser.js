/**
 * Runs the pages in a Chromium against a daemon. Prints each check, and exits with 1 if one fails.
 *
 * - `LCD_URL`: address that serves the pages, such as http://127.0.0.1:8080;
 * - `LCD_STREAM`: a live stream that nobody else uses (default 1);
 * - `LCD_TOKEN_ANN`, `LCD_TOKEN_BOB`: tokens of two viewers without a rate limit;
 * - `LCD_TOKEN_MODERATOR`: the token of a moderator;
 * - `LCD_COMMENTS`: comments that pile up during a pause (default 2,000);
 * - `LCD_CHECK`: runs only the checks whose name has this text;
 * - `LCD_SCREENSHOTS`: a folder for pictures;
 * - `CHROMIUM`: the browser's program (default `chromium`).
 *
 * Node before 22 needs `--experimental-websocket`.
 */

/** @import { ChromiumPage } from "./chromium.js" */

import assert from "node:assert/strict";

import { Chromium } from "./chromium.js";
import { hostileTexts } from "./hostile_texts.js";

const site = required("LCD_URL");
const streamId = process.env.LCD_STREAM ?? "1";
const tokens = {
  ann: required("LCD_TOKEN_ANN"),
  bob: required("LCD_TOKEN_BOB"),
  moderator: required("LCD_TOKEN_MODERATOR"),
};
const piledUp = Number(process.env.LCD_COMMENTS ?? "2000");
const screenshots = process.env.LCD_SCREENSHOTS;

/** @param {string} name */
function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}

/** @param {number} ms */
function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

let refs = 0;

/**
 * Sends a comment over HTTP. Its `ref` makes it safe to try again, as when a connection that was
 * kept has been closed meanwhile.
 *
 * @param {string} message
 */
async function comment(message) {
  refs += 1;
  const request = {
    method: "POST",
    headers: { Authorization: `Bearer ${tokens.bob}`, "Content-Type": "application/json" },
    body: JSON.stringify({ message, ref: `${process.pid}-${refs}` }),
  };
  for (let attempt = 1; ; attempt += 1) {
    const address = `${site}/api/streams/${streamId}/comments`;
    const status = await fetch(address, request).then(
      async (response) => response.arrayBuffer().then(() => response.status),
      () => 0,
    );
    // Some of the texts are refused, as too long in bytes or as empty.
    if (status === 201 || status === 422) return;
    if (attempt === 5) throw new Error(`a comment was answered ${status}`);
    await sleep(200 * attempt);
  }
}

/** Sends comments, some at a time. @param {string[]} messages */
async function commentAll(messages) {
  for (let at = 0; at < messages.length; at += 20) {
    await Promise.all(messages.slice(at, at + 20).map((message) => comment(message)));
  }
}

const OPEN = `globalThis.liveComments?.chat.state === "open"`;
const LIST = `document.getElementById("comments")`;

/** @param {string} text */
function shows(text) {
  return `${LIST}.innerText.includes(${JSON.stringify(text)})`;
}

/**
 * @param {Chromium} browser
 * @param {string} path
 * @param {string | null} token
 * @param {Parameters<Chromium["open"]>[1]} [look]
 */
async function open(browser, path, token, look) {
  const fragment = token === null ? "" : `#token=${token}`;
  return browser.open(`${site}/${path}/${streamId}${fragment}`, look);
}

/**
 * Writes a comment as a person does.
 *
 * @param {ChromiumPage} page
 * @param {string} text
 */
async function write(page, text) {
  await page.value(`document.getElementById("message").focus()`);
  await page.write(text);
  await page.press("Enter");
}

/** What is wrong with the layout: an empty list. */
const FAULTS = `(() => {
  const faults = [];
  const box = ${LIST}.getBoundingClientRect();
  const { scrollWidth, scrollHeight } = document.documentElement;
  if (scrollWidth > innerWidth) faults.push("the page scrolls sideways");
  if (scrollHeight > innerHeight) faults.push("the page scrolls down");
  const rows = [...document.querySelectorAll("#comments li")];
  const { following, distanceToEnd } = liveComments.view.list;
  const gap = box.bottom - (rows.at(-1)?.getBoundingClientRect().bottom ?? box.bottom);
  if (distanceToEnd < 1 && ${LIST}.scrollTop > 0 && Math.abs(gap) > 1) faults.push("a hole at the end");
  if (following && distanceToEnd > 1) faults.push("not at the end");
  let before = null;
  for (const row of document.querySelectorAll("#comments .comment")) {
    const place = row.getBoundingClientRect();
    if (place.left < box.left - 1 || place.right > box.right + 1) faults.push("a wide row");
    if (before !== null && Math.abs(before - place.top) > 1) faults.push("rows overlap");
    if (row.scrollWidth > row.clientWidth + 1) faults.push("a text is cut");
    if (row.querySelector(".text").childElementCount > 0) faults.push("markup");
    before = place.bottom;
  }
  return faults;
})()`;

/** @type {[string, (browser: Chromium) => Promise<void>][]} */
const checks = [
  [
    "a comment is shown at once, acknowledged, and seen by another viewer and an overlay",
    async (browser) => {
      const ann = await open(browser, "stream", tokens.ann);
      const bob = await open(browser, "stream", tokens.bob, { dark: false });
      const overlay = await open(browser, "overlay", null, { transparent: true });
      await ann.until(OPEN);
      await bob.until(OPEN);
      const text = `hello ${Date.now()}`;
      // The events tell what the list shows and when; frames come too late to be looked at.
      await ann.value(`globalThis.states = [];
        liveComments.chat.on("outgoing", ({ state }) => states.push(state))`);
      await write(ann, text);
      for (const page of [ann, bob, overlay]) await page.until(shows(text));
      await ann.until(`states.at(-1) === "shown"`);
      assert.deepEqual(await ann.value("states[0]"), "pending");
      await ann.click("#reactions button");
      const total = `document.querySelector("#reactions button").textContent`;
      await bob.until(`/[0-9]/.test(${total})`);
      await picture(ann, "viewer");
      await picture(overlay, "overlay");
      for (const page of [ann, bob, overlay]) assert.deepEqual(page.problems, []);
    },
  ],
  [
    "200 texts that are made to break pages are shown as text",
    async (browser) => {
      await commentAll(hostileTexts);
      for (const look of [{}, { width: 340, height: 640, dark: false }]) {
        const page = await open(browser, "stream", tokens.ann, look);
        await page.until(OPEN);
        await page.until(`liveComments.chat.timeline.size >= 190`);
        for (let step = 0; step < 60; step += 1) {
          await sleep(60);
          assert.deepEqual(await page.value(FAULTS), []);
          await page.wheel(150, 300, -600);
        }
        await picture(page, `texts-${look.width ?? 900}`);
        assert.deepEqual(page.problems, []);
      }
    },
  ],
  [
    "the list holds still, and a pause reads everything and resumes without a gap",
    async (browser) => {
      const page = await open(browser, "stream", tokens.ann);
      await page.until(OPEN);
      const seen = `globalThis.first = () => {
        const { top } = ${LIST}.getBoundingClientRect();
        const rows = [...document.querySelectorAll("#comments li")];
        const row = rows.find((other) => other.getBoundingClientRect().bottom > top + 1);
        return row.textContent + Math.round(row.getBoundingClientRect().top);
      }`;
      await page.value(seen);
      await page.wheel(300, 300, -300);
      await sleep(500);
      const before = await page.value("first()");
      await commentAll(Array.from({ length: 60 }, (_, index) => `while held ${index}`));
      await page.until(`liveComments.chat.timeline.comments.at(-1).message.startsWith("while")`);
      await sleep(300);
      assert.equal(await page.value("first()"), before);
      assert.match(await page.value(`document.getElementById("newest").textContent`), /60 new/);
      await page.click("#newest");
      await page.until("liveComments.view.list.following");

      await page.click("#pause");
      const pile = `pile ${Date.now()}`;
      const texts = Array.from({ length: piledUp }, (_, index) => `${pile} ${index}`);
      await commentAll(texts);
      await picture(page, "paused");
      await page.click("#resume");
      const missed = `liveComments.chat.timeline.comments
        .filter(({ message }) => message.startsWith("${pile} ")).length`;
      await page.until(`${missed} === ${piledUp}`);
      assert.ok((await page.value("liveComments.view.list.drawn")) < 200);
      assert.deepEqual(page.problems, []);
    },
  ],
  [
    "a moderator deletes, sets slow mode, times out and bans by keys, and takes back",
    async (browser) => {
      const desk = await open(browser, "moderate", tokens.moderator, { width: 1300, height: 800 });
      const ann = await open(browser, "stream", tokens.ann);
      await desk.until(OPEN);
      await ann.until(OPEN);
      const text = `to be deleted ${Date.now()}`;
      await write(ann, text);
      await desk.until(shows(text));
      await desk.press("j");
      await desk.until(`document.querySelector("#comments [aria-selected=true]")`);
      await desk.press("d");
      await ann.until(`!${shows(text)}`);
      const lastAct = `document.querySelector("#acts li").innerText`;
      await desk.until(`/done/.test(${lastAct})`);
      await picture(desk, "desk");
      await desk.press("u");
      await desk.until(`/taken back/.test(${lastAct})`);

      const slow = `document.getElementById("room-slow_ms")`;
      await desk.value(`${slow}.value = "3000"; ${slow}.dispatchEvent(new Event("change"))`);
      await ann.until(`liveComments.chat.room.slow_ms === 3000`);
      // The comment before must not be refused for the one before it.
      await sleep(3_000);
      await write(ann, `slowly ${Date.now()}`);
      await ann.until(`document.getElementById("wait").textContent.startsWith("slow mode")`);
      await ann.until(`!document.getElementById("send").disabled`);
      await desk.press("u");
      await ann.until(`liveComments.chat.room.slow_ms === undefined`);

      const next = `next ${Date.now()}`;
      await write(ann, next);
      await desk.until(shows(next));
      await desk.press("Escape");
      await desk.press("j");
      await desk.press("t");
      await desk.until(`/Time out/.test(${lastAct}) && /done/.test(${lastAct})`);
      await write(ann, "not said");
      await ann.until(`document.getElementById("wait").textContent.startsWith("timed out")`);
      await picture(ann, "timed-out");
      await desk.press("u");
      await desk.until(`/taken back/.test(${lastAct})`);
      await desk.press("b");
      await ann.until(`/banned/.test(document.getElementById("problem").textContent)`);
      await picture(ann, "banned");
      await desk.press("u");
      await desk.until(`/taken back/.test(${lastAct})`);
      await ann.click("#retry");
      await ann.until(OPEN);
      assert.deepEqual(desk.problems, []);
    },
  ],
];

/**
 * @param {ChromiumPage} page
 * @param {string} name
 */
async function picture(page, name) {
  if (screenshots) await page.screenshot(`${screenshots}/${name}.png`);
}

let failed = 0;
for (const [name, check] of checks) {
  if (!name.includes(process.env.LCD_CHECK ?? "")) continue;
  const browser = await Chromium.start();
  try {
    await check(browser);
    console.log(`ok: ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED: ${name}`, error);
  } finally {
    await browser.stop();
  }
}
process.exitCode = failed > 0 ? 1 : 0;
