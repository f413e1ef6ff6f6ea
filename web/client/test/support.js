/** Doubles: a clock that a test moves, sockets and a fetch that a test answers. */

/** @import { Clock } from "../clock.js" */
/** @import { ClientMessage, Comment, ServerMessage } from "../protocol.js" */

/**
 * Returns pseudo-random numbers from 0 to below 1, the same for the same seed (mulberry32).
 *
 * @param {number} seed
 * @returns {() => number}
 */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Lets everything that waits for promises alone happen. */
export async function settle() {
  for (let turn = 0; turn < 5; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

/** @implements {Clock} */
export class FakeClock {
  #now = 1_800_000_000_000;
  /** @type {Map<number, {at: number, callback: () => void}>} */
  #timers = new Map();
  #nextId = 1;

  /** @param {number} [seed] */
  constructor(seed = 1) {
    this.random = seeded(seed);
  }

  now = () => this.#now;

  /** @type {Clock["setTimeout"]} */
  setTimeout = (callback, ms) => {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#timers.set(id, { at: this.#now + ms, callback });
    return id;
  };

  /** @type {Clock["clearTimeout"]} */
  clearTimeout = (timer) => {
    this.#timers.delete(Number(timer));
  };

  /** Timers that are set. */
  get pending() {
    return this.#timers.size;
  }

  /**
   * Moves the time on, with all timers in their order.
   *
   * @param {number} ms
   */
  async advance(ms) {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= end);
      const next = due.sort(([, one], [, other]) => one.at - other.at)[0];
      if (!next) break;
      this.#timers.delete(next[0]);
      this.#now = Math.max(this.#now, next[1].at);
      next[1].callback();
      await settle();
    }
    this.#now = end;
  }
}

/** A socket of which the test is the server. */
export class FakeSocket {
  readyState = 0;
  binaryType = "blob";
  /** @type {(() => void) | null} */
  onopen = null;
  /** @type {((event: {data: unknown}) => void) | null} */
  onmessage = null;
  /** @type {(() => void) | null} */
  onerror = null;
  /** @type {((event: {code: number}) => void) | null} */
  onclose = null;
  /** @type {ClientMessage[]} */
  sent = [];
  closedWith = /** @type {number | null} */ (null);

  /**
   * @param {string} url
   * @param {string} protocol
   */
  constructor(url, protocol) {
    this.url = new URL(url);
    this.protocol = protocol;
  }

  /** @param {string | Uint8Array} text */
  send(text) {
    this.sent.push(JSON.parse(String(text)));
  }

  /** @param {number} [code] */
  close(code) {
    this.readyState = 3;
    this.closedWith = code ?? 1005;
  }

  // ---- the server's side

  accept() {
    this.readyState = 1;
    this.onopen?.();
  }

  /** @param {ServerMessage[]} messages */
  receive(...messages) {
    for (const message of messages) {
      this.onmessage?.({ data: JSON.stringify(message) });
    }
  }

  /** @param {number} code */
  end(code) {
    this.readyState = 3;
    this.onclose?.({ code });
  }

  /** The types of the messages that were sent. */
  get sentTypes() {
    return this.sent.map(({ type }) => type);
  }
}

/** All sockets that a client opens, in their order. */
export class FakeSockets {
  /** @type {FakeSocket[]} */
  all = [];

  /** The class to pass to a client. */
  get WebSocket() {
    const { all } = this;
    return class extends FakeSocket {
      /**
       * @param {string} url
       * @param {string} protocol
       */
      constructor(url, protocol) {
        super(url, protocol);
        all.push(this);
      }
    };
  }

  get last() {
    const socket = this.all.at(-1);
    if (!socket) throw new Error("no socket was opened");
    return socket;
  }
}

/**
 * @typedef {object} FakeRequest
 * @property {URL} url
 * @property {string} method
 * @property {Headers} headers
 * @property {unknown} body
 */

/**
 * A `fetch` that a test answers. It records what was asked.
 */
export class FakeFetch {
  /** @type {FakeRequest[]} */
  requests = [];
  /** @type {(request: FakeRequest) => Response | Promise<Response>} */
  answer = () => {
    throw new TypeError("no network");
  };

  /** @type {typeof globalThis.fetch} */
  fetch = async (input, init = {}) => {
    const request = {
      url: new URL(String(input)),
      method: init.method ?? "GET",
      headers: new Headers(init.headers),
      body: typeof init.body === "string" ? JSON.parse(init.body) : undefined,
    };
    this.requests.push(request);
    const aborted = new Promise((_, reject) => {
      init.signal?.addEventListener("abort", () => reject(init.signal?.reason));
    });
    aborted.catch(() => {});
    const response = await Promise.race([this.answer(request), aborted]);
    return /** @type {Response} */ (response);
  };

  /** The paths that were asked for, without parameters. */
  get paths() {
    return this.requests.map(({ url }) => url.pathname);
  }
}

/**
 * @param {unknown} body
 * @param {number} [status]
 */
export function json(body, status = 200) {
  return new Response(JSON.stringify(body), {
    status,
    headers: { "Content-Type": "application/json" },
  });
}

/**
 * @param {number} seq
 * @param {Partial<Comment>} [fields]
 * @returns {Comment}
 */
export function comment(seq, fields = {}) {
  return {
    comment_id: `id-${seq}`,
    user_id: "9223372036854775807",
    name: "ann",
    message: `text ${seq}`,
    created_at: 1_795_254_408_000 + seq,
    seq,
    ...fields,
  };
}

/**
 * @param {number} seq
 * @param {Partial<import("../protocol.js").WelcomeMessage>} [fields]
 * @returns {ServerMessage}
 */
export function welcome(seq, fields = {}) {
  const message = { stream_id: "7", user: null, epoch: 3, seq, sample_rate: 1, viewers: 1 };
  return { type: "welcome", ...message, ...fields };
}

/**
 * Returns a batch over a range, with a comment for each of some numbers.
 *
 * @param {number} from_seq
 * @param {number} to_seq
 * @param {number[]} [seqs] By default all of the range.
 * @returns {ServerMessage}
 */
export function batch(from_seq, to_seq, seqs = range(from_seq, to_seq)) {
  const comments = seqs.map((seq) => comment(seq));
  return { type: "comments", epoch: 3, from_seq, to_seq, comments };
}

/**
 * @param {number} from
 * @param {number} to
 */
export function range(from, to) {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index);
}

/** A user as the server shows it. */
export const ann = {
  user_id: "42",
  name: "ann",
  role: /** @type {const} */ ("viewer"),
};
