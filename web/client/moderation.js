/** @import { StreamApi } from "./http.js" */
/** @import { ModerationActs, RoomPatch, RoomRules } from "./protocol.js" */

/**
 * The answer to an act, as far as it applies.
 *
 * @typedef {object} ActAnswer
 * @property {number} [audit_id]
 * @property {string} [user_id]
 * @property {string} [user_name]
 * @property {number} [expires_at] Time at which a timeout or ban ends.
 * @property {number} [deleted]
 * @property {number} [undone] Changes that were taken back.
 * @property {unknown[]} [left_out]
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
 * What a moderator may do on a stream, over HTTP. Every call rejects with a `LiveCommentsError`,
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
   * Lets a user watch but not comment, on all streams.
   *
   * @param {string} user
   * @param {Why & {durationMs?: number}} [options] 1 s to 30 d; absent: the room's shortest.
   */
  timeout(user, { durationMs, ...why } = {}) {
    return this.act("timeout", { user, duration_ms: durationMs, ...why });
  }

  /**
   * Keeps a user from connecting to any stream.
   *
   * @param {string} user
   * @param {Why & {durationMs?: number}} [options] Absent: for ever.
   */
  ban(user, { durationMs, ...why } = {}) {
    return this.act("ban", { user, duration_ms: durationMs, ...why });
  }

  /**
   * Ends the timeout and the ban of a user.
   *
   * @param {string} user
   * @param {Pick<Why, "note">} [why]
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
