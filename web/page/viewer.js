/**
 * The page of a viewer: one stream, live and back to its beginning. Texts of users are shown as
 * text, never as markup. All collections are bounded.
 */

import { LiveComments } from "../client/index.js";
import { Announcer } from "./announcer.js";
import { Composer } from "./composer.js";
import { byId, oncePerFrame, showText } from "./dom.js";
import { ReactionBar } from "./reactions.js";
import { FOLLOWED_COMMENTS, Reading } from "./reading.js";
import { rowElement } from "./row_view.js";
import { StreamRows, keyOf } from "./rows.js";
import { takeToken } from "./session_token.js";
import { site, streamIdOf } from "./site.js";
import { StatusLine } from "./status.js";
import { codeInWords, compact, shareInWords } from "./text.js";
import { VirtualList } from "./virtual_list.js";

/** @typedef {import("./rows.js").StreamRow} StreamRow */

/** Ids of own comments that are remembered, to tell their author of a deletion. */
const MOST_OWN = 200;

/**
 * @param {string} streamId
 */
function start(streamId) {
  const chat = new LiveComments(site, streamId, {
    token: takeToken(),
    maxComments: FOLLOWED_COMMENTS,
  });
  const drawRows = oncePerFrame(() => {
    const all = rows.all();
    reading.setShown(all);
    list.setRows(all);
    byId("empty").hidden = all.length > 0 || chat.state !== "open";
  });
  const rows = new StreamRows(chat, () => drawRows());
  /** @type {VirtualList<StreamRow>} */
  const list = new VirtualList(byId("comments"), {
    keyOf,
    createNode: (row) => rowElement(row, chat.user, actions),
    moved: () => reading.moved(),
  });
  const showReading = oncePerFrame(() => showControls(chat, list, reading));
  const reading = new Reading({ chat, rows, list }, showReading);
  const composer = new Composer(chat, () => rows.forgetOutgoing());
  /** @type {import("./row_view.js").RowActions} */
  const actions = {
    fillGap: async (row) => {
      if (row.gap && (await reading.fill(row.gap))) rows.remove(row);
    },
    sendAgain: (row) => {
      const { message, ref } = row.outgoing;
      void chat.send(message, { ref });
    },
    discard: (row) => rows.remove(row),
  };

  new StatusLine(chat);
  new ReactionBar(chat);
  handleControls(reading, list);
  showFacts(chat, composer);
  announce(chat, list);
  followOwn(chat, rows, list, composer);
  // Messages of one session, for those who debug it in the console and for tests.
  Object.assign(globalThis, { liveComments: { chat, list } });
  chat.connect();
}

/**
 * @param {Reading} reading
 * @param {VirtualList<StreamRow>} list
 */
function handleControls(reading, list) {
  byId("pause").addEventListener("click", () => {
    if (reading.paused) reading.resume();
    else reading.pause();
  });
  byId("read-all").addEventListener("click", () => {
    reading.pause();
    byId("comments").focus({ preventScroll: true });
  });
  byId("resume").addEventListener("click", () => reading.resume());
  byId("skip").addEventListener("click", () => reading.skip());
  byId("newest").addEventListener("click", () => list.follow());
  byId("dismiss").addEventListener("click", () => (byId("announcement").hidden = true));
  byId("comments").addEventListener("keydown", (event) => {
    if (event.key === "End") list.follow();
    else if (["Home", "PageUp", "ArrowUp"].includes(event.key)) list.hold();
  });
}

/**
 * @param {LiveComments} chat
 * @param {VirtualList<StreamRow>} list
 * @param {Reading} reading
 */
function showControls(chat, list, reading) {
  const { paused, unseen } = reading;
  const pause = /** @type {HTMLButtonElement} */ (byId("pause"));
  pause.textContent = paused ? "Resume" : "Pause";
  pause.setAttribute("aria-pressed", String(paused));
  pause.disabled = chat.state !== "open" && !paused;
  byId("paused").hidden = !paused;
  const text = "Paused. Every comment is here as you scroll up; what comes meanwhile waits.";
  showText(byId("paused-text"), paused ? text : "");
  byId("throttle").hidden = paused || chat.sampleRate >= 1 || chat.state !== "open";
  byId("loading").hidden = !reading.loading || list.following;
  const atEnd = list.following || list.distanceToEnd < 120;
  byId("newest").hidden = atEnd && (unseen === 0 || list.following);
  byId("newest").textContent = unseen > 0 ? `↓ ${compact(unseen)} new` : "↓ Newest";
}

/**
 * @param {LiveComments} chat
 * @param {Composer} composer
 */
function showFacts(chat, composer) {
  const showViewers = () => {
    const { viewers } = chat;
    const text = `${compact(viewers)} watching`;
    showText(byId("viewers"), chat.state === "open" ? text : "");
  };
  const showShare = (/** @type {string | undefined} */ notice) => {
    const share = chat.sampleRate;
    const words = `Chat moving fast! Showing ${shareInWords(share)} comments.`;
    showText(byId("throttled"), share > 0 ? (notice ?? words) : "Live comments are held back.");
    byId("throttle").hidden = share >= 1 || chat.paused;
  };
  chat.on("welcome", () => showShare(undefined));
  chat.on("welcome", showViewers);
  chat.on("presence", showViewers);
  chat.on("state", showViewers);
  chat.on("throttle", ({ message }) => showShare(message));
  chat.on("announcement", ({ message }) => {
    byId("announced").textContent = message;
    byId("announcement").hidden = false;
  });
  const showTitle = async () => {
    const { title, stream_id } = await chat.stream();
    const named = title || `Stream ${stream_id}`;
    byId("title").textContent = named;
    document.title = named;
  };
  // The page also works without the title.
  showTitle().catch(() => {});
  chat.on("gap", ({ cause }) => {
    if (cause === "server") composer.notice("Some comments were left out; the list shows where.");
  });
}

/**
 * @param {LiveComments} chat
 * @param {VirtualList<StreamRow>} list
 */
function announce(chat, list) {
  const announcer = new Announcer(byId("announcer"));
  chat.on("comments", ({ comments, source }) => {
    if (source === "history" || !list.following) return;
    for (const { name, message } of comments) announcer.add(`${name}: ${message}`);
  });
}

/**
 * Tells this viewer what becomes of the own comments.
 *
 * @param {LiveComments} chat
 * @param {StreamRows} rows
 * @param {VirtualList<StreamRow>} list
 * @param {Composer} composer
 */
function followOwn(chat, rows, list, composer) {
  /** @type {Set<string>} */
  const own = new Set();
  chat.on("outgoing", ({ state, comment_id }) => {
    if (state === "pending") list.follow();
    if (comment_id === undefined) return;
    own.add(comment_id);
    for (const oldest of own) if (own.size > MOST_OWN) own.delete(oldest);
  });
  chat.on("deleted", ({ comment_id, reason }) => {
    if (own.has(comment_id)) composer.notice(`Your comment was removed: ${codeInWords(reason)}.`);
  });
  chat.on("direct", ({ from, message }) => rows.addNote("direct", `${from}: ${message}`));
  let userId = "";
  chat.on("welcome", ({ user }) => {
    // Own comments look different.
    if ((user?.user_id ?? "") !== userId) list.refresh();
    userId = user?.user_id ?? "";
  });
}

const streamId = streamIdOf(location);
if (streamId) start(streamId);
else showText(byId("problem"), "The address names no stream.");
