/** @import { StreamApi } from "./http.js" */
/** @import { ActScope, ModerationActs, RoomPatch, RoomRules } from "./protocol.js" */

/**
 * The answer to an act, as far as it applies.
 *
 * @typedef {object} ActAnswer
 * @property {number} [audit_id]
 * @property {string} [user_id]
 * @property {string} [user_name]
 * @property {string} [stream_id] The stream that a timeout or ban is about; absent: all.
 * @property {number} [expires_at] Time at which a timeout or ban ends.
 * @property {number} [poll_id] The poll that was opened or closed.
 * @property {number} [deleted]
 * @property {number} [undone] Changes that were taken back.
 * @property {unknown[]} [left_out]
 * @property {number} [connections] Connections that a message reached.
 * @property {boolean} [kept] The message reached none, and is kept until the user reads it.
 */

/**
 * @typedef {object} QueueItem
 * @property {string} comment_id
 * @property {string} user_id
 * @property {string} name
 * @property {string} message
 * @property {string} reason
 * @property {boolean} held Not shown until it is approved.
 */

/**
 * A comment of a user, also one that was deleted.
 *
 * @typedef {object} UserComment
 * @property {string} comment_id
 * @property {string} stream_id
 * @property {string} message
 * @property {number} created_at
 * @property {string} [removed] The reason why it was deleted, or is hidden from others.
 * @property {boolean} [shadowed] Only the user sees it.
 */

/**
 * The latest comments of a user on the stream.
 *
 * @typedef {object} UserCommentList
 * @property {string} user_id
 * @property {number} since The counts and comments are of this time up to now.
 * @property {number} said Comments the user wrote.
 * @property {number} removed How many of them were deleted, or hidden from others.
 * @property {UserComment[]} comments The newest first.
 */

/**
 * @typedef {object} Room
 * @property {string} stream_id
 * @property {string} title
 * @property {Record<string, unknown>} settings
 * @property {RoomRules} in_force
 */

/** @typedef {{term: string, action: "reject" | "shadow_ban" | "flag"}} RoomTerm */

/**
 * @typedef {object} TermsPatch
 * @property {{term: string, action?: RoomTerm["action"]}[]} [add]
 * @property {string[]} [remove]
 */

/** @typedef {{reason?: string, note?: string}} Why */

/**
 * The acts of a moderator on a stream, over HTTP. Every call rejects with a `LiveCommentsError`,
 * `forbidden` for other viewers. A `user` is a name, or an id as `id:42`. `reason` is shown; `note`
 * is for the audit log only.
 */
export class Moderation {
  #api;

  /** @param {StreamApi} api */
  constructor(api) {
    this.#api = api;
  }

  /**
   * Does an act by its name.
   *
   * @template {keyof ModerationActs} Act
   * @param {Act} act
   * @param {ModerationActs[Act]} fields
   * @returns {Promise<ActAnswer>}
   */
  act(act, fields) {
    return this.#api.request(`/moderation/${act}`, { method: "POST", body: fields });
  }

  /**
   * Deletes a comment of the stream.
   *
   * @param {string} commentId
   * @param {Why} [why] The reason is one word of a-z, 0-9 and _.
   */
  delete(commentId, why) {
    return this.act("delete", { comment_id: commentId, ...why });
  }

  /**
   * Deletes what a user wrote in the latest time (1 s to 1 d), at most 100 comments.
   *
   * @param {string} user
   * @param {number} lastMs
   * @param {Why} [why]
   */
  clearUser(user, lastMs, why) {
    return this.act("clear_user", { user, last_ms: lastMs, ...why });
  }

  /**
   * Deletes what was written in the latest time (1 s to 1 d), at most 1,000 comments.
   *
   * @param {number} lastMs
   * @param {Why} [why]
   */
  clearRoom(lastMs, why) {
    return this.act("clear_room", { last_ms: lastMs, ...why });
  }

  /**
   * Lets a user watch but not comment, on the streams of the moderator's role or those of `scope`.
   *
   * @param {string} user
   * @param {Why & {durationMs?: number, scope?: ActScope}} [options] 1 s to 30 d; absent: the
   *   room's shortest.
   */
  timeout(user, { durationMs, ...why } = {}) {
    return this.act("timeout", { user, duration_ms: durationMs, ...why });
  }

  /**
   * Keeps a user from connecting to the streams of the moderator's role, or those of `scope`.
   *
   * @param {string} user
   * @param {Why & {durationMs?: number, scope?: ActScope}} [options] Absent: for ever.
   */
  ban(user, { durationMs, ...why } = {}) {
    return this.act("ban", { user, duration_ms: durationMs, ...why });
  }

  /**
   * Ends timeouts and bans of a user: those on this stream, and on all if the role is for all; or
   * those of `scope`.
   *
   * @param {string} user
   * @param {Pick<Why, "note"> & {scope?: ActScope}} [why]
   */
  unban(user, why) {
    return this.act("unban", { user, ...why });
  }

