/** @import { Clock } from "./clock.js" */

import { LiveCommentsError } from "./errors.js";

/**
 * Returns a token, or null for an anonymous viewer. It is called for the first connection, before a
 * token expires, and when the server has refused one.
 *
 * @typedef {() => string | null | Promise<string | null>} TokenProvider
 */

/** A token is replaced this long before it expires, or after nine tenths of its time. */
const RENEWAL_LEAD_MS = 30_000;

/** Shortest time between renewals: clocks may differ. The server tells of a token that is over. */
const SHORTEST_RENEWAL_MS = 10_000;

/** The token of a viewer: fixed, or from a provider and kept until it is about to expire. */
export class TokenSource {
  #clock;
  #provide;
  /** @type {string | null} */
  #token;
  /** @type {Promise<string | null> | null} One call of the provider serves all that wait. */
  #pending = null;
  /** Whether the provider has answered; a fixed token needs none. */
  #known;

  /**
   * @param {Clock} clock
   * @param {string | TokenProvider | null} token
   */
  constructor(clock, token) {
    this.#clock = clock;
    this.#provide = typeof token === "function" ? token : null;
    this.#token = typeof token === "string" ? token : null;
    this.#known = this.#provide === null;
  }

  /** Whether the source can return another token. */
  get renewable() {
    return this.#provide !== null;
  }

  /** Whether there is a token, or a provider that may return one. */
  get present() {
    return this.#provide !== null || this.#token !== null;
  }

  /**
   * Tells whether a token is the one to use. A provider that has not answered may have another.
   *
   * @param {string | null} token
   */
  isCurrent(token) {
    return this.#known && token === this.#token;
  }

  /**
   * Returns the token to use now.
   *
   * @returns {Promise<string | null>}
   * @throws {LiveCommentsError} `token_unavailable`: the provider failed.
   */
  async get() {
    const expired =
      this.#token !== null && (expiryMs(this.#token) ?? Infinity) <= this.#clock.now();
    return this.#known && !(expired && this.renewable) ? this.#token : this.renew(this.#token);
  }

  /**
   * Returns another token than one that was refused or is about to expire.
   *
   * @param {string | null} old
   * @returns {Promise<string | null>}
   * @throws {LiveCommentsError} `token_unavailable`: the provider failed.
   */
  async renew(old) {
    // Somebody else has replaced it meanwhile.
    if (this.#provide === null || (this.#known && this.#token !== old)) return this.#token;
    if (this.#pending === null) {
      const call = this.#call(this.#provide).finally(() => {
        if (this.#pending === call) this.#pending = null;
      });
      this.#pending = call;
    }
    return this.#pending;
  }

  /**
   * Replaces the token, or the provider.
   *
   * @param {string | TokenProvider | null} token
   */
  replace(token) {
    this.#provide = typeof token === "function" ? token : null;
    this.#token = typeof token === "string" ? token : null;
    this.#known = this.#provide === null;
    this.#pending = null;
  }

  /**
   * Returns the time until the token should be replaced, in milliseconds, or null if it never
   * should.
   *
   * @returns {number | null}
   */
  renewalMs() {
    const expiry = this.#token === null ? null : expiryMs(this.#token);
    if (!this.renewable || expiry === null) return null;
    const left = expiry - this.#clock.now();
    return Math.max(SHORTEST_RENEWAL_MS, left - Math.min(RENEWAL_LEAD_MS, left / 10));
  }

  /** @param {TokenProvider} provide */
  async #call(provide) {
    /** @type {string | null} */
    let token;
    try {
      token = await provide();
    } catch (cause) {
      if (provide !== this.#provide) return this.get();
      throw new LiveCommentsError("token_unavailable", "the token provider failed", { cause });
    }
    // The token of a provider that was replaced meanwhile may be that of another user.
    if (provide !== this.#provide) return this.get();
    this.#token = token;
    this.#known = true;
    return token;
  }
}

/**
 * Returns when a token expires, in milliseconds since the Unix epoch; null if it does not say so.
 * The token is not checked: only the server can do that.
 *
 * @param {string} token
 * @returns {number | null}
 */
export function expiryMs(token) {
  try {
    const payload = (token.split(".")[1] ?? "").replaceAll("-", "+").replaceAll("_", "/");
    /** @type {unknown} */
    const claims = JSON.parse(atob(payload));
    const named = typeof claims === "object" && claims !== null && "exp" in claims;
    return named && typeof claims.exp === "number" ? claims.exp * 1000 : null;
  } catch {
    return null;
  }
}
