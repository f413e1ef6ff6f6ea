/**
 * The page for broadcasting programs: the newest comments on a transparent ground, without any
 * control. Its look comes from the address, see `OverlayOptions`.
 */

/** @import { Comment } from "../client/index.js" */
/** @import { OverlayOptions } from "./overlay_options.js" */

import { LiveComments } from "../client/index.js";
import { commentRow } from "./comment_view.js";
import { byId, oncePerFrame } from "./dom.js";
import { overlayOptions } from "./overlay_options.js";
import { tokenInFragment } from "./session_token.js";
import { site, streamIdOf } from "./site.js";

/** Time that the fading itself takes, as in overlay.css. */
const FADING_MS = 1_000;

/** Delay before another try after the server has refused the overlay: nobody presses a button. */
const REFUSED_RETRY_MS = 30_000;

/** The elements of the newest comments. */
class OverlayList {
  #root;
  #options;
  /** @type {Map<string, HTMLElement>} By id, oldest first. */
  #shown = new Map();
  /** @type {Comment[]} Newest comments that have no element yet. */
  #waiting = [];
  #draw;

  /**
   * @param {HTMLElement} root
   * @param {OverlayOptions} options
   */
  constructor(root, options) {
    this.#root = root;
    this.#options = options;
    this.#draw = oncePerFrame(() => this.#drawWaiting());
  }

  /** @param {Comment[]} comments */
  add(comments) {
    this.#waiting.push(...comments);
    this.#waiting = this.#waiting.slice(-this.#options.lines);
    this.#draw();
  }

  /** @param {string} commentId */
  remove(commentId) {
    this.#waiting = this.#waiting.filter(({ comment_id }) => comment_id !== commentId);
    this.#shown.get(commentId)?.remove();
    this.#shown.delete(commentId);
  }

  #drawWaiting() {
    const { lines, fade, names, badges, times } = this.#options;
    for (const comment of this.#waiting) {
      const { comment_id } = comment;
      this.remove(comment_id);
      const row = commentRow(comment, { name: names, badges, time: times });
      this.#shown.set(comment_id, row);
      this.#root.append(row);
      if (fade > 0) this.#fadeLater(comment_id, row);
    }
    this.#waiting = [];
    for (const oldest of this.#shown.keys()) {
      if (this.#shown.size <= lines) break;
      this.remove(oldest);
    }
  }

  /**
   * @param {string} commentId
   * @param {HTMLElement} row
   */
  #fadeLater(commentId, row) {
    const isShown = () => this.#shown.get(commentId) === row;
    setTimeout(() => {
      if (!isShown()) return;
      row.classList.add("fading");
      setTimeout(() => isShown() && this.remove(commentId), FADING_MS);
    }, this.#options.fade * 1_000);
  }
}

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
  const list = new OverlayList(byId("comments"), options);
  const chat = new LiveComments(site, streamId, {
    token: tokenInFragment(),
    maxComments: options.lines,
  });
  chat.on("comments", ({ comments, source }) => {
    // What is read later belongs before what is shown.
    if (source !== "history") list.add(comments);
  });
  chat.on("deleted", ({ comment_id }) => list.remove(comment_id));
  chat.on("state", ({ state }) => {
    if (state === "closed") setTimeout(() => chat.connect(), REFUSED_RETRY_MS);
  });
  if (options.fade === 0) {
    chat.history
      .page({ pageSize: options.lines })
      .then(({ comments }) => list.add(comments.reverse()))
      .catch(() => {});
  }
  chat.connect();
}

const streamId = streamIdOf(location);
if (streamId) start(streamId);
