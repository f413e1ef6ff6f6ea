/**
 * Drives a Chromium over its debugging protocol, without a package: messages go through two pipes,
 * each ended by a zero byte.
 */

/** @import { Readable, Writable } from "node:stream" */

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Only a failing check waits for so long. */
const PATIENCE_MS = 90_000;

/** A server that is away, also behind a proxy, and what is blocked: a page has to live with it. */
const AWAY = /net::ERR_|status of 50[234]|closed before receiving a handshake/;

/** @typedef {"websocket" | "events" | "polling"} TransportName */

/**
 * @typedef {object} PageLook
 * @property {number} [width]
 * @property {number} [height]
 * @property {boolean} [dark] Absent: dark.
 * @property {number} [scale] Pixels of a picture per pixel of the page (default 1).
 * @property {boolean} [transparent]
 * @property {number} [clockMs] Time by which the clock of the device is ahead.
 * @property {TransportName} [transport] The best one that works, as behind a bad proxy.
 */

/**
 * Takes the place of `WebSocket` where a proxy blocks it: the debugging protocol can block
 * requests, but no WebSocket.
 */
const NO_WEBSOCKET = `globalThis.WebSocket = class {
  readyState = 0;
  constructor() {
    setTimeout(() => {
      this.readyState = 3;
      this.onerror?.(new Event("error"));
      this.onclose?.(new CloseEvent("close", { code: 1006 }));
    });
  }
  send() {}
  close() {}
}`;

/** @type {Record<string, number>} Codes of keys that write no letter. */
const KEY_CODES = {
  Tab: 9,
  Enter: 13,
  Escape: 27,
  End: 35,
  Home: 36,
  ArrowUp: 38,
  ArrowDown: 40,
};

/** @param {number} ms */
function wrongClock(ms) {
  return `{ const now = Date.now; Date.now = () => now() + ${ms}; }`;
}

const FLAGS = [
  "--headless=new",
  // The sandbox needs rights that root and containers do not have; the pages are our own.
  "--no-sandbox",
  "--remote-debugging-pipe",
  "--disable-dev-shm-usage",
  "--disable-gpu",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-extensions",
  "--no-first-run",
  "--mute-audio",
  "--hide-scrollbars=false",
  // Marks in pictures of pages are the same on each machine.
  "--lang=en-US",
];

/** A browser without a window, with a profile of its own. It ends with this process. */
export class Chromium {
  #process;
  #profile;
  #output;
  #count = 0;
  /** @type {Map<number, {resolve: (result: any) => void, reject: (error: Error) => void}>} */
  #calls = new Map();
  /** @type {Map<string, ChromiumPage>} */
  #pages = new Map();

