/**
 * The page for broadcasting programs: the newest comments on a transparent ground, without any
 * control. Its look comes from the address, see `OverlayOptions`.
 */

/** @import { OverlayOptions } from "./overlay_options.js" */

import { LiveComments } from "../client/index.js";
import { byId } from "./dom.js";
import { OverlayList } from "./overlay_list.js";
import { overlayOptions } from "./overlay_options.js";
import { reloadOnToken, tokenInFragment } from "./session_token.js";
import { site, streamIdOf } from "./site.js";

/** Delay before another try after the server has refused the overlay: nobody presses a button. */
const REFUSED_RETRY_MS = 30_000;

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

/** @param {string} streamId */
function start(streamId) {
  const options = overlayOptions(new URLSearchParams(location.search));
  applyLook(options);
  const chat = new LiveComments(site, streamId, {
    token: tokenInFragment(),
    maxComments: options.lines,
  });
  new OverlayList(byId("comments"), options, chat);
  chat.on("state", ({ state }) => {
    if (state === "closed") setTimeout(() => chat.connect(), REFUSED_RETRY_MS);
  });
  // A program that is given another token may keep the page open.
  reloadOnToken();
  // If comments fade, those of before have faded.
  if (options.fade === 0)
    chat.once("welcome", () => void chat.loadOlder(options.lines).catch(() => {}));
  chat.connect();
}

const streamId = streamIdOf(location);
if (streamId) start(streamId);
