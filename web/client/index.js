/**
 * Live comments in a page or in node. `LiveComments` is the client; the rest is for those who build
 * their own.
 *
 * @module
 */

/** @typedef {import("./client.js").ClientEvents} ClientEvents */
/** @typedef {import("./room_life.js").Schedule} Schedule */
/** @typedef {import("./room_life.js").StreamEvent} StreamEvent */
/** @typedef {import("./feed.js").CommentSource} CommentSource */
/** @typedef {import("./feed.js").Gap} Gap */
/** @typedef {import("./feed.js").OlderPage} OlderPage */
/** @typedef {import("./connection.js").ConnectionState} ConnectionState */
/** @typedef {import("./connection.js").StateChange} StateChange */
/** @typedef {import("./feed.js").GapCause} GapCause */
/** @typedef {import("./history.js").HistoryPage} HistoryPage */
/** @typedef {import("./moderation.js").ActAnswer} ActAnswer */
/** @typedef {import("./moderation.js").QueueItem} QueueItem */
/** @typedef {import("./moderation.js").Room} Room */
/** @typedef {import("./moderation.js").RoomTerm} RoomTerm */
/** @typedef {import("./moderation.js").TermsPatch} TermsPatch */
/** @typedef {import("./moderation.js").UserComment} UserComment */
/** @typedef {import("./moderation.js").UserCommentList} UserCommentList */
/** @typedef {import("./options.js").LiveCommentsOptions} LiveCommentsOptions */
/** @typedef {import("./outbox.js").Outgoing} Outgoing */
/** @typedef {import("./outbox.js").SendResult} SendResult */
/** @typedef {import("./replay.js").ReplayTimes} ReplayTimes */
/** @typedef {import("./protocol.js").Comment} Comment */
/** @typedef {import("./history.js").RepliesPage} RepliesPage */
/** @typedef {import("./protocol.js").KeptMessage} KeptMessage */
/** @typedef {import("./protocol.js").PinnedComment} PinnedComment */
/** @typedef {import("./protocol.js").Poll} Poll */
/** @typedef {import("./protocol.js").Position} Position */
/** @typedef {import("./protocol.js").RoomPatch} RoomPatch */
/** @typedef {import("./protocol.js").RoomRules} RoomRules */
/** @typedef {import("./protocol.js").ServerMessage} ServerMessage */
/** @typedef {import("./protocol.js").StreamState} StreamState */
/** @typedef {import("./protocol.js").User} User */
/** @typedef {import("./protocol.js").StreamInfo} StreamInfo */
/** @typedef {import("./token.js").TokenProvider} TokenProvider */
/** @typedef {import("./transports/transport.js").TransportName} TransportName */

export { LiveComments } from "./client.js";
export { LiveCommentsError } from "./errors.js";
export { History } from "./history.js";
export { Moderation } from "./moderation.js";
export { Replay } from "./replay.js";
export { Timeline } from "./timeline.js";
