/** @import { ChromiumPage } from "../chromium.js" */
/** @import { Stage } from "../stage.js" */

import assert from "node:assert/strict";

import { shows, transportOfEnvironment, write } from "../stage.js";

/** A second vote is refused, which the browser reports. */
const REFUSED = /status of 409/;

const LAST_ACT = `document.querySelector("#acts li").innerText`;
const PINNED = `!document.getElementById("pinned").hidden`;
const POLL = `!document.getElementById("poll").hidden`;
const MESSAGES = `!document.getElementById("messages").hidden`;
const VOTES = `document.getElementById("poll-votes").textContent`;

/** @typedef {Record<"ann" | "bob" | "desk" | "overlay", ChromiumPage>} Pages */

/**
 * Replies, a pinned comment, a poll, and messages to a user that was away.
 *
 * @param {Stage} stage
 */
export async function roomLife(stage) {
  const transport = transportOfEnvironment();
  const [ann, bob, desk, overlay] = await Promise.all([
    stage.open("stream", "ann", { transport }),
    stage.open("stream", "bob", { transport, dark: false, width: 390, height: 780 }),
    stage.open("moderate", "mia", { transport, role: "moderator", width: 1300, height: 800 }),
    stage.open("overlay", null, { transport, transparent: true }),
  ]);
  const pages = { ann, bob, desk, overlay };
  for (const page of [ann, bob, desk]) {
    assert.equal(await page.value("liveComments.chat.transport"), transport);
  }
  await answers(pages);
  await pins(stage, pages);
  await votes(stage, pages);
  await keepsMessages(stage, pages);
  for (const page of Object.values(pages)) {
    assert.deepEqual(
      page.problems.filter((problem) => !REFUSED.test(problem)),
      [],
    );
    await page.close();
  }
}

/**
 * An expression for the quotes in the list, or in the overlay.
 *
 * @param {string} text
 */
function quotes(text) {
  const quote = JSON.stringify(text);
  return `[...document.querySelectorAll("#comments .answers")]
    .some((it) => it.textContent.includes(${quote}))`;
}

/** @param {Pages} pages */
async function answers({ ann, bob, desk, overlay }) {
  await write(ann, "a question to all");
  await bob.until(`document.querySelector("#comments .reply")`);
  const label = `document.querySelector("#comments .reply").getAttribute("aria-label")`;
  assert.equal(await bob.value(label), "Reply to ann");
  await bob.click("#comments .reply");
  const target = `document.getElementById("replying-to").textContent`;
  assert.match(await bob.value(target), /^Reply to.*ann.*a question to all$/);
  await write(bob, "an answer to it");
  assert.equal(await bob.value(target), "");
  for (const page of [ann, bob, desk, overlay]) {
    await page.until(`${shows("an answer to it")} && ${quotes("a question to all")}`);
  }
  // Keys choose the comment, from the newest back.
  await ann.value(`document.getElementById("message").focus()`);
  await ann.press("ArrowUp");
  assert.match(await ann.value(target), /bob.*an answer to it/);
  await ann.press("ArrowUp");
  assert.match(await ann.value(target), /ann.*a question to all/);
  await ann.press("Escape");
  assert.equal(await ann.value(target), "");
  // A comment that is loaded later is quoted then.
  const parent = await ann.value(`(() => {
    const { chat, view } = liveComments;
    const [parent] = chat.timeline.comments;
    chat.timeline.remove(parent.comment_id);
    view.list.refresh();
    return parent;
  })()`);
  await ann.until(quotes("an earlier comment"));
  await ann.value(`liveComments.chat.timeline.add([${JSON.stringify(parent)}])`);
  await ann.until(quotes("a question to all"));
}

/**
 * Selects a comment of the desk from the newest back, and presses a key on it.
 *
 * @param {ChromiumPage} desk
 * @param {string} text
 * @param {string} key
 */
async function actOn(desk, text, key) {
  const selected = `document.querySelector("#comments [aria-selected=true] > .text")?.textContent`;
  await desk.press("Escape");
  for (let tries = 0; (await desk.value(selected)) !== text; tries += 1) {
    assert.ok(tries < 10, `${text} cannot be selected`);
    await desk.press("k");
  }
  await desk.press(key);
  await desk.until(`/done/.test(${LAST_ACT})`);
}

/**
 * @param {Stage} stage
 * @param {Pages} pages
 */
