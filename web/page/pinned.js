/** @import { LiveComments } from "../client/index.js" */

import { commentParts } from "./comment_view.js";
import { byId } from "./dom.js";
import { putAway, tellNews } from "./news.js";

/**
 * Shows the pinned comment above the chat. A reader may hide it; another one is shown again.
 *
 * @param {LiveComments} chat
 */
export function showPinned(chat) {
  const banner = byId("pinned");
  /** @type {Element | null} */
  let told = null;
  chat.on("pinned", ({ comment }) => {
    // It may have been deleted.
    told?.remove();
    if (comment) {
      banner.hidden = false;
      told = tellNews(`Pinned: ${comment.name}: ${comment.message}`);
    } else putAway(banner);
    byId("pinned-comment").replaceChildren(...(comment ? commentParts(comment) : []));
  });
  byId("pinned-hide").addEventListener("click", () => putAway(banner));
}
