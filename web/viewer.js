// The viewer page of lcd: shows one stream over lc.v1.json. Text from users is inserted as text,
// never as markup. All collections are bounded.
"use strict";

const MAX_SHOWN = 300; // comments on the page
const MAX_DELETED = 2000; // ids of deleted comments; a deletion may arrive before its comment
const MAX_UNACKED = 20; // own comments that are not answered yet
const MAX_OWN = 200; // ids of own comments, to notify the user if one is removed
const FIRST_RETRY_MS = 500;
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;
const LONGEST_RETRY_MS = 15000;
const PING_MS = 30000;
const PONG_MS = 10000;
const REACTIONS = { like: "👍", heart: "❤️", fire: "🔥", laugh: "😂", wow: "😮", sad: "😢", clap: "👏", hundred: "💯" };
// Close codes after a protocol violation: reconnecting would only repeat it.
const PROTOCOL_VIOLATIONS = new Set([1002, 1003, 1007, 1009]);

const $ = (id) => document.getElementById(id);
const streamId = streamFromUrl();
// The page may be anywhere on a site, behind a proxy: every address is relative to it.
const base = new URL(".", location.href);
const api = new URL(`api/streams/${streamId}`, base);

let socket = null;
let position = null; // {epoch, seq} of the latest message received
let user = null; // the user of the latest welcome
let sampleRate = 1;
let paused = false;
let failures = 0;
let retryTimer = 0;
let reconnectAfter; // milliseconds, from `bye`; null if it says to stay away
let token = takeToken();
let pongTimer = 0;
const shown = new Map(); // comment_id → list item
const deleted = new Set();
const unacked = new Map(); // ref → text
const own = new Set(); // ids of own comments
let following = true; // the list scrolls to the newest comment
let pending = []; // items that the next animation frame adds to the page
let frameRequested = false;

function streamFromUrl() {
  const wanted = new URLSearchParams(location.search).get("stream") ?? "1";
  return /^[1-9][0-9]{0,18}$/.test(wanted) ? wanted : "1";
}

// Reads the token from `#token=…`, which is never sent to a server. It is kept until the tab is
// closed.
function takeToken() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    keepToken(given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return given || storedToken();
}

function forgetToken() {
  token = null;
  keepToken(null);
}

// A browser that blocks site data throws on every access to the storage. The page works without it;
// only a reload then forgets the token.
function storedToken() {
  try {
    return sessionStorage.getItem("lc-token");
  } catch {
    return null;
  }
}

function keepToken(text) {
  try {
    if (text) sessionStorage.setItem("lc-token", text);
    else sessionStorage.removeItem("lc-token");
  } catch {
    // See storedToken.
  }
}

// ---- the connection

function connect() {
  clearTimeout(retryTimer);
  const url = new URL(`ws/${streamId}`, base);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  if (position) {
    url.searchParams.set("epoch", position.epoch);
    url.searchParams.set("seq", position.seq);
  }
  reconnectAfter = undefined;
  const opened = new WebSocket(url, "lc.v1.json");
  socket = opened;
  showStatus("connecting…", "");
  opened.onopen = () => {
    if (token) send({ type: "auth", token });
  };
  opened.onmessage = (event) => {
    if (socket === opened) receive(JSON.parse(event.data));
  };
  opened.onclose = (event) => {
    if (socket === opened) closed(event.code, event.reason);
  };
}

function send(message) {
  if (socket?.readyState !== WebSocket.OPEN) return false;
  socket.send(JSON.stringify(message));
  return true;
}

function closed(code, reason) {
  socket = null;
  clearTimeout(pongTimer);
  $("pause").disabled = true;
  $("viewers").hidden = true;
  showUser(null);
  if (token && (code === 4501 || code === 4502)) {
    // Reconnect without the token, as a reader.
    forgetToken();
    showNotice("The token was not accepted here, or has expired.");
    retryTimer = setTimeout(connect, FIRST_RETRY_MS);
    return;
  }
  // A `bye` says whether to come back. Without one the code does.
  const stay =
    reconnectAfter === undefined
      ? (code >= 4500 && code < 5000) || PROTOCOL_VIOLATIONS.has(code)
      : reconnectAfter === null;
  if (stay) {
    showStatus(`disconnected: ${(reason || String(code)).replaceAll("_", " ")}`, "off");
    addNote(`Disconnected (${code} ${reason}). Reload the page to try again.`);
    return;
  }
  // The delay is random, so that the viewers of a lost node do not all reconnect at once.
  const backoff = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures);
  const wait = reconnectAfter ?? backoff * (0.5 + Math.random() / 2);
  failures += 1;
  showStatus(`reconnecting in ${Math.max(1, Math.round(wait / 1000))} s…`, "off");
  // A longer time would count as none; the answer is then the same again.
  retryTimer = setTimeout(connect, Math.min(wait, LONGEST_TIMEOUT_MS));
}

