/** A page without a browser, as far as the tests need one. */

/** Stands for an element of the page. */
export class FakeElement {
  tagName;
  hidden = true;
  disabled = false;
  checked = false;
  className = "";
  value = "";
  placeholder = "";
  id = "";
  tabIndex = -1;
  clientHeight = 0;
  scrollTop = 0;
  scrollHeight = 0;
  /** @type {Record<string, string>} */
  dataset = {};
  style = { setProperty() {} };
  /** @type {(FakeElement | string)[]} */
  children = [];
  /** @type {FakeElement | null} */
  parent = null;
  /** @type {Map<string, string>} */
  #attributes = new Map();
  /** @type {Map<string, ((event: object) => void)[]>} */
  #listeners = new Map();

  /** @param {string} [tag] */
  constructor(tag = "div") {
    this.tagName = tag.toUpperCase();
  }

  classList = {
    add: (/** @type {string} */ name) => this.#setClass(name, true),
    toggle: (/** @type {string} */ name, /** @type {boolean} */ on) => this.#setClass(name, on),
    contains: (/** @type {string} */ name) => this.className.split(" ").includes(name),
  };

  /** @param {(FakeElement | string)[]} children */
  append(...children) {
    for (const child of children) this.#adopt(child, this.children.length);
  }

  /** @param {(FakeElement | string)[]} children */
  prepend(...children) {
    for (const child of [...children].reverse()) this.#adopt(child, 0);
  }

  /**
   * @param {FakeElement} child
   * @param {FakeElement | null} next
   */
  insertBefore(child, next) {
    if (child === next) return;
    if (child.parent) child.remove();
    this.#adopt(child, next ? this.children.indexOf(next) : this.children.length);
  }

  /** @param {(FakeElement | string)[]} children */
  replaceChildren(...children) {
    for (const child of this.#elements()) child.remove();
    this.children = [];
    this.append(...children);
  }

  remove() {
    if (!this.parent) return;
    const { activeElement } = /** @type {{activeElement: FakeElement | null}} */ (
      /** @type {unknown} */ (document)
    );
    // As in a browser, the focus falls back to the page.
    if (this.contains(activeElement)) setFocus(null);
    this.parent.children = this.parent.children.filter((other) => other !== this);
    this.parent = null;
  }

  /** @param {unknown} other */
  contains(other) {
    for (let at = other; at instanceof FakeElement; at = at.parent) if (at === this) return true;
    return false;
  }

  /** @returns {FakeElement | null} */
  get firstElementChild() {
    return this.#elements()[0] ?? null;
  }

  /** @returns {FakeElement | null} */
  get nextElementSibling() {
    const all = this.parent ? this.parent.#elements() : [];
    return all[all.indexOf(this) + 1] ?? null;
  }

  get childElementCount() {
    return this.#elements().length;
  }

  /**
   * Finds an element by its tag or its last class, wherever it is in this one.
   *
   * @param {string} selector
   * @returns {FakeElement | null}
   */
  querySelector(selector) {
    const wanted = selector.replace(":scope > ", "");
    const matches = (/** @type {FakeElement} */ it) => {
      return wanted.startsWith(".")
        ? it.classList.contains(wanted.slice(1))
        : it.tagName === wanted.toUpperCase();
    };
    return this.all().find(matches) ?? null;
  }

  /**
   * Returns all elements in this one, in their order.
   *
   * @returns {FakeElement[]}
   */
  all() {
    return this.#elements().flatMap((child) => [child, ...child.all()]);
  }

  /**
   * Returns the button with a text.
   *
   * @param {string} text
   * @returns {FakeElement}
   */
  button(text) {
    const found = this.all().find((it) => it.tagName === "BUTTON" && it.text === text);
    if (!found) throw new Error(`there is no button "${text}"`);
    return found;
  }

  /**
   * @param {string} name
   * @param {string} value
   */
  setAttribute(name, value) {
    this.#attributes.set(name, value);
  }

  /** @param {string} name */
  getAttribute(name) {
    return this.#attributes.get(name) ?? null;
  }

  /** @param {string} name */
  removeAttribute(name) {
    this.#attributes.delete(name);
  }

  /** @param {string} selector */
  matches(selector) {
    return selector.split(/[ ,:]/).includes(this.tagName.toLowerCase());
  }

  /**
   * @param {string} name
   * @param {(event: object) => void} listener
   */
  addEventListener(name, listener) {
    this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), listener]);
  }

  /**
   * Tells an event to its listeners, as one that does not bubble.
   *
   * @param {string} name
   * @param {object} [event]
   */
  fire(name, event = {}) {
    const full = { preventDefault() {}, stopPropagation() {}, target: this, ...event };
    for (const listener of this.#listeners.get(name) ?? []) listener(full);
  }

  click() {
    this.fire("click");
  }

  focus() {
    setFocus(this);
    this.fire("focus");
    for (let at = /** @type {FakeElement | null} */ (this); at; at = at.parent) {
      at.fire("focusin", { target: this });
    }
  }

  blur() {
    setFocus(null);
  }

  scrollIntoView() {}

  getBoundingClientRect() {
    return { height: 28 };
  }

  /** @returns {string} */
  get text() {
    return this.children.map((child) => (typeof child === "string" ? child : child.text)).join("");
  }

  get textContent() {
    return this.text;
  }

  set textContent(text) {
    this.replaceChildren(...(text === "" ? [] : [text]));
  }

  #elements() {
    return this.children.filter((child) => child instanceof FakeElement);
  }

  /**
   * @param {FakeElement | string} child
   * @param {number} at
   */
  #adopt(child, at) {
    if (child instanceof FakeElement) {
      child.parent = this;
      // Elements of a script are shown, unlike most of those that the page has from the start.
      child.hidden = false;
    }
    this.children.splice(at, 0, child);
  }

  /**
   * @param {string} name
   * @param {boolean} on
   */
  #setClass(name, on) {
    const others = this.className.split(" ").filter((other) => other !== name && other !== "");
    this.className = [...others, ...(on ? [name] : [])].join(" ");
  }
}

