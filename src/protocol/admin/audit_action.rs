//! The actions of the audit log. Undoing finds entries by them, and so do commands that look for
//! the last change of its kind.

pub const BAN: &str = "ban";
pub const TIMEOUT: &str = "timeout";
pub const UNBAN: &str = "unban";
/// Shows a user's new comments to nobody but the user.
pub const SHADOW: &str = "shadow";
pub const UNSHADOW: &str = "unshadow";
/// Hides a comment from all but its author.
pub const SHADOW_COMMENT: &str = "shadow_comment";
/// Takes back that a comment is hidden.
pub const UNSHADOW_COMMENT: &str = "unshadow_comment";
/// Gives a user a role on a stream.
pub const GRANT: &str = "grant";
pub const REVOKE: &str = "revoke";
/// Sets the points of a user to none.
pub const FORGIVE: &str = "forgive";
pub const KICK: &str = "kick";
pub const DM: &str = "dm";
pub const ANNOUNCE: &str = "announce";
pub const DELETE: &str = "delete";
/// Stands for the deletions of the comments of a user.
pub const DELETE_OF_USER: &str = "delete_of_user";
/// Takes back a deletion.
pub const RESTORE: &str = "restore";
pub const APPROVE: &str = "approve";
pub const REJECT: &str = "reject";
/// Publishes a held comment for its author only.
pub const HIDE: &str = "hide";
pub const THROTTLE: &str = "throttle";
pub const DRAIN: &str = "drain";
pub const CREATE_STREAM: &str = "create_stream";
pub const UPDATE_STREAM: &str = "update_stream";
pub const DELETE_STREAM: &str = "delete_stream";
/// The rules of a room.
pub const ROOM: &str = "room";
/// The blocked terms of a room.
pub const ROOM_TERMS: &str = "room_terms";
/// Stands for the deletions of the comments of a room.
pub const CLEAR_ROOM: &str = "clear_room";
/// A comment above the chat of a stream.
pub const PIN: &str = "pin";
pub const UNPIN: &str = "unpin";
/// A question to the viewers of a stream.
pub const OPEN_POLL: &str = "open_poll";
pub const CLOSE_POLL: &str = "close_poll";
/// Stands for the entries of several changes that were made as one.
pub const BATCH: &str = "batch";
/// Takes back what another entry records.
pub const UNDO: &str = "undo";
/// A loss is known.
pub const ACKNOWLEDGE: &str = "acknowledge";
pub const ACK_ALERT: &str = "ack_alert";
pub const REQUEUE_DEAD_LETTER: &str = "requeue_dead_letter";
pub const ACK_DEAD_LETTERS: &str = "ack_dead_letters";
/// Tokens of viewers.
pub const TOKEN: &str = "token";
pub const ADMIN_TOKEN: &str = "admin_token";
pub const SAVE_VIEW: &str = "save_view";
pub const FORGET_VIEW: &str = "forget_view";
