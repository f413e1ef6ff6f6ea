//! Errors of operations, and the stable code of each.

use crate::daemon::engines::StoreError;
use crate::daemon::engines::bus::BusError;
use crate::daemon::engines::eventlog::LogError;
use crate::daemon::engines::registry::RegistryError;
use crate::protocol::admin::MAX_SAVED_VIEWS;
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::events::Decision;
use crate::protocol::printable::printable;
use crate::protocol::quantity::show_duration;
use crate::protocol::{CommentId, ErrorCode, NodeId, Role, StreamId, UserId};

/// Nodes that an error lists.
const LISTED_NODES: usize = 20;

#[derive(Debug, Clone, thiserror::Error)]
pub enum ControlError {
    #[error("`{field}` {problem}")]
    Invalid { field: &'static str, problem: String },
    #[error("`user` {0}")]
    BadUser(String),
    #[error(
        "nobody named `{0}` has connected or commented here; a name is known about a second after \
         that, or name the user by number, such as 42"
    )]
    UnknownUser(String),
    #[error(
        "no user with the id {0} has connected or commented here; an id is known about a second \
         after that"
    )]
    UnknownUserId(UserId),
    #[error("there is no node `{}`; {}", shown(.node), listed(.known))]
    UnknownNode { node: NodeId, known: Vec<NodeId> },
    #[error("stream {0} does not exist; the list of streams has those that do")]
    UnknownStream(StreamId),
    #[error("stream {0} exists already, or was deleted: its id is not given again")]
    StreamExists(StreamId),
    #[error(
        "no comment {0}: it is neither in the store nor among the latest of the log (one that is \
         held for review is not published yet: reject it instead)"
    )]
    UnknownComment(CommentId),
    #[error("comment {comment_id} is not one of stream {stream_id}")]
    OfOtherStream { comment_id: CommentId, stream_id: StreamId },
    #[error("comment {0} is not deleted")]
    NotDeleted(CommentId),
    #[error("comment {0} is deleted or hidden already")]
    AlreadyHidden(CommentId),
    #[error(
        "comment {0} is not hidden from others by a decision: it is shown, or deleted, or was never \
         shown to others"
    )]
    NotHidden(CommentId),
    #[error(
        "the event log does not have the deletion of comment {0} yet, and would carry it out later: \
         take it back once the log has it"
    )]
    DeletionPending(CommentId),
    #[error("user {user_id} wrote nothing in the last {last} {within} that is not deleted already")]
    NoComments { user_id: UserId, within: String, last: String },
    #[error(
        "nothing was said in stream {stream_id} in the last {last} that is not deleted already"
    )]
    NothingToClear { stream_id: StreamId, last: String },
    #[error("comment {0} is not in the review queue; it never was")]
    NotQueued(CommentId),
    #[error(
        "comment {comment_id} is claimed by {by} for another {}; the claim may be renewed until it \
         is decided",
        show_duration(*.left_ms)
    )]
    Claimed { comment_id: CommentId, by: String, left_ms: u64 },
    #[error(
        "comment {comment_id} was {} by {by} {} ago; it is decided once",
        verdict(*.decision), show_duration(*.ago_ms)
    )]
    Decided { comment_id: CommentId, decision: Decision, by: String, ago_ms: u64 },
    #[error("comment {0} is not decided: it waits for review")]
    NotDecided(CommentId),
    #[error("the author of comment {0} is banned or timed out")]
    AuthorSanctioned(CommentId),
    #[error("there is no audit entry {0}; lc audit lists those there are")]
    UnknownAudit(u64),
    #[error("audit entry {audit_id} is not undone: {why}")]
    NotUndoable { audit_id: u64, why: String },
    #[error("audit entry {audit_id} is not about stream {stream_id}")]
    EntryOfOtherStream { audit_id: u64, stream_id: StreamId },
    #[error(
        "audit entry {audit_id} is a change (`{action}`) that moderators of a stream do not make: \
         an operator takes it back, or a moderator of all streams if it is a ban or timeout"
    )]
    EntryOfOperators { audit_id: u64, action: String },
    #[error("there is no alert `{0}`; it may be over already")]
    UnknownAlert(String),
    #[error("there is no dead letter `{0}` among the newest; the list of dead letters has them")]
    UnknownDeadLetter(String),
    #[error("there is no saved view `{0}`; the list of views has those there are")]
    UnknownView(String),
    #[error("{MAX_SAVED_VIEWS} views are saved, which is the most; forget one first")]
    TooManyViews,
    #[error("no comment is pinned in stream {0}")]
    NothingPinned(StreamId),
    #[error("a poll is open in stream {0} already; close it first")]
    PollOpen(StreamId),
    #[error("no poll is open in stream {0}")]
    NoPollOpen(StreamId),
    #[error("user {0} is neither banned nor timed out")]
    NotSanctioned(UserId),
    #[error(
        "user {user_id} is not banned or timed out there, but on all streams: {stays}; a role on all \
         streams lifts that, with no stream named"
    )]
    SanctionedEverywhere { user_id: UserId, stays: String },
    #[error(
        "user {user_id} is banned or timed out on other streams only: {stays}; name the stream to \
         lift that"
    )]
    SanctionedElsewhere { user_id: UserId, stays: String },
    #[error(
        "your role {role} is one of stream {stream_id}: what you do there holds there; leave out \
         `scope`, or make it `stream`"
    )]
    RoleOfOneStream { stream_id: StreamId, role: Role },
    #[error(
        "{user} does not watch stream {stream_id}, and wrote nothing there in the last day: your \
         role is one of this stream, and reaches its users only"
    )]
    NotInStream { user: String, stream_id: StreamId },
    #[error("user {0} is not shadowed")]
    NotShadowed(UserId),
    #[error("user {0} is shadowed on all streams, and not on this one: an operator lifts that")]
    ShadowedEverywhere(UserId),
    #[error("user {user_id} was given no role on stream {stream_id}; one of its token stays")]
    NoRoleGiven { user_id: UserId, stream_id: StreamId },
    #[error("user {0} has no points; there is nothing to forgive")]
    NothingToForgive(UserId),
    #[error(
        "user {user_id} may not even watch: {ban} stays, and nothing was changed; an unban lifts it"
    )]
    StaysBanned { user_id: UserId, ban: String },
    #[error("{user} has the role {role}: name this user alone, or set `include_moderators`")]
    ModeratorLeftOut { user: String, role: Role },
    #[error("you are {user} yourself: moderators do not act against themselves")]
    OwnUser { user: String },
    #[error("you are {user} yourself: a message goes to another user")]
    MessageToSelf { user: String },
    #[error("{user} has the role {role}: only a higher role may do this, and yours is {own}")]
    NotHigherRole { user: String, role: Role, own: Role },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(
        "recorded as audit entry {audit_id}, and carried out as soon as the event log accepts it: \
         {cause}"
    )]
    Deferred { audit_id: u64, cause: LogError },
    #[error(transparent)]
    Bus(#[from] BusError),
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("{}", .0.message)]
    Mint(ErrorBody),
}

