/** @import { Gap } from "./feed.js" */
/** @import { SeqRange } from "./position.js" */
/** @import { Comment } from "./protocol.js" */

/**
 * A piece of the stream, in its order. `unreadLog` is the range of another log before the number
 * at which the connection began.
 *
 * @typedef {{comments: Comment[]} | {gap: Gap} | {unreadLog: SeqRange}} Piece
 */

/**
 * Keeps what still arrives during a pause: what was on its way, and what a new connection sends
 * before it is paused. It keeps a bounded number of comments; beyond that, `admits` refuses and the
 * rest is asked for again at the end of the pause.
 */
export class PauseBuffer {
  /** @type {Piece[]} */
  #pieces = [];
  #size = 0;
  #limit;
  #full = false;
  #ignoring = false;

  /** @param {number} limit Comments to keep. */
  constructor(limit) {
    this.#limit = limit;
  }

  /** Whether anything was refused or ignored since the pause began. */
  get full() {
    return this.#full;
  }

  /** Whether everything is ignored from now on. */
  get ignoring() {
    return this.#ignoring;
  }

  /**
   * Ignores comments, and all that come after them: they are asked for again.
   *
   * @param {number} comments
   * @returns {boolean} False once so many came that receiving them is a waste.
   */
  ignore(comments) {
    this.#full = true;
    this.#ignoring = true;
    this.#size += comments;
    return this.#size <= this.#limit;
  }

  /**
   * Makes room for a piece with some comments. Nothing is taken after a refusal, so that what is
   * kept has no hole.
   *
   * @param {number} comments
   * @returns {boolean}
   */
  admits(comments) {
    this.#full ||= this.#size + comments + this.#pieces.length > this.#limit;
    return !this.#full;
  }

  /** @param {Piece} piece */
  push(piece) {
    this.#pieces.push(piece);
    if ("comments" in piece) this.#size += piece.comments.length;
  }

  /**
   * Removes a comment that was deleted meanwhile.
   *
   * @param {string} commentId
   */
  remove(commentId) {
    this.#pieces = this.#pieces.map((piece) => {
      if (!("comments" in piece)) return piece;
      return { comments: piece.comments.filter(({ comment_id }) => comment_id !== commentId) };
    });
  }

  /**
   * Ends the pause, or a part of it, and returns what was kept.
   *
   * @returns {Piece[]}
   */
  drain() {
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#size = 0;
    this.#full = false;
    this.#ignoring = false;
    return pieces;
  }
}
