/**
 * Returns an element of the page that the markup promises.
 *
 * @template {HTMLElement} [Kind=HTMLElement]
 * @param {string} id
 * @returns {Kind}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return /** @type {Kind} */ (found);
}

/**
 * Makes an element. Texts become text nodes, whatever they contain.
 *
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {string} className
 * @param {...(string | Node)} content
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, className, ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

/**
 * Makes a button.
 *
 * @param {string} text
 * @param {() => void} onClick
 * @param {string} [className]
 * @returns {HTMLButtonElement}
 */
export function button(text, onClick, className = "") {
  const made = element("button", className, text);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

/**
 * Shows a text in an element, or hides the element without one.
 *
 * @param {HTMLElement} target
 * @param {string} text
 */
export function showText(target, text) {
  if (target.textContent !== text) target.textContent = text;
  target.hidden = text === "";
}

/**
 * Returns a function that calls another once in the next animation frame, however often it is
 * called before. A hidden page has no frames, so it is called twice a second there.
 *
 * @param {() => void} work
 * @returns {() => void}
 */
export function oncePerFrame(work) {
  let requested = false;
  const run = () => {
    requested = false;
    work();
  };
  return () => {
    if (requested) return;
    requested = true;
    if (document.hidden) setTimeout(run, 500);
    else requestAnimationFrame(run);
  };
}
