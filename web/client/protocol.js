/**
 * Types of the viewer protocol, as docs/protocol.md describes it. Names of fields are those of the
 * wire. Times are milliseconds since the Unix epoch, fields that end in `_ms` are milliseconds.
 * Numbers that may exceed 2^53 (`stream_id`, `user_id`) are strings in every encoding: compare them
 * as strings.
 *
 * @module
 */

/**
 * A place in a stream: the log (`epoch`) and the newest sequence number seen in it.
 *
 * @typedef {object} Position
 * @property {number} epoch
 * @property {number} seq
 */

/** @typedef {"viewer" | "moderator" | "broadcaster" | "admin"} Role */

/** @typedef {"admin" | "broadcaster" | "moderator" | "subscriber"} Badge */

/**
 * @typedef {object} User
 * @property {string} user_id
 * @property {string} name
 * @property {Role} role On this stream.
 * @property {string} [avatar] Address of a picture.
 * @property {number} [comments_per_minute] Absent over MessagePack.
 * @property {{subscriber?: boolean, follower_since?: number}} [standing] Absent over MessagePack.
 */

/**
 * @typedef {object} Comment
 * @property {string} comment_id UUID in lower case.
 * @property {string} user_id
 * @property {string} name
 * @property {string} message
 * @property {number} created_at
 * @property {number} seq
 * @property {Badge[]} [badges] Absent: none.
 * @property {string} [parent_id] The comment that this one answers, which may be deleted. Absent:
 *   it is no reply.
 */

/**
 * The rules of the room that are in force. A rule that is off is absent.
 *
 * @typedef {object} RoomRules
 * @property {number} [slow_ms]
 * @property {number} [followers_ms]
 * @property {boolean} [subscribers_only]
 * @property {boolean} [emotes_only]
 * @property {number} [unique_ms]
 * @property {boolean} [no_links]
 */

/**
 * The comment that a moderator has pinned above the chat. It may be older than all that is loaded.
 *
 * @typedef {object} PinnedComment
 * @property {string} comment_id
 * @property {string} user_id
 * @property {string} name
 * @property {string} message
 * @property {number} created_at
 * @property {Badge[]} [badges] Absent: none.
 * @property {number} pinned_at
 */

/**
 * A question to the viewers, with its votes.
 *
 * @typedef {object} Poll
 * @property {number} poll_id
 * @property {string} question
 * @property {string[]} options
 * @property {number} opened_at
 * @property {number} closes_at
 * @property {boolean} [closed] Absent: it is open.
 * @property {number[]} votes In the order of the options.
 */

/**
 * @typedef {object} WelcomeMessage
 * @property {"welcome"} type
 * @property {string} stream_id
 * @property {User | null} user Null for an anonymous viewer.
 * @property {number} epoch
 * @property {number} seq
 * @property {number} sample_rate From 0 to 1.
 * @property {number} viewers
 * @property {RoomRules} [room] Absent: no rules.
 * @property {string[]} [reactions] Those that can be sent, in the order in which to offer them.
 *   Absent: none, or a server that does not tell.
 * @property {StreamState} [state] Absent: live.
 * @property {number} [starts_at] When a scheduled stream starts by itself.
 * @property {PinnedComment} [pinned] Absent: none is pinned.
 * @property {Poll} [poll] Absent: none is open.
 */

/** @typedef {"scheduled" | "live" | "ended"} StreamState */

/**
 * The event has changed.
 *
 * @typedef {object} StreamMessage
 * @property {"stream"} type
 * @property {StreamState} state
 * @property {string} title
 * @property {string} [description] Absent: none.
 * @property {number} [starts_at] Absent after the start.
 * @property {number} [started_at] Absent before the start.
 */

/**
 * @typedef {object} CommentsMessage
 * @property {"comments"} type
 * @property {number} epoch
 * @property {number} from_seq
 * @property {number} to_seq
 * @property {number} [sample_rate] Absent: 1.
 * @property {Comment[]} comments
 * @property {boolean} [echo] The viewer's own comment, outside the ranges. Absent: false.
 */

