/** @import { Link, LinkConfig } from "./link.js" */
/** @import { ConnectionRanges, PositionTracker } from "./position.js" */
/** @import { ByeMessage, ClientMessage, ServerMessage } from "./protocol.js" */
/** @import { WelcomeMessage } from "./protocol.js" */
/** @import { TokenSource } from "./token.js" */
/** @import { TransportEnd, TransportName } from "./transports/transport.js" */

import { Backoff } from "./backoff.js";
import { Timer } from "./clock.js";
import { LiveCommentsError, errorOfMessage } from "./errors.js";
import { openLink } from "./link.js";
import { reasonOf, verdictOf } from "./reconnect.js";
import { TransportLadder } from "./transport_ladder.js";

/**
 * - `idle`: not begun;
 * - `connecting`: a transport is being opened;
 * - `open`: connected, and known to the server if there is a token;
 * - `waiting`: until the next try;
 * - `closed`: for good, by `close` or by the server. `connect` begins again.
 *
 * @typedef {"idle" | "connecting" | "open" | "waiting" | "closed"} ConnectionState
 */

/**
 * @typedef {object} StateChange
 * @property {ConnectionState} state
 * @property {TransportName | null} transport
 * @property {number} [retryInMs] Time until the next try, while waiting.
 * @property {LiveCommentsError} [error] The reason, while waiting and when closed by the server.
 */

/**
 * @typedef {object} ConnectionOptions
 * @property {readonly TransportName[]} transports
 * @property {{baseMs?: number, longestMs?: number}} backoff
 * @property {number} upgradeMs First time after which a better transport is tried again.
 *
 * @typedef {LinkConfig & ConnectionOptions} ConnectionConfig
 */

/**
 * @typedef {object} ConnectionHandlers
 * @property {(change: StateChange) => void} state
 * @property {() => void} ready Messages may be sent from now on.
 * @property {() => void} unready The connection that was ready is gone.
 * @property {(message: WelcomeMessage, link: WelcomedLink) => void} welcome
 * @property {(message: ServerMessage, ranges: ConnectionRanges) => void} message Any other message.
 * @property {(error: LiveCommentsError) => void} error The connection continues in spite of it.
 */

/**
 * @typedef {object} WelcomedLink
 * @property {ConnectionRanges} ranges
 * @property {boolean} isInterim The token is not checked yet: another `welcome` with the user
 *   follows.
 */

/** Delay before the token provider is asked again after it has failed. */
const TOKEN_RETRY_MS = 5_000;

/** Longest time between two tries of a better transport. */
const LONGEST_UPGRADE_MS = 30 * 60_000;

/**
 * Keeps a viewer connected: chooses the transport, reconnects, resumes, renews the token, and
 * returns to a better transport when one opens. At most two transports are open at a time: the
 * present one, and a candidate that replaces it as soon as it is welcomed.
 */
export class Connection {
  #config;
  #tracker;
  #tokens;
  #handlers;
  #ladder;
  #backoff;
  #retryTimer;
  #renewalTimer;
  #upgradeTimer;
  /** @type {ConnectionState} */
  #state = "idle";
  /** @type {TransportName | null} */
  #lastTransport = null;
  /** @type {Link | null} */
  #current = null;
  /** @type {Link | null} */
  #candidate = null;
  /** Changes whenever an attempt that waits for its token is out of date. */
  #generation = 0;
  /** Changes with each candidate: one that waits for its token may be out of date. */
  #candidates = 0;
  /** @type {string | null} */
  #since = null;
  #startAtNewest = false;
  #parked = false;
  #refusedTokens = 0;
  #upgrades = 0;

  /**
   * @param {ConnectionConfig} config
   * @param {PositionTracker} tracker
   * @param {TokenSource} tokens
   * @param {ConnectionHandlers} handlers
   */
  constructor(config, tracker, tokens, handlers) {
    this.#config = config;
    this.#tracker = tracker;
    this.#tokens = tokens;
    this.#handlers = handlers;
    this.#ladder = new TransportLadder(config.transports);
    this.#backoff = new Backoff(config.clock, config.backoff);
    this.#retryTimer = new Timer(config.clock);
    this.#renewalTimer = new Timer(config.clock);
    this.#upgradeTimer = new Timer(config.clock);
  }

  get state() {
    return this.#state;
  }

