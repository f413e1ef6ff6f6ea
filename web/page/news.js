import { byId } from "./dom.js";

/** News that stay for those who go back to them with a screen reader. */
const MOST_NEWS = 5;

/**
 * Tells people who use a screen reader what has changed above the chat. Each piece is read out
 * once, after those before it.
 *
 * @param {string} text
 * @returns {Element} To remove, when the text must not be found any longer.
 */
export function tellNews(text) {
  const line = document.createElement("p");
  line.textContent = text;
  const region = byId("news");
  region.append(line);
  while (region.childElementCount > MOST_NEWS) region.firstElementChild?.remove();
  return line;
}

/**
 * Hides an element. The focus would fall back to the page: it goes to the comments.
 *
 * @param {HTMLElement} target
 */
export function putAway(target) {
  const hadFocus = target.contains(document.activeElement);
  target.hidden = true;
  if (hadFocus) byId("comments").focus({ preventScroll: true });
}
