/** @import { ChromiumPage } from "../chromium.js" */
/** @import { Stage } from "../stage.js" */

import assert from "node:assert/strict";

import { hostileTexts } from "../hostile_texts.js";
import { LIST } from "../stage.js";

/** Statuses of a comment that was taken, and of one that no stream takes: empty or too long. */
const ANSWERS = new Set([201, 422]);

const AT_ONCE = 20;

/** One comment of so many is pinned. */
const PINNED_OF = 4;

/** Texts of a poll: a question, and options. */
const POLL_TEXTS = 6;

/**
 * 200 texts that are made to break pages are shown as text, in a layout that stays whole: as
 * comments, in quotes, pinned, and in polls.
 *
 * @param {Stage} stage
 */
export async function hostile(stage) {
  /** @type {string[]} */
  const ids = [];
  for (let at = 0; at < hostileTexts.length; at += AT_ONCE) {
    const texts = hostileTexts.slice(at, at + AT_ONCE);
    const made = await Promise.all(
      texts.map((message) => stage.request("bob", "/comments", { message })),
    );
    const statuses = made.map(({ status }) => status);
    assert.ok(statuses.every((status) => ANSWERS.has(status)), `${statuses}: ${texts}`);
    const taken = made.filter(({ status }) => status === 201);
    ids.push(...taken.map(({ answer }) => answer.comment_id));
    const replies = taken.map(({ answer: { comment_id: parent_id } }, index) => {
      return stage.request("cid", "/comments", { message: `reply ${at + index}`, parent_id });
    });
    for (const { status } of await Promise.all(replies)) assert.equal(status, 201);
  }
  assert.ok(ids.length >= 190, `${ids.length} were taken`);
  const shown = 2 * ids.length;
  for (const look of [
    { width: 900, height: 700 },
    { width: 340, height: 640, dark: false },
  ]) {
    const page = await stage.open("stream", "ann", look);
    await page.value(LOAD_ALL);
    assert.equal(await page.value("liveComments.chat.timeline.size"), shown);
    const { faults, seen } = await page.value(SCROLL_UP);
    assert.deepEqual(faults, []);
    assert.equal(seen, shown);
    await stage.picture(page, `hostile-${look.width}`);
    assert.deepEqual(page.problems, []);
    await page.close();
  }
  const desk = await stage.open("moderate", "mia", { role: "moderator", width: 1300, height: 800 });
  await desk.value(LOAD_ALL);
  assert.deepEqual((await desk.value(SCROLL_UP)).faults, []);
  const overlay = await stage.open("overlay", null, { query: "?lines=100", transparent: true });
  await overlay.until(`document.querySelectorAll("#comments .comment").length === 100`);
  const wide = `document.documentElement.scrollWidth > innerWidth`;
  assert.equal(await overlay.value(wide), false);
  const markup = `[...document.querySelectorAll(".text")].some((it) => it.childElementCount > 0)`;
  assert.equal(await overlay.value(markup), false);
  await stage.picture(overlay, "hostile-overlay");
  assert.deepEqual([...desk.problems, ...overlay.problems], []);
  await desk.close();
  await overlay.close();
  const page = await stage.open("stream", "ann", { width: 340, height: 640, dark: false });
  await pins(stage, page, ids);
  await asks(stage, page);
  assert.deepEqual(page.problems, []);
}

/**
 * @param {Stage} stage
 * @param {ChromiumPage} page
 * @param {string[]} ids
 */
async function pins(stage, page, ids) {
  for (const comment_id of ids.filter((_, index) => index % PINNED_OF === 0)) {
    const { status } = await stage.request("mia", "/moderation/pin", { comment_id }, "moderator");
    assert.equal(status, 200);
    await page.until(`liveComments.chat.pinned?.comment_id === "${comment_id}"`);
    assert.deepEqual(await page.value(ABOVE_CHAT), [], comment_id);
  }
  await stage.picture(page, "hostile-pinned");
}

/**
 * @param {Stage} stage
 * @param {ChromiumPage} page
 */
