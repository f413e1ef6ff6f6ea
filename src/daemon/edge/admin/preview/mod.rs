//! What a change would do, computed without making it.
//!
//! Always holds: what is read for a preview is read within [`READ_LIMIT`], or the answer is a
//! retryable error. The deletion of a user's comments is the exception: it searches the log, as far
//! back as the deletion itself does.

mod shadows;
mod users;

use std::time::Duration;

use axum::extract::State;
use tokio::time::timeout;

use self::shadows::ShadowAct;
use self::users::{NamedUsers, UserAct};
use super::access::Caller;
use super::error::Answer;
use super::request::JsonBody;
use super::{AdminParts, AdminState};
use crate::daemon::edge::http::{HttpError, Json};
use crate::daemon::stages::control::ControlError;
use crate::protocol::admin::{
    Cluster, DeleteOfUserRequest, MAX_CHANGES, NodeStatus, Preview, PreviewRequest, SanctionKind,
    StreamStatus, UserRef, drain_effect, needed_role,
};
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::quantity::{show_counted, show_duration, show_rate, show_share};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{ErrorCode, NodeId, StreamId};

/// The path of the change whose preview searches the log.
const DELETE_OF_USER: &str = "/v1/delete_of_user";
/// The time limit for what is read: a person waits for it before an act is confirmed.
const READ_LIMIT: Duration = Duration::from_millis(50);

pub(super) async fn preview(
    State(state): State<AdminState>,
    caller: Caller,
    JsonBody(request): JsonBody<PreviewRequest>,
) -> Answer<Json<Preview>> {
    let parts = &state.parts;
    if let PreviewRequest::DeleteOfUser(request) = &request {
        // Reads the log, unlike the others: only for callers that may also delete.
        caller.require(needed_role(DELETE_OF_USER))?;
        return parts.preview_deletion(request).await.map(Json);
    }
    match timeout(READ_LIMIT, parts.preview(request)).await {
        Ok(preview) => preview.map(Json),
        Err(_) => {
            let text = format!("what it concerns was not read within {READ_LIMIT:?}; ask again");
            let error = ErrorBody::new(ErrorCode::StoreUnavailable, text);
            Err(HttpError::from(error.retry_after_ms(RETRY_AFTER_MS)).into())
        }
    }
}

impl AdminParts {
    async fn preview(&self, request: PreviewRequest) -> Answer<Preview> {
        match request {
            PreviewRequest::Ban {
                users,
                stream_id,
                duration_ms,
                disconnect_after_ms,
                include_moderators,
            } => {
                self.known_scope(stream_id).await?;
                let act = UserAct {
                    kind: Some(SanctionKind::Ban),
                    stream_id,
                    duration_ms,
                    disconnect_after_ms: disconnect_after_ms.unwrap_or(0),
                    include_moderators,
                };
                self.preview_users(&users, act).await
            }
            PreviewRequest::Timeout { users, stream_id, duration_ms, include_moderators } => {
                self.known_scope(stream_id).await?;
                let act = UserAct {
                    kind: Some(SanctionKind::Timeout),
                    stream_id,
                    duration_ms,
                    include_moderators,
                    ..UserAct::default()
                };
                self.preview_users(&users, act).await
            }
            PreviewRequest::Kick { users, include_moderators } => {
                let act = UserAct { include_moderators, ..UserAct::default() };
                self.preview_users(&users, act).await
            }
            PreviewRequest::Shadow { users, stream_id, duration_ms } => {
                self.known_scope(stream_id).await?;
                let named = self.named_users(&users).await?;
                Ok(ShadowAct { stream_id, duration_ms }.preview(named))
            }
            PreviewRequest::Throttle { stream_id, sample_rate, for_ms } => {
                Ok(throttled(&self.known_stream(stream_id).await?, sample_rate, for_ms))
            }
            PreviewRequest::DeleteOfUser(request) => self.preview_deletion(&request).await,
            PreviewRequest::Announce { stream_id } => {
                Ok(announced(&self.known_stream(stream_id).await?))
            }
            PreviewRequest::Drain { node } => self.preview_drain(node).await,
        }
    }

    async fn preview_users(&self, users: &[UserRef], act: UserAct) -> Answer<Preview> {
        Ok(act.preview(self.named_users(users).await?))
    }