/** @param {FakeElement | null} element */
function setFocus(element) {
  Object.assign(document, { activeElement: element });
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
    const found = elements.get(id) ?? Object.assign(new FakeElement(), { id });
    elements.set(id, found);
    return found;
  };
  const document = Object.assign(new FakeElement("document"), {
    getElementById,
    createElement: (/** @type {string} */ tag) => new FakeElement(tag),
    activeElement: null,
    body: new FakeElement("body"),
  });
  // Such a page is visible.
  document.hidden = false;
  setGlobal("document", document);
  setGlobal("HTMLElement", FakeElement);
  setGlobal("HTMLButtonElement", FakeButton);
  setGlobal("ResizeObserver", FakeObserver);
  setGlobal("Option", FakeOption);
  setGlobal("requestAnimationFrame", (/** @type {() => void} */ run) => setImmediate(run));
  setGlobal("matchMedia", () => ({ matches: false, addEventListener() {} }));
  return getElementById;
}

/** Presses a key while nothing has the focus. @param {string} key */
export function press(key) {
  const page = /** @type {FakeElement} */ (/** @type {unknown} */ (document));
  page.fire("keydown", { key, target: page });
}

/** Lets everything happen that waits for promises and for the next frame. */
export async function settled() {
  for (let turn = 0; turn < 6; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

class FakeButton {
  /** @param {unknown} value */
  static [Symbol.hasInstance](value) {
    return value instanceof FakeElement && value.tagName === "BUTTON";
  }
}

class FakeObserver {
  observe() {}
}

class FakeOption extends FakeElement {
  /**
   * @param {string} text
   * @param {string} value
   */
  constructor(text, value) {
    super("option");
    this.textContent = text;
    this.value = value;
  }
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
