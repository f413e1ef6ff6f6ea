/**
 * The page of a viewer: one stream, live and back to its beginning. Texts of users are shown as
 * text, never as markup. All collections are bounded.
 */

import { LiveComments } from "../client/index.js";
import { byId, showText } from "./dom.js";
import { ReactionBar } from "./reactions.js";
import { FOLLOWED_COMMENTS } from "./reading.js";
import { reloadOnToken, takeToken } from "./session_token.js";
import { site, streamIdOf } from "./site.js";
import { StreamView } from "./stream_view.js";

const streamId = streamIdOf(location);
const token = takeToken();
reloadOnToken();
if (streamId) {
  const chat = new LiveComments(site, streamId, { token, maxComments: FOLLOWED_COMMENTS });
  const view = new StreamView(chat);
  new ReactionBar(chat);
  // For those who look at a session in the console of the browser.
  Object.assign(globalThis, { liveComments: { chat, view } });
  chat.connect();
} else showText(byId("problem"), "The address names no stream.");
