/** @import { OpenTransport, TransportEnd } from "./transport.js" */

import { Timer } from "../clock.js";
import { parseMessage } from "../codec.js";
import { LiveCommentsError } from "../errors.js";
import { answerOf, authorization, readRefusal, withQuery } from "../http.js";
import { EventStreamParser } from "../sse.js";
import { badMessage, readError, silent } from "./transport.js";

/**
 * Opens server-sent events with `fetch`: unlike EventSource, it sends the token in a header, and
 * reads the error of a refusal. The position goes in the address, which needs no leave for pages of
 * other origins as the header `Last-Event-ID` would.
 *
 * @type {OpenTransport}
 */
export function openEvents(request, handlers) {
  const { clock, times, position, token } = request;
  const timer = new Timer(clock);
  const abort = new AbortController();
  const url = withQuery(`${request.site}api/streams/${request.streamId}/events`, { ...position });
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

  /** @param {ReadableStream<Uint8Array>} body */
  const read = async (body) => {
    const parser = new EventStreamParser();
    const reader = body.getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (ended) return;
      if (done) break;
      for (const event of parser.push(value)) {
        opened = true;
        if (event.type === "message") deliver(event.data);
        if (ended) return;
      }
      if (opened) timer.set(times.silenceMs, () => end({ error: silent("no ping in time") }));
    }
    end({ error: silent("the event stream ended") });
  };
  /** @param {string} data */
  const deliver = (data) => {
    let message;
    try {
      message = parseMessage(data);
    } catch (cause) {
      end({ error: badMessage(cause) });
      return;
    }
    handlers.message(message);
  };
  const open = async () => {
    const headers = { Accept: "text/event-stream", ...authorization(token) };
    const { signal } = abort;
    const response = await answerOf(request.fetch(url, { headers, signal, cache: "no-store" }));
    if (response.status === 204) end({ stopped: true });
    else if (!response.ok) end({ error: await readRefusal(response) });
    else if (response.body && isEventStream(response)) await read(response.body);
    else end({ error: new LiveCommentsError("bad_answer", "the answer is no event stream") });
  };

  timer.set(times.openMs, () => end({ error: silent("the event stream did not begin in time") }));
  open().catch((cause) => end({ error: readError(cause) }));

  return {
    name: "events",
    duplex: false,
    takesTokens: false,
    send: () => {},
    setToken: () => {},
    close: stop,
  };
}

/** @param {Response} response */
function isEventStream(response) {
  return /^text\/event-stream\b/i.test(response.headers.get("Content-Type") ?? "");
}
