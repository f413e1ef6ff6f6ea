//! What the daemon is asked about the effect of an act.

use super::action::Action;
use super::batch::undo_window_ms;
use crate::protocol::admin::{PreviewRequest, UserRef};

/// Returns the request for the effect of actions of one kind, as they will be done; `None` if it
/// does not depend on the state of the cluster.
pub(super) fn preview_of(actions: &[Action]) -> Option<PreviewRequest> {
    Some(match actions.first()? {
        Action::Ban(request) => PreviewRequest::Ban {
            users: acted_against(actions)?,
            stream_id: request.stream_id,
            duration_ms: request.duration_ms,
            disconnect_after_ms: Some(undo_window_ms(actions.len())),
            include_moderators: false,
        },
        Action::Timeout(request) => PreviewRequest::Timeout {
            users: acted_against(actions)?,
            stream_id: request.stream_id,
            duration_ms: request.duration_ms,
            include_moderators: false,
        },
        Action::Kick(_) => {
            PreviewRequest::Kick { users: acted_against(actions)?, include_moderators: false }
        }
        Action::Shadow(request) => PreviewRequest::Shadow {
            users: acted_against(actions)?,
            stream_id: request.stream_id,
            duration_ms: request.duration_ms,
        },
        Action::Throttle(request) => PreviewRequest::Throttle {
            stream_id: request.stream_id,
            sample_rate: request.sample_rate,
            for_ms: request.for_ms,
        },
        Action::Announce(request) => PreviewRequest::Announce { stream_id: request.stream_id },
        Action::DeleteOfUser(request) => PreviewRequest::DeleteOfUser(request.clone()),
        Action::Drain(request) if !request.undo => {
            PreviewRequest::Drain { node: request.node.clone() }
        }
        Action::Drain(_)
        | Action::Unban(_)
        | Action::Unshadow(_)
        | Action::Room { .. }
        | Action::RoomTerms { .. }
        | Action::ClearRoom { .. }
        | Action::Direct(_)
        | Action::Delete(_)
        | Action::Restore(_)
        | Action::Approve(_)
        | Action::Reject(_)
        | Action::Claim(_)
        | Action::Acknowledge(_)
        | Action::AcknowledgeLoss(_)
        | Action::Undo(_)
        | Action::Batch(_)
        | Action::SaveView(_)
        | Action::ForgetView(_) => return None,
    })
}

/// Returns the users that bans, timeouts, shadow bans or kicks are against; `None` if an action is
/// none of these.
pub(crate) fn acted_against(actions: &[Action]) -> Option<Vec<UserRef>> {
    let user = |action: &Action| match action {
        Action::Ban(request) | Action::Timeout(request) => Some(request.user.clone()),
        Action::Kick(request) => Some(request.user.clone()),
        Action::Shadow(request) => Some(request.user.clone()),
        _ => None,
    };
    actions.iter().map(user).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::StreamId;
    use crate::protocol::admin::{
        DeleteOfUserRequest, DrainRequest, SanctionRequest, ShadowRequest, ThrottleRequest,
        UnbanRequest, UserRequest,
    };

    fn user(user: u64) -> UserRef {
        UserRef(format!("id:{user}"))
    }

    fn sanction(number: u64) -> SanctionRequest {
        let duration_ms = Some(60_000);
        SanctionRequest {
            user: user(number),
            stream_id: None,
            reason: None,
            note: None,
            duration_ms,
        }
    }

    #[test]
    fn an_act_on_users_is_one_request() {
        let users: Vec<_> = (1..=38).map(user).collect();
        let bans: Vec<_> = (1..=38).map(|number| Action::Ban(sanction(number))).collect();
        let ban = PreviewRequest::Ban {
            users: users.clone(),
            stream_id: None,
            duration_ms: Some(60_000),
            // As long as the act can be taken back.
            disconnect_after_ms: Some(30_000),
            include_moderators: false,
        };
        assert_eq!(preview_of(&bans), Some(ban));
        let timeouts: Vec<_> = (1..=38).map(|number| Action::Timeout(sanction(number))).collect();
        let duration_ms = Some(60_000);
        let include_moderators = false;
        let stream_id = None;
        let timeout = PreviewRequest::Timeout { users, stream_id, duration_ms, include_moderators };
        assert_eq!(preview_of(&timeouts), Some(timeout));
        let shadow = |number| {
            let stream_id = Some(StreamId(7));
            Action::Shadow(ShadowRequest { user: user(number), stream_id, note: None, duration_ms })
        };
        let shadows: Vec<_> = (1..=3).map(shadow).collect();
        let users: Vec<_> = (1..=3).map(user).collect();
        let asked = PreviewRequest::Shadow { users, stream_id: Some(StreamId(7)), duration_ms };
        assert_eq!(preview_of(&shadows), Some(asked));
        let kick = Action::Kick(UserRequest { user: user(1), note: None });
        let users = vec![user(1)];
        let asked = PreviewRequest::Kick { users, include_moderators: false };
        assert_eq!(preview_of(&[kick]), Some(asked));
    }

    #[test]
    fn streams_nodes_and_comments_are_asked_about() {
        let stream_id = StreamId(7);
        let throttle = ThrottleRequest { stream_id, sample_rate: None, for_ms: None };
        let asked = PreviewRequest::Throttle { stream_id, sample_rate: None, for_ms: None };
        assert_eq!(preview_of(&[Action::Throttle(throttle)]), Some(asked));
        let deletion = DeleteOfUserRequest {
            user: user(1),
            last_ms: 60_000,
            stream_id: None,
            reason: None,
            note: None,
        };
        let asked = PreviewRequest::DeleteOfUser(deletion.clone());
        assert_eq!(preview_of(&[Action::DeleteOfUser(deletion)]), Some(asked));
        let drain = |undo| preview_of(&[Action::Drain(DrainRequest { node: None, undo })]);
        assert_eq!(drain(false), Some(PreviewRequest::Drain { node: None }));
        assert_eq!(drain(true), None, "it harms nobody");
        let lifted = Action::Unban(UnbanRequest { user: user(1), stream_id: None, note: None });
        assert_eq!(preview_of(&[lifted]), None);
        assert_eq!(preview_of(&[]), None);
    }
}
