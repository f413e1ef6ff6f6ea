//! Computes the effect of a change without making it.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::extract::State;
use futures_util::future::join_all;

use super::error::Answer;
use super::request::JsonBody;
use super::{AdminParts, AdminState};
use crate::daemon::edge::http::{HttpError, Json};
use crate::daemon::stages::control::ControlError;
use crate::protocol::admin::{
    Cluster, NodeStatus, Preview, PreviewRequest, SanctionKind, StreamStatus, UserRef, Who,
    drain_effect,
};
use crate::protocol::quantity::{show_counted, show_duration, show_rate, show_share};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{ErrorCode, NodeId, StreamId};

/// Users of one preview.
const MAX_USERS: usize = 100;
/// Users that are named; more are counted.
const MAX_NAMES: usize = 3;

pub(super) async fn preview(
    State(state): State<AdminState>,
    JsonBody(request): JsonBody<PreviewRequest>,
) -> Answer<Json<Preview>> {
    let parts = &state.parts;
    Ok(Json(match request {
        PreviewRequest::Ban { users, duration_ms } => {
            parts.preview_users(&users, Some(SanctionKind::Ban), duration_ms).await?
        }
        PreviewRequest::Timeout { users, duration_ms } => {
            parts.preview_users(&users, Some(SanctionKind::Timeout), duration_ms).await?
        }
        PreviewRequest::Kick { users } => parts.preview_users(&users, None, None).await?,
        PreviewRequest::Throttle { stream_id, sample_rate, for_ms } => {
            throttled(&parts.stream_status(stream_id).await?, sample_rate, for_ms)
        }
        PreviewRequest::DeleteOfUser(request) => {
            let found = parts.control.comments_of_user(&request).await?;
            let comments = found.count();
            Preview { effect: found.effect(), users: 1, comments, ..Preview::default() }
        }
        PreviewRequest::Announce { stream_id } => {
            let stream = parts.stream_status(stream_id).await?;
            let viewers = show_counted(stream.viewers, "viewer");
            Preview {
                effect: format!("It goes to {viewers} of stream {stream_id}, and stays."),
                viewers: stream.viewers,
                connections: stream.viewers,
                ..Preview::default()
            }
        }
        PreviewRequest::Drain { node } => parts.preview_drain(node).await?,
    }))
}

