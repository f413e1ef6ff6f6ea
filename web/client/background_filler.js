/** @import { Clock } from "./clock.js" */
/** @import { SeqRange } from "./position.js" */
/** @import { Comment } from "./protocol.js" */
/** @import { RangeReader } from "./range_reader.js" */

import { Backoff } from "./backoff.js";
import { sleep } from "./clock.js";
import { isTemporary } from "./errors.js";

/** Failures in a row after which a range is given up: after about half a minute on average. */
const MOST_FAILURES = 7;

/**
 * @typedef {object} FillTask
 * @property {RangeReader} reader
 * @property {AbortSignal} signal Ends the task without a report.
 * @property {(comments: Comment[]) => boolean} take Returns false if the rest is of no use.
 * @property {(ranges: SeqRange[]) => void} missing Reports the ranges that were not read.
 * @property {(error: unknown) => void} failed Reports why the task was given up.
 */

/**
 * Reads a range for which nobody waits. A request that fails is made again with growing delays;
 * when that is given up, or the reader has reached its limit, what was not read is reported.
 *
 * @param {Clock} clock
 * @param {FillTask} task
 */
export async function fillInBackground(clock, { reader, signal, take, missing, failed }) {
  const backoff = new Backoff(clock);
  let failures = 0;
  for (;;) {
    try {
      for await (const comments of reader.pages(signal)) {
        failures = 0;
        backoff.reset();
        if (!take(comments)) return;
        missing(reader.takeLeftOut());
      }
      missing(reader.takeLeftOut());
      return;
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      if (failures >= MOST_FAILURES || !isTemporary(error)) {
        missing([...reader.takeLeftOut(), ...reader.missing]);
        failed(error);
        return;
      }
      const wait = Math.max(retryAfterMs(error), backoff.next());
      await sleep(clock, wait, signal).catch(() => {});
      if (signal.aborted) return;
    }
  }
}

/** @param {unknown} error */
function retryAfterMs(error) {
  if (typeof error !== "object" || error === null || !("retryAfterMs" in error)) return 0;
  return Number(error.retryAfterMs ?? 0);
}
