/** @import { ServerMessage } from "../protocol.js" */
/** @import { OpenTransport, TransportEnd } from "./transport.js" */

import { Timer, sleep } from "../clock.js";
import { answerOf, authorization, readRefusal, withQuery } from "../http.js";
import { isServerMessage } from "../protocol.js";
import { badMessage, readError, silent } from "./transport.js";

/**
 * @typedef {object} PollAnswer
 * @property {string} since
 * @property {ServerMessage[]} messages
 */

/** Time between polls of which the server, or a proxy, answers the first at once and empty. */
const PAUSE_AFTER_EMPTY_MS = 1_000;

/**
 * Polls, one request after the other. The first one is answered at once; those after it wait at the
 * server until there is something.
 *
 * @type {OpenTransport}
 */
export function openPolling(request, handlers) {
  const { clock, times } = request;
  const timer = new Timer(clock);
  const abort = new AbortController();
  const address = `${request.site}api/streams/${request.streamId}/comments/poll`;
  let { since, token } = request;
  let opened = false;
  let ended = false;

  const stop = () => {
    ended = true;
    timer.stop();
    abort.abort();
  };
  /** @param {Omit<TransportEnd, "opened">} reason */
  const end = (reason) => {
    if (ended) return;
    stop();
    handlers.end({ opened, ...reason });
  };

  /** @returns {Promise<PollAnswer | null>} Null if the polls are over. */
  const poll = async () => {
    const waitMs = opened ? times.pollMs : 0;
    timer.set(waitMs + times.openMs, () => end({ error: silent("a poll was not answered") }));
    const place = since === null ? { ...request.position } : { since };
    const url = withQuery(address, { ...place, wait_ms: waitMs });
    const { signal } = abort;
    const headers = authorization(token);
    const response = await answerOf(request.fetch(url, { headers, signal, cache: "no-store" }));
    if (response.status === 204) end({ stopped: true });
    else if (!response.ok) end({ error: await readRefusal(response) });
    if (ended) return null;
    return readAnswer(await response.text());
  };
  /** @param {PollAnswer} answer */
  const deliver = (answer) => {
    const first = !opened;
    opened = true;
    since = answer.since;
    handlers.since(since);
    if (first && !answer.messages.some(({ type }) => type === "welcome")) handlers.continued();
    for (const message of answer.messages) {
      if (!ended) handlers.message(message);
    }
  };
  const run = async () => {
    while (!ended) {
      const held = opened;
      const began = clock.now();
      const answer = await poll();
      if (!answer || ended) return;
      deliver(answer);
      const early = clock.now() - began < PAUSE_AFTER_EMPTY_MS;
      if (held && early && answer.messages.length === 0) {
        await sleep(clock, PAUSE_AFTER_EMPTY_MS, abort.signal);
      }
    }
  };
  run().catch((cause) => end({ error: readError(cause) }));

  return {
    name: "polling",
    duplex: false,
    takesTokens: true,
    send: () => {},
    setToken: (next) => {
      token = next;
    },
    close: stop,
  };
}

/**
 * @param {string} text
 * @returns {PollAnswer}
 * @throws {LiveCommentsError} `bad_answer`
 */
function readAnswer(text) {
  /** @type {unknown} */
  let answer;
  try {
    answer = JSON.parse(text);
  } catch (cause) {
    throw badMessage(cause);
  }
  if (isPollAnswer(answer)) return answer;
  throw badMessage(undefined);
}

/**
 * @param {unknown} value
 * @returns {value is PollAnswer}
 */
function isPollAnswer(value) {
  if (typeof value !== "object" || value === null) return false;
  const { since, messages } = /** @type {Record<string, unknown>} */ (value);
  return typeof since === "string" && Array.isArray(messages) && messages.every(isServerMessage);
}