/**
 * @typedef {object} AckMessage
 * @property {"ack"} type
 * @property {string} [ref]
 * @property {string} comment_id
 * @property {number} seq
 */

/**
 * @typedef {object} ErrorMessage
 * @property {"error"} type
 * @property {string} code
 * @property {string} message For people.
 * @property {number} [retry_after_ms]
 * @property {string} [ref]
 */

/**
 * @typedef {object} CommentDeletedMessage
 * @property {"comment.deleted"} type
 * @property {string} comment_id
 * @property {string} reason
 * @property {number} timestamp
 */

/**
 * @typedef {object} ThrottleMessage
 * @property {"throttle_notification"} type
 * @property {number} sample_rate From 0 to 1.
 * @property {string} message
 */

/**
 * @typedef {object} ReactionsMessage
 * @property {"reactions_update"} type
 * @property {Record<string, number>} reactions Totals of those that changed.
 */

/**
 * @typedef {object} PresenceMessage
 * @property {"presence"} type
 * @property {number} viewers
 */

/** @typedef {{type: "room"} & RoomRules} RoomMessage */

/**
 * @typedef {object} PinnedMessage
 * @property {"pinned"} type
 * @property {PinnedComment | null} comment Null: none is pinned any longer.
 */

/** @typedef {{type: "poll"} & Poll} PollMessage A poll was opened or closed. */

/**
 * @typedef {object} PollVotesMessage
 * @property {"poll_votes"} type
 * @property {number} poll_id
 * @property {number[]} votes In the order of the options.
 */

/**
 * @typedef {object} VoteAckMessage
 * @property {"vote_ack"} type
 * @property {string} [ref]
 */

/**
 * @typedef {object} RoomAckMessage
 * @property {"room_ack"} type
 * @property {string} [ref]
 */

/**
 * @typedef {object} ModerateAckMessage
 * @property {"moderate_ack"} type
 * @property {string} [ref]
 */

/**
 * @typedef {object} DirectMessage
 * @property {"direct"} type
 * @property {string} from A name to show, not an account.
 * @property {string} message
 * @property {number} [message_id] The message is kept under it until it is acknowledged. Servers of
 *   earlier versions leave it out.
 * @property {string} [from_user] The sender, if it is another user. Absent for operators and
 *   moderators.
 */

/**
 * A direct message that this user has not acknowledged.
 *
 * @typedef {object} KeptMessage
 * @property {number} message_id Later messages have higher ones.
 * @property {string} from A name to show, not an account.
 * @property {string} [from_user] The sender, if it is another user. Absent for operators and
 *   moderators.
 * @property {string} message
 * @property {number} sent_at
 */

/**
 * @typedef {object} AnnouncementMessage
 * @property {"announcement"} type
 * @property {string} message
 */

/**
 * @typedef {object} GapMessage
 * @property {"gap"} type
 * @property {number} from_seq First number of the range that was skipped.
 * @property {number} to_seq Last number of it.
 * @property {string} [history] Path of the history, which has the range.
 */

/**
 * @typedef {object} ByeMessage
 * @property {"bye"} type
 * @property {string} code Name of the close code.
 * @property {number} [reconnect_after_ms] Absent: do not reconnect unchanged.
 */

/**
 * @typedef {object} PongMessage
 * @property {"pong"} type
 */

/**
 * A message that the server sends.
 *
 * @typedef {WelcomeMessage | CommentsMessage | AckMessage | ErrorMessage | CommentDeletedMessage
 *   | ThrottleMessage | ReactionsMessage | PresenceMessage | RoomMessage | PinnedMessage
 *   | PollMessage | PollVotesMessage | VoteAckMessage | RoomAckMessage | ModerateAckMessage
 *   | StreamMessage | DirectMessage | AnnouncementMessage | GapMessage | ByeMessage
 *   | PongMessage} ServerMessage
 */

/** @typedef {"stream" | "everywhere"} ActScope The streams that an act on a user is about. */

