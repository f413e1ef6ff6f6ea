/** A small server with the event streams, polls and posts of a daemon, over real HTTP. */

/** @import { Comment, ServerMessage } from "../protocol.js" */
/** @import { IncomingMessage, ServerResponse } from "node:http" */
/** @import { AddressInfo } from "node:net" */

import { once } from "node:events";
import { createServer } from "node:http";

import { ann, comment, welcome } from "./support.js";

/**
 * @typedef {object} Refusal
 * @property {number} status
 * @property {string} code
 * @property {number} [retry_after_ms]
 */

export class HttpDaemon {
  /** @type {Comment[]} */
  log = [];
  /**
   * Requests in their order: method, path and the token.
   *
   * @type {string[]}
   */
  requests = [];
  /**
   * The answer to those who ask for an event stream. "silent" holds it back, as a proxy that
   * buffers does.
   *
   * @type {"open" | "silent" | "stopped" | Refusal}
   */
  events = "open";
  /** @type {"open" | Refusal} */
  polls = "open";
  /**
   * The answer to posts. "cut" stores one and breaks the connection.
   *
   * @type {"answered" | "cut" | Refusal}
   */
  posts = "answered";
  reactions = 0;
  /** @type {Map<string, Comment>} */
  #refs = new Map();
  /** Numbers of comments that are not sent live. @type {Set<number>} */
  #leftOut = new Set();
  /** @type {Set<() => void>} */
  #waiting = new Set();
  /** @type {Set<ServerResponse>} */
  #streams = new Set();
  #server = createServer((request, response) => void this.#answer(request, response));

  async listen() {
    this.#server.listen(0, "127.0.0.1");
    await once(this.#server, "listening");
    const { port } = /** @type {AddressInfo} */ (this.#server.address());
    return `http://127.0.0.1:${port}`;
  }

  close() {
    this.cut();
    this.#server.close();
    this.#server.closeAllConnections();
  }

  /** Breaks the connections that are open. */
  cut() {
    for (const response of this.#streams) response.destroy();
    this.#streams.clear();
    this.#server.closeAllConnections();
  }

  /**
   * Stores comments and sends them to all viewers.
   *
   * @param {number} count
   * @param {boolean} [throttled] Whether only every second one is sent live.
   */
  publish(count, throttled = false) {
    for (let index = 0; index < count; index += 1) {
      this.log.push(comment(this.log.length + 1));
      if (throttled && index % 2 === 1) this.#leftOut.add(this.log.length);
    }
    this.#wake();
  }

  /**
   * Ends every event stream with some messages.
   *
   * @param {ServerMessage[]} messages
   */
  endStreams(...messages) {
    for (const stream of this.#streams) stream.end(messages.map(eventOf).join(""));
  }

  #wake() {
    for (const wake of this.#waiting) wake();
  }

  /**
   * @param {IncomingMessage} request
   * @param {ServerResponse} response
   */
  async #answer(request, response) {
    const url = new URL(request.url ?? "", "http://host");
    const token = request.headers.authorization?.replace("Bearer ", "") ?? null;
    const place = url.pathname.replace("/api/streams/7/", "");
    this.requests.push([request.method, place, token].filter(Boolean).join(" "));
    if (place === "events") this.#stream(url, token, response);
    else if (place === "comments/poll") await this.#poll(url, token, response);
    else if (place === "comments" && request.method === "GET") this.#history(response);
    else if (place === "reactions") {
      this.reactions += 1;
      response.writeHead(204).end();
    } else await this.#post(request, response);
  }

  /**
   * @param {URL} url
   * @param {string | null} token
   * @param {ServerResponse} response
   */
  #stream(url, token, response) {
    if (this.events === "stopped") {
      response.writeHead(204).end();
      return;
    }
    if (typeof this.events === "object") {
      refuse(response, this.events);
      return;
    }
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.flushHeaders();
    if (this.events === "silent") return;
    this.#streams.add(response);
    const seq = url.searchParams.get("seq");
    let next = seq === null ? this.log.length : Number(seq);
    response.write(`retry: 2000\n\n${eventOf(this.#welcome(next, token))}`);
    const write = (isLive = true) => {
      const message = this.#batchAfter(next, isLive);
      if (message) response.write(`id: 3:${this.log.length}\n${eventOf(message)}`);
      next = this.log.length;
    };
    write(false);
    const writeLive = () => write();
    this.#waiting.add(writeLive);
    response.on("close", () => this.#waiting.delete(writeLive));
  }

  /**
   * @param {URL} url
   * @param {string | null} token
   * @param {ServerResponse} response
   */
  async #poll(url, token, response) {
    if (typeof this.polls === "object") {
      refuse(response, this.polls);
      return;
    }
    const since = url.searchParams.get("since");
    const waitMs = Number(url.searchParams.get("wait_ms"));
    if (since === null) {
      const messages = [this.#welcome(this.log.length, token)];
      sendJson(response, 200, { since: `at-${this.log.length}`, messages });
      return;
    }
    const next = Number(since.replace("at-", ""));
    if (next === this.log.length && waitMs > 0) {
      await new Promise((resolve) => {
        this.#waiting.add(() => resolve(undefined));
        response.on("close", () => resolve(undefined));
      });
    }
    const message = this.#batchAfter(next, true);
    sendJson(response, 200, { since: `at-${this.log.length}`, messages: message ? [message] : [] });
  }

  /** @param {ServerResponse} response */
  #history(response) {
    sendJson(response, 200, { comments: [...this.log].reverse() });
  }

  /**
   * @param {IncomingMessage} request
   * @param {ServerResponse} response
   */
  async #post(request, response) {
    let text = "";
    for await (const piece of request) text += piece;
    /** @type {{message: string, ref: string}} */
    const { message, ref } = JSON.parse(text);
    if (typeof this.posts === "object") {
      refuse(response, this.posts);
      return;
    }
    const stored = this.#refs.get(ref) ?? comment(this.log.length + 1, { ...ann, message });
    if (!this.#refs.has(ref)) this.log.push(stored);
    this.#refs.set(ref, stored);
    if (this.posts === "cut") {
      this.posts = "answered";
      response.destroy();
    } else sendJson(response, 201, { comment_id: stored.comment_id, seq: stored.seq });
    this.#wake();
  }

  /**
   * @param {number} seq
   * @param {string | null} token
   */
  #welcome(seq, token) {
    return welcome(seq, { user: token === null ? null : ann });
  }

  /**
   * @param {number} seq
   * @param {boolean} isLive
   * @returns {ServerMessage | null}
   */
  #batchAfter(seq, isLive) {
    const all = this.log.slice(seq);
    if (all.length === 0) return null;
    const range = { epoch: 3, from_seq: seq + 1, to_seq: this.log.length };
    const comments = all.filter((comment) => !isLive || !this.#leftOut.has(comment.seq));
    const sample_rate = comments.length < all.length ? 0.5 : 1;
    return { type: "comments", ...range, sample_rate, comments };
  }
}

/** @param {ServerMessage} message */
function eventOf(message) {
  return `data: ${JSON.stringify(message)}\n\n`;
}

/**
 * @param {ServerResponse} response
 * @param {Refusal} refusal
 */
function refuse(response, { status, ...error }) {
  sendJson(response, status, { status, detail: "refused", ...error }, "application/problem+json");
}

/**
 * @param {ServerResponse} response
 * @param {number} status
 * @param {unknown} body
 * @param {string} [type]
 */
function sendJson(response, status, body, type = "application/json") {
  if (response.destroyed) return;
  response.writeHead(status, { "Content-Type": type }).end(JSON.stringify(body));
}