async function pins(stage, { ann, bob, desk, overlay }) {
  const text = "a question to all";
  const isPinned = `${PINNED} && document.getElementById("pinned").innerText.includes("${text}")`;
  await actOn(desk, text, "i");
  for (const page of [ann, bob, desk]) await page.until(isPinned);
  assert.match(await ann.value(`document.getElementById("news").textContent`), /Pinned: ann/);
  const late = await stage.open("stream", null, { transport: transportOfEnvironment() });
  await late.until(isPinned);
  await stage.picture(bob, "pinned");
  await desk.press("u");
  for (const page of [ann, late]) await page.until(`!(${PINNED})`);
  // From the card, and down again from the banner.
  await desk.press("Enter");
  const press = (/** @type {string} */ label) => {
    return desk.value(`[...document.querySelectorAll("#card-acts button")]
      .find((it) => it.textContent === "${label}").click()`);
  };
  await press("Pin");
  await desk.until(isPinned);
  await desk.click("#unpin");
  for (const page of [desk, ann, late]) await page.until(`!(${PINNED})`);
  await press("Reply");
  const target = `document.getElementById("replying-to").textContent`;
  assert.match(await desk.value(target), /a question to all/);
  await desk.press("Escape");
  await press("Pin");
  for (const page of [ann, bob, desk, late]) await page.until(isPinned);
  // What a comment said goes with it, wherever it was repeated.
  await bob.click("#comments .reply");
  await actOn(desk, text, "d");
  for (const page of [ann, bob, late, desk]) {
    await page.until(`!(${PINNED}) && ${quotes("an earlier comment")}`);
  }
  await overlay.until(`!document.querySelector("#comments .answers")`);
  assert.match(await bob.value(`document.getElementById("notice").textContent`), /was deleted/);
  for (const page of [ann, bob, late, overlay]) {
    await page.until(`!document.body.textContent.includes("${text}")`);
  }
  await late.close();
}

/** @param {number} option Counted from 1. */
function optionOf(option) {
  return `#poll-options li:nth-child(${option}) button`;
}

/**
 * @param {number} option Counted from 1.
 * @param {string} name
 */
function attribute(option, name) {
  return `document.querySelector("${optionOf(option)}").getAttribute("aria-${name}")`;
}

/**
 * @param {Stage} stage
 * @param {Pages} pages
 */
async function votes(stage, { ann, bob, desk }) {
  await desk.value(`(() => {
    const set = (id, value) => (document.getElementById(id).value = value);
    set("poll-question", "Who wins?");
    set("poll-lines", "red\\nblue\\n");
    set("poll-minutes", "2");
    document.getElementById("poll-form").requestSubmit();
  })()`);
  for (const page of [ann, bob, desk]) await page.until(POLL);
  const pollId = await ann.value("liveComments.chat.poll.poll_id");
  const vote = async (/** @type {string} */ name, /** @type {number} */ option) => {
    const { status } = await stage.request(name, `/polls/${pollId}/votes`, { option });
    assert.equal(status, 204);
  };
  // With the keyboard, and time passes.
  await ann.value(`document.querySelector("#poll summary").focus()`);
  await ann.press("Tab");
  await ann.press("Tab");
  const focused = `document.activeElement === document.querySelector("${optionOf(2)}")`;
  assert.ok(await ann.value(focused));
  const left = `document.getElementById("poll-left").textContent`;
  const before = await ann.value(left);
  await vote("cid", 0);
  await ann.until(`${VOTES} === "1 vote" && ${left} !== "${before}"`);
  assert.ok(await ann.value(focused));
  await ann.press("Enter");
  await ann.until(`${attribute(2, "pressed")} === "true" && ${VOTES} === "2 votes"`);
  assert.ok(await ann.value(focused));
  // With a slow hand, and the numbers change under it.
  await bob.until(`${VOTES} === "2 votes"`);
  await bob.hold(optionOf(1), async () => {
    await vote("dan", 0);
    await bob.until(`${VOTES} === "3 votes"`);
  });
  await bob.until(`${attribute(1, "pressed")} === "true" && ${VOTES} === "4 votes"`);
  await votesOnce(stage);
  await votesWithWrongClocks(stage, ann);
  await desk.click("#poll-close");
  for (const page of [ann, bob, desk]) await page.until(`${left} === "closed"`);
  const result = /red3 · 43 %.*blue4 · 57 %/;
  assert.match(await ann.value(`document.getElementById("poll-options").textContent`), result);
  const opacity = `getComputedStyle(document.querySelector("${optionOf(1)}")).opacity`;
  assert.equal(await ann.value(opacity), "1");
  await stage.picture(bob, "poll");
  const said = `document.getElementById("news").textContent`;
  assert.match(await bob.value(said), /You voted for: red\.The poll has closed\..*red: 3, blue: 4/);
}

/**
 * A vote is of the user, not of the page.
 *
 * @param {Stage} stage
 */
