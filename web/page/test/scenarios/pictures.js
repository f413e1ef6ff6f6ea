/** @import { Stage } from "../stage.js" */

import { LiveComments } from "../../../client/index.js";
import { shows } from "../stage.js";

/** @type {[string, string, ("viewer" | "moderator" | "broadcaster")?][]} */
const SAID = [
  ["Studio", "We are live! Kick-off in five minutes.", "broadcaster"],
  ["Nils", "finally 🎉"],
  ["Zoë", "Hello from Lisbon 👋"],
  ["Léa", "Allez, on y croit 💪"],
  ["Mia", "Welcome everybody, and be kind to each other.", "moderator"],
  ["Ólafur", "anyone else on the train, watching on a phone with one bar of signal?"],
  ["مريم", "بالتوفيق للجميع"],
  ["Nils", "@Ólafur same here, it falls back to polling and still keeps up"],
  ["Priya", "what a save!!"],
  ["Zoë", "the keeper is on fire tonight 🔥🔥"],
  ["Jonas", "replay please"],
  ["Priya", "2–1 💥💥💥"],
  ["Studio", "Slow-motion replay is coming up.", "broadcaster"],
  ["Νίκος", "πάμε!"],
  ["Jonas", "I did not see that coming, and I have watched this team for twenty years."],
  ["Spam4U", "FREE TICKETS at my page"],
  ["Nils", "goal!"],
  ["Zoë", "GOAL ⚽⚽⚽"],
];

/**
 * A user may react ten times per second.
 *
 * @type {[string, number][]}
 */
const REACTIONS = [
  ["fire", 5],
  ["heart", 2],
  ["goal", 3],
];

/**
 * Takes the pictures of the documents.
 *
 * @param {Stage} stage
 */
export async function pictures(stage) {
  const moderator = new LiveComments(stage.site, 1, {
    token: await stage.token("Mia", "moderator"),
  });
  await moderator.moderation.patchTerms({ add: [{ term: "free tickets", action: "flag" }] });
  const scale = 1.5;
  const viewer = await stage.open("stream", "Priya", { width: 640, height: 720, scale });
  for (const [name, message, role] of SAID) await stage.comment(name, message, role);
  for (const [kind, times] of REACTIONS) {
    const react = `for (let i = 0; i < ${times}; i += 1) liveComments.chat.react("${kind}")`;
    await viewer.value(react);
  }
  for (const [kind, times] of REACTIONS) {
    await viewer.until(`liveComments.chat.reactions.${kind} === ${times}`);
  }
  const last = "GOAL ⚽⚽⚽";
  await viewer.until(shows(last));
  await stage.picture(viewer, "viewer.webp");

  const desk = await stage.open("moderate", "Mia", {
    role: "moderator",
    width: 1280,
    height: 720,
    scale,
  });
  await desk.until(shows(last));
  await desk.until(`document.getElementById("queue-count").textContent === "1"`);
  await desk.press("j");
  for (let row = 0; row < 2; row += 1) await desk.press("k");
  await desk.press("Enter");
  await desk.until(`!document.getElementById("card-said").hidden`);
  await stage.picture(desk, "desk.webp");

  const overlay = await stage.open("overlay", null, {
    query: "?size=26&lines=8&back=00000080",
    width: 900,
    height: 420,
    dark: true,
    scale,
  });
  await overlay.call("Emulation.setDefaultBackgroundColorOverride", {
    color: { r: 22, g: 78, b: 58, a: 1 },
  });
  await overlay.until(shows(last));
  await stage.picture(overlay, "overlay.webp");
}
