/** A page without a browser, as far as the tests need one. */

/** Stands for an element of the page. */
export class FakeElement {
  hidden = true;
  disabled = false;
  className = "";
  value = "";
  placeholder = "";
  textContent = "";
  /** @type {(FakeElement | string)[]} */
  children = [];
  childElementCount = 0;
  /** @type {Map<string, (event: object) => void>} */
  #listeners = new Map();

  /** @param {(FakeElement | string)[]} children */
  append(...children) {
    this.children.push(...children);
  }

  /** @param {(FakeElement | string)[]} children */
  replaceChildren(...children) {
    this.children = children;
  }

  /**
   * @param {string} name
   * @param {(event: object) => void} listener
   */
  addEventListener(name, listener) {
    this.#listeners.set(name, listener);
  }

  /** @param {string} name */
  fire(name) {
    this.#listeners.get(name)?.({ preventDefault() {} });
  }

  contains() {
    return false;
  }

  remove() {}

  /** @returns {string} */
  get text() {
    if (this.children.length === 0) return this.textContent;
    return this.children.map((child) => (typeof child === "string" ? child : child.text)).join("");
  }
}

/**
 * Opens an empty page. Its elements come into being when they are asked for.
 *
 * @returns {(id: string) => FakeElement}
 */
export function openFakePage() {
  /** @type {Map<string, FakeElement>} */
  const elements = new Map();
  const getElementById = (/** @type {string} */ id) => {
    const found = elements.get(id) ?? new FakeElement();
    elements.set(id, found);
    return found;
  };
  const document = { getElementById, createElement: () => new FakeElement(), activeElement: null };
  setGlobal("document", document);
  return getElementById;
}

/**
 * Gives the page an address.
 *
 * @param {string} href
 */
export function openFakeAddress(href) {
  let reloads = 0;
  const address = Object.assign(new URL(href), { reload: () => void (reloads += 1) });
  /** @type {Map<string, string>} */
  const stored = new Map();
  /** @type {(() => void)[]} */
  const listeners = [];
  setGlobal("location", address);
  setGlobal("history", {
    replaceState: (/** @type {null} */ _, /** @type {string} */ __, /** @type {string} */ url) => {
      address.href = new URL(url, address).href;
    },
  });
  setGlobal("sessionStorage", {
    getItem: (/** @type {string} */ key) => stored.get(key) ?? null,
    setItem: (/** @type {string} */ key, /** @type {string} */ value) => stored.set(key, value),
    removeItem: (/** @type {string} */ key) => stored.delete(key),
  });
  const listen = (/** @type {string} */ name, /** @type {() => void} */ listener) => {
    if (name === "hashchange") listeners.push(listener);
  };
  setGlobal("addEventListener", listen);
  /** Changes the address as a user does who writes into it. @param {string} hash */
  const goTo = (hash) => {
    address.hash = hash;
    for (const listener of listeners) listener();
  };
  return { address, goTo, loads: () => reloads };
}

/**
 * @param {string} name
 * @param {unknown} value
 */
function setGlobal(name, value) {
  Object.defineProperty(globalThis, name, { value, configurable: true });
}
