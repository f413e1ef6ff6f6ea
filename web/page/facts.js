/** @import { LiveComments } from "../client/index.js" */

import { byId, showText } from "./dom.js";
import { compact } from "./text.js";

/**
 * Shows the title, the number of viewers and announcements.
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
  // The page also works without the title. It may be for those who have signed in.
  const tryTitle = () => void showTitle(chat).catch(() => chat.once("welcome", tryTitle));
  tryTitle();
}

/** @param {LiveComments} chat */
async function showTitle(chat) {
  const { title, stream_id } = await chat.stream();
  const named = title || `Stream ${stream_id}`;
  byId("title").textContent = named;
  document.title = named;
}
