/** @import { Stage } from "../stage.js" */

import assert from "node:assert/strict";

import { OPEN, numbersOf, shows, transportOfEnvironment, write } from "../stage.js";

const COMMENTS = 200;

/** Comments per second at which nothing is left out. */
const CALM = 200;

const MESSAGES = `liveComments.chat.timeline.comments.map(({ message }) => message)`;

/**
 * The server is killed and started again: viewers see everything, once and in order, and a comment
 * that was written meanwhile is stored.
 *
 * @param {Stage} stage
 */
export async function restart(stage) {
  const transport = transportOfEnvironment();
  const ann = await stage.open("stream", "ann", { transport });
  const bob = await stage.open("stream", "bob", { transport, dark: false });
  await stage.post("around", { count: COMMENTS, perSecond: CALM });
  for (const page of [ann, bob]) await page.until(`${numbersOf("around")}.length === ${COMMENTS}`);
  await stage.ask("kill");
  for (const page of [ann, bob]) {
    await page.until(`document.getElementById("status").textContent === "reconnecting"`);
  }
  await write(ann, "written while away");
  await ann.until(shows("sending…"));
  await stage.picture(ann, "reconnecting");
  await stage.ask("start");
  await stage.post("around", { from: COMMENTS, count: COMMENTS, perSecond: CALM });
  for (const page of [ann, bob]) {
    await page.value(`document.getElementById("retry").click()`);
    await page.until(OPEN);
    await page.until(`${numbersOf("around")}.length >= ${2 * COMMENTS}`);
    // It may be above what is drawn.
    await page.until(`${MESSAGES}.includes("written while away")`);
    const numbers = Array.from({ length: 2 * COMMENTS }, (_, index) => index);
    assert.deepEqual(await page.value(numbersOf("around")), numbers);
    const again = `${MESSAGES}.filter((message) => message === "written while away").length`;
    assert.equal(await page.value(again), 1);
    assert.deepEqual(page.problems, []);
  }
  await ann.until(`!${shows("sending…")}`);
  await ann.close();
  await bob.close();
}
