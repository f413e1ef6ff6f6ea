/**
 * The page for broadcasting programs: the newest comments on a transparent ground, without any
 * control. Its look comes from the address, see `OverlayOptions`.
 */

/** @import { OverlayOptions } from "./overlay_options.js" */

import { Backoff } from "../client/backoff.js";
import { LiveComments } from "../client/index.js";
import { byId } from "./dom.js";
import { OverlayList } from "./overlay_list.js";
import { overlayOptions } from "./overlay_options.js";
import { reloadOnToken, tokenInFragment } from "./session_token.js";
import { site, streamIdOf } from "./site.js";

/** Delay before another try after the server has refused the overlay: nobody presses a button. */
const REFUSED_RETRY_MS = 30_000;

/**
 * Bounds of the delay after the end of the stream. It may be made live again, but an overlay may
 * stay open for days, and all of them have seen the end at the same moment.
 */
const ENDED_RETRY = { baseMs: 60_000, longestMs: 600_000 };

/**
 * Applies what the address says about the look. Values were checked, and are set one by one.
 *
 * @param {OverlayOptions} options
 */
function applyLook({ size, align, from, width, color, back, shadow, font }) {
  const { style, dataset } = document.documentElement;
  style.setProperty("--size", `${size}px`);
  style.setProperty("--width", `${width}%`);
  style.setProperty("--color", color);
  style.setProperty("--back", back);
  if (font) style.setProperty("--font", `"${font}"`);
  Object.assign(dataset, { align, from, shadow: String(shadow) });
}

/**
 * Connects again whenever the server has refused or ended the connection.
 *
 * @param {LiveComments} chat
 */
export function reconnectForEver(chat) {
  const backoff = new Backoff({ random: () => Math.random() }, ENDED_RETRY);
  chat.on("welcome", () => backoff.reset());
  chat.on("state", ({ state, error }) => {
    if (state !== "closed") return;
    const wait = error?.code === "stream_ended" ? backoff.next() : REFUSED_RETRY_MS;
    setTimeout(() => chat.connect(), wait);
  });
}

/** @param {string} streamId */
function start(streamId) {
  const options = overlayOptions(new URLSearchParams(location.search));
  applyLook(options);
  const chat = new LiveComments(site, streamId, {
    token: tokenInFragment(),
    maxComments: options.lines,
  });
  new OverlayList(byId("comments"), options, chat);
  reconnectForEver(chat);
  // A program that is given another token may keep the page open.
  reloadOnToken();
  // If comments fade, those of before have faded.
  if (options.fade === 0)
    chat.once("welcome", () => void chat.loadOlder(options.lines).catch(() => {}));
  chat.connect();
}

const streamId = streamIdOf(location);
if (streamId) start(streamId);
