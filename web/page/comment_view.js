/** @import { Comment } from "../client/index.js" */

import { element } from "./dom.js";
import { startOf, timeOfDay, withoutPiles } from "./text.js";

const HUES = 12n;

/**
 * @typedef {object} CommentLook
 * @property {boolean} [mine]
 * @property {boolean} [time] Absent: shown.
 * @property {boolean} [badges] Absent: shown.
 * @property {boolean} [name] Absent: shown.
 * @property {Pick<Comment, "name" | "message">} [parent] The comment that it answers, if that is
 *   known.
 * @property {boolean} [earlier] Whether a reply to one that is not known says so. Absent: it does.
 */

/**
 * The fields of a comment that its row shows.
 *
 * @typedef {Pick<Comment,
 *   "user_id" | "name" | "message" | "created_at" | "badges" | "parent_id">} CommentText
 */

/**
 * Makes the parts of a comment. Names and texts are those of strangers: they become text nodes, and
 * each is isolated, so that its direction does not reorder what is around it.
 *
 * @param {CommentText} comment
 * @param {CommentLook} [look]
 * @returns {HTMLElement[]}
 */
export function commentParts(comment, look = {}) {
  const { time = true, badges = true, name = true, parent, earlier = true } = look;
  const parts = [];
  if (comment.parent_id !== undefined && (parent || earlier)) {
    const quote = parent ? quoteParts(parent, name) : ["an earlier comment"];
    parts.push(element("span", "answers", element("span", "", "↪"), ...quote));
  }
  if (time) parts.push(timeElement(comment.created_at));
  if (badges) parts.push(...(comment.badges ?? []).map((badge) => element("span", "badge", badge)));
  if (name) parts.push(nameElement(comment));
  const text = element("span", "text", withoutPiles(comment.message));
  text.dir = "auto";
  parts.push(text);
  return parts;
}

/**
 * Makes the row of a comment.
 *
 * @param {CommentText} comment
 * @param {CommentLook} [look]
 * @returns {HTMLLIElement}
 */
export function commentRow(comment, look = {}) {
  return element("li", look.mine ? "comment mine" : "comment", ...commentParts(comment, look));
}

/**
 * Makes the name and the start of a comment that another one answers. Each has its own direction:
 * of a text from right to left, the end is cut, too.
 *
 * @param {Pick<Comment, "name" | "message">} comment
 * @param {boolean} [named] Absent: with the name.
 */
export function quoteParts({ name, message }, named = true) {
  const start = element("span", "text", startOf(message));
  start.dir = "auto";
  return named ? [element("bdi", "", withoutPiles(name)), start] : [start];
}

/** @param {number} ms */
export function timeElement(ms) {
  const time = element("time", "", timeOfDay(ms));
  time.dateTime = new Date(ms).toISOString();
  return time;
}

/** @param {{user_id: string, name: string}} user */
export function nameElement({ user_id, name }) {
  return element("bdi", `name hue${hueOf(user_id)}`, withoutPiles(name));
}

/** @param {string} userId */
function hueOf(userId) {
  return /^[0-9]+$/.test(userId) ? Number(BigInt(userId) % HUES) : 0;
}
