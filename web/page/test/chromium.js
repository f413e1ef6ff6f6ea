/**
 * Drives a Chromium over its debugging protocol, without a package. Node before 22 needs
 * `--experimental-websocket`.
 */

import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const PATIENCE_MS = 20_000;

/** A browser without a window, with a profile of its own. */
export class Chromium {
  #process;
  #profile;
  #socket;
  #count = 0;
  /** @type {Map<number, {resolve: (result: any) => void, reject: (error: Error) => void}>} */
  #calls = new Map();
  /** @type {Map<string, ChromiumPage>} */
  #pages = new Map();

  /**
   * @param {import("node:child_process").ChildProcess} process
   * @param {string} profile
   * @param {WebSocket} socket
   */
  constructor(process, profile, socket) {
    this.#process = process;
    this.#profile = profile;
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => this.#receive(JSON.parse(String(data))));
  }

  /**
   * Starts the browser.
   *
   * @param {string} [program]
   */
  static async start(program = process.env.CHROMIUM ?? "chromium") {
    const profile = await mkdtemp(join(tmpdir(), "lc-chromium-"));
    const flags = ["--headless=new", "--no-sandbox", "--remote-debugging-port=0", "--no-first-run"];
    flags.push("--disable-gpu", "--hide-scrollbars=false", `--user-data-dir=${profile}`);
    const child = spawn(program, [...flags, "about:blank"], {
      stdio: ["ignore", "ignore", "pipe"],
    });
    const address = await new Promise((resolve, reject) => {
      let text = "";
      child.stderr.on("data", (chunk) => {
        text += chunk;
        const found = /DevTools listening on (ws:\S+)/.exec(text);
        if (found) resolve(found[1]);
      });
      child.on("error", reject);
      child.on("exit", () => reject(new Error(`the browser ended: ${text}`)));
    });
    const socket = new WebSocket(address);
    await new Promise((resolve, reject) => {
      socket.addEventListener("open", resolve);
      socket.addEventListener("error", reject);
    });
    return new Chromium(child, profile, socket);
  }

  /**
   * Opens a page.
   *
   * @param {string} url
   * @param {{width?: number, height?: number, dark?: boolean, transparent?: boolean}} [look]
   */
  async open(url, { width = 900, height = 700, dark = true, transparent = false } = {}) {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const page = new ChromiumPage(this, sessionId);
    this.#pages.set(sessionId, page);
    await page.call("Page.enable");
    await page.call("Runtime.enable");
    await page.call("Log.enable");
    await page.resize(width, height);
    const value = dark ? "dark" : "light";
    await page.call("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value }],
    });
    if (transparent) {
      const color = { r: 0, g: 0, b: 0, a: 0 };
      await page.call("Emulation.setDefaultBackgroundColorOverride", { color });
    }
    await page.call("Page.navigate", { url });
    return page;
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
    this.#socket.send(JSON.stringify({ id, method, params, sessionId }));
    return new Promise((resolve, reject) => this.#calls.set(id, { resolve, reject }));
  }

  async stop() {
    const ended = new Promise((resolve) => this.#process.on("exit", resolve));
    this.#process.kill();
    await ended;
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 5 });
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
    const code = { Enter: 13, Escape: 27, End: 35, Home: 36, ArrowUp: 38, ArrowDown: 40 }[key];
    const fields = { key, text, windowsVirtualKeyCode: code ?? key.toUpperCase().charCodeAt(0) };
    await this.call("Input.dispatchKeyEvent", { type: "keyDown", ...fields });
    await this.call("Input.dispatchKeyEvent", { type: "keyUp", ...fields, text: undefined });
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
   */
  resize(width, height) {
    const mobile = width < 500;
    const fields = { width, height, deviceScaleFactor: 1, mobile };
    return this.call("Emulation.setDeviceMetricsOverride", fields);
  }

  /** @param {string} file */
  async screenshot(file) {
    const { data } = await this.call("Page.captureScreenshot", { format: "png" });
    await writeFile(file, Buffer.from(data, "base64"));
  }

  /** @param {any} message */
  receive({ method, params }) {
    if (method === "Runtime.exceptionThrown") {
      const { exception, text } = params.exceptionDetails;
      this.problems.push(exception?.description ?? text);
    } else if (method === "Log.entryAdded" && params.entry.level === "error") {
      this.problems.push(`${params.entry.text} ${params.entry.url ?? ""}`);
    }
  }
}
