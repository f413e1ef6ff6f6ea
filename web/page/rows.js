/** @import { Comment, Gap, LiveComments, Outgoing } from "../client/index.js" */

/**
 * A line between comments: a gap, or a fact about the stream.
 *
 * @typedef {object} NoteRow
 * @property {string} key
 * @property {"note" | "gap"} kind
 * @property {string} text
 * @property {number} afterSeq It comes after the comments up to this number.
 * @property {Gap} [gap]
 */

/**
 * A comment of this viewer that is not among those of the stream.
 *
 * @typedef {{key: string, kind: "outgoing", outgoing: Readonly<Outgoing>}} OutgoingRow
 */

/** @typedef {Comment | NoteRow | OutgoingRow} StreamRow */

const MOST_NOTES = 50;
const MOST_OUTGOING = 100;
const MOST_UNSENT = 5;

/** @typedef {{from_seq: number, to_seq: number}} SeqRange */

/** @param {StreamRow} row */
export function keyOf(row) {
  return "comment_id" in row ? row.comment_id : row.key;
}

/** The rows of a stream: its comments, notes between them, and what this viewer is sending. */
export class StreamRows {
  #chat;
  #changed;
  /** @type {NoteRow[]} */
  #notes = [];
  /** @type {Map<string, OutgoingRow>} */
  #outgoing = new Map();
  #count = 0;

  /**
   * @param {LiveComments} chat
   * @param {() => void} changed The rows are other ones.
   */
  constructor(chat, changed) {
    this.#chat = chat;
    this.#changed = changed;
    chat.timeline.on("change", changed);
    chat.on("outgoing", (outgoing) => this.#setOutgoing(outgoing));
    chat.on("deleted", ({ comment_id }) => this.#forgetDeleted(comment_id));
    chat.on("restart", ({ position }) => {
      this.#notes = this.#notes.filter(({ kind }) => kind !== "gap");
      this.addNote("note", "The stream's history was restarted.", position.seq);
    });
  }

  /**
   * Returns all rows, oldest first. Rows that have not changed are the same objects as before.
   *
   * @returns {StreamRow[]}
   */
  all() {
    const { comments } = this.#chat.timeline;
    const outgoing = [...this.#outgoing.values()].filter(({ outgoing: { comment_id } }) => {
      return comment_id === undefined || !this.#chat.timeline.has(comment_id);
    });
    return [...withNotes(comments, this.#notes), ...outgoing];
  }

  /**
   * Adds a line after what has arrived, or after a number.
   *
   * @param {NoteRow["kind"]} kind
   * @param {string} text
   * @param {number} [afterSeq]
   */
  addNote(kind, text, afterSeq = this.#chat.position?.seq ?? 0) {
    this.#add({ key: this.#nextKey(), kind, text, afterSeq });
  }

  /**
   * Adds a line for a gap, in the place of those for parts of it. A gap may be told again: if there
   * is a line for all of it, that one stays.
   *
   * @param {Gap} gap
   */
  addGap(gap) {
    if (this.#notes.some((note) => note.gap && includes(note.gap, gap))) return;
    this.#notes = this.#notes.filter((note) => !note.gap || !includes(gap, note.gap));
    const text = "Some comments were left out here.";
    this.#add({ key: this.#nextKey(), kind: "gap", text, afterSeq: gap.from_seq - 1, gap });
  }

  /**
   * Returns the lines for gaps that a range includes.
   *
   * @param {SeqRange} range
   */
  gapsIn(range) {
    return this.#notes.filter(({ gap }) => gap && includes(range, gap));
  }

  /**
   * Removes the line for the end of a stream whose history could not be read, now that comments
   * of it were read.
   *
   * @param {number} seq Of the newest of them.
   */
  removeUnreadEnd(seq) {
    const isUnreadEnd = (/** @type {Gap} */ { from_seq, to_seq }) => {
      return to_seq === Number.MAX_SAFE_INTEGER && from_seq <= seq;
    };
    for (const note of this.#notes) if (note.gap && isUnreadEnd(note.gap)) this.remove(note);
  }

  /**
   * Removes a note, or an own comment that was not sent.
   *
   * @param {NoteRow | OutgoingRow} row
   */
  remove(row) {
    this.#notes = this.#notes.filter((note) => note !== row);
    if (row.kind === "outgoing") this.#outgoing.delete(row.outgoing.ref);
    this.#changed();
  }

  /** Forgets the comments of a user that has signed out. */
  forgetOutgoing() {
    this.#outgoing.clear();
    this.#changed();
  }

  #nextKey() {
    this.#count += 1;
    return `note-${this.#count}`;
  }

  /** @param {NoteRow} note */
  #add(note) {
    this.#notes.push(note);
    if (this.#notes.length > MOST_NOTES) this.#notes.shift();
    this.#notes.sort((one, other) => one.afterSeq - other.afterSeq);
    this.#changed();
  }

  /** @param {Readonly<Outgoing>} outgoing */
  #setOutgoing(outgoing) {
    const { ref, state } = outgoing;
    if (state === "shown") this.#outgoing.delete(ref);
    else this.#outgoing.set(ref, { key: `own-${ref}`, kind: "outgoing", outgoing });
    const unsent = [...this.#outgoing.values()].filter(({ outgoing: { state: other } }) => {
      return other === "failed" || other === "held";
    });
    for (const row of unsent.slice(0, -MOST_UNSENT)) this.#outgoing.delete(row.outgoing.ref);
    for (const oldest of [...this.#outgoing.keys()].slice(0, -MOST_OUTGOING)) {
      this.#outgoing.delete(oldest);
    }
    this.#changed();
  }

  /** @param {string} commentId */
  #forgetDeleted(commentId) {
    for (const [ref, { outgoing }] of this.#outgoing) {
      if (outgoing.comment_id === commentId) this.#outgoing.delete(ref);
    }
    this.#changed();
  }
}

/**
 * Puts notes between the comments of the newest log, to which their numbers belong.
 *
 * @param {Comment[]} comments
 * @param {NoteRow[]} notes In the order of their numbers.
 * @returns {StreamRow[]}
 */
export function withNotes(comments, notes) {
  if (notes.length === 0) return comments;
  let next = comments.length;
  while (next > 1 && seqOf(comments, next - 2) < seqOf(comments, next - 1)) next -= 1;
  next = Math.max(0, next - 1);
  /** @type {StreamRow[]} */
  const rows = comments.slice(0, next);
  for (const note of notes) {
    const begin = next;
    while (next < comments.length && seqOf(comments, next) <= note.afterSeq) next += 1;
    for (const comment of comments.slice(begin, next)) rows.push(comment);
    rows.push(note);
  }
  for (const comment of comments.slice(next)) rows.push(comment);
  return rows;
}

/**
 * @param {Comment[]} comments
 * @param {number} index
 */
function seqOf(comments, index) {
  return comments[index]?.seq ?? 0;
}

/**
 * @param {SeqRange} outer
 * @param {SeqRange} inner
 */
function includes(outer, inner) {
  return outer.from_seq <= inner.from_seq && outer.to_seq >= inner.to_seq;
}
