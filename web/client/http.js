/** @import { TokenSource } from "./token.js" */

import { LiveCommentsError } from "./errors.js";

/**
 * @typedef {object} HttpRequest
 * @property {"GET" | "POST" | "PATCH"} [method] GET unless given.
 * @property {Record<string, string | number | undefined>} [query]
 * @property {object} [body] Sent as JSON.
 * @property {AbortSignal} [signal]
 */

/** Requests to the HTTP API of one stream, with the token of the viewer. */
export class StreamApi {
  #base;
  #tokens;
  #fetch;
  #signal;

  /**
   * @param {string} base Address of the stream, such as `https://host/api/streams/7`.
   * @param {TokenSource} tokens
   * @param {typeof globalThis.fetch} fetch
   * @param {() => AbortSignal} [signal] Ends requests, with its reason.
   */
  constructor(base, tokens, fetch, signal = () => new AbortController().signal) {
    this.#base = base;
    this.#tokens = tokens;
    this.#fetch = fetch;
    this.#signal = signal;
  }

  /**
   * Returns the answer, which is JSON. A token that has expired is replaced once.
   *
   * @template Answer
   * @param {string} path Below the stream, such as `/comments`.
   * @param {HttpRequest} [request]
   * @returns {Promise<Answer>}
   * @throws {LiveCommentsError} The request was refused, or had no answer.
   */
  async request(path, request = {}) {
    const ending = new Ending([this.#signal(), request.signal]);
    try {
      // A token provider may take longer than the request is wanted.
      const answer = this.#requestWithToken(path, { ...request, signal: ending.signal });
      return await Promise.race([answer, ending.reached]);
    } finally {
      ending.forget();
    }
  }

  /**
   * @template Answer
   * @param {string} path
   * @param {HttpRequest} request
   * @returns {Promise<Answer>}
   */
  async #requestWithToken(path, request) {
    const token = await this.#tokens.get();
    try {
      return await this.#send(path, request, token);
    } catch (error) {
      if (!isTokenRefused(error) || !this.#tokens.renewable) throw error;
      return await this.#send(path, request, await this.#tokens.renew(token));
    }
  }

  /**
   * @template Answer
   * @param {string} path
   * @param {HttpRequest} request
   * @param {string | null} token
   * @returns {Promise<Answer>}
   */
  async #send(path, { method = "GET", query = {}, body, signal }, token) {
    const headers = authorization(token);
    if (body) headers["Content-Type"] = "application/json";
    const url = withQuery(this.#base + path, query);
    const response = await answerOf(
      this.#fetch(url, { method, headers, signal, body: body && JSON.stringify(body) }),
    );
    // 202 is a comment that is held: problem details.
    if (!response.ok || response.status === 202) throw await readRefusal(response);
    if (response.status === 204) return /** @type {Answer} */ (undefined);
    try {
      return /** @type {Answer} */ (await response.json());
    } catch (cause) {
      throw unreadable(cause, response.status, "the answer is not JSON");
    }
  }
}

/** A signal that follows others. `AbortSignal.any` is newer than the environments to support. */
class Ending {
  #abort = new AbortController();
  /** @type {(reason: unknown) => void} */
  #reject = () => {};
  /** Rejects with the reason of the first that ends. @type {Promise<never>} */
  reached = new Promise((_, reject) => (this.#reject = reject));
  #others;

  /** @param {(AbortSignal | undefined)[]} others */
  constructor(others) {
    this.#others = others;
    this.reached.catch(() => {});
    for (const other of others) {
      if (other?.aborted) this.#end(other);
      else other?.addEventListener("abort", this);
    }
  }

  get signal() {
    return this.#abort.signal;
  }

  /** @param {Event} event */
  handleEvent({ target }) {
    this.#end(/** @type {AbortSignal} */ (target));
  }

  /** Follows the others no longer. */
  forget() {
    for (const other of this.#others) other?.removeEventListener("abort", this);
  }

  /** @param {AbortSignal} other */
  #end(other) {
    const { reason } = other;
    // The reason of the client says more than that there was no answer.
    const isOfClient = reason instanceof LiveCommentsError;
    const ended = new LiveCommentsError("network", "the request was ended", { cause: reason });
    this.#reject(isOfClient ? reason : ended);
    this.#abort.abort(reason);
  }
}

/**
 * Returns the error of a body that could not be read: the connection broke, or it is not JSON.
 *
 * @param {unknown} cause
 * @param {number} status
 * @param {string} message
 * @returns {LiveCommentsError}
 */
function unreadable(cause, status, message) {
  if (cause instanceof SyntaxError) {
    return new LiveCommentsError("bad_answer", message, { status, cause });
  }
  return new LiveCommentsError("network", "the answer was cut", { status, cause });
}

/**
 * Returns an address with those parameters that have a value.
 *
 * @param {string} address
 * @param {Record<string, string | number | undefined>} query
 * @returns {string}
 */
export function withQuery(address, query) {
  const url = new URL(address);
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) url.searchParams.set(name, String(value));
  }
  return url.href;
}

/**
 * @param {string | null} token
 * @returns {Record<string, string>}
 */
export function authorization(token) {
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

/**
 * Waits for the head of an answer.
 *
 * @param {Promise<Response>} response
 * @returns {Promise<Response>}
 * @throws {LiveCommentsError} `network`: there was none.
 */
export async function answerOf(response) {
  try {
    return await response;
  } catch (cause) {
    throw new LiveCommentsError("network", "the server did not answer", { cause });
  }
}

/**
 * Returns the error in the body of an answer; `bad_answer` if it is not one of the server, as when
 * a proxy answers in its place.
 *
 * @param {Response} response
 * @returns {Promise<LiveCommentsError>}
 */
export async function readRefusal(response) {
  const { status } = response;
  /** @type {unknown} */
  let body;
  try {
    body = await response.json();
  } catch (cause) {
    return unreadable(cause, status, `unexpected answer ${status}`);
  }
  const code = field(body, "code");
  if (typeof code !== "string") {
    return new LiveCommentsError("bad_answer", `unexpected answer ${status}`, { status });
  }
  const wait = field(body, "retry_after_ms");
  const retryAfterMs = typeof wait === "number" ? wait : undefined;
  return new LiveCommentsError(code, String(field(body, "detail")), { status, retryAfterMs });
}

/**
 * @param {unknown} value
 * @param {string} name
 * @returns {unknown}
 */
function field(value, name) {
  if (typeof value !== "object" || value === null) return undefined;
  return /** @type {Record<string, unknown>} */ (value)[name];
}

/**
 * Tells whether another token may help.
 *
 * @param {unknown} error
 * @returns {boolean}
 */
export function isTokenRefused(error) {
  return (
    error instanceof LiveCommentsError &&
    error.retryAfterMs === undefined &&
    (error.code.startsWith("token_") || error.code === "auth_timeout") &&
    error.code !== "token_unavailable"
  );
}
