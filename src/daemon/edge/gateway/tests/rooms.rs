//! Tests of what moderators do over their connections.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::sink::recording_sink;
use crate::daemon::base::handoff::{ConnectionId, RoomChange, RoomRequest};
use crate::daemon::edge::gateway::RoomTask;
use crate::daemon::stages::control::fakes::World;
use crate::protocol::message::ServerMessage;
use crate::protocol::room::RoomPatch;
use crate::protocol::{ErrorCode, Identity, ModerationAct, Role, Standing, StreamId, UserId};

fn request(stream_id: u64, name: &str, change: RoomChange) -> RoomRequest {
    let identity = Identity {
        user_id: UserId(7),
        name: "mod".into(),
        role: Role::Moderator,
        everywhere: Role::Moderator,
        avatar: None,
        comments_per_minute: None,
        standing: Standing::default(),
    };
    RoomRequest {
        connection: ConnectionId { worker: 0, generation: 0, slot: 0 },
        stream_id: StreamId(stream_id),
        identity: Arc::new(identity),
        change,
        client_ref: Some(name.into()),
    }
}

/// A change of the rules of a stream.
pub(crate) fn slow(stream_id: u64, name: &str) -> RoomRequest {
    let patch = RoomPatch { slow_ms: Some(Some(5_000)), ..RoomPatch::default() };
    request(stream_id, name, RoomChange::Settings(patch.into()))
}

#[tokio::test]
async fn changes_are_made_and_acked_by_their_kind() {
    let world = World::new().await;
    let (sink, _kept) = recording_sink();
    let (send, requests) = mpsc::channel(4);
    let ban = ModerationAct::named("ban", json!({"user": "ann"})).unwrap();
    send.send(slow(1, "a")).await.unwrap();
    send.send(request(1, "b", RoomChange::Act(ban.into()))).await.unwrap();
    send.send(slow(9, "c")).await.unwrap();
    let task = RoomTask::new(requests, world.control.clone(), sink.clone());
    let running = tokio::spawn(task.run(CancellationToken::new()));
    while sink.room_answers.lock().len() < 3 {
        tokio::task::yield_now().await;
    }
    drop(send);
    running.await.unwrap();
    let answers = sink.room_answers.lock();
    let of = |name: &str| {
        let found = answers.iter().find(|(reference, _)| reference.as_deref() == Some(name));
        found.unwrap().1.clone()
    };
    assert_eq!(of("a").unwrap(), ServerMessage::RoomAck { client_ref: Some("a".into()) });
    assert_eq!(of("b").unwrap(), ServerMessage::ModerateAck { client_ref: Some("b".into()) });
    assert_eq!(of("c").unwrap_err().code, ErrorCode::UnknownStream);
    let entry = world.metadata.audits().pop().unwrap();
    assert_eq!((&*entry.action, &*entry.actor), ("ban", "mod (user 7)"));
}

#[tokio::test]
async fn changes_that_wait_at_the_end_are_answered() {
    let world = World::new().await;
    let (sink, _kept) = recording_sink();
    let (send, requests) = mpsc::channel(4);
    send.send(slow(1, "a")).await.unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    RoomTask::new(requests, world.control.clone(), sink.clone()).run(stop).await;
    let answers = sink.room_answers.lock();
    assert_eq!(answers[0].1.as_ref().unwrap_err().code, ErrorCode::ShuttingDown);
    assert!(send.try_send(slow(1, "b")).is_err());
}

#[tokio::test]
async fn a_change_that_panics_is_answered() {
    let world = World::new().await;
    let (sink, _kept) = recording_sink();
    let (send, requests) = mpsc::channel(4);
    let task = RoomTask::new(requests, world.control.clone(), sink.clone());
    let running = tokio::spawn(task.run(CancellationToken::new()));
    world.metadata.panic_next("update_room");
    for name in ["a", "b"] {
        send.send(slow(1, name)).await.unwrap();
    }
    while sink.room_answers.lock().len() < 2 {
        tokio::task::yield_now().await;
    }
    drop(send);
    running.await.unwrap();
    let answers = sink.room_answers.lock();
    assert_eq!(answers[0].0.as_deref(), Some("a"));
    assert_eq!(answers[0].1.as_ref().unwrap_err().code, ErrorCode::Internal);
    assert!(answers[1].1.is_ok(), "the room may be changed again");
}
