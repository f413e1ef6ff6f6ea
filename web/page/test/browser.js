/**
 * Runs a scenario of the pages in a Chromium. `tests/browser.rs` starts this process with the name
 * of a scenario, and with
 *
 * - `LCD_URL`: address that serves the pages;
 * - `LCD_TRANSPORT`: best transport that works, `websocket` (default), `events` or `polling`;
 * - `LCD_SECONDS`: duration of the scenario `load`;
 * - `LCD_SCREENSHOTS`: a folder for pictures;
 * - `CHROMIUM`: the browser's program (default `chromium`).
 */

import { conversation } from "./scenarios/conversation.js";
import { eventSource } from "./scenarios/event_source.js";
import { hostile } from "./scenarios/hostile.js";
import { load } from "./scenarios/load.js";
import { pictures } from "./scenarios/pictures.js";
import { reading } from "./scenarios/reading.js";
import { restart } from "./scenarios/restart.js";
import { roomLife } from "./scenarios/room_life.js";
import { Stage } from "./stage.js";

/** @type {Record<string, ((stage: Stage) => Promise<void>)[]>} */
const scenarios = {
  promises: [conversation, restart, reading],
  reading: [reading],
  room_life: [roomLife],
  hostile: [hostile],
  load: [load],
  event_source: [eventSource],
  pictures: [pictures],
};

const name = process.argv[2] ?? "";
const steps = scenarios[name];
if (!steps) throw new Error(`there is no scenario "${name}"`);
const stage = await Stage.start();
try {
  for (const step of steps) {
    const begun = performance.now();
    await step(stage);
    const seconds = ((performance.now() - begun) / 1_000).toFixed(1);
    console.log(`ok: ${step.name}, ${seconds} s`);
  }
} catch (error) {
  process.exitCode = 1;
  console.log("FAILED:", error);
  await stage.keepAll(`${name}-${process.env.LCD_TRANSPORT ?? ""}`).catch(() => {});
} finally {
  await stage.stop();
}
