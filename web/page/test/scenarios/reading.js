/** @import { ChromiumPage } from "../chromium.js" */
/** @import { Stage } from "../stage.js" */

import assert from "node:assert/strict";

import { LIST, numbersOf, transportOfEnvironment } from "../stage.js";

/** Comments that are there when the reader pauses, and those that come meanwhile. */
const BEFORE = 10_000;
const MEANWHILE = 10_000;

const PILE = "pile";

/** Comments per second at which nothing is left out. */
const CALM = 100;

/**
 * A reader scrolls up and the list holds still. On a stream that is throttled the reader pauses,
 * reads all of 20,000 comments back to the first, and resumes.
 *
 * @param {Stage} stage
 */
export async function reading(stage) {
  const transport = transportOfEnvironment();
  const page = await stage.open("stream", "ann", { transport });
  await holdsStill(stage, page);

  await stage.post(PILE, { count: BEFORE });
  await page.until(`!document.getElementById("throttle").hidden`);
  const banner = await page.value(`document.getElementById("throttled").textContent`);
  assert.match(banner, /1 in 10/);
  await stage.picture(page, "throttled");
  await page.click("#read-all");
  await readBack(page);
  await stage.picture(page, "paused");
  assert.deepEqual(await page.value(REPORT), { count: BEFORE, wrong: [] });

  await stage.post(PILE, { from: BEFORE, count: MEANWHILE });
  await page.click("#resume");
  const all = BEFORE + MEANWHILE;
  await page.until(`${numbersOf(PILE)}.length >= ${all}`);
  assert.deepEqual(await page.value(REPORT), { count: all, wrong: [] });
  assert.ok(await page.value(`document.querySelector("#comments .note") === null`), "no gap");
  // Drawing does not depend on the transport.
  if (transport === "websocket") {
    assert.deepEqual(await page.value(WALK), { first: 0, last: all - 1, jumps: [] });
  }
  assert.ok((await page.value("liveComments.view.list.drawn")) < 200);
  assert.deepEqual(page.problems, []);
  await page.close();
}

/**
 * @param {Stage} stage
 * @param {ChromiumPage} page
 */
async function holdsStill(stage, page) {
  await stage.post("before", { count: 100, perSecond: CALM });
  await page.until(`${numbersOf("before")}.length === 100`);
  await page.value(`globalThis.first = () => {
    const { top } = ${LIST}.getBoundingClientRect();
    const rows = [...document.querySelectorAll("#comments li")];
    const row = rows.find((other) => other.getBoundingClientRect().bottom > top + 1);
    return { text: row.textContent, top: row.getBoundingClientRect().top };
  }`);
  await page.value(`${LIST}.scrollTop -= 300`);
  await page.until("!liveComments.view.list.following");
  await page.value(FRAMES);
  const before = await page.value("first()");
  await stage.post("while held", { count: 60, perSecond: CALM });
  await page.until(`${numbersOf("while held")}.length === 60`);
  await page.until(`/60 new/.test(document.getElementById("newest").textContent)`);
  await page.value(FRAMES);
  const after = await page.value("first()");
  assert.equal(after.text, before.text);
  assert.ok(Math.abs(after.top - before.top) <= 1, `${after.top - before.top} pixels`);
  await page.click("#newest");
  await page.until("liveComments.view.list.following");
}

/** Two frames: what was requested is drawn. */
const FRAMES = `new Promise((resolve) => {
  requestAnimationFrame(() => requestAnimationFrame(() => resolve(null)));
})`;

/**
 * Scrolls up until all comments of the pile are there. Some of the first were shown live.
 *
 * @param {ChromiumPage} page
 */
async function readBack(page) {
  await page.value(`globalThis.reader = setInterval(() => (${LIST}.scrollTop = 0), 30)`);
  await page.until(`${numbersOf(PILE)}.length >= ${BEFORE}`);
  await page.value(`clearInterval(reader)`);
}

/** Counts the comments of the pile in the page, and finds those that are not at their place. */
const REPORT = `(() => {
  const numbers = ${numbersOf(PILE)};
  const wrong = numbers.filter((number, index) => number !== index).slice(0, 10);
  return { count: numbers.length, wrong };
})()`;

/**
 * Reads the whole list from the first row of the pile to the last as it is drawn, a screen at a
 * time. Rows that follow each other must be numbered one after the other.
 */
const WALK = `(async () => {
  const numberOf = (row) => {
    return /^${PILE} ([0-9]+)/.exec(row.querySelector(".text")?.textContent ?? "")?.[1];
  };
  const jumps = [];
  let first = null;
  let last = -1;
  ${LIST}.scrollTop = 0;
  for (;;) {
    await ${FRAMES};
    let before = null;
    for (const row of document.querySelectorAll("#comments li")) {
      const text = numberOf(row);
      if (text === undefined) continue;
      const number = Number(text);
      first ??= number;
      if (before !== null && number !== before + 1) jumps.push([before, number]);
      if (before === null && number > last + 1) jumps.push([last, number]);
      before = number;
      last = Math.max(last, number);
    }
    const { scrollTop, scrollHeight, clientHeight } = ${LIST};
    if (scrollHeight - scrollTop - clientHeight < 2) break;
    ${LIST}.scrollTop = scrollTop + clientHeight;
  }
  return { first, last, jumps: jumps.slice(0, 10) };
})()`;