setInterval(() => {
  if (!send({ type: "ping" })) return;
  clearTimeout(pongTimer);
  pongTimer = setTimeout(() => socket?.close(), PONG_MS);
}, PING_MS);

// ---- messages

const handlers = {
  welcome(message) {
    failures = 0;
    showStatus("live", "on");
    showViewers(message.viewers);
    showSampleRate(message.sample_rate);
    showUser(message.user ?? null);
    showRules(message.room ?? {});
    $("pause").disabled = false;
    // It comes again after `auth`, and each one sets the position. One behind the page's own is that
    // of another log, or of one that was restored.
    const first = !position;
    const restarted = !first && (position.epoch !== message.epoch || message.seq < position.seq);
    position = { epoch: message.epoch, seq: message.seq };
    if (restarted) addNote("The stream's history was restarted.");
    if (first || restarted) loadHistory(50);
    if (paused) send({ type: "pause" });
    if (user) for (const [ref, text] of unacked) send({ type: "comment", message: text, ref });
  },
  comments(batch) {
    // An echo is outside the ranges: what lies before it may still come.
    if (!batch.echo) position = { epoch: batch.epoch, seq: batch.to_seq };
    for (const comment of batch.comments) enqueue(comment);
  },
  ack(message) {
    unacked.delete(message.ref);
    remember(own, message.comment_id, MAX_OWN);
  },
  error(message) {
    const text = unacked.get(message.ref);
    unacked.delete(message.ref);
    if (text && !$("message").value) $("message").value = text;
    const wait = message.retry_after_ms;
    showNotice(message.message + (wait ? ` (again in ${Math.ceil(wait / 1000)} s)` : ""));
  },
  "comment.deleted"(message) {
    const known = deleted.has(message.comment_id);
    remember(deleted, message.comment_id, MAX_DELETED);
    // The comment may have been removed before it was ever shown.
    if (own.has(message.comment_id) && !known) {
      showNotice(`Your comment was removed: ${message.reason.replaceAll("_", " ")}.`);
    }
    pending = pending.filter((item) => item.comment_id !== message.comment_id);
    const item = shown.get(message.comment_id);
    if (item) {
      const body = item.querySelector(".text");
      body.textContent = "removed by moderation";
      body.className = "text removed";
    }
  },
  throttle_notification(message) {
    showSampleRate(message.sample_rate, message.message);
  },
  reactions_update(message) {
    for (const [kind, total] of Object.entries(message.reactions)) showReaction(kind, total);
  },
  presence(message) {
    showViewers(message.viewers);
  },
  room(rules) {
    showRules(rules);
  },
  direct(message) {
    const item = document.createElement("li");
    item.className = "direct";
    item.textContent = `${message.from}: ${message.message}`;
    pending.push({ item });
    requestFrame();
  },
  announcement(message) {
    $("announced").textContent = message.message;
    $("announcement").hidden = false;
  },
  gap(message) {
    if (position) position.seq = message.to_seq;
    addNote("Some comments were skipped here. The history has them all: reload the page.");
  },
  bye(message) {
    reconnectAfter = message.reconnect_after_ms ?? null;
  },
  pong() {
    clearTimeout(pongTimer);
  },
};

function receive(message) {
  if (Object.hasOwn(handlers, message.type)) handlers[message.type](message);
}

// ---- comments on the page

function enqueue(comment) {
  if (deleted.has(comment.comment_id) || shown.has(comment.comment_id)) return;
  pending.push(comment);
  // A hidden tab gets no animation frames, so the list must be bounded here.
  if (pending.length > MAX_SHOWN) pending.splice(0, pending.length - MAX_SHOWN);
  requestFrame();
}

function addNote(text) {
  const item = document.createElement("li");
  item.className = "note";
  item.textContent = text;
  pending.push({ item });
  requestFrame();
}

function requestFrame() {
  if (frameRequested) return;
  frameRequested = true;
  requestAnimationFrame(putOnPage);
}

