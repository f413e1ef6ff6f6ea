/** @import { LiveComments } from "../client/index.js" */

import { byId, showText } from "./dom.js";
import { compact } from "./text.js";

/**
 * Shows the number of viewers and announcements.
 *
 * @param {LiveComments} chat
 */
export function showFacts(chat) {
  const showViewers = () => {
    showText(byId("viewers"), chat.state === "open" ? `${compact(chat.viewers)} watching` : "");
  };
  chat.on("welcome", showViewers);
  chat.on("presence", showViewers);
  chat.on("state", showViewers);
  chat.on("announcement", ({ message }) => {
    byId("announced").textContent = message;
    byId("announcement").hidden = false;
  });
  byId("dismiss").addEventListener("click", () => (byId("announcement").hidden = true));
}
