//! The roles that acts need, by the paths that they are posted to.

use super::action::Action;
use crate::protocol::admin::{AdminRole, needed_role};

/// Returns the least role that may do all of these actions.
pub(crate) fn role_for(actions: &[Action]) -> AdminRole {
    let roles = actions.iter().map(|action| needed_role(path(action)));
    roles.max().unwrap_or(AdminRole::Viewer)
}

fn path(action: &Action) -> &'static str {
    match action {
        Action::Ban(_) => "/v1/ban",
        Action::Timeout(_) => "/v1/timeout",
        Action::Kick(_) => "/v1/kick",
        Action::Unban(_) => "/v1/unban",
        Action::Shadow(_) => "/v1/shadow",
        Action::Unshadow(_) => "/v1/unshadow",
        Action::Room { .. } => "/v1/streams/{id}/room",
        Action::RoomTerms { .. } => "/v1/streams/{id}/room/terms",
        Action::ClearRoom { .. } => "/v1/streams/{id}/room/clear",
        Action::Throttle(_) => "/v1/throttle",
        Action::Announce(_) => "/v1/announce",
        Action::Direct(_) => "/v1/dm",
        Action::Delete(_) => "/v1/delete",
        Action::DeleteOfUser(_) => "/v1/delete_of_user",
        Action::Restore(_) => "/v1/mod/restore",
        Action::Approve(_) => "/v1/mod/approve",
        Action::Reject(_) => "/v1/mod/reject",
        Action::Claim(_) => "/v1/mod/claim",
        Action::Batch(_) => "/v1/batch",
        Action::SaveView(_) => "/v1/views",
        Action::ForgetView(_) => "/v1/views/forget",
        Action::Drain(_) => "/v1/drain",
        Action::Acknowledge(_) => "/v1/alerts/ack",
        Action::AcknowledgeLoss(_) => "/v1/acknowledge",
        Action::Undo(_) => "/v1/undo",
    }
}
