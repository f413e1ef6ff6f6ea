/**
 * Events with typed payloads.
 *
 * A listener that throws stops neither the client nor other listeners: its error is reported as one
 * that nobody caught.
 *
 * @template {object} Events Maps the name of an event to its payload.
 */
export class Emitter {
  /** @type {Map<keyof Events, Set<(payload: never) => void>>} */
  #listeners = new Map();

  /**
   * Calls a listener for each event of a name. Returns a function that ends this.
   *
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(payload: Events[Name]) => void} listener
   * @returns {() => void}
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => this.off(name, listener);
  }

  /**
   * Calls a listener for the next event of a name only. Returns a function that ends this.
   *
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(payload: Events[Name]) => void} listener
   * @returns {() => void}
   */
  once(name, listener) {
    const off = this.on(name, (payload) => {
      off();
      listener(payload);
    });
    return off;
  }

  /**
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(payload: Events[Name]) => void} listener
   */
  off(name, listener) {
    this.#listeners.get(name)?.delete(listener);
  }

  /**
   * @protected
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} payload
   */
  emit(name, payload) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        /** @type {(payload: Events[Name]) => void} */ (listener)(payload);
      } catch (error) {
        reportUncaught(error);
      }
    }
  }
}

/** @param {unknown} error */
function reportUncaught(error) {
  // Browsers have a function for this.
  if (typeof globalThis.reportError === "function") globalThis.reportError(error);
  else {
    queueMicrotask(() => {
      throw error;
    });
  }
}
