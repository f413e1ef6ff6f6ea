/** @import { ConnectionState, StateChange, WelcomedLink } from "./connection.js" */
/** @import { CommentSource, Gap, GapCause, Intake, OlderPage } from "./feed.js" */
/** @import { Outgoing, SendResult } from "./outbox.js" */
/** @import { ConnectionRanges, SeqRange } from "./position.js" */
/** @import { LiveCommentsOptions } from "./options.js" */
/** @import { RoomEvents, Schedule } from "./room_life.js" */
/** @import { TokenProvider } from "./token.js" */
/** @import { TransportName } from "./transports/transport.js" */
/** @import * as protocol from "./protocol.js" */

import { Connection } from "./connection.js";
import { Emitter } from "./emitter.js";
import { LiveCommentsError, errorOfMessage } from "./errors.js";
import { CommentFeed } from "./feed.js";
import { History } from "./history.js";
import { StreamApi } from "./http.js";
import { Moderation } from "./moderation.js";
import { settingsOf } from "./options.js";
import { Outbox } from "./outbox.js";
import { PositionTracker } from "./position.js";
import { CommentPoster } from "./posting.js";
import { Replay } from "./replay.js";
import { RoomLife } from "./room_life.js";
import { Timeline } from "./timeline.js";
import { TokenSource } from "./token.js";

/**
 * @typedef {object} OwnEvents
 * @property {StateChange} state
 * @property {protocol.WelcomeMessage} welcome The viewer is connected, or another user is signed
 *   in. A connection with a token tells it once the token is accepted.
 * @property {{comments: protocol.Comment[], source: CommentSource}} comments New ones only, in the
 *   order of the stream.
 * @property {protocol.CommentDeletedMessage} deleted
 * @property {Readonly<Outgoing>} outgoing A comment of this viewer changed its state.
 * @property {{paused: boolean}} paused
 * @property {Gap} gap A range that was not shown. The client fills one with the cause `transport`
 *   by itself, and with the option `fillGaps` also those with `server` and `skip`; a page shows
 *   nothing for them. If that fails after several tries, the range is told again with the cause
 *   `unread`. A page shows a row for each gap that is not filled by itself, and always for
 *   `unread`; `fillGap` reads it. The range may be one that was told before, or a part of it.
 * @property {{position: protocol.Position}} restart The stream has another log.
 * @property {protocol.DirectMessage} direct
 * @property {protocol.AnnouncementMessage} announcement
 * @property {LiveCommentsError} error Something failed that no promise tells.
 * @property {protocol.ServerMessage} message Every message, before it has an effect.
 */

/** @typedef {OwnEvents & RoomEvents} ClientEvents */

const IS_CLOSED = "the client is closed";
const SIGNED_OUT = "the user that wrote this has signed out";

/**
 * A viewer of a stream.
 *
 * @extends {Emitter<ClientEvents>}
 */
export class LiveComments extends Emitter {
  #tokens;
  #api;
  #tracker = new PositionTracker();
  #connection;
  #outbox;
  #poster;
  #feed;
  /** @type {Promise<OlderPage> | null} */
  #reading = null;
  #abort = new AbortController();
  /**
   * Cause of a gap that the next `welcome` shows.
   *
   * @type {GapCause}
   */
  #welcomeGap = "transport";
  /** @type {protocol.User | null} */
  #user = null;
  #life;

