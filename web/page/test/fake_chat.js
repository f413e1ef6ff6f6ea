/** A client without a connection: a test tells its events and answers its requests. */

/** @import { ClientEvents } from "../../client/client.js" */
/** @import { HttpRequest, StreamApi } from "../../client/http.js" */
/** @import { Comment, Gap, LiveComments, Schedule, User } from "../../client/index.js" */

import { Emitter } from "../../client/emitter.js";
import { LiveCommentsError, Moderation, Timeline } from "../../client/index.js";

/** @extends {Emitter<ClientEvents>} */
export class FakeChat extends Emitter {
  state = "connecting";
  transport = /** @type {string | null} */ ("websocket");
  /** @type {Schedule} */
  schedule = { state: "live" };
  /** @type {User | null} */
  user = null;
  hasToken = false;
  paused = false;
  room = {};
  viewers = 0;
  sampleRate = 1;
  pinned = null;
  poll = null;
  position = { epoch: 1, seq: 0 };
  timeline = new Timeline(2_000);
  /** Requests and commands, in their order. @type {string[]} */
  calls = [];
  /** Answers to requests, by method and path. @type {Record<string, (body: any) => any>} */
  answers = {};
  /** Answers to requests for older comments and for gaps. */
  older = async () => ({ added: 0, done: true });
  /** @type {(gap: Gap) => Promise<number>} */
  filling = async () => 0;
  moderation = new Moderation(
    /** @type {StreamApi} */ (
      /** @type {unknown} */ ({
        request: (/** @type {string} */ path, /** @type {HttpRequest} */ request) =>
          this.#request(path, request),
      })
    ),
  );

  /** The same as what the pages take. @returns {LiveComments} */
  get asClient() {
    return /** @type {LiveComments} */ (/** @type {unknown} */ (this));
  }

  /**
   * @template {keyof ClientEvents} Name
   * @param {Name} name
   * @param {Partial<ClientEvents[Name]>} event
   */
  tell(name, event) {
    this.emit(name, /** @type {ClientEvents[Name]} */ (event));
  }

  /** @param {Partial<User> | null} user */
  welcome(user) {
    this.user = /** @type {User | null} */ (user);
    this.tell("welcome", { user: this.user });
    this.state = "open";
    this.tell("state", { state: "open", transport: "websocket" });
  }

  /**
   * Deletes a comment, as the server tells it.
   *
   * @param {string} commentId
   */
  delete(commentId) {
    this.timeline.remove(commentId);
    this.tell("deleted", { comment_id: commentId, reason: "moderator" });
  }

  /** @param {string | null} token */
  setToken(token) {
    this.hasToken = token !== null;
    if (token === null) this.user = null;
    this.calls.push(`token ${token}`);
  }

  /** As of a server: an ended stream admits nobody. */
  connect() {
    this.calls.push("connect");
    this.state = "connecting";
    this.tell("state", { state: "connecting", transport: null });
    if (this.schedule.state === "ended") queueMicrotask(() => this.close("stream_ended"));
  }

  /** @param {string} code */
  close(code) {
    if (code === "stream_ended") this.schedule = { state: "ended" };
    Object.assign(this, { state: "closed", transport: null });
    const error = new LiveCommentsError(code, code);
    this.tell("state", { state: "closed", transport: null, error });
  }

  pause() {
    this.paused = true;
    this.calls.push("pause");
    this.tell("paused", { paused: true });
  }

  /** @param {{skip?: boolean}} [options] */
  resume({ skip = false } = {}) {
    this.paused = false;
    this.calls.push(skip ? "skip" : "resume");
    this.tell("paused", { paused: false });
  }

  loadOlder() {
    this.calls.push("older");
    return this.older();
  }

  /** @param {Gap} gap */
  fillGap(gap) {
    this.calls.push(`fill ${gap.from_seq} to ${gap.to_seq}`);
    return this.filling(gap);
  }

  /**
   * @param {string} message
   * @param {{parentId?: string}} [options]
   */
  async send(message, { parentId } = {}) {
    this.calls.push(parentId ? `send ${message} to ${parentId}` : `send ${message}`);
  }

  async stream() {
    return { title: "Final", stream_id: "2" };
  }

  async messages() {
    return [];
  }

  /**
   * @param {string} path
   * @param {HttpRequest} [request]
   */
  async #request(path, { method = "GET", body } = {}) {
    const name = `${method} ${path}`;
    const answer = this.answers[name];
    if (method !== "GET") this.calls.push(`${path} ${JSON.stringify(body)}`);
    return answer ? answer(body) : {};
  }
}

/**
 * @param {number} seq
 * @param {string} [userId]
 * @returns {Comment}
 */
export function comment(seq, userId = "7") {
  const by = { user_id: userId, name: `user ${userId}`, created_at: seq };
  return { comment_id: `c${seq}`, seq, ...by, message: `text ${seq}` };
}