function putOnPage() {
  frameRequested = false;
  const list = $("comments");
  const fragment = document.createDocumentFragment();
  for (const entry of pending) {
    if (entry.item) {
      fragment.append(entry.item);
    } else if (!shown.has(entry.comment_id)) {
      const item = commentItem(entry);
      shown.set(entry.comment_id, item);
      fragment.append(item);
    }
  }
  pending = [];
  list.append(fragment);
  while (list.childElementCount > MAX_SHOWN) {
    const oldest = list.firstElementChild;
    if (oldest.dataset.id) shown.delete(oldest.dataset.id);
    oldest.remove();
  }
  $("empty").hidden = list.childElementCount > 0;
  followNewest();
}

function commentItem(comment) {
  const item = document.createElement("li");
  item.dataset.id = comment.comment_id;
  if (user && comment.user_id === user.user_id) item.className = "mine";
  const at = new Date(comment.created_at);
  const time = document.createElement("time");
  time.dateTime = at.toISOString();
  time.textContent = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  // `bdi` prevents a right-to-left name from reordering the text after it.
  const name = document.createElement("bdi");
  name.className = `name hue${Number(BigInt(comment.user_id) % 12n)}`;
  name.textContent = comment.name;
  const text = document.createElement("span");
  text.className = "text";
  text.dir = "auto";
  text.textContent = comment.message;
  const badges = (comment.badges ?? []).map((badge) => {
    const mark = document.createElement("span");
    mark.className = "badge";
    mark.textContent = badge;
    return mark;
  });
  item.append(time, ...badges, name, text);
  return item;
}

async function loadHistory(limit) {
  try {
    const url = `${api}/comments?limit=${limit}`;
    // The token first: some comments are in the history of their author only. Then without it: a
    // proxy may need the header for a password of its own.
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    let response = await fetch(url, { headers });
    if (response.status === 401 && token) response = await fetch(url);
    if (!response.ok) return;
    const page = await response.json();
    // Comments that arrived during the request are newer, so they stay below the page of history.
    const live = [...shown.values()].concat();
    const items = [];
    for (const comment of page.comments.reverse()) {
      if (deleted.has(comment.comment_id)) continue;
      const known = shown.get(comment.comment_id);
      const item = known ?? commentItem(comment);
      shown.set(comment.comment_id, item);
      items.push(item);
    }
    const inPage = new Set(items);
    const list = $("comments");
    list.replaceChildren(...items, ...live.filter((item) => !inPage.has(item)));
    following = true;
    requestFrame();
  } catch {
    // The stream also works without its history.
  }
}

function remember(set, value, limit) {
  set.add(value);
  if (set.size > limit) set.delete(set.values().next().value);
}

// ---- the rest of the page

function showStatus(text, dot) {
  $("status").textContent = text;
  $("dot").className = `dot ${dot}`;
}

function showViewers(viewers) {
  $("viewers").hidden = false;
  $("viewers").textContent = `${viewers.toLocaleString()} watching`;
}

function showSampleRate(rate, notice) {
  sampleRate = rate;
  $("throttle").hidden = rate >= 1;
  $("throttle").textContent =
    notice ??
    (rate > 0
      ? `Chat moving fast! Showing ${shareInWords(rate)} comments. Pause to read all.`
      : "Chat is paused. Read all comments in the history.");
}

/** Shows the rules of the room, which the server enforces. Moderators are exempt. */
function showRules(rules) {
  const texts = [];
  if (rules.slow_ms) texts.push(`slow mode: one comment in ${showTime(rules.slow_ms)}`);
  if (rules.followers_ms) texts.push(`followers of ${showTime(rules.followers_ms)} only`);
  if (rules.followers_ms === 0) texts.push("followers only");
  if (rules.subscribers_only) texts.push("subscribers only");
  if (rules.emotes_only) texts.push("emoji only");
  if (rules.unique_ms) texts.push(`no text twice in ${showTime(rules.unique_ms)}`);
  if (rules.no_links) texts.push("no links");
  $("rules").hidden = texts.length === 0;
  $("rules").textContent = `In this room: ${texts.join(", ")}.`;
}