/**
 * The fields of an act of moderation. The name of the act is the key.
 *
 * @typedef {object} ModerationActs
 * @property {{comment_id: string, reason?: string, note?: string}} delete
 * @property {{user: string, last_ms: number, reason?: string, note?: string}} clear_user
 * @property {{last_ms: number, reason?: string, note?: string}} clear_room
 * @property {{user: string, scope?: ActScope, duration_ms?: number, reason?: string,
 *   note?: string}} timeout
 * @property {{user: string, scope?: ActScope, duration_ms?: number, reason?: string,
 *   note?: string}} ban
 * @property {{user: string, scope?: ActScope, note?: string}} unban
 * @property {{comment_id: string, note?: string}} approve
 * @property {{comment_id: string, reason?: string, note?: string}} reject
 * @property {{comment_id: string, note?: string}
 *   | {user: string, duration_ms?: number, note?: string}} shadow
 * @property {{comment_id: string, note?: string} | {user: string, note?: string}} unshadow
 * @property {{comment_id: string, note?: string}} pin
 * @property {{note?: string}} unpin
 * @property {{question: string, options: string[], duration_ms: number, note?: string}} open_poll
 * @property {{note?: string}} close_poll
 * @property {{user: string, message: string}} message
 * @property {{audit_id: number, note?: string}} undo
 */

/**
 * A change of a room. Null ends a rule that has a time, and allows all languages. Absent fields
 * stay as they are.
 *
 * @typedef {object} RoomPatch
 * @property {number | null} [slow_ms]
 * @property {number | null} [followers_ms]
 * @property {boolean} [subscribers_only]
 * @property {boolean} [emotes_only]
 * @property {number | null} [unique_ms]
 * @property {boolean} [no_links]
 * @property {boolean} [shield]
 * @property {number[]} [timeouts_ms]
 * @property {{allowed: string[], action?: "flag" | "reject"} | null} [languages]
 * @property {number | null} [delay_ms]
 * @property {RoomChecks} [checks]
 */

/**
 * @typedef {object} RoomChecks
 * @property {number | null} [deadline_ms]
 * @property {"pass" | "hold" | "refuse"} [late]
 * @property {"pass" | "hold"} [down]
 */

/**
 * A message that a viewer sends.
 *
 * @typedef {{type: "auth", token: string}
 *   | {type: "comment", message: string, ref?: string, parent_id?: string}
 *   | {type: "reaction", reaction: string}
 *   | {type: "vote", poll_id: number, option: number, ref?: string}
 *   | {type: "pause"}
 *   | {type: "resume", skip?: boolean}
 *   | {type: "ping"}
 *   | {type: "room", patch: RoomPatch, ref?: string}
 *   | {type: "moderate", act: Partial<ModerationActs>, ref?: string}} ClientMessage
 */

/**
 * @typedef {object} StreamInfo
 * @property {string} stream_id
 * @property {string} title
 * @property {string} [description] Absent: none.
 * @property {StreamState} state
 * @property {number} [starts_at] When a scheduled stream starts by itself, or was to start.
 * @property {number} [started_at] When it first went live.
 * @property {boolean} anonymous Whether viewers without a token are admitted.
 * @property {"async" | "sync" | "off"} moderation
 * @property {number} created_at
 * @property {number} [ended_at]
 * @property {Record<string, unknown>} [room] Settings of the room that the caller may see.
 * @property {PinnedComment} [pinned] Absent: none is pinned, or it is not for this caller.
 * @property {Omit<Poll, "votes">} [poll] The open poll. Absent: none is open, or it is not for this
 *   caller.
 */

/** @typedef {"json" | "msgpack"} Encoding */

/**
 * Tells whether a value is a message. Fields beyond the type are those that the server promises.
 *
 * @param {unknown} value
 * @returns {value is ServerMessage}
 */
export function isServerMessage(value) {
  return (
    typeof value === "object" && value !== null && "type" in value && typeof value.type === "string"
  );
}