impl ControlError {
    /// Returns the error as it is answered over HTTP and on the admin socket. This is the only
    /// conversion of store, log, bus and registry errors into error codes.
    pub fn body(&self) -> ErrorBody {
        if let Self::Mint(body) = self {
            return body.clone();
        }
        let code = self.code();
        let body = ErrorBody::new(code, self.to_string());
        if let Self::Claimed { left_ms, .. } = self {
            return body.retry_after_ms(*left_ms);
        }
        if code.http_status() == 503 { body.retry_after_ms(RETRY_AFTER_MS) } else { body }
    }

    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid { .. } => ErrorCode::BadMessage,
            Self::BadUser(_)
            | Self::NotUndoable { .. }
            | Self::NotDeleted(_)
            | Self::AlreadyHidden(_)
            | Self::NotHidden(_)
            | Self::NotDecided(_)
            | Self::AuthorSanctioned(_)
            | Self::StaysBanned { .. }
            | Self::ModeratorLeftOut { .. }
            | Self::MessageToSelf { .. }
            | Self::TooManyViews => ErrorCode::BadRequest,
            Self::OwnUser { .. }
            | Self::NotHigherRole { .. }
            | Self::EntryOfOperators { .. }
            | Self::RoleOfOneStream { .. }
            | Self::NotInStream { .. }
            | Self::SanctionedEverywhere { .. }
            | Self::ShadowedEverywhere(_) => ErrorCode::Forbidden,
            Self::Claimed { .. } => ErrorCode::ReviewClaimed,
            Self::Decided { .. } => ErrorCode::ReviewDecided,
            Self::UnknownStream(_) => ErrorCode::UnknownStream,
            Self::StreamExists(_) => ErrorCode::StreamExists,
            Self::PollOpen(_) => ErrorCode::PollOpen,
            Self::UnknownUser(_)
            | Self::UnknownUserId(_)
            | Self::UnknownNode { .. }
            | Self::UnknownComment(_)
            | Self::OfOtherStream { .. }
            | Self::EntryOfOtherStream { .. }
            | Self::NoComments { .. }
            | Self::NothingToClear { .. }
            | Self::NotQueued(_)
            | Self::UnknownAlert(_)
            | Self::UnknownDeadLetter(_)
            | Self::UnknownAudit(_)
            | Self::UnknownView(_)
            | Self::NothingPinned(_)
            | Self::NoPollOpen(_)
            | Self::NotSanctioned(_)
            | Self::SanctionedElsewhere { .. }
            | Self::NotShadowed(_)
            | Self::NoRoleGiven { .. }
            | Self::NothingToForgive(_) => ErrorCode::NotFound,
            Self::Store(error) => store_code(error),
            Self::Log(error) | Self::Deferred { cause: error, .. } => log_code(error),
            Self::DeletionPending(_) => ErrorCode::LogUnavailable,
            Self::Bus(BusError::Unavailable(_)) => ErrorCode::StoreUnavailable,
            Self::Bus(BusError::Closed) => ErrorCode::ShuttingDown,
            Self::Registry(RegistryError::TooManyConnections(_)) => ErrorCode::TooManyConnections,
            Self::Registry(_) => ErrorCode::StoreUnavailable,
            Self::Mint(body) => body.code,
        }
    }
}