    async fn named_users(&self, users: &[UserRef]) -> Answer<NamedUsers> {
        if users.is_empty() || users.len() > MAX_CHANGES {
            let text = format!("`users` must name 1 to {MAX_CHANGES} users");
            return Err(HttpError::new(ErrorCode::BadRequest, text).into());
        }
        let mut named = NamedUsers::default();
        for answer in self.control.who_each(users).await? {
            match answer {
                Ok(who) => named.found.push(who),
                Err(error @ (ControlError::UnknownUser(_) | ControlError::BadUser(_))) => {
                    named.unknown.push(error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(named)
    }

    async fn preview_deletion(&self, request: &DeleteOfUserRequest) -> Answer<Preview> {
        let found = self.control.comments_of_user(request).await?;
        let comments = found.count();
        Ok(Preview { effect: found.effect(), users: 1, comments, ..Preview::default() })
    }

    async fn preview_drain(&self, node: Option<NodeId>) -> Answer<Preview> {
        let name = node.unwrap_or_else(|| self.about.node.clone());
        let Cluster { items: nodes, unreachable } = self.nodes().await;
        if let Some(node) = nodes.iter().find(|node| node.node == name) {
            // Each node has a setting of its own, and does not report it.
            let within = (name == self.about.node).then_some(self.about.reconnect_jitter);
            return Ok(drained(node, &nodes, within));
        }
        if unreachable.contains(&name) {
            let effect = format!("Drain {name}: it does not report, and may not hear of it.");
            return Ok(Preview { effect, nodes: vec![name], ..Preview::default() });
        }
        let reporting = nodes.into_iter().map(|node| node.node);
        let known = reporting.chain(unreachable).collect();
        Err(ControlError::UnknownNode { node: name, known }.into())
    }

    /// Refuses a stream that does not exist.
    async fn known_scope(&self, stream_id: Option<StreamId>) -> Answer<()> {
        match stream_id {
            Some(stream_id) => self.known_stream(stream_id).await.map(drop),
            None => Ok(()),
        }
    }

    async fn known_stream(&self, stream_id: StreamId) -> Answer<StreamStatus> {
        let stream = self.stream(stream_id).await;
        Ok(stream.ok_or(ControlError::UnknownStream(stream_id))?)
    }
}

/// Tells what viewers see with a fixed share, or what they see now if the throttle decides.
fn throttled(
    stream: &StreamStatus,
    sample_rate: Option<SampleRate>,
    for_ms: Option<u64>,
) -> Preview {
    let id = stream.stream_id;
    let per_second = |share: SampleRate| show_rate(stream.comments_per_second * share.share());
    let now = stream.shown();
    let see = if stream.viewers == 1 { "sees" } else { "see" };
    let see = format!("{} {see}", show_counted(stream.viewers, "viewer"));
    let effect = match sample_rate {
        Some(rate) => {
            let then = stream.egress_share.of(rate);
            let end = match for_ms {
                Some(for_ms) => format!("It ends by itself after {}.", show_duration(for_ms)),
                None => "It stays until it is set to auto.".to_owned(),
            };
            let egress = if stream.egress_share.is_all() {
                String::new()
            } else {
                let share = show_share(stream.egress_share);
                format!(" Egress limits show {share} of what the throttle lets pass.")
            };
            format!(
                "Show {} of stream {id} instead of {}: {see} {}/s instead of {}/s. \
                 History keeps all. {end}{egress}",
                show_share(then),
                show_share(now),
                per_second(then),
                per_second(now)
            )
        }
        None => format!(
            "The throttle decides about stream {id} again: {see} {} now, {}/s of {}/s.",
            show_share(now),
            per_second(now),
            show_rate(stream.comments_per_second)
        ),
    };
    Preview { effect, viewers: stream.viewers, connections: stream.viewers, ..Preview::default() }
}

fn announced(stream: &StreamStatus) -> Preview {
    let StreamStatus { stream_id, viewers, .. } = stream;
    let shown = show_counted(*viewers, "viewer");
    Preview {
        effect: format!("It goes to {shown} of stream {stream_id}, and stays."),
        viewers: *viewers,
        connections: *viewers,
        ..Preview::default()
    }
}

/// Tells who leaves a node, and whether the others have room.
fn drained(node: &NodeStatus, nodes: &[NodeStatus], within: Option<Duration>) -> Preview {
    Preview {
        effect: format!("Drain {}: {}.", node.node, drain_effect(node, nodes, within)),
        connections: node.connections,
        nodes: vec![node.node.clone()],
        viewers: node.viewers(),
        ..Preview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::registry::conformance::report;
    use crate::protocol::stream::{ModerationMode, StreamState};

    #[test]
    fn a_share_is_told_in_comments_per_second() {
        let stream = StreamStatus {
            stream_id: StreamId(7),
            title: String::new(),
            description: String::new(),
            starts_at: None,
            started_at: None,
            ended_at: None,
            state: StreamState::Live,
            anonymous: true,
            moderation: ModerationMode::Off,
            viewers: 398_000,
            comments_per_second: 640.0,
            sample_rate: SampleRate::ALL,
            throttle_level: 0,
            throttle_override: None,
            throttle_until_ms: None,
            egress_share: SampleRate::from_share(0.13).unwrap(),
            egress_sampled_out: 0,
            received: 0,
            broadcast: 0,
            sampled_out: 0,
            deleted: 0,
            reactions: Default::default(),
            room: Default::default(),
        };
        let preview = throttled(&stream, SampleRate::from_share(0.5), None);
        assert_eq!(
            preview.effect,
            "Show 6.5% of stream 7 instead of 13%: 398k viewers see 42/s instead of 83/s. \
             History keeps all. It stays until it is set to auto. Egress limits show 13% of what \
             the throttle lets pass."
        );
        let freely = StreamStatus { egress_share: SampleRate::ALL, ..stream.clone() };
        let ends = throttled(&freely, SampleRate::from_share(0.5), Some(600_000)).effect;
        assert!(ends.ends_with("It ends by itself after 10m."), "{ends}");
        assert!(throttled(&stream, None, None).effect.ends_with("see 13% now, 83/s of 640/s."));
    }

    #[test]
    fn a_drain_names_the_node_and_who_leaves() {
        let mut nodes = ["a", "b"].map(|name| report(&NodeId::new(name)).node);
        nodes[0].draining = false;
        let preview = drained(&nodes[1], &nodes, Some(Duration::from_secs(5)));
        assert_eq!(
            preview.effect,
            "Drain b: 6 viewers and 1 sender move within 5s; the other node has room for only 2."
        );
        assert_eq!((preview.viewers, preview.connections), (6, 7));
    }
}
