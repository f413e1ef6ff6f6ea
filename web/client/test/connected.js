/** A client that is connected over a socket of which the test is the server. */

import { LiveComments } from "../client.js";
import { FakeClock, FakeFetch, FakeSockets, ann, comment, json, settle } from "./support.js";
import { welcome } from "./support.js";

/** @typedef {import("../protocol.js").ServerMessage} ServerMessage */

/** @param {import("../options.js").LiveCommentsOptions} [options] */
export async function connected(options = {}) {
  const clock = new FakeClock();
  const sockets = new FakeSockets();
  const http = new FakeFetch();
  const { WebSocket } = sockets;
  const settings = {
    clock,
    WebSocket,
    fetch: http.fetch,
    transports: /** @type {const} */ (["websocket"]),
  };
  const client = new LiveComments("https://host", "7", { ...settings, ...options });
  /** @type {string[]} */
  const events = [];
  client.on("comments", ({ comments, source }) => {
    events.push(`${source} ${comments.map(({ seq }) => seq).join(" ")}`);
  });
  client.on("deleted", ({ comment_id }) => events.push(`deleted ${comment_id}`));
  client.on("gap", ({ from_seq, to_seq, cause }) =>
    events.push(`gap ${from_seq} ${to_seq} ${cause}`),
  );
  client.on("restart", ({ position }) => events.push(`restart ${position.epoch} ${position.seq}`));
  client.on("error", ({ code }) => events.push(`error ${code}`));
  client.connect();
  await settle();
  sockets.last.accept();
  sockets.last.receive(welcome(10, { user: options.token ? ann : null }));
  /** Connects again after a loss. */
  const reconnect = async (/** @type {ServerMessage[]} */ ...messages) => {
    sockets.last.end(1006);
    await clock.advance(500);
    sockets.last.accept();
    sockets.last.receive(...messages);
  };
  return { clock, sockets, http, client, events, reconnect };
}

/** @param {LiveComments} client */
export function shown(client) {
  return client.timeline.comments.map(({ seq }) => seq);
}

/**
 * Answers requests for history from a list of comments, as the server pages it.
 *
 * @param {FakeFetch} http
 * @param {() => number[]} seqs Those that are stored, in their order.
 */
export function serveHistory(http, seqs) {
  http.answer = ({ url }) => {
    const stored = seqs()
      .reverse()
      .map((seq) => comment(seq));
    const before = url.searchParams.get("before");
    const from = before ? stored.findIndex(({ comment_id }) => comment_id === before) + 1 : 0;
    const limit = Number(url.searchParams.get("limit"));
    const comments = stored.slice(from, from + limit);
    const more = from + limit < stored.length;
    return json(more ? { comments, next_before: comments.at(-1)?.comment_id } : { comments });
  };
}