/// Writes what an operator typed, as far as a name may be long.
fn shown(node: &NodeId) -> String {
    let text: String = node.as_str().chars().take(100).collect();
    printable(&text)
}

fn listed(known: &[NodeId]) -> String {
    let names: Vec<_> = known.iter().take(LISTED_NODES).map(NodeId::as_str).collect();
    let more = match known.len().saturating_sub(LISTED_NODES) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match known {
        [one] => format!("the only node is {one}"),
        _ => format!("the nodes are {}{more}", names.join(", ")),
    }
}

fn verdict(decision: Decision) -> &'static str {
    match decision {
        Decision::Accept => "approved",
        Decision::Reject => "rejected",
        Decision::ShadowBan => "hidden from all but its sender",
        Decision::Flag => "flagged",
    }
}

fn store_code(error: &StoreError) -> ErrorCode {
    match error {
        StoreError::Unavailable(_) | StoreError::Incomplete(_) => ErrorCode::StoreUnavailable,
        StoreError::NotFound(_) | StoreError::NotATerm(_) => ErrorCode::NotFound,
        // Only streams have an id that the request chooses.
        StoreError::Exists(_) => ErrorCode::StreamExists,
        StoreError::Full(_) => ErrorCode::BadRequest,
        StoreError::Corrupt(_) => ErrorCode::Internal,
    }
}

fn log_code(error: &LogError) -> ErrorCode {
    match error {
        LogError::Full(_) => ErrorCode::StorageFull,
        LogError::Unavailable(_) => ErrorCode::LogUnavailable,
        LogError::TooLarge { .. } => ErrorCode::TooLarge,
        LogError::Expired { .. } => ErrorCode::NotFound,
        LogError::Corrupt(_) => ErrorCode::Internal,
        LogError::Closed => ErrorCode::ShuttingDown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temporary_failures_are_retryable() {
        let down = ControlError::Store(StoreError::Unavailable("disk".to_owned())).body();
        assert_eq!(down.code, ErrorCode::StoreUnavailable);
        assert!(down.code.retry() && down.retry_after_ms.is_some());
        let full = ControlError::Log(LogError::Full("/".to_owned())).body();
        assert_eq!(full.code, ErrorCode::StorageFull);
        let node = NodeId::new("x");
        let known = (1..=22).map(|number| NodeId::new(&format!("n{number}"))).collect();
        let unknown = ControlError::UnknownNode { node, known }.body();
        assert!(unknown.message.starts_with("there is no node `x`; the nodes are n1, n2"));
        assert!(unknown.message.ends_with("n20 and 2 more"), "{}", unknown.message);
        let twice = ControlError::StreamExists(StreamId(7)).body();
        assert!(!twice.code.retry() && twice.message.contains('7'));
    }
}