function showTime(ms) {
  if (ms < 60_000) return `${Math.round(ms / 1000)} s`;
  if (ms < 3_600_000) return `${Math.round(ms / 60_000)} min`;
  return ms < 86_400_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.round(ms / 86_400_000)} d`;
}

// As the server words it in `throttle_notification`.
function shareInWords(rate) {
  const oneIn = Math.round(1 / rate);
  if (oneIn >= 2 && Math.abs(oneIn * rate - 1) <= 0.05) return `1 in ${oneIn}`;
  return `${Math.min(99, Math.max(1, Math.round(rate * 100)))} % of the`;
}

function showUser(identity) {
  user = identity;
  $("composer").hidden = !identity;
  $("sign-in").hidden = Boolean(identity);
  if (identity) {
    $("message").placeholder = `Say something as ${identity.name}`;
    $("notice").hidden = true;
  }
}

let noticeTimer = 0;
function showNotice(text) {
  $("notice").textContent = text;
  $("notice").hidden = false;
  clearTimeout(noticeTimer);
  noticeTimer = setTimeout(() => ($("notice").hidden = true), 8000);
}

// Also called when the list changes its height, because of a banner, rotation or keyboard.
function followNewest() {
  const list = $("comments");
  if (following && !paused) list.scrollTop = list.scrollHeight;
  showNewest();
}

function distanceToNewest() {
  const list = $("comments");
  return list.scrollHeight - list.scrollTop - list.clientHeight;
}

function showNewest() {
  $("newest").hidden = distanceToNewest() < 120;
}

function seeNewest() {
  following = true;
  $("comments").scrollTop = $("comments").scrollHeight;
}

const reactionButtons = new Map();
function reactionButton(kind) {
  let button = reactionButtons.get(kind);
  if (!button && reactionButtons.size < 64) {
    button = document.createElement("button");
    button.type = "button";
    button.title = kind;
    button.onclick = () => send({ type: "reaction", reaction: kind });
    reactionButtons.set(kind, button);
    $("reactions").append(button);
  }
  return button;
}

function showReaction(kind, total) {
  const button = reactionButton(kind);
  if (!button) return;
  const face = Object.hasOwn(REACTIONS, kind) ? REACTIONS[kind] : kind;
  button.textContent = total > 0 ? `${face} ${compact(total)}` : face;
  button.classList.remove("beat");
  requestAnimationFrame(() => button.classList.add("beat"));
}

function compact(number) {
  return new Intl.NumberFormat("en", { notation: "compact" }).format(number);
}

$("pause").onclick = () => {
  paused = !paused;
  send({ type: paused ? "pause" : "resume" });
  $("pause").textContent = paused ? "Resume" : "Pause";
  $("pause").setAttribute("aria-pressed", String(paused));
  // The history contains the comments that the throttle left out.
  if (paused && sampleRate < 1) loadHistory(MAX_SHOWN);
  if (!paused) seeNewest();
};

$("newest").onclick = seeNewest;
$("dismiss").onclick = () => ($("announcement").hidden = true);

let height = 0;
$("comments").addEventListener("scroll", (event) => {
  // A change of height also causes a scroll event; only scrolling by the user stops following.
  if (event.target.clientHeight === height) following = distanceToNewest() < 40;
  showNewest();
}, { passive: true });
new ResizeObserver(() => {
  height = $("comments").clientHeight;
  followNewest();
}).observe($("comments"));

$("composer").onsubmit = (event) => {
  event.preventDefault();
  const text = $("message").value.trim();
  if (!text) return;
  if (unacked.size >= MAX_UNACKED) return showNotice("Waiting for the answers to earlier comments.");
  // The same `ref` is sent again after a reconnect, so the comment is stored and shown once.
  const ref = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 10)}`;
  unacked.set(ref, text);
  $("message").value = "";
  send({ type: "comment", message: text, ref });
};

$("sign-in").onsubmit = (event) => {
  event.preventDefault();
  token = $("token").value.trim();
  $("token").value = "";
  if (!token) return;
  keepToken(token);
  if (!send({ type: "auth", token })) connect();
};

$("leave").onclick = () => {
  forgetToken();
  unacked.clear();
  own.clear();
  socket?.close(1000);
  connect();
};

async function showTitle() {
  try {
    const response = await fetch(api);
    if (!response.ok) return;
    const stream = await response.json();
    const title = stream.title || `Stream ${streamId}`;
    $("title").textContent = title;
    document.title = title;
  } catch {
    // The page also works without the title.
  }
}

for (const kind of Object.keys(REACTIONS)) showReaction(kind, 0);
showTitle();
connect();