async function votesOnce(stage) {
  const page = await stage.open("stream", "ann", { transport: transportOfEnvironment() });
  await page.until(POLL);
  assert.equal(await page.value(attribute(1, "disabled")), "false");
  await page.click(optionOf(1));
  await page.until(`/already/.test(document.getElementById("poll-problem").textContent)`);
  assert.equal(await page.value(attribute(1, "disabled")), "true");
  assert.equal(await page.value(attribute(1, "pressed")), "false");
  await page.click("#leave");
  await page.until(`liveComments.chat.state === "open" && liveComments.chat.user === null`);
  assert.equal(await page.value(`document.getElementById("poll-problem").textContent`), "");
  const token = JSON.stringify(await stage.token("gil"));
  await page.value(`document.getElementById("token").value = ${token};
    document.getElementById("sign-in").requestSubmit()`);
  await page.until(`liveComments.chat.user?.name === "gil"`);
  assert.equal(await page.value(attribute(2, "disabled")), "false");
  await page.click(optionOf(2));
  await page.until(`${attribute(2, "pressed")} === "true" && ${VOTES} === "5 votes"`);
  await page.close();
}

/**
 * Whether a poll is open is for the server to say. One page at a time: a browser has six
 * connections to a host.
 *
 * @param {Stage} stage
 * @param {ChromiumPage} watcher
 */
async function votesWithWrongClocks(stage, watcher) {
  const transport = transportOfEnvironment();
  let votes = 5;
  for (const [name, clockMs] of /** @type {[string, number][]} */ ([
    ["eve", 600_000],
    ["fay", -600_000],
  ])) {
    const page = await stage.open("stream", name, { transport, clockMs });
    await page.until(POLL);
    await page.click(optionOf(2));
    await page.until(`${attribute(2, "pressed")} === "true"`);
    votes += 1;
    await watcher.until(`${VOTES} === "${votes} votes"`);
    await page.close();
  }
}

/**
 * @param {Stage} stage
 * @param {Pages} pages
 */
async function keepsMessages(stage, { ann, bob, desk }) {
  const transport = transportOfEnvironment();
  const send = async (/** @type {string} */ author, /** @type {string} */ text) => {
    await desk.value(`[...document.querySelectorAll("#comments .comment")]
      .find((it) => it.querySelector(".name").textContent === "${author}").click()`);
    await desk.value(`document.getElementById("card-message").value = "${text}";
      document.getElementById("card-send").requestSubmit()`);
    await desk.until(`${LAST_ACT}.includes("${text}") && /done/.test(${LAST_ACT})`);
    return desk.value(LAST_ACT);
  };
  // A poller counts as connected for 45 s after its last poll: one that never was is away at once.
  const away = transport === "polling" ? "hal" : "ann";
  await stage.comment(away, "I am off");
  await desk.until(shows("I am off"));
  if (away === "ann") {
    await ann.value("liveComments.chat.close()");
    await desk.until(`liveComments.chat.viewers === 3`);
  }
  assert.match(await send(away, "while you were away"), /kept/);
  const page = away === "ann" ? ann : await stage.open("stream", away, { transport });
  const come = async (back = page) => {
    await back.value("liveComments.chat.connect()");
    await back.until(`liveComments.chat.state === "open"`);
  };
  const rows = `[...document.querySelectorAll("#messages li")].map((it) => it.textContent)`;
  const isThere = `${rows}.length === 1 && ${rows}[0].includes("while you were away")`;
  await come();
  await page.until(`${MESSAGES} && ${isThere}`);
  const said = `document.getElementById("news").textContent.split("while you were away").length`;
  assert.equal(await page.value(said), 2);
  await stage.picture(page, "messages");
  // Not dismissed, not forgotten: shown once all the same.
  await page.value("liveComments.chat.close()");
  await come();
  assert.equal((await page.value("liveComments.chat.messages()")).length, 1);
  assert.ok(await page.value(`${MESSAGES} && ${isThere}`));
  await page.click("#messages-dismiss");
  assert.ok(await page.value(`!(${MESSAGES})`));
  while ((await page.value("liveComments.chat.messages()")).length > 0);
  // One that comes at once is kept too, and is shown once.
  await send("bob", "to you alone");
  await bob.until(`${MESSAGES} && ${rows}[0].includes("to you alone")`);
  await bob.value("liveComments.chat.close()");
  await come(bob);
  assert.equal((await bob.value("liveComments.chat.messages()")).length, 1);
  assert.equal(await bob.value(`${rows}.length`), 1);
  assert.match((await bob.value(rows))[0], /from the team/);
  // Who signs out leaves it to nobody.
  await bob.click("#leave");
  await bob.until(`!(${MESSAGES}) && !document.body.textContent.includes("to you alone")`);
}
