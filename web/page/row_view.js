/** @import { Comment, User } from "../client/index.js" */
/** @import { NoteRow, OutgoingRow, StreamRow } from "./rows.js" */

import { commentParts, commentRow } from "./comment_view.js";
import { button, element } from "./dom.js";

/**
 * @typedef {object} RowActions
 * @property {(row: NoteRow) => Promise<void>} fillGap
 * @property {(row: OutgoingRow) => void} sendAgain
 * @property {(row: OutgoingRow) => void} discard
 * @property {(commentId: string) => Comment | undefined} parentOf
 * @property {((row: Comment) => void) | null} reply Null: rows have no button for it.
 */

/**
 * Makes the element of a row.
 *
 * @param {StreamRow} row
 * @param {User | null} user This viewer.
 * @param {RowActions} actions
 * @returns {HTMLElement}
 */
export function rowElement(row, user, actions) {
  if ("comment_id" in row) return commentElement(row, user, actions);
  if (row.kind === "outgoing") return outgoingElement(row, user, actions);
  const text = element("span", "text", row.text);
  text.dir = "auto";
  const made = element("li", row.kind === "gap" ? "note" : row.kind, text);
  if (row.kind === "gap") made.append(" ", fillButton(row, actions));
  return made;
}

/**
 * @param {NoteRow} row
 * @param {RowActions} actions
 */
function fillButton(row, { fillGap }) {
  let loading = false;
  const show = (/** @type {boolean} */ now) => {
    loading = now;
    // A button that is disabled would lose the focus.
    load.setAttribute("aria-disabled", String(now));
    load.textContent = now ? "Loading…" : "Load them";
  };
  const press = async () => {
    if (loading) return;
    show(true);
    await fillGap(row);
    show(false);
  };
  const load = button("Load them", () => void press(), "small");
  return load;
}

/**
 * @param {Comment} row
 * @param {User | null} user
 * @param {RowActions} actions
 */
function commentElement(row, user, { parentOf, reply }) {
  const parent = row.parent_id === undefined ? undefined : parentOf(row.parent_id);
  const made = commentRow(row, { mine: row.user_id === user?.user_id, parent });
  if (reply && user) {
    const answer = button("Reply", () => reply(row), "reply small");
    answer.setAttribute("aria-label", `Reply to ${row.name}`);
    // Keys choose a comment in the input, without a stop at each row.
    answer.tabIndex = -1;
    made.append(answer);
  }
  return made;
}

const MARKS = {
  pending: "sending…",
  acknowledged: "sent",
  shown: "",
  held: "waits for a moderator",
  failed: "not sent",
};

/**
 * @param {OutgoingRow} row
 * @param {User | null} user
 * @param {RowActions} actions
 */
function outgoingElement(row, user, actions) {
  const { message, state, sentAt, parent_id } = row.outgoing;
  const { user_id, name } = user ?? { user_id: "0", name: "you" };
  const mark = element("span", "mark", MARKS[state]);
  if (state === "failed") {
    mark.append(
      button("Try again", () => actions.sendAgain(row), "small"),
      button("Discard", () => actions.discard(row), "small"),
    );
  }
  if (state === "held") mark.append(button("Hide", () => actions.discard(row), "small"));
  const parent = parent_id === undefined ? undefined : actions.parentOf(parent_id);
  const own = { user_id, name, message, created_at: sentAt, parent_id };
  const parts = commentParts(own, { parent });
  return element("li", `comment mine ${state}`, ...parts, mark);
}