impl AdminParts {
    async fn preview_users(
        &self,
        users: &[UserRef],
        kind: Option<SanctionKind>,
        duration_ms: Option<u64>,
    ) -> Answer<Preview> {
        if users.is_empty() || users.len() > MAX_USERS {
            let text = format!("`users` must name 1 to {MAX_USERS} users");
            return Err(HttpError::new(ErrorCode::BadRequest, text).into());
        }
        let answers = join_all(users.iter().map(|user| self.control.who(user))).await;
        let mut found = Vec::new();
        let mut unknown = Vec::new();
        for answer in answers {
            match answer {
                Ok(who) => found.push(who),
                Err(error @ (ControlError::UnknownUser(_) | ControlError::BadUser(_))) => {
                    unknown.push(error.to_string());
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(of_users(kind, duration_ms, &found, unknown))
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

    async fn stream_status(&self, stream_id: StreamId) -> Answer<StreamStatus> {
        let streams = self.streams().await.items;
        let found = streams.into_iter().find(|stream| stream.stream_id == stream_id);
        Ok(found.ok_or(ControlError::UnknownStream(stream_id))?)
    }
}

/// Names few users, and counts many.
fn users_text(found: &[Who]) -> String {
    if found.is_empty() || found.len() > MAX_NAMES {
        return show_counted(found.len() as u64, "user");
    }
    let text = |who: &Who| match &who.name {
        Some(name) => format!("{name} (user {})", who.user_id),
        None => format!("user {}", who.user_id),
    };
    found.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// Without a kind of sanction, the users are kicked.
fn of_users(
    kind: Option<SanctionKind>,
    duration_ms: Option<u64>,
    found: &[Who],
    unknown: Vec<String>,
) -> Preview {
    let connections: Vec<_> = found.iter().flat_map(|who| &who.connections).collect();
    let nodes: BTreeSet<_> = connections.iter().map(|connection| &connection.node).collect();
    let nodes: Vec<_> = nodes.into_iter().cloned().collect();
    let of_kind =
        |who: &Who, kind: SanctionKind| who.sanctions.iter().find(|it| it.kind == kind).cloned();
    let replaced: Vec<_> =
        found.iter().filter_map(|who| of_kind(who, kind?)).map(|it| it.text()).collect();
    let already = replaced.len();
    let verb = match kind {
        Some(SanctionKind::Ban) => "Ban",
        Some(SanctionKind::Timeout) => "Time out",
        None => "Kick",
    };
    let lasting = match (kind, duration_ms) {
        (Some(_), Some(ms)) => format!(" for {}", show_duration(ms)),
        (Some(SanctionKind::Ban), None) => " permanently".to_owned(),
        (Some(SanctionKind::Timeout) | None, _) => String::new(),
    };
    let over = if duration_ms.is_some() { "it ends" } else { "it is lifted" };
    let effect = match (kind, connections.is_empty()) {
        (Some(SanctionKind::Timeout), false) => {
            format!("All stay open; comments are refused until {over}.")
        }
        (Some(SanctionKind::Timeout), true) => format!("Comments are refused until {over}."),
        (Some(SanctionKind::Ban), false) => {
            format!("All are closed, and new ones refused until {over}.")
        }
        (Some(SanctionKind::Ban), true) => format!("New ones are refused until {over}."),
        (None, false) => "All are closed; new ones are accepted.".to_owned(),
        (None, true) => "Nothing is closed.".to_owned(),
    };
    let open = match connections.len() as u64 {
        0 => "no connections".to_owned(),
        count => format!(
            "{} on {}",
            show_counted(count, "connection"),
            show_counted(nodes.len() as u64, "node")
        ),
    };
    let mut text = format!("{verb} {}{lasting}: {open}. {effect}", users_text(found));
    match &replaced[..] {
        [] => {}
        [one] if found.len() == 1 => text.push_str(&format!(" It replaces {one}.")),
        some => text.push_str(&format!(" {} of the users already; it is replaced.", some.len())),
    }
    if kind == Some(SanctionKind::Timeout) {
        let banned = found.iter().filter(|who| of_kind(who, SanctionKind::Ban).is_some()).count();
        if banned > 0 {
            let users = show_counted(banned as u64, "user");
            text.push_str(&format!(" Left out: {users} banned; the ban stays."));
        }
    }
    let silent: BTreeSet<_> = found.iter().flat_map(|who| &who.unreachable).collect();
    if !silent.is_empty() {
        let names: Vec<_> = silent.iter().map(|node| node.as_str()).collect();
        text.push_str(&format!(" Not counted, no answer: {}.", names.join(", ")));
    }
    if !unknown.is_empty() {
        text.push_str(&format!(" Not found: {}.", unknown.join("; ")));
    }
    Preview {
        effect: text,
        users: found.len() as u64,
        already: already as u64,
        connections: connections.len() as u64,
        nodes,
        unknown,
        ..Preview::default()
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
            format!(
                "Show {} of stream {id} instead of {}: {see} {}/s instead of {}/s. \
                 History keeps all. {end}",
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
    use crate::daemon::engines::metadata::in_memory::sanction;
    use crate::daemon::engines::registry::conformance::report;
    use crate::protocol::UserId;
    use crate::protocol::admin::ConnectionInfo;
    use crate::protocol::stream::{ModerationMode, StreamState};

    fn who(user_id: u64, nodes: &[&str], kind: Option<SanctionKind>) -> Who {
        let connection = |node: &&str| ConnectionInfo {
            node: NodeId::new(node),
            stream_id: StreamId(1),
            connected_at: 0,
        };
        Who {
            user_id: UserId(user_id),
            name: None,
            connections: nodes.iter().map(connection).collect(),
            sanctions: kind.map(|kind| sanction(user_id, kind, None)).into_iter().collect(),
            unreachable: Vec::new(),
        }
    }

    #[test]
    fn users_are_counted_with_their_connections() {
        let found = [
            who(1, &["a", "b"], None),
            who(2, &["b"], Some(SanctionKind::Ban)),
            who(3, &[], Some(SanctionKind::Timeout)),
        ];
        let unknown = vec!["no user x".to_owned()];
        let preview = of_users(Some(SanctionKind::Ban), None, &found, unknown);
        assert_eq!((preview.users, preview.connections, preview.already), (3, 3, 1));
        assert_eq!(preview.nodes, [NodeId::new("a"), NodeId::new("b")]);
        assert_eq!(
            preview.effect,
            "Ban user 1, user 2, user 3 permanently: 3 connections on 2 nodes. All are closed, and \
             new ones refused until it is lifted. 1 of the users already; it is replaced. Not \
             found: no user x."
        );
        let many = [1, 2, 3, 4].map(|user_id| who(user_id, &["a"], None));
        let kicked = of_users(None, None, &many, Vec::new()).effect;
        assert!(kicked.starts_with("Kick 4 users: 4 connections on 1 node."), "{kicked}");
    }

    #[test]
    fn a_user_is_named_and_nothing_is_closed_in_vain() {
        let lena = Who { name: Some("lena".to_owned()), ..who(43, &[], None) };
        let told = |kind, duration_ms| {
            of_users(kind, duration_ms, std::slice::from_ref(&lena), Vec::new()).effect
        };
        assert_eq!(
            told(Some(SanctionKind::Ban), Some(300_000)),
            "Ban lena (user 43) for 5m: no connections. New ones are refused until it ends."
        );
        assert_eq!(
            told(Some(SanctionKind::Timeout), Some(300_000)),
            "Time out lena (user 43) for 5m: no connections. Comments are refused until it ends."
        );
        let kicked = "Kick lena (user 43): no connections. Nothing is closed.";
        assert_eq!(told(None, None), kicked);
    }

    #[test]
    fn a_sanction_in_force_is_told() {
        let banned = who(1, &["a"], Some(SanctionKind::Ban));
        let found = std::slice::from_ref(&banned);
        let ban = of_users(Some(SanctionKind::Ban), None, found, Vec::new());
        assert!(ban.effect.ends_with("It replaces the ban without an end."), "{ban:?}");
        let timeout = of_users(Some(SanctionKind::Timeout), Some(1_000), found, Vec::new());
        assert!(timeout.effect.ends_with("Left out: 1 user banned; the ban stays."), "{timeout:?}");
    }

    #[test]
    fn nodes_that_do_not_answer_are_named() {
        let silent = |name| Who { unreachable: vec![NodeId::new(name)], ..who(1, &["a"], None) };
        let found = [silent("c"), silent("b"), silent("c")];
        let preview = of_users(None, None, &found, Vec::new());
        assert_eq!(
            preview.effect,
            "Kick user 1, user 1, user 1: 3 connections on 1 node. All are closed; new ones are \
             accepted. Not counted, no answer: b, c."
        );
    }

    #[test]
    fn a_share_is_told_in_comments_per_second() {
        let stream = StreamStatus {
            stream_id: StreamId(7),
            title: String::new(),
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
        };
        let preview = throttled(&stream, SampleRate::from_share(0.5), None);
        assert_eq!(
            preview.effect,
            "Show 6.5% of stream 7 instead of 13%: 398k viewers see 42/s instead of 83/s. \
             History keeps all. It stays until it is set to auto."
        );
        let ends = throttled(&stream, SampleRate::from_share(0.5), Some(600_000)).effect;
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