  /** The transport in use, or null. */
  get transport() {
    return this.#current?.transport.name ?? null;
  }

  /** Whether messages reach the server over the transport; otherwise HTTP is needed. */
  get duplex() {
    return this.#current?.transport.duplex ?? false;
  }

  /** Whether the transport was ended for a pause. */
  get parked() {
    return this.#parked;
  }

  /** Connects, or tries again at once instead of later. Does nothing while connected. */
  connect() {
    if (this.#state === "connecting" || this.#state === "open") return;
    this.#refusedTokens = 0;
    void this.#connectNow();
  }

  /** Ends the connection, its timers and its sockets. */
  close() {
    if (this.#state === "closed") return;
    this.#disconnect();
    this.#setState({ state: "closed" });
  }

  /** @param {ClientMessage} message */
  send(message) {
    this.#current?.transport.send(message);
  }

  /** Comes back for messages that were lost, after a short random time. */
  resumeLater() {
    this.#disconnect();
    // The position is before what was lost; the place of the next poll is after it.
    this.#since = null;
    this.#waitThenConnect(this.#backoff.next());
  }

  /**
   * Opens another connection at once.
   *
   * @param {{atNewest: boolean}} options Whether to leave out what was missed.
   */
  reopen({ atNewest }) {
    this.#disconnect();
    this.#since = null;
    this.#startAtNewest = atNewest;
    void this.#connectNow();
  }

  /** Ends a transport that cannot be paused. The viewer counts as connected, and may post. */
  park() {
    if (this.#current === null || this.#current.transport.duplex || !this.#current.ready) return;
    this.#closeLinks();
    this.#stopTimers();
    this.#since = null;
    this.#parked = true;
  }

  /** Uses the token that the source has now. */
  applyToken() {
    this.#refusedTokens = 0;
    const link = this.#current;
    if (link === null) {
      // A pause that has ended its transport keeps the identity of that transport otherwise.
      if (this.#parked) this.reopen({ atNewest: false });
      // The attempt waits for a token that is replaced now.
      else if (this.#state === "connecting") void this.#connectNow();
      return;
    }
    void this.#renewToken(link);
  }

  async #connectNow() {
    this.#retryTimer.stop();
    this.#parked = false;
    const generation = (this.#generation += 1);
    this.#setState({ state: "connecting" });
    try {
      const token = await this.#tokens.get();
      if (generation === this.#generation) this.#current = this.#open(this.#ladder.current, token);
    } catch (cause) {
      if (generation !== this.#generation) return;
      this.#goOn({ opened: false, error: asError(cause) }, null);
    }
  }

  /**
   * Opens a better transport, or the same one with another token, beside the present one.
   *
   * @param {TransportName} name
   */
  async #openCandidate(name) {
    const current = this.#current;
    const candidate = (this.#candidates += 1);
    const isStale = () => current !== this.#current || candidate !== this.#candidates;
    this.#candidate?.transport.close();
    this.#candidate = null;
    try {
      const token = await this.#tokens.get();
      if (!isStale()) this.#candidate = this.#open(name, token);
    } catch (cause) {
      if (isStale()) return;
      this.#handlers.error(asError(cause));
      this.#continueWithout();
    }
  }

  /**
   * @param {TransportName} name
   * @param {string | null} token
   * @returns {Link}
   */
  #open(name, token) {
    const ranges = this.#tracker.connect(!this.#startAtNewest);
    const choice = { name, token, since: this.#since, ranges };
    return openLink(this.#config, choice, {
      message: (link, message) => this.#receive(link, message),
      continued: (link) => {
        this.#welcomed(link);
        this.#setReady(link);
      },
      since: (since) => {
        this.#since = since;
      },
      end: (link, end) => this.#ended(link, end),
    });
  }

  /**
   * @param {Link} link
   * @param {ServerMessage} message
   */
  #receive(link, message) {
    if (message.type === "error" && !message.ref) link.lastError = errorOfMessage(message);
    if (message.type !== "welcome") {
      if (link === this.#current) this.#handlers.message(message, link.ranges);
      if (message.type === "bye") this.#saidBye(link, message);
      return;
    }
    if (link !== this.#current && link !== this.#candidate) return;
    this.#welcomed(link);
    // Until the token is accepted the viewer is an anonymous one.
    const isInterim = link.token !== null && message.user === null;
    this.#handlers.welcome(message, { ranges: link.ranges, isInterim });
    if (!isInterim) this.#setReady(link);
  }

  /**
   * Ends a transport after its last message: a proxy might keep it open, and a poll would continue.
   *
   * @param {Link} link
   * @param {ByeMessage} bye
   */
  #saidBye(link, bye) {
    link.bye = bye;
    link.transport.close();
    this.#ended(link, { opened: true });
  }

  /** @param {Link} link */
  #welcomed(link) {
    if (link === this.#candidate) this.#replaceWith(link);
    const { name } = link.transport;
    this.#ladder.opened(name);
    this.#backoff.reset();
    this.#startAtNewest = false;
    if (name !== "polling") this.#since = null;
    if (this.#ladder.better(0) === null) this.#upgrades = 0;
  }

  /** @param {Link} link */
  #replaceWith(link) {
    const old = this.#current;
    this.#candidate = null;
    this.#current = link;
    old?.transport.close();
    if (old?.ready) this.#handlers.unready();
  }

  /** @param {Link} link */
  #setReady(link) {
    if (link.ready || link !== this.#current) return;
    link.ready = true;
    link.lastError = null;
    this.#refusedTokens = 0;
    this.#setState({ state: "open" });
    this.#planRenewal(link);
    this.#planUpgrade();
    this.#handlers.ready();
  }

  /**
   * @param {Link} link
   * @param {TransportEnd} end
   */
  #ended(link, end) {
    if (link === this.#candidate) {
      this.#candidateEnded(link, end);
      return;
    }
    if (link !== this.#current) return;
    this.#stopTimers();
    this.#current = this.#candidate;
    this.#candidate = null;
    if (link.ready) this.#handlers.unready();
    // The candidate is on its way already.
    if (this.#current) this.#setState({ state: "connecting" });
    else this.#goOn(end, link);
  }

  /**
   * @param {Link} candidate
   * @param {TransportEnd} end
   */
  #candidateEnded(candidate, end) {
    this.#candidate = null;
    const verdict = verdictOf(end, candidate.bye);
    const isRefused = verdict.kind === "token" || verdict.kind === "final";
    if (isRefused && candidate.token !== this.#current?.token) {
      // The same token would be refused again. The present connection keeps its own.
      this.#handlers.error(reasonOf(end, candidate.bye, candidate.lastError));
      this.#planUpgrade();
    } else this.#continueWithout(verdict.kind === "wait" ? verdict.ms : 0);
  }

  /**
   * Continues without a candidate: a better transport, or another token, is tried later.
   *
   * @param {number} [leastMs] Time that the server wants.
   */
  #continueWithout(leastMs) {
    this.#planUpgrade();
    if (this.#current) this.#planRenewal(this.#current, leastMs);
  }

  /**
   * @param {TransportEnd} end
   * @param {Link | null} link Null if no transport was opened.
   */
  #goOn(end, link) {
    const bye = link?.bye ?? null;
    const verdict = verdictOf(end, bye);
    const reason = reasonOf(end, bye, link?.lastError ?? null);
    if (reason.code === "token_unavailable") this.#handlers.error(reason);
    // A place that the server does not take is given up; the position remains.
    if (reason.code === "bad_request" && this.#since !== null) {
      this.#since = null;
      this.#waitThenConnect(this.#backoff.next(), reason);
      return;
    }
    switch (verdict.kind) {
      case "final":
        this.#finish(reason);
        break;
      case "token":
        void this.#replaceRefusedToken(link?.token ?? null, reason);
        break;
      case "wait":
        this.#ladder.reset();
        this.#waitThenConnect(verdict.ms, reason);
        break;
      case "lost":
        if (verdict.transportFailed && this.#ladder.failed() === "fall") void this.#connectNow();
        else this.#waitThenConnect(this.#backoff.next(), reason);
    }
  }

  /**
   * @param {string | null} token
   * @param {LiveCommentsError} reason
   */
  async #replaceRefusedToken(token, reason) {
    this.#refusedTokens += 1;
    if (!this.#tokens.renewable || this.#refusedTokens > 1) {
      this.#finish(reason);
      return;
    }
    this.#setState({ state: "connecting" });
    const generation = (this.#generation += 1);
    try {
      await this.#tokens.renew(token);
      if (generation === this.#generation) void this.#connectNow();
    } catch (error) {
      if (generation !== this.#generation) return;
      this.#refusedTokens = 0;
      this.#goOn({ opened: false, error: asError(error) }, null);
    }
  }

  /** @param {LiveCommentsError} reason */
  #finish(reason) {
    this.#disconnect();
    this.#setState({ state: "closed", error: reason });
  }

  /**
   * @param {number} ms
   * @param {LiveCommentsError} [error]
   */
  #waitThenConnect(ms, error) {
    this.#setState({ state: "waiting", retryInMs: ms, error });
    this.#retryTimer.set(ms, () => void this.#connectNow());
  }

  /**
   * Plans the next change of the token: soon if the source has another one than the link.
   *
   * @param {Link} link
   * @param {number} [leastMs]
   */
  #planRenewal(link, leastMs = 0) {
    const isCurrent = this.#tokens.isCurrent(link.token);
    const ms = isCurrent ? this.#tokens.renewalMs() : leastMs + this.#backoff.next();
    if (ms === null) this.#renewalTimer.stop();
    else this.#renewalTimer.set(ms, () => void this.#renewToken(link));
  }

  /**
   * Uses another token than that of a link, on the link that is in use by then.
   *
   * @param {Link} old
   */
  async #renewToken(old) {
    /** @type {string | null} */
    let token;
    try {
      token = await this.#tokens.renew(old.token);
    } catch (error) {
      const link = this.#current;
      if (link === null) return;
      this.#handlers.error(asError(error));
      this.#renewalTimer.set(TOKEN_RETRY_MS, () => void this.#renewToken(link));
      return;
    }
    const link = this.#current;
    if (link === null) return;
    if (link.token === token) this.#planRenewal(link);
    else this.#changeToken(link, token);
  }

  /**
   * @param {Link} link
   * @param {string | null} token
   */
  #changeToken(link, token) {
    const { name, duplex, takesTokens } = link.transport;
    const signsIn = link.token === null;
    if (token === null || (signsIn && !duplex)) {
      // Such a connection keeps its identity: another one is needed.
      this.reopen({ atNewest: false });
    } else if (takesTokens) {
      // The answer is another `welcome`. Until then somebody who signs in cannot send.
      if (signsIn && link.ready) {
        link.ready = false;
        this.#handlers.unready();
      }
      link.token = token;
      link.transport.setToken(token);
      this.#planRenewal(link);
      // It would sign in the user of before when it replaces the link.
      if (this.#candidate !== null) {
        this.#candidate.transport.close();
        this.#candidate = null;
        this.#planUpgrade();
      }
    } else void this.#openCandidate(name);
  }

  #planUpgrade() {
    const better = this.#ladder.better(this.#upgrades);
    if (better === null || this.#current === null) return;
    const longest = Math.min(LONGEST_UPGRADE_MS, this.#config.upgradeMs * 2 ** this.#upgrades);
    this.#upgrades = Math.min(this.#upgrades + 1, 30);
    const ms = longest * (0.5 + this.#config.clock.random() / 2);
    this.#upgradeTimer.set(ms, () => void this.#openCandidate(better));
  }

  #disconnect() {
    this.#generation += 1;
    const wasReady = this.#current?.ready || this.#parked;
    this.#parked = false;
    this.#closeLinks();
    this.#stopTimers();
    this.#retryTimer.stop();
    if (wasReady) this.#handlers.unready();
  }

  #closeLinks() {
    this.#current?.transport.close();
    this.#candidate?.transport.close();
    this.#current = null;
    this.#candidate = null;
  }

  #stopTimers() {
    this.#renewalTimer.stop();
    this.#upgradeTimer.stop();
  }

  /** @param {Omit<StateChange, "transport">} change */
  #setState(change) {
    const same = this.#state === change.state && this.#lastTransport === this.transport;
    this.#state = change.state;
    this.#lastTransport = this.transport;
    if (!same || change.state === "waiting")
      this.#handlers.state({ transport: this.transport, ...change });
  }
}

/**
 * @param {unknown} cause
 * @returns {LiveCommentsError}
 */
function asError(cause) {
  if (cause instanceof LiveCommentsError) return cause;
  return new LiveCommentsError("network", "the transport cannot be used here", { cause });
}