  /**
   * @param {string | URL} site Address of the server, such as `https://comments.example.org`.
   * @param {string | number | bigint} streamId
   * @param {LiveCommentsOptions} [options]
   * @throws {TypeError} An argument is invalid.
   */
  constructor(site, streamId, options = {}) {
    super();
    const settings = settingsOf(site, streamId, options);
    const { clock, maxComments, maxPending, fillGaps } = settings;
    this.#tokens = new TokenSource(clock, settings.token);
    const address = `${settings.site}api/streams/${settings.streamId}`;
    const signal = () => this.#abort.signal;
    this.#api = new StreamApi(address, this.#tokens, settings.fetch, signal);
    /** @readonly The comments to show. */
    this.timeline = new Timeline(maxComments);
    /** @readonly All stored comments. */
    this.history = new History(this.#api, clock);
    /** @readonly What moderators may do. */
    this.moderation = new Moderation(this.#api);
    this.#outbox = new Outbox({
      clock,
      maxPending,
      timeoutMs: settings.sendTimeoutMs,
      isShown: (id) => this.#feed.hasSeen(id),
      onChange: (outgoing) => this.emit("outgoing", outgoing),
    });
    this.#poster = new CommentPoster(this.#api, this.#outbox, clock, settings.sendTimeoutMs);
    this.#life = new RoomLife(this.#api, (name, payload) => {
      this.emit(name, /** @type {ClientEvents[typeof name]} */ (payload));
    });
    const { timeline, history } = this;
    this.#feed = new CommentFeed(
      { clock, tracker: this.#tracker, history, timeline, maxComments, fillGaps, signal },
      {
        comments: (comments, source) => this.emit("comments", { comments, source }),
        deleted: (message) => this.emit("deleted", message),
        gap: (gap) => this.emit("gap", gap),
        passed: (range) => this.#outbox.markPassed(range),
        restart: (position) => {
          this.#outbox.forgetPassed();
          this.emit("restart", { position });
        },
        arrived: (commentIds) => this.#outbox.markShown(commentIds),
        fillFailed: (error) => this.#reportFailure(error),
      },
    );
    this.#connection = new Connection(settings, this.#tracker, this.#tokens, {
      state: (change) => this.#stateChanged(change),
      ready: () => this.#ready(),
      unready: () => this.#outbox.detach(),
      welcome: (message, link) => this.#welcome(message, link),
      message: (message, ranges) => this.#receive(message, ranges),
      error: (error) => this.emit("error", error),
    });
  }

  /** @returns {ConnectionState} */
  get state() {
    return this.#connection.state;
  }

  /** @returns {TransportName | null} */
  get transport() {
    return this.#connection.transport;
  }

  /** The newest position of which everything was received. */
  get position() {
    return this.#tracker.current;
  }

  /** The user that the server knows, or null for an anonymous viewer. */
  get user() {
    return this.#user;
  }

  /** Whether requests carry a token, also one that no connection has proved. */
  get hasToken() {
    return this.#tokens.present;
  }

  get paused() {
    return this.#feed.paused;
  }

  /** Share of the comments that is shown live, from 0 to 1. */
  get sampleRate() {
    return this.#life.sampleRate;
  }

  get viewers() {
    return this.#life.viewers;
  }

  /** Totals of the reactions. */
  get reactions() {
    return this.#life.reactions;
  }

  /** The reactions that the server takes, in the order in which to offer them. */
  get reactionKinds() {
    return this.#life.reactionKinds;
  }

  /** Rules of the room that are in force. */
  get room() {
    return this.#life.rules;
  }

  /** The comment that is pinned above the chat, or null. */
  get pinned() {
    return this.#life.pinned;
  }

  /** The poll that is open, or that this client saw close last; null if there is none. */
  get poll() {
    return this.#life.poll;
  }

  /** Whether the stream is live, and when it starts. @returns {Readonly<Schedule>} */
  get schedule() {
    return this.#life.schedule;
  }

  /** Comments of this viewer that are not shown yet, oldest first. */
  get outgoing() {
    return this.#outbox.outgoing;
  }

  /** Connects, or tries again at once. Does nothing while connected. */
  connect() {
    globalThis.addEventListener?.("online", this.#online);
    this.#connection.connect();
  }

  /**
   * Ends everything: connection, timers, requests. Comments without an answer fail. When the server
   * has closed the client, requests continue: the history of an ended stream can still be read.
   */
  close() {
    this.#connection.close();
    this.#abort.abort(new LiveCommentsError("client_closed", "the client was closed"));
    this.#abort = new AbortController();
    this.#reading = null;
  }

  /**
   * Sends a comment. While there is no connection it waits for one. Rejects with the error of the
   * server, or with one of the client such as `too_many_pending`. Ignoring the promise is safe: the
   * event `outgoing` tells the same, and is emitted with the state `failed` before this returns if
   * the comment is refused at once.
   *
   * @param {string} message
   * @param {{ref?: string, parentId?: string}} [options] The `ref` of an earlier attempt, to send
   *   it again: the server stores it once. The id of the comment that this one answers.
   * @returns {Promise<SendResult>}
   */
  send(message, { ref, parentId } = {}) {
    if (this.state === "closed") {
      return this.#outbox.reject(message, { ref, parentId }, "client_closed", IS_CLOSED);
    }
    return this.#outbox.send(message, { ref, parentId });
  }

  /**
   * Sends a reaction; without a connection it is dropped. A refusal is reported by the event
   * `error`.
   *
   * @param {string} reaction
   */
  react(reaction) {
    if (this.state !== "open") return;
    if (this.#connection.duplex) {
      this.#connection.send({ type: "reaction", reaction });
      return;
    }
    this.#api
      .request("/reactions", { method: "POST", body: { reaction } })
      .catch((error) => this.#reportFailure(error));
  }

  /**
   * Votes for an option of the open poll. Each user votes once; a second vote is `already_voted`.
   *
   * @param {number} pollId
   * @param {number} option Counted from 0.
   * @returns {Promise<void>}
   * @throws {LiveCommentsError}
   */
  async vote(pollId, option) {
    await this.#api.request(`/polls/${pollId}/votes`, { method: "POST", body: { option } });
  }

  /**
   * Returns the latest polls with their votes, newest first.
   *
   * @param {number} [limit]
   * @returns {Promise<protocol.Poll[]>}
   * @throws {LiveCommentsError}
   */
  async polls(limit) {
    /** @type {{polls: protocol.Poll[]}} */
    const answer = await this.#api.request("/polls", { query: { limit } });
    return answer.polls;
  }

  /**
   * Sends a direct message to another user, where the server has `messages.between_users`. It
   * is kept until the user acknowledges it, and arrives as the event `direct` if the user is
   * connected.
   *
   * @param {string} user A name, or an id as `id:42`.
   * @param {string} text
   * @returns {Promise<void>}
   * @throws {LiveCommentsError}
   */
  async sendMessage(user, text) {
    await this.#api.request("/messages", { method: "POST", body: { user, message: text } });
  }

  /**
   * Returns the direct messages that this user has not acknowledged, oldest first. Those that came
   * as the event `direct` are among them, with the same `message_id`.
   *
   * @returns {Promise<protocol.KeptMessage[]>}
   * @throws {LiveCommentsError}
   */
  async messages() {
    /** @type {{messages: protocol.KeptMessage[]}} */
    const answer = await this.#api.request("/messages");
    return answer.messages;
  }

  /**
   * Forgets the direct messages up to this one, also those that were never shown.
   *
   * @param {number} messageId
   * @returns {Promise<void>}
   * @throws {LiveCommentsError}
   */
  async acknowledgeMessages(messageId) {
    const body = { up_to: messageId };
    await this.#api.request("/messages/acknowledged", { method: "POST", body });
  }

  /**
   * Stops comments, so that the reader can read. Over a WebSocket everything else still arrives.
   * Event streams and polls cannot be paused: once more comments have come than the timeline keeps
   * they are ended until `resume`, and no deletion, announcement, message or ban arrives meanwhile;
   * `transport` is null then.
   */
  pause() {
    if (this.paused) return;
    this.#feed.pause();
    if (this.#connection.duplex) this.#connection.send({ type: "pause" });
    this.emit("paused", { paused: true });
  }

  /**
   * Continues after a pause. Everything since comes in order, or with `skip` a gap stands for it.
   * If the stream has ended meanwhile, the rest is read from the history: at most as many comments
   * as the timeline keeps, and a gap stands for those before them.
   *
   * @param {{skip?: boolean}} [options]
   */
  resume({ skip = false } = {}) {
    if (!this.paused) return;
    const full = this.#feed.resume(skip);
    this.emit("paused", { paused: false });
    if (this.#hasEnded) void this.#feed.readEnd({ atOnce: true });
    if (this.state === "idle" || this.state === "closed") return;
    const { duplex, parked } = this.#connection;
    // Only a connection that is open can be told to skip.
    const told = duplex && this.state === "open";
    if (full || parked || (skip && !told)) {
      this.#welcomeGap = skip ? "skip" : "transport";
      this.#connection.reopen({ atNewest: skip });
    } else if (duplex) this.#connection.send({ type: "resume", skip });
  }

  /**
   * Adds an older page of the history to the timeline: the newest page first, then those before it.
   * After `pause` it begins at the newest again. A timeline that is full takes nothing older: raise
   * its limit before. If it has dropped comments since, the page is the one before its oldest.
   *
   * @param {number} [pageSize] 1 to 1000.
   * @returns {Promise<OlderPage>}
   * @throws {LiveCommentsError}
   */
  loadOlder(pageSize = 100) {
    if (this.#reading) return this.#reading;
    const reading = this.#feed.loadOlder(pageSize).finally(() => {
      if (this.#reading === reading) this.#reading = null;
    });
    this.#reading = reading;
    return reading;
  }

  /**
   * Reads a range from the history into the timeline. A timeline that is full takes nothing older:
   * raise its limit before.
   *
   * @param {SeqRange} range Such as the payload of the event `gap`.
   * @returns {Promise<number>} Number of comments that were added.
   * @throws {LiveCommentsError}
   */
  fillGap(range) {
    return this.#feed.fill(range);
  }

  /**
   * Uses another token, or signs out with null. Comments of the former user that have no answer
   * fail as `identity_changed`.
   *
   * @param {string | TokenProvider | null} token
   */
  setToken(token) {
    this.#tokens.replace(token);
    if (token === null) {
      this.#outbox.failAll("identity_changed", SIGNED_OUT);
      // There may be no connection to tell it, as after the end of a stream.
      this.#user = null;
    }
    this.#connection.applyToken();
  }

  /**
   * Returns the stream: its title, its state and more.
   *
   * @returns {Promise<protocol.StreamInfo>}
   */
  stream() {
    return this.#api.request("");
  }

  /**
   * Returns the comments of the stream for a player of its recording.
   *
   * @returns {Promise<Replay>}
   * @throws {LiveCommentsError}
   * @throws {TypeError} The stream has not started.
   */
  async replay() {
    return new Replay(this.history, await this.stream());
  }

  // A network that is back makes waiting pointless.
  #online = () => {
    if (this.state === "waiting") this.#connection.connect();
  };

  /** @param {StateChange} change */
  #stateChanged(change) {
    if (change.state === "closed") {
      globalThis.removeEventListener?.("online", this.#online);
      const error = change.error ?? new LiveCommentsError("client_closed", "the client was closed");
      this.#outbox.failAll(error.code, error.message);
      if (error.code === "stream_ended") this.#life.ended();
    }
    this.emit("state", change);
    // Comments may have come while the viewer was away.
    if (this.#hasEnded) void this.#feed.readEnd();
  }

  /** Whether the server admits nobody any more because the stream is over. */
  get #hasEnded() {
    return this.state === "closed" && this.schedule.state === "ended";
  }

  #ready() {
    const { duplex } = this.#connection;
    if (duplex && this.paused) this.#connection.send({ type: "pause" });
    this.#outbox.attach((outgoing) => {
      const { ref, message, parent_id } = outgoing;
      if (duplex) this.#connection.send({ type: "comment", message, ref, parent_id });
      else this.#poster.deliver(outgoing);
    });
  }

  /**
   * @param {protocol.ServerMessage} message
   * @param {ConnectionRanges} ranges
   */
  #receive(message, ranges) {
    this.emit("message", message);
    this.#life.receive(message);
    switch (message.type) {
      case "comments":
        this.#taken(this.#feed.comments(message, ranges, this.#connection.duplex));
        break;
      case "gap":
        this.#taken(this.#feed.gap(message, ranges));
        break;
      case "ack":
        this.#outbox.acknowledge(message);
        break;
      case "error":
        this.#refused(errorOfMessage(message));
        break;
      case "comment.deleted":
        this.#feed.delete(message);
        break;
      case "bye":
        // An open connection has brought everything before it. One that is refused says it, too.
        if (message.code === "stream_ended" && this.state === "open") this.#feed.reachEnd();
        break;
      case "direct":
        this.emit("direct", message);
        break;
      case "announcement":
        this.emit("announcement", message);
        break;
      default:
      // Answers to messages of a moderator, and types that are newer than this client.
    }
  }

  /**
   * @param {protocol.WelcomeMessage} message
   * @param {WelcomedLink} link
   */
  #welcome(message, { ranges, isInterim }) {
    this.emit("message", message);
    this.#feed.welcome(message, ranges, this.#welcomeGap);
    this.#welcomeGap = "transport";
    if (isInterim) return;
    const { user } = message;
    if (this.#user && user?.user_id !== this.#user.user_id) {
      this.#outbox.failAll("identity_changed", SIGNED_OUT);
    }
    this.#user = user;
    this.#life.welcome(message);
    this.emit("welcome", message);
  }

  /** @param {Intake} intake */
  #taken(intake) {
    if (intake === "lost") this.#connection.resumeLater();
    else if (intake === "full") this.#connection.park();
  }

  /**
   * Reports what failed in the background, unless `close` has ended it.
   *
   * @param {unknown} error
   */
  #reportFailure(error) {
    if (!(error instanceof LiveCommentsError) || error.code === "client_closed") return;
    this.emit("error", error);
  }

  /** @param {LiveCommentsError} error */
  #refused(error) {
    if (!this.#outbox.refuse(error)) this.emit("error", error);
  }
}
