/** @import { ChromiumPage, PageLook, TransportName } from "./chromium.js" */

import { createInterface } from "node:readline";

import { Chromium } from "./chromium.js";

/** The connection of a page is open. */
export const OPEN = `globalThis.liveComments?.chat.state === "open"`;

export const LIST = `document.getElementById("comments")`;

/**
 * An expression that is true if the list shows a text.
 *
 * @param {string} text
 */
export function shows(text) {
  return `${LIST}?.innerText.includes(${JSON.stringify(text)})`;
}

/**
 * A browser, and the test that runs the daemon and started this process. The test carries out
 * commands: a line of JSON on the standard output, answered by one on the standard input.
 */
export class Stage {
  #browser;
  #site;
  #answers;
  #screenshots;
  /** @type {Map<string, Promise<string>>} */
  #tokens = new Map();
  /** @type {Promise<any>} */
  #last = Promise.resolve();

  /** @param {Chromium} browser */
  constructor(browser) {
    this.#browser = browser;
    this.#site = required("LCD_URL");
    this.#screenshots = required("LCD_SCREENSHOTS");
    const lines = createInterface({ input: process.stdin });
    this.#answers = lines[Symbol.asyncIterator]();
  }

  static async start() {
    return new Stage(await Chromium.start());
  }

  /** Address of the daemon. */
  get site() {
    return this.#site;
  }

  async stop() {
    await this.#browser.stop();
    process.stdin.destroy();
  }

  /**
   * Has the test do something. Commands are carried out one after the other.
   *
   * @param {"token" | "post" | "freeze" | "thaw" | "kill" | "start"} command
   * @param {object} [fields]
   * @returns {Promise<any>}
   */
  ask(command, fields = {}) {
    const answer = this.#last.then(async () => {
      process.stdout.write(`${JSON.stringify({ command, ...fields })}\n`);
      const { value, done } = await this.#answers.next();
      if (done) throw new Error("the test has ended");
      return JSON.parse(value);
    });
    this.#last = answer.catch(() => {});
    return answer;
  }

  /**
   * Sends numbered comments, each beginning with a text and its number, and waits until all are
   * stored and the history has the last.
   *
   * @param {string} text
   * @param {{from?: number, count: number, perSecond?: number}} range
   * @returns {Promise<any>}
   */
  post(text, { from = 0, count, perSecond = 0 }) {
    return this.ask("post", { text, from, count, per_second: perSecond });
  }

  /**
   * Returns the token of a user. Ids follow from names.
   *
   * @param {string} name
   * @param {"viewer" | "moderator" | "broadcaster"} [role]
   * @returns {Promise<string>}
   */
  token(name, role = "viewer") {
    const known = this.#tokens.get(name);
    if (known) return known;
    const user = 100 + this.#tokens.size;
    const made = this.ask("token", { user, name, role }).then(({ token }) => token);
    this.#tokens.set(name, made);
    return made;
  }

  /**
   * Opens a page of stream 1.
   *
   * @param {"stream" | "overlay" | "moderate"} kind
   * @param {string | null} name Whose token it uses. Null: an anonymous viewer.
   * @param {PageLook & {query?: string, role?: "moderator"}} [look]
   * @returns {Promise<ChromiumPage>}
   */
  async open(kind, name, { query = "", role, ...look } = {}) {
    const fragment = name === null ? "" : `#token=${await this.token(name, role)}`;
    const page = await this.#browser.open(`${this.#site}/${kind}/1${query}${fragment}`, look);
    if (kind !== "overlay") await page.until(OPEN);
    return page;
  }

  /**
   * Sends a comment over HTTP, as somebody without a page.
   *
   * @param {string} name
   * @param {string} message
   * @param {"viewer" | "moderator" | "broadcaster"} [role]
   * @returns {Promise<number>} Status of the answer.
   */
  async comment(name, message, role) {
    return (await this.request(name, "/comments", { message }, role)).status;
  }

  /**
   * Sends a request about stream 1.
   *
   * @param {string} name Whose token it has.
   * @param {string} path Below the stream.
   * @param {object} body
   * @param {"viewer" | "moderator" | "broadcaster"} [role]
   * @returns {Promise<{status: number, answer: any}>}
   */
  async request(name, path, body, role) {
    const response = await fetch(`${this.#site}/api/streams/1${path}`, {
      method: "POST",
      headers: {
        Authorization: `Bearer ${await this.token(name, role)}`,
        "Content-Type": "application/json",
      },
      body: JSON.stringify(body),
    });
    const text = await response.text();
    return { status: response.status, answer: text === "" ? null : JSON.parse(text) };
  }

  /**
   * Keeps a picture of a page.
   *
   * @param {ChromiumPage} page
   * @param {string} name Of the file, ending in `.webp`, or without an end: a PNG, which is named
   *   after the transport as well, because scenarios over several transports run at once.
   */
  async picture(page, name) {
    const file = name.includes(".") ? name : `${name}-${transportOfEnvironment()}.png`;
    await page.screenshot(`${this.#screenshots}/${file}`);
  }

  /**
   * Keeps pictures of all pages, and what went wrong in them.
   *
   * @param {string} name
   */
  async keepAll(name) {
    for (const [index, page] of this.#browser.pages.entries()) {
      if (page.problems.length > 0) console.log(`page ${index}:`, page.problems);
      await this.picture(page, `${name}-failed-${index}`);
    }
  }
}

/**
 * Writes a comment as a person does.
 *
 * @param {ChromiumPage} page
 * @param {string} text
 */
export async function write(page, text) {
  await page.value(`document.getElementById("message").focus()`);
  await page.write(text);
  await page.press("Enter");
}

/**
 * An expression for the numbers of the comments with a text in the order of the page.
 *
 * @param {string} text
 */
export function numbersOf(text) {
  const start = JSON.stringify(`${text} `);
  return `liveComments.chat.timeline.comments
    .filter(({ message }) => message.startsWith(${start}))
    .map(({ message }) => parseInt(message.slice(${start}.length), 10))`;
}

/** @returns {TransportName} */
export function transportOfEnvironment() {
  return /** @type {TransportName} */ (process.env.LCD_TRANSPORT ?? "websocket");
}

/** @param {string} name */
function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set`);
  return value;
}