  /**
   * @param {import("node:child_process").ChildProcess} process
   * @param {string} profile
   */
  constructor(process, profile) {
    this.#process = process;
    this.#profile = profile;
    this.#output = /** @type {Writable} */ (process.stdio[3]);
    const input = /** @type {Readable} */ (process.stdio[4]);
    let errors = "";
    process.stderr?.on("data", (chunk) => (errors = `${errors}${chunk}`.slice(-4_000)));
    process.on("error", ({ message }) => {
      this.#fail(new Error(`no browser, which scripts/setup installs: ${message}`));
    });
    process.on("exit", () => this.#fail(new Error(`the browser has ended: ${errors}`)));
    // Writing to a browser that has ended fails, too.
    this.#output.on("error", () => {});
    let text = "";
    input.setEncoding("utf8").on("data", (/** @type {string} */ chunk) => {
      const messages = `${text}${chunk}`.split("\0");
      text = messages.pop() ?? "";
      for (const message of messages) this.#receive(JSON.parse(message));
    });
  }

  /**
   * Starts the browser.
   *
   * @param {string} [program]
   */
  static async start(program = process.env.CHROMIUM ?? "chromium") {
    const profile = await mkdtemp(join(tmpdir(), "lc-chromium-"));
    const flags = [...FLAGS, `--user-data-dir=${profile}`, "about:blank"];
    const child = spawn(program, flags, { stdio: ["ignore", "ignore", "pipe", "pipe", "pipe"] });
    const browser = new Chromium(child, profile);
    await browser.call("Browser.getVersion");
    return browser;
  }

  /** The pages that were opened. */
  get pages() {
    return [...this.#pages.values()];
  }

  /**
   * Opens a page.
   *
   * @param {string} url
   * @param {PageLook} [look]
   */
  async open(url, look = {}) {
    const { width = 900, height = 700, dark = true, scale = 1, transparent, transport } = look;
    const { clockMs = 0 } = look;
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const page = new ChromiumPage(this, sessionId);
    this.#pages.set(sessionId, page);
    await page.call("Page.enable");
    await page.call("Runtime.enable");
    await page.call("Log.enable");
    await page.call("Network.enable");
    // A page in the background would not be drawn.
    await page.call("Emulation.setFocusEmulationEnabled", { enabled: true });
    await page.resize(width, height, scale);
    const value = dark ? "dark" : "light";
    await page.call("Emulation.setEmulatedMedia", {
      features: [
        { name: "prefers-color-scheme", value },
        // A picture is not taken in the middle of a movement.
        { name: "prefers-reduced-motion", value: "reduce" },
      ],
    });
    if (transparent) {
      const color = { r: 0, g: 0, b: 0, a: 0 };
      await page.call("Emulation.setDefaultBackgroundColorOverride", { color });
    }
    if (transport === "events" || transport === "polling") {
      await page.call("Page.addScriptToEvaluateOnNewDocument", { source: NO_WEBSOCKET });
    }
    if (clockMs !== 0) {
      const source = wrongClock(clockMs);
      await page.call("Page.addScriptToEvaluateOnNewDocument", { source });
    }
    // The same for `fetch` and for EventSource.
    const urls = transport === "polling" ? ["*/api/streams/*/events*"] : [];
    await page.call("Network.setBlockedURLs", { urls });
    await page.call("Page.navigate", { url });
    return page;
  }

  /** Forgets a page that was closed. @param {string} session */
  forget(session) {
    this.#pages.delete(session);
  }

  /**
   * @param {string} method
   * @param {object} [params]
   * @param {string} [sessionId]
   * @returns {Promise<any>}
   */
  call(method, params = {}, sessionId = undefined) {
    this.#count += 1;
    const id = this.#count;
    this.#output.write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
  }

  async stop() {
    const ended = new Promise((resolve) => this.#process.on("exit", resolve));
    if (this.#process.exitCode === null) {
      this.#process.kill();
      await ended;
    }
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  /** @param {Error} error */
  #fail(error) {
    for (const { reject } of this.#calls.values()) reject(error);
    this.#calls.clear();
  }

  /** @param {any} message */
  #receive(message) {
    if (message.id === undefined) {
      this.#pages.get(message.sessionId)?.receive(message);
      return;
    }
    const call = this.#calls.get(message.id);
    this.#calls.delete(message.id);
    if (message.error) call?.reject(new Error(`${message.error.message}`));
    else call?.resolve(message.result);
  }
}

/** A page of a browser. */
export class ChromiumPage {
  #browser;
  #session;
  /** Errors of scripts and of the policy, and failed requests. @type {string[]} */
  problems = [];

  /**
   * @param {Chromium} browser
   * @param {string} session
   */
  constructor(browser, session) {
    this.#browser = browser;
    this.#session = session;
  }

  /**
   * @param {string} method
   * @param {object} [params]
   */
  call(method, params) {
    return this.#browser.call(method, params, this.#session);
  }

  /**
   * Returns the value of an expression, after its promise.
   *
   * @param {string} expression
   */
  async value(expression) {
    const options = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", options);
    if (exceptionDetails) {
      throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    }
    return result.value;
  }

  /**
   * Waits until an expression is true.
   *
   * @param {string} expression
   */
  async until(expression) {
    const deadline = Date.now() + PATIENCE_MS;
    while (!(await this.value(`Boolean(${expression})`))) {
      if (Date.now() > deadline) throw new Error(`never true: ${expression}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** @param {string} selector */
  click(selector) {
    return this.value(`document.querySelector(${JSON.stringify(selector)}).click()`);
  }

  /**
   * Writes into the element that has the focus.
   *
   * @param {string} text
   */
  write(text) {
    return this.call("Input.insertText", { text });
  }

  /**
   * Presses a key.
   *
   * @param {string} key
   */
  async press(key) {
    const text = { Enter: "\r" }[key] ?? (key.length === 1 ? key : undefined);
    const code = KEY_CODES[key] ?? key.toUpperCase().charCodeAt(0);
    const fields = { key, text, windowsVirtualKeyCode: code };
    await this.call("Input.dispatchKeyEvent", { type: "keyDown", ...fields });
    await this.call("Input.dispatchKeyEvent", { type: "keyUp", ...fields, text: undefined });
  }

  /**
   * Presses the mouse on an element, does something, and lets go.
   *
   * @param {string} selector
   * @param {() => Promise<void>} meanwhile
   */
  async hold(selector, meanwhile) {
    const { x, y } = await this.value(`(() => {
      const { left, top } = document.querySelector(${JSON.stringify(selector)})
        .getBoundingClientRect();
      return { x: left + 12, y: top + 8 };
    })()`);
    const fields = { x, y, button: "left", clickCount: 1 };
    await this.call("Input.dispatchMouseEvent", { type: "mousePressed", ...fields });
    await meanwhile();
    await this.call("Input.dispatchMouseEvent", { type: "mouseReleased", ...fields });
  }

  /**
   * Turns the wheel over a place.
   *
   * @param {number} x
   * @param {number} y
   * @param {number} deltaY
   */
  wheel(x, y, deltaY) {
    const fields = { type: "mouseWheel", x, y, deltaX: 0, deltaY };
    return this.call("Input.dispatchMouseEvent", fields);
  }

  /**
   * @param {number} width
   * @param {number} height
   * @param {number} [scale]
   */
  resize(width, height, scale = 1) {
    const mobile = width < 500;
    const fields = { width, height, deviceScaleFactor: scale, mobile };
    return this.call("Emulation.setDeviceMetricsOverride", fields);
  }

  async close() {
    await this.call("Page.close");
    this.#browser.forget(this.#session);
  }

  /** @param {string} file Its end says the format: `.png`, or the smaller `.webp`. */
  async screenshot(file) {
    const look = file.endsWith(".webp") ? { format: "webp", quality: 80 } : { format: "png" };
    const { data } = await this.call("Page.captureScreenshot", look);
    await writeFile(file, Buffer.from(data, "base64"));
  }

  /** @param {any} message */
  receive({ method, params }) {
    if (method === "Runtime.exceptionThrown") {
      const { exception, text } = params.exceptionDetails;
      this.problems.push(exception?.description ?? text);
    } else if (method === "Log.entryAdded" && params.entry.level === "error") {
      const { text, url = "" } = params.entry;
      if (!AWAY.test(text)) this.problems.push(`${text} ${url}`);
    }
  }
}