  /**
   * Accepts a comment that waits for review.
   *
   * @param {string} commentId
   * @param {Pick<Why, "note">} [why]
   */
  approve(commentId, why) {
    return this.act("approve", { comment_id: commentId, ...why });
  }

  /**
   * Rejects a comment that waits for review.
   *
   * @param {string} commentId
   * @param {Why} [why]
   */
  reject(commentId, why) {
    return this.act("reject", { comment_id: commentId, ...why });
  }

  /**
   * Hides a comment from everybody but its author, who is told nothing.
   *
   * @param {string} commentId
   * @param {Pick<Why, "note">} [why]
   */
  shadowComment(commentId, why) {
    return this.act("shadow", { comment_id: commentId, ...why });
  }

  /**
   * Hides all new comments of a user on the stream from everybody else.
   *
   * @param {string} user
   * @param {Pick<Why, "note"> & {durationMs?: number}} [options] Absent: until `unshadowUser`.
   */
  shadowUser(user, { durationMs, ...why } = {}) {
    return this.act("shadow", { user, duration_ms: durationMs, ...why });
  }

  /**
   * Shows a comment that was hidden.
   *
   * @param {string} commentId
   * @param {Pick<Why, "note">} [why]
   */
  unshadowComment(commentId, why) {
    return this.act("unshadow", { comment_id: commentId, ...why });
  }

  /**
   * Shows new comments of a user again.
   *
   * @param {string} user
   * @param {Pick<Why, "note">} [why]
   */
  unshadowUser(user, why) {
    return this.act("unshadow", { user, ...why });
  }

  /**
   * Pins a comment above the chat, in place of another.
   *
   * @param {string} commentId
   * @param {Pick<Why, "note">} [why]
   */
  pin(commentId, why) {
    return this.act("pin", { comment_id: commentId, ...why });
  }

  /**
   * Takes the pinned comment down.
   *
   * @param {Pick<Why, "note">} [why]
   */
  unpin(why) {
    return this.act("unpin", { ...why });
  }

  /**
   * Opens a poll, which closes by itself after 10 s to 1 d.
   *
   * @param {string} question
   * @param {string[]} options 2 to 10.
   * @param {number} durationMs
   * @param {Pick<Why, "note">} [why]
   */
  openPoll(question, options, durationMs, why) {
    return this.act("open_poll", { question, options, duration_ms: durationMs, ...why });
  }

  /**
   * Closes the open poll before its time.
   *
   * @param {Pick<Why, "note">} [why]
   */
  closePoll(why) {
    return this.act("close_poll", { ...why });
  }

  /**
   * Sends a message to a user, which is kept until the user acknowledges it.
   *
   * @param {string} user
   * @param {string} message
   */
  message(user, message) {
    return this.act("message", { user, message });
  }

  /**
   * Takes back an act, or a change of the room or its terms.
   *
   * @param {number} auditId That of the answer to the act.
   * @param {Pick<Why, "note">} [why]
   */
  undo(auditId, why) {
    return this.act("undo", { audit_id: auditId, ...why });
  }

  /**
   * Returns the comments that wait for review, oldest first.
   *
   * @param {number} [limit]
   * @returns {Promise<QueueItem[]>}
   */
  async queue(limit) {
    /** @type {{items: QueueItem[]}} */
    const answer = await this.#api.request("/moderation/queue", { query: { limit } });
    return answer.items;
  }

  /**
   * Returns the comments that a user wrote on the stream in the last day, the newest first.
   *
   * @param {string} userId
   * @param {number} [limit] The most comments; absent: 100.
   * @returns {Promise<UserCommentList>}
   */
  commentsOf(userId, limit) {
    return this.#api.request(`/users/${encodeURIComponent(userId)}/comments`, { query: { limit } });
  }

  /**
   * Returns the room: its rules in force, and for moderators its settings.
   *
   * @returns {Promise<Room>}
   */
  room() {
    return this.#api.request("/room");
  }

  /**
   * Changes the room and returns it as it is then.
   *
   * @param {RoomPatch} patch
   * @returns {Promise<Room>}
   */
  patchRoom(patch) {
    return this.#api.request("/room", { method: "PATCH", body: patch });
  }

  /**
   * Returns the terms that are blocked in the room.
   *
   * @returns {Promise<RoomTerm[]>}
   */
  async terms() {
    /** @type {{terms: RoomTerm[]}} */
    const answer = await this.#api.request("/room/terms");
    return answer.terms;
  }

  /**
   * Adds and removes blocked terms. Returns all of them.
   *
   * @param {TermsPatch} patch
   * @returns {Promise<RoomTerm[]>}
   */
  async patchTerms(patch) {
    /** @type {{terms: RoomTerm[]}} */
    const answer = await this.#api.request("/room/terms", { method: "PATCH", body: patch });
    return answer.terms;
  }
}
