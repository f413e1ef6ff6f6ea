/** @import { ChromiumPage } from "../chromium.js" */
/** @import { Stage } from "../stage.js" */

import assert from "node:assert/strict";

const PER_SECOND = 500;

/** Longest task of a page, in which it answers nobody, on a machine that has time for it. */
const LONGEST_TASK_MS = 200;

/** Tasks that may be longer: something else on the machine takes the processor once in a while. */
const LONGER_TASKS = 1;

/** Comments after which everything that is bounded is full. */
const FILLING = 12_000;

/** Growth of memory that is noise, beside a tenth of it. */
const NOISE_BYTES = 2 << 20;

/**
 * A page that follows a busy stream stays smooth, and its memory does not grow.
 *
 * @param {Stage} stage
 */
export async function load(stage) {
  const seconds = Number(process.env.LCD_SECONDS ?? "20");
  const page = await stage.open("stream", "ann");
  await stage.post("filling", { count: FILLING });
  const before = await memoryOf(page);
  await page.value(WATCH);
  await stage.post("busy", { count: seconds * PER_SECOND, perSecond: PER_SECOND });
  const last = seconds * PER_SECOND - 1;
  const newest = "liveComments.chat.timeline.comments.at(-1).message";
  await page.until(`${newest}.startsWith("busy ${last}")`);
  const tasks = await page.value("endWatch()");
  const after = await memoryOf(page);
  const seen = { seconds, perSecond: PER_SECOND, ...tasks, before, after };
  console.log(JSON.stringify(seen));
  assert.ok(tasks.frames > seconds, "the page was drawn");
  assert.ok(after.heapBytes < before.heapBytes * 1.1 + NOISE_BYTES, "the memory grows");
  assert.ok(after.nodes < before.nodes * 1.1 + 500, "the elements grow");
  assert.ok(await page.value("liveComments.view.list.following"));
  const longer = `${tasks.tooLong} tasks over ${LONGEST_TASK_MS} ms, of ${LONGER_TASKS} at most`;
  assert.ok(tasks.tooLong <= LONGER_TASKS, longer);
  assert.deepEqual(page.problems, []);
  await stage.picture(page, "load");
}

/** Counts frames and long tasks until `endWatch()`. */
const WATCH = `(() => {
  const tasks = [];
  const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries()));
  observer.observe({ type: "longtask" });
  let frames = 0;
  let watching = true;
  const frame = () => {
    frames += 1;
    if (watching) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  globalThis.endWatch = () => {
    watching = false;
    tasks.push(...observer.takeRecords());
    observer.disconnect();
    const durations = tasks.map(({ duration }) => Math.round(duration));
    const tooLong = durations.filter((duration) => duration > ${LONGEST_TASK_MS}).length;
    return { frames, tasksOver50Ms: tasks.length, tooLong, longestMs: Math.max(0, ...durations) };
  };
})()`;

/** Memory of a page after everything that is not needed was freed. @param {ChromiumPage} page */
async function memoryOf(page) {
  await page.call("HeapProfiler.collectGarbage");
  const { usedSize } = await page.call("Runtime.getHeapUsage");
  const { nodes } = await page.call("Memory.getDOMCounters");
  return { heapBytes: Math.round(usedSize), nodes };
}
