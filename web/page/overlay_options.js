/**
 * The look of an overlay, from the parameters of its address. Whatever is not valid counts as
 * absent, so that a broadcast never shows an error.
 *
 * @typedef {object} OverlayOptions
 * @property {number} size Height of letters in pixels, 8 to 200 (default 24).
 * @property {number} lines Comments that are shown, 1 to 100 (default 12).
 * @property {number} fade Seconds after which a comment fades, 0 for never to 3600 (default 0).
 * @property {"left" | "right" | "center"} align Default: left.
 * @property {"bottom" | "top"} from Edge at which new comments come in (default bottom).
 * @property {number} width Of a comment, in percent of the page, 10 to 100 (default 100).
 * @property {string} color Of texts: 3, 6 or 8 hexadecimal digits (default ffffff).
 * @property {string} back Behind each comment, likewise (default 00000000: nothing).
 * @property {boolean} shadow Outlines the letters, for any background (default on).
 * @property {boolean} names Shows who wrote a comment (default on).
 * @property {boolean} badges Shows badges of authors (default on).
 * @property {boolean} times Shows the time of a comment (default off).
 * @property {string} font Name of a font of this machine (default: that of the system).
 */

/**
 * @param {URLSearchParams} given
 * @returns {OverlayOptions}
 */
export function overlayOptions(given) {
  return {
    size: numberOf(given.get("size"), 8, 200, 24),
    lines: Math.round(numberOf(given.get("lines"), 1, 100, 12)),
    fade: numberOf(given.get("fade"), 0, 3_600, 0),
    align: oneOf(given.get("align"), ["left", "right", "center"]),
    from: oneOf(given.get("from"), ["bottom", "top"]),
    width: numberOf(given.get("width"), 10, 100, 100),
    color: colorOf(given.get("color"), "ffffff"),
    back: colorOf(given.get("back"), "00000000"),
    shadow: isOn(given.get("shadow"), true),
    names: isOn(given.get("names"), true),
    badges: isOn(given.get("badges"), true),
    times: isOn(given.get("times"), false),
    font: fontOf(given.get("font")),
  };
}

/**
 * @param {string | null} text
 * @param {number} least
 * @param {number} most
 * @param {number} absent
 */
function numberOf(text, least, most, absent) {
  if (text === null || !/^[0-9]{1,6}(\.[0-9]{1,3})?$/.test(text)) return absent;
  const number = Number(text);
  return number < least || number > most ? absent : number;
}

/**
 * @template {string} Word
 * @param {string | null} text
 * @param {readonly [Word, ...Word[]]} words The first is the default.
 * @returns {Word}
 */
function oneOf(text, words) {
  return words.find((word) => word === text) ?? words[0];
}

/**
 * @param {string | null} text
 * @param {string} absent
 */
function colorOf(text, absent) {
  const valid = text !== null && /^([0-9a-f]{3}|[0-9a-f]{6}|[0-9a-f]{8})$/i.test(text);
  return `#${valid ? text : absent}`;
}

/**
 * @param {string | null} text
 * @param {boolean} absent
 */
function isOn(text, absent) {
  return text === "1" || (text !== "0" && absent);
}

/** @param {string | null} text */
function fontOf(text) {
  return text !== null && /^[A-Za-z0-9][A-Za-z0-9 -]{0,63}$/.test(text) ? text : "";
}
