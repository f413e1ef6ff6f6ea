/** @import { ChromiumPage } from "../chromium.js" */
/** @import { Stage } from "../stage.js" */

import assert from "node:assert/strict";

import { shows, transportOfEnvironment, write } from "../stage.js";

/** Kinds of reactions that the test configures. */
const KINDS = ["fire", "heart", "goal"];

/** A refusal is an answer that the browser reports. */
const REFUSED = /status of (403|429)/;

/**
 * Two viewers, a moderator and an overlay: what one does, the others see.
 *
 * @param {Stage} stage
 */
export async function conversation(stage) {
  const transport = transportOfEnvironment();
  const ann = await stage.open("stream", "ann", { transport });
  const bob = await stage.open("stream", "bob", {
    transport,
    dark: false,
    width: 390,
    height: 780,
  });
  const overlay = await stage.open("overlay", null, { transport, transparent: true });
  const desk = await stage.open("moderate", "mia", {
    transport,
    role: "moderator",
    width: 1300,
    height: 800,
  });
  for (const page of [ann, bob, desk]) {
    assert.equal(await page.value("liveComments.chat.transport"), transport);
  }
  await echoes(stage, { ann, others: [bob, overlay, desk] });
  await reacts(ann, bob);
  await deletes(stage, { ann, desk, others: [bob, overlay] });
  await slowsDown(desk, ann);
  await timesOutAndBans(stage, { ann, desk, others: [bob] });
  await stage.picture(ann, "viewer");
  await stage.picture(bob, "narrow");
  await stage.picture(overlay, "overlay");
  for (const page of [ann, bob, overlay, desk]) {
    assert.deepEqual(
      page.problems.filter((problem) => !REFUSED.test(problem)),
      [],
    );
    await page.close();
  }
}

/**
 * The own comment is on the page before the server has seen it.
 *
 * @param {Stage} stage
 * @param {{ann: ChromiumPage, others: ChromiumPage[]}} pages
 */
async function echoes(stage, { ann, others }) {
  const text = "hello everybody";
  await stage.ask("freeze");
  await write(ann, text);
  await ann.until(shows(text));
  const row = `document.querySelector("#comments .mine")`;
  assert.match(await ann.value(`${row}.textContent`), /sending/);
  assert.ok(await ann.value(`${row}.classList.contains("pending")`));
  await stage.ask("thaw");
  for (const page of [ann, ...others]) await page.until(shows(text));
  await ann.until(`!${row}.classList.contains("pending")`);
  // Over HTTP the comment may be there a moment before the answer that says which one it is.
  const isAlone = `document.querySelectorAll("#comments .comment").length === 1`;
  for (const page of [ann, others[0]]) await page?.until(isAlone);
}

/**
 * @param {ChromiumPage} ann
 * @param {ChromiumPage} bob
 */
async function reacts(ann, bob) {
  const kinds = `[...document.querySelectorAll("#reactions button")].map((it) => it.dataset.kind)`;
  for (const page of [ann, bob]) assert.deepEqual(await page.value(kinds), KINDS);
  await ann.click(`[data-kind="goal"]`);
  await bob.click(`[data-kind="goal"]`);
  await bob.click(`[data-kind="fire"]`);
  const label = (/** @type {string} */ kind) => {
    return `document.querySelector('[data-kind="${kind}"]').getAttribute("aria-label")`;
  };
  for (const page of [ann, bob]) {
    await page.until(`${label("goal")} === "goal, 2" && ${label("fire")} === "fire, 1"`);
    assert.equal(await page.value(label("heart")), "heart");
  }
}

const LAST_ACT = `document.querySelector("#acts li").innerText`;

/**
 * Selects the newest comment of the desk and presses a key on it.
 *
 * @param {ChromiumPage} desk
 * @param {string} text
 * @param {string} key
 */
async function actOn(desk, text, key) {
  await desk.until(shows(text));
  await desk.press("Escape");
  await desk.press("j");
  const selected = `document.querySelector("#comments [aria-selected=true]")`;
  await desk.until(`${selected}?.textContent.includes(${JSON.stringify(text)})`);
  await desk.press(key);
  await desk.until(`/done/.test(${LAST_ACT})`);
}

/** @param {ChromiumPage} desk */
async function takeBack(desk) {
  await desk.press("u");
  await desk.until(`/taken back/.test(${LAST_ACT})`);
}

/**
 * @param {Stage} stage
 * @param {{ann: ChromiumPage, desk: ChromiumPage, others: ChromiumPage[]}} pages
 */
async function deletes(stage, { ann, desk, others }) {
  const text = "to be deleted";
  await write(ann, text);
  for (const page of others) await page.until(shows(text));
  await actOn(desk, text, "d");
  for (const page of [ann, ...others]) await page.until(`!${shows(text)}`);
  // Who comes later does not see it either.
  const late = await stage.open("stream", null, { transport: transportOfEnvironment() });
  await late.until(shows("hello everybody"));
  assert.ok(await late.value(`!${shows(text)}`));
  assert.ok(await late.value(`document.querySelector("#reactions button").disabled`));
  await late.close();
  await takeBack(desk);
}

/**
 * @param {ChromiumPage} desk
 * @param {ChromiumPage} ann
 */
async function slowsDown(desk, ann) {
  const slow = `document.getElementById("room-slow_ms")`;
  await desk.value(`${slow}.value = "3000"; ${slow}.dispatchEvent(new Event("change"))`);
  await ann.until(`liveComments.chat.room.slow_ms === 3000`);
  await ann.until(`document.getElementById("rules").textContent.includes("slow mode")`);
  await ann.until(`!document.getElementById("send").disabled`);
  // The comment before may be too young. Then this one is refused, and counts down as well.
  await write(ann, "slowly");
  await ann.until(`document.getElementById("wait").textContent.startsWith("slow mode")`);
  await ann.until(`!document.getElementById("send").disabled`);
  await takeBack(desk);
  await ann.until(`liveComments.chat.room.slow_ms === undefined`);
}

/**
 * @param {Stage} stage
 * @param {{ann: ChromiumPage, desk: ChromiumPage, others: ChromiumPage[]}} pages
 */
async function timesOutAndBans(stage, { ann, desk, others }) {
  const text = "not nice";
  await write(ann, text);
  for (const page of others) await page.until(shows(text));
  await actOn(desk, text, "t");
  await write(ann, "not said");
  await ann.until(`document.getElementById("wait").textContent.startsWith("timed out")`);
  await stage.picture(ann, "timed-out");
  await takeBack(desk);
  await actOn(desk, text, "b");
  await ann.until(`/banned/.test(document.getElementById("problem").textContent)`);
  await stage.picture(ann, "banned");
  await stage.picture(desk, "desk");
  await takeBack(desk);
  await ann.click("#retry");
  await ann.until(`liveComments.chat.state === "open"`);
  for (const page of others) assert.ok(await page.value(`!${shows("not said")}`));
}
