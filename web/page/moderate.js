/** The page of a moderator: the desk of one stream. */

import { LiveComments } from "../client/index.js";
import { Desk } from "./desk.js";
import { byId, showText } from "./dom.js";
import { FOLLOWED_COMMENTS } from "./reading.js";
import { reloadOnToken, takeToken } from "./session_token.js";
import { site, streamIdOf } from "./site.js";

const streamId = streamIdOf(location);
const token = takeToken();
reloadOnToken();
if (streamId) {
  const chat = new LiveComments(site, streamId, { token, maxComments: FOLLOWED_COMMENTS });
  const { view } = new Desk(chat);
  // For those who look at a session in the console of the browser.
  Object.assign(globalThis, { liveComments: { chat, view } });
  chat.connect();
} else showText(byId("problem"), "The address names no stream.");
