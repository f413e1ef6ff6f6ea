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
import { reloadOnToken, tokenInFragment } from "./session_token.js";
import { site, streamIdOf } from "./site.js";

/** Time that the fading itself takes, as in overlay.css. */
const FADING_MS = 1_000;

/** Delay before another try after the server has refused the overlay: nobody presses a button. */
const REFUSED_RETRY_MS = 30_000;

/** The elements of the newest comments: those of a timeline that keeps no others. */
class OverlayList {
  #root;
  #options;
  #timeline;
  /** @type {Map<string, HTMLElement>} By id. */
  #shown = new Map();
  /** @type {Set<string>} Comments of the timeline that have faded. */
  #faded = new Set();

  /**
   * @param {HTMLElement} root
   * @param {OverlayOptions} options
   * @param {LiveComments} chat
   */
  constructor(root, options, chat) {
    const { timeline } = chat;
    this.#root = root;
    this.#options = options;
    this.#timeline = timeline;
    const draw = oncePerFrame(() => this.#draw());
    timeline.on("change", ({ removed }) => {
      for (const { comment_id } of removed) this.#faded.delete(comment_id);
      draw();
    });
    chat.on("deleted", ({ comment_id }) => this.#forgetQuotes(comment_id));
  }

  /**
   * Takes the start of a deleted comment out of its replies.
   *
   * @param {string} commentId
   */
  #forgetQuotes(commentId) {
    for (const { comment_id, parent_id } of this.#timeline.comments) {
      if (parent_id !== commentId) continue;
      this.#shown.get(comment_id)?.querySelector(":scope > .answers")?.remove();
    }
  }

  #draw() {
    const comments = this.#timeline.comments.filter(({ comment_id }) => {
      return !this.#faded.has(comment_id);
    });
    const wanted = new Set(comments.map(({ comment_id }) => comment_id));
    for (const [id, row] of this.#shown) {
      if (wanted.has(id)) continue;
      row.remove();
      this.#shown.delete(id);
    }
    let next = this.#root.firstElementChild;
    for (const comment of comments) {
      const row = this.#shown.get(comment.comment_id) ?? this.#make(comment);
      if (row === next) next = next.nextElementSibling;
      else this.#root.insertBefore(row, next);
    }
  }

  /** @param {Comment} comment */
  #make(comment) {
    const { fade, names, badges, times } = this.#options;
    const { comment_id, parent_id } = comment;
    // Of the older comments, an overlay shows none: it does not mention them either.
    const parent = parent_id === undefined ? undefined : this.#timeline.get(parent_id);
    const look = { name: names, badges, time: times, parent, earlier: false };
    const row = commentRow(comment, look);
    this.#shown.set(comment_id, row);
    if (fade > 0) this.#fadeLater(comment_id, row);
    return row;
  }

  /**
   * @param {string} commentId
   * @param {HTMLElement} row
   */
  #fadeLater(commentId, row) {
    const isShown = () => this.#shown.get(commentId) === row;
    setTimeout(() => isShown() && row.classList.add("fading"), this.#options.fade * 1_000);
    const end = () => {
      if (!isShown()) return;
      this.#faded.add(commentId);
      this.#shown.delete(commentId);
      row.remove();
    };
    setTimeout(end, this.#options.fade * 1_000 + FADING_MS);
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
  // Where comments fade, those of before have faded.
  if (options.fade === 0)
    chat.once("welcome", () => void chat.loadOlder(options.lines).catch(() => {}));
  chat.connect();
}

const streamId = streamIdOf(location);
if (streamId) start(streamId);
