import { byId, element } from "./dom.js";

/**
 * A key of the desk.
 *
 * @typedef {object} DeskKey
 * @property {string[]} keys As `KeyboardEvent.key` names them.
 * @property {string} text
 * @property {() => void} press
 */

/**
 * Listens to keys, unless the user is writing, and lists them in the help.
 *
 * @param {DeskKey[]} deskKeys
 */
export function listenToKeys(deskKeys) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || isWriting(event)) return;
    const found = deskKeys.find(({ keys }) => keys.includes(event.key));
    if (!found) return;
    event.preventDefault();
    // A key that is held down decides once.
    if (event.repeat && !isMovement(event.key)) return;
    found.press();
  });
  const rows = deskKeys.map(({ keys, text }) => {
    const names = keys.map((key) => element("kbd", "", key));
    return element("tr", "", element("th", "", ...names), element("td", "", text));
  });
  byId("keys").append(...rows);
}

/** @param {string} key */
function isMovement(key) {
  return ["j", "k", "ArrowDown", "ArrowUp"].includes(key);
}

/** @param {KeyboardEvent} event */
function isWriting({ target, key }) {
  if (document.querySelector("dialog[open]")) return true;
  if (!(target instanceof HTMLElement)) return false;
  // Controls keep the keys that they need.
  if (target instanceof HTMLButtonElement || target.tagName === "SUMMARY") return key === "Enter";
  return target.matches("input:not([type=checkbox]), select, textarea") && key !== "Escape";
}
