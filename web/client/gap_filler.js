/** @import { FeedConfig } from "./feed.js" */
/** @import { SeqRange } from "./position.js" */
/** @import { Comment } from "./protocol.js" */
/** @import { RangeOptions, RangeReader } from "./range_reader.js" */

import { Backoff } from "./backoff.js";
import { randomMs, sleep } from "./clock.js";
import { LiveCommentsError, isTemporary } from "./errors.js";
import { OPEN_END, SETTLED } from "./range_reader.js";

/**
 * @typedef {object} FillHandlers
 * @property {(comments: Comment[]) => void} show
 * @property {(comments: Comment[]) => number} add Returns how many the timeline had room for.
 * @property {(commentId: string) => boolean} isKnown
 * @property {(range: SeqRange) => void} missing A range that was not read in the background.
 * @property {(error: unknown) => void} failed The reason, if requests failed.
 */

/** Failures in a row after which a range is given up: after about half a minute on average. */
const MOST_FAILURES = 8;

/** Comments that are read of what another log has before the connection began. */
const NEW_LOG_COMMENTS = 500;

/**
 * Time before another log is read, for which all viewers come at once. Its comments are stored
 * shortly after they are shown.
 */
const NEW_LOG_SPREAD = { leastMs: 1_000, mostMs: 3_000 };

/** Time before the end of a stream is read: many may come back after it together. */
const END_SPREAD = { leastMs: 0, mostMs: 2_000 };

/**
 * Time until the end of a stream is read again. A room may hold comments back for up to 30 s, and
 * the history has them after that.
 */
const END_AGAIN = { leastMs: 30_000, mostMs: 45_000 };

/** Reads ranges that were not sent from the history. */
export class GapFiller {
  #config;
  #handlers;
  /** Number of logs that were replaced. */
  #logs = 0;
  /**
   * The end of the stream, since the last `welcome`: the number up to which it has come, was read,
   * or was reported as missing.
   */
  #end = { knownTo: -1, reading: false };

  /**
   * @param {FeedConfig} config
   * @param {FillHandlers} handlers
   */
  constructor(config, handlers) {
    this.#config = config;
    this.#handlers = handlers;
  }

  /** Gives up the ranges of the log before: their numbers mean nothing in another one. */
  startLog() {
    this.#logs += 1;
  }

  /**
   * Reads a range for a caller that waits for it and can try again.
   *
   * @param {SeqRange} range
   * @returns {Promise<number>} Number of comments that were added.
   */
  async fill(range) {
    const log = this.#logs;
    let added = 0;
    for await (const comments of this.#readerOf(range).pages(this.#config.signal())) {
      if (log !== this.#logs) break;
      added += this.#handlers.add(comments);
    }
    return added;
  }

  /**
   * Reads what another log has before the number at which the connection began.
   *
   * @param {SeqRange} range
   */
  async readNewLog(range) {
    if (range.to_seq === 0) return;
    const { clock, signal, timeline } = this.#config;
    const ending = signal();
    const log = this.#logs;
    await sleep(clock, randomMs(clock, NEW_LOG_SPREAD), ending).catch(() => {});
    if (ending.aborted || log !== this.#logs) return;
    // A known comment is of the log before, or was stored again in this one: then it is among its
    // oldest. But those that came live since are known, too.
    const isKnown = (/** @type {Comment} */ { comment_id, seq }) => {
      const isOfThisLog = timeline.after(seq - 1, 1)[0]?.comment_id === comment_id;
      return this.#handlers.isKnown(comment_id) && !isOfThisLog;
    };
    await this.fillInBackground(range, { limit: NEW_LOG_COMMENTS, isKnown, again: SETTLED });
  }

  /** Begins a connection, which brings more of the stream. */
  expectEnd() {
    this.#end = { knownTo: -1, reading: false };
  }

  /** Records that everything up to the end of the stream has come. */
  reachEnd() {
    this.#end.knownTo = OPEN_END;
  }

  /**
   * Reads what the stream has behind a number, unless that is known. Of a long range only the
   * newest part is read. A viewer that is refused and comes again asks for nothing.
   *
   * @param {number} seq
   * @param {boolean} atOnce
   */
  async readEnd(seq, atOnce) {
    const end = this.#end;
    if (end.reading || end.knownTo === OPEN_END) return;
    end.reading = true;
    const { clock, signal, fillGaps, maxComments } = this.#config;
    const ending = signal();
    await sleep(clock, atOnce ? 0 : randomMs(clock, END_SPREAD), ending).catch(() => {});
    if (!ending.aborted) {
      const range = { from_seq: Math.max(seq, end.knownTo) + 1, to_seq: OPEN_END };
      const limit = fillGaps ? Infinity : maxComments;
      const reader = this.#readerOf(range, { limit, again: END_AGAIN });
      await this.#readInBackground(reader);
      end.knownTo = ending.aborted ? reader.knownTo : OPEN_END;
    }
    end.reading = false;
  }

  /**
   * Reads a range for which nobody waits. A request that fails is made again with growing delays.
   * A part that is left out, because of the limit or because it is given up, is reported as
   * missing.
   *
   * @param {SeqRange} range
   * @param {RangeOptions} [options]
   */
  async fillInBackground(range, options) {
    await this.#readInBackground(this.#readerOf(range, options));
  }

  /** @param {RangeReader} reader */
  async #readInBackground(reader) {
    const { clock } = this.#config;
    const signal = this.#config.signal();
    const backoff = new Backoff(clock);
    const log = this.#logs;
    let failures = 0;
    while (!signal.aborted && log === this.#logs) {
      try {
        for await (const comments of reader.pages(signal)) {
          if (log !== this.#logs) return;
          failures = 0;
          backoff.reset();
          this.#handlers.show(comments);
          this.#reportMissing(reader.takeLeftOut());
        }
        this.#reportMissing(reader.takeLeftOut());
        return;
      } catch (error) {
        if (signal.aborted || log !== this.#logs) return;
        failures += 1;
        if (failures >= MOST_FAILURES || !isTemporary(error)) {
          this.#reportMissing([...reader.takeLeftOut(), ...reader.missing]);
          this.#handlers.failed(error);
          return;
        }
        // The server names the same time to all that it refuses.
        const wait = retryAfterMs(error) + backoff.next();
        await sleep(clock, wait, signal).catch(() => {});
      }
    }
  }

  /** @param {SeqRange[]} ranges */
  #reportMissing(ranges) {
    for (const range of ranges) this.#handlers.missing(range);
  }

  /**
   * Returns a reader that begins behind the range, if the timeline has comments there. The first of
   * them is read with the range: it tells that the history is complete up to it.
   *
   * @param {SeqRange} range
   * @param {RangeOptions} [options]
   */
  #readerOf({ from_seq, to_seq }, options) {
    const { history, timeline } = this.#config;
    const before = timeline.after(to_seq, 2)[1]?.comment_id;
    return history.rangeReader({ from_seq, to_seq }, { before, ...options });
  }
}

/** @param {unknown} error */
function retryAfterMs(error) {
  return error instanceof LiveCommentsError ? (error.retryAfterMs ?? 0) : 0;
}