async function asks(stage, page) {
  const act = (/** @type {string} */ name, /** @type {object} */ fields) => {
    return stage.request("mia", `/moderation/${name}`, fields, "moderator");
  };
  const cut = (/** @type {string} */ text, /** @type {number} */ most) => {
    return [...text].slice(0, most).join("").trim();
  };
  let taken = 0;
  for (let at = 0; at + POLL_TEXTS <= hostileTexts.length; at += POLL_TEXTS) {
    const [asked = "", ...others] = hostileTexts.slice(at, at + POLL_TEXTS);
    const question = cut(asked, 200);
    const options = others.map((text) => cut(text, 80));
    const { status } = await act("open_poll", { question, options, duration_ms: 60_000 });
    // Some texts are none that a poll may have.
    if (status !== 200) continue;
    taken += 1;
    await page.until(`liveComments.chat.poll && !liveComments.chat.poll.closed`);
    assert.deepEqual(await page.value(ABOVE_CHAT), [], question);
    if (taken === 1) await stage.picture(page, "hostile-poll");
    await act("close_poll", {});
    await page.until(`liveComments.chat.poll.closed`);
  }
  assert.ok(taken >= 20, `${taken} polls were taken`);
}

/** Looks at what stands above the chat, in the frame after it was drawn. */
const ABOVE_CHAT = `(async () => {
  await new Promise((resolve) => requestAnimationFrame(() => resolve(null)));
  const faults = new Set();
  if (document.documentElement.scrollWidth > innerWidth) faults.add("the page scrolls sideways");
  if (document.documentElement.scrollHeight > innerHeight) faults.add("the page scrolls down");
  const { pinned, poll } = liveComments.chat;
  if (${LIST}.clientHeight < 100) faults.add("no room for comments");
  for (const part of document.querySelectorAll("#pinned, #poll")) {
    if (part.hidden) continue;
    if (part.scrollWidth > part.clientWidth + 1) faults.add("a wide part");
    for (const text of part.querySelectorAll(".text, bdi")) {
      if (text.childElementCount > 0) faults.add("markup");
    }
  }
  const isShown = (id, is) => document.getElementById(id).hidden === !is;
  if (!isShown("pinned", pinned) || !isShown("poll", poll)) faults.add("not shown");
  return [...faults];
})()`;

const LOAD_ALL = `(async () => {
  while (!(await liveComments.chat.loadOlder(200)).done);
})()`;

/** Scrolls from the newest comment to the oldest, and looks at each screen. */
const SCROLL_UP = `(async () => {
  const { text: { withoutPiles }, list } = {
    text: await import(new URL("/page/text.js", location.origin)),
    list: liveComments.view.list,
  };
  const faults = new Set();
  const seen = new Set();
  const look = () => {
    const box = ${LIST}.getBoundingClientRect();
    const { scrollWidth, scrollHeight } = document.documentElement;
    if (scrollWidth > innerWidth) faults.add("the page scrolls sideways");
    if (scrollHeight > innerHeight) faults.add("the page scrolls down");
    const rows = [...document.querySelectorAll("#comments li")];
    const { following, distanceToEnd } = list;
    const gap = box.bottom - (rows.at(-1)?.getBoundingClientRect().bottom ?? box.bottom);
    const atEnd = distanceToEnd < 1 && ${LIST}.scrollTop > 0;
    if (atEnd && Math.abs(gap) > 1) faults.add("a hole at the end");
    if (following && distanceToEnd > 1) faults.add("not at the end");
    let before = null;
    for (const row of document.querySelectorAll("#comments .comment")) {
      const place = row.getBoundingClientRect();
      if (place.left < box.left - 1 || place.right > box.right + 1) faults.add("a wide row");
      if (before !== null && Math.abs(before - place.top) > 1) faults.add("rows overlap");
      if (row.scrollWidth > row.clientWidth + 1) faults.add("a text is cut");
      const text = row.querySelector(":scope > .text");
      const parts = [text, ...row.querySelectorAll(".answers *")];
      if (parts.some((part) => part.childElementCount > 0)) faults.add("markup");
      seen.add(text.textContent);
      before = place.bottom;
    }
  };
  for (;;) {
    await new Promise((resolve) => {
      requestAnimationFrame(() => requestAnimationFrame(() => resolve(null)));
    });
    look();
    if (${LIST}.scrollTop < 1) break;
    ${LIST}.scrollTop -= 400;
  }
  const { comments } = liveComments.chat.timeline;
  const texts = new Set(comments.map(({ message }) => withoutPiles(message)));
  const missing = [...texts].filter((text) => !seen.has(text));
  for (const text of missing) faults.add("not shown as it is: " + text);
  const shown = comments.filter(({ message }) => seen.has(withoutPiles(message)));
  return { faults: [...faults], seen: shown.length };
})()`;
