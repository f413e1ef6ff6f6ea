/** Texts for people: times, numbers, and the texts of strangers. */

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat([], { dateStyle: "medium", timeStyle: "short" });
const counts = new Intl.NumberFormat([], { notation: "compact" });

/** Marks that are drawn above and below one character. Languages need a few, never dozens. */
const MOST_MARKS = 6;
const tooManyMarks = new RegExp(`(\\p{M}{${MOST_MARKS}})\\p{M}+`, "gu");

/**
 * Returns a text without the marks that would pile up over other lines. It is still text of a
 * stranger: show it as text, never as markup.
 *
 * @param {string} text
 * @returns {string}
 */
export function withoutPiles(text) {
  return text.replace(tooManyMarks, "$1");
}

/** Characters of a comment that a reply to it repeats. */
const QUOTED = 80;

/**
 * Returns the start of a comment, to show as text.
 *
 * @param {string} message
 * @returns {string}
 */
export function startOf(message) {
  const characters = [...withoutPiles(message)];
  const start = characters.slice(0, QUOTED).join("");
  return characters.length > QUOTED ? `${start}…` : start;
}

/**
 * @param {number} ms Since the Unix epoch.
 * @returns {string} Such as 14:05.
 */
export function timeOfDay(ms) {
  return clock.format(ms);
}

/**
 * @param {number} ms Since the Unix epoch.
 * @returns {string} Such as Nov 30, 2026, 14:05.
 */
export function dateAndTime(ms) {
  return calendar.format(ms);
}

/**
 * @param {number} number
 * @returns {string} Such as 1.2K.
 */
export function compact(number) {
  return counts.format(number);
}

/**
 * @param {number} ms
 * @returns {string} Such as 30 s, 10 min, 2 h or 3 d.
 */
export function duration(ms) {
  if (ms < 60_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 86_400_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`;
}

/**
 * @param {number} ms
 * @returns {string} What is left, such as 9:05, 2:00:00 or 3 d.
 */
export function countdown(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  if (seconds >= 2 * 86_400) return duration(ms);
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours > 0) return `${hours}:${two(minutes)}:${two(seconds % 60)}`;
  return `${minutes}:${two(seconds % 60)}`;
}

/**
 * Returns a share as the server words it.
 *
 * @param {number} share From 0 to 1.
 * @returns {string} Such as "1 in 10" or "40 % of the".
 */
export function shareInWords(share) {
  const oneIn = Math.round(1 / share);
  if (oneIn >= 2 && Math.abs(oneIn * share - 1) <= 0.05) return `1 in ${oneIn}`;
  return `${Math.min(99, Math.max(1, Math.round(share * 100)))} % of the`;
}

/**
 * @param {string} code
 * @returns {string}
 */
export function codeInWords(code) {
  return code.replaceAll("_", " ");
}
