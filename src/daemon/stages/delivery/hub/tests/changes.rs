//! Changes that viewers are told: deletions, restorations, pins, rules and the schedule.

use tokio::time::sleep;

use super::*;
use crate::protocol::PinnedComment;
use crate::protocol::stream::Stream;

#[tokio::test(start_paused = true)]
async fn deletion_ahead_of_its_batch_is_sent_once() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    let ahead = || BusMessage::Deleted { seq: 3, deletion: sample_deletion(2) };
    rig.publish(ahead()).await;
    rig.publish(ahead()).await;
    rig.broadcast(batch(3, 4, &[3])).await;
    rig.publish(ahead()).await;
    let deleted = Shown::Deleted(sample_comment_id(2));
    assert_eq!(rig.frames(0).await, [range(1, 2), deleted, Shown::Range(3, 4, vec![4])]);
}

#[tokio::test(start_paused = true)]
async fn a_restoration_is_kept_from_viewers() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.publish(BusMessage::Deleted { seq: 3, deletion: sample_deletion(2) }).await;
    rig.frames(0).await;
    let changes = rig.history.changes();
    rig.publish(BusMessage::Restored { comment_id: sample_comment_id(2) }).await;
    let sent = rig.commands(0).await;
    let is_restoration = |command: &Command| match command {
        Command::Restored { comment_id, .. } => *comment_id == sample_comment_id(2),
        _ => false,
    };
    assert!(sent.len() == 1 && is_restoration(&sent[0]), "viewers must reload: {sent:?}");
    assert_eq!(rig.history.changes(), changes + 1, "pages without it are not shared any more");
    assert!(rig.watch(1).await.deleted_ahead.is_empty(), "later viewers see the comment");
}

#[tokio::test(start_paused = true)]
async fn unnumbered_deletions_are_all_sent() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    for of in [8, 9] {
        rig.publish(BusMessage::Deleted { seq: UNNUMBERED, deletion: sample_deletion(of) }).await;
    }
    rig.broadcast(batch(3, 3, &[])).await;
    let deleted = |of| Shown::Deleted(sample_comment_id(of));
    assert_eq!(rig.frames(0).await, [range(1, 2), deleted(8), deleted(9), range(3, 3)]);
    assert!(rig.watch(1).await.deleted_ahead.is_empty(), "later viewers never saw the comment");
}

#[tokio::test(start_paused = true)]
async fn lost_deletion_comes_with_its_batch() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 3, &[2])).await;
    let frames = rig.frames(0).await;
    assert_eq!(frames, [Shown::Deleted(sample_comment_id(1)), Shown::Range(1, 3, vec![1, 3])]);
}

#[tokio::test(start_paused = true)]
async fn later_worker_gets_deletions_ahead_and_joins() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    rig.broadcast(batch(1, 2, &[])).await;
    rig.publish(BusMessage::Deleted { seq: 4, deletion: sample_deletion(3) }).await;
    rig.frames(0).await;
    let start = rig.watch(1).await;
    assert_eq!(start.covered_to, 2);
    assert_eq!(start.deleted_ahead.into_iter().collect::<Vec<_>>(), [(4, sample_deletion(3))]);
    rig.broadcast(batch(3, 3, &[])).await;
    assert_eq!(rig.frames(0).await, [range(3, 3)]);
    assert_eq!(rig.frames(1).await, [range(3, 3)]);
}

#[tokio::test(start_paused = true)]
async fn viewers_are_told_rules_that_changed() {
    let rig = Rig::start().await;
    assert_eq!(rig.watch(0).await.room, RoomRules::default());
    rig.streams.reload().await.unwrap();
    assert_eq!(rig.frames(0).await, [], "nothing has changed");
    let slow = RoomRules { slow_ms: Some(5_000), ..RoomRules::default() };
    let mut changed = stream(STREAM.0, ModerationMode::Async);
    changed.room.rules = slow;
    rig.metadata.put_stream(changed);
    for told in [vec![Shown::Room(slow)], vec![]] {
        rig.streams.reload().await.unwrap();
        assert_eq!(rig.frames(0).await, told, "once");
    }
    assert_eq!(rig.watch(1).await.room, slow, "a worker that begins later knows them");
}

#[tokio::test(start_paused = true)]
async fn viewers_are_told_that_a_stream_starts() {
    let rig = Rig::start().await;
    let mut scheduled = stream(STREAM.0, ModerationMode::Async);
    scheduled.state = StreamState::Scheduled;
    scheduled.starts_at = Some(9_000);
    rig.metadata.put_stream(scheduled.clone());
    rig.streams.reload().await.unwrap();
    let schedule = rig.watch(0).await.schedule;
    assert_eq!((schedule.state, schedule.starts_at), (StreamState::Scheduled, Some(9_000)));
    scheduled.state = StreamState::Live;
    rig.metadata.put_stream(scheduled.clone());
    for told in [vec![Shown::Stream(StreamState::Live)], vec![]] {
        rig.streams.reload().await.unwrap();
        assert_eq!(rig.frames(0).await, told, "once");
    }
    assert!(rig.watch(1).await.schedule.is_plain(), "a worker that begins later knows it");
    scheduled.state = StreamState::Ended;
    rig.metadata.put_stream(scheduled);
    rig.streams.reload().await.unwrap();
    assert_eq!(rig.frames(0).await, [], "the end comes behind the last comments");
}

#[tokio::test(start_paused = true)]
async fn a_restored_comment_is_not_pinned_again() {
    let rig = Rig::start().await;
    let id = Some(sample_comment_id(2));
    pin(&rig, 1).await;
    assert_eq!(rig.watch(0).await.pinned.map(|pinned| pinned.comment_id), id);
    rig.publish(BusMessage::Deleted { seq: 3, deletion: sample_deletion(2) }).await;
    let told = [Shown::Pinned(None), Shown::Deleted(sample_comment_id(2))];
    assert_eq!(rig.frames(0).await, told);
    let hidden = timeout(Duration::from_secs(1), rig.streams.hidden_pins()).await.unwrap();
    let hidden = hidden.get(&STREAM).map(|pinned| (pinned.comment_id, pinned.pinned_at));
    assert_eq!(hidden, id.map(|id| (id, 1)), "this very pin is to be taken down");
    rig.publish(BusMessage::Restored { comment_id: sample_comment_id(2) }).await;
    rig.streams.reload().await.unwrap();
    assert_eq!(rig.frames(0).await, []);
    assert_eq!(rig.watch(1).await.pinned, None);
    pin(&rig, 2).await;
    assert_eq!(rig.frames(0).await, [Shown::Pinned(id)], "somebody has pinned it again");
}

/// The hub may learn of the second pin before or after the deletion.
#[tokio::test(start_paused = true)]
async fn a_comment_pinned_again_is_taken_down() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    for first in [1, 3, 5, 7, 9, 11, 13, 15, 17, 19] {
        pin(&rig, first).await;
        assert_eq!(rig.frames(0).await, [Shown::Pinned(Some(sample_comment_id(2)))]);
        pin(&rig, first + 1).await;
        rig.publish(BusMessage::Deleted { seq: UNNUMBERED, deletion: sample_deletion(2) }).await;
        let frames = rig.frames(0).await;
        let last = frames.iter().rfind(|frame| matches!(frame, Shown::Pinned(_)));
        assert_eq!(last, Some(&Shown::Pinned(None)), "{frames:?}");
        let hidden = timeout(Duration::from_secs(1), rig.streams.hidden_pins()).await.unwrap();
        let hidden = hidden.get(&STREAM).map(|pinned| pinned.pinned_at);
        assert_eq!(hidden, Some(first + 1), "the pin that is stored");
    }
}

/// Stores a pin of the second sample comment, and lets the node know it.
async fn pin(rig: &Rig, pinned_at: u64) {
    let SequencedComment { comment_id, user_id, name, message, created_at, badges, .. } =
        sample_comment(2).sequenced(2);
    let pinned =
        PinnedComment { comment_id, user_id, name, message, created_at, badges, pinned_at };
    let stream = stream(STREAM.0, ModerationMode::Async);
    rig.metadata.put_stream(Stream { pinned: Some(pinned.into()), ..stream });
    rig.streams.reload().await.unwrap();
}

/// Stores the state of the stream and lets the hub know.
async fn becomes(rig: &Rig, state: StreamState, delay_ms: Option<u64>) {
    let mut changed = stream(STREAM.0, ModerationMode::Async);
    changed.state = state;
    changed.room.delay_ms = delay_ms;
    rig.metadata.put_stream(changed);
    rig.streams.reload().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_behind_its_last_comments() {
    for delay_ms in [0, 2_000] {
        let rig = Rig::start().await;
        rig.watch(0).await;
        becomes(&rig, StreamState::Ended, (delay_ms > 0).then_some(delay_ms)).await;
        rig.publish(BusMessage::Ended).await;
        sleep(Duration::from_millis(delay_ms + 1_400)).await;
        rig.publish(BusMessage::Ended).await;
        rig.broadcast(batch(1, 2, &[])).await;
        let commands = rig.commands(0).await;
        assert!(matches!(commands.as_slice(), [Command::Frame { .. }]), "{commands:?}");
        sleep(Duration::from_millis(400)).await;
        let commands = rig.commands(0).await;
        assert!(matches!(commands.as_slice(), [Command::StreamEnded { .. }]), "{commands:?}");
        sleep(Duration::from_secs(10)).await;
        let commands = rig.commands(0).await;
        assert!(commands.is_empty(), "the message was repeated: {commands:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_that_the_bus_has_lost_is_told_later() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    becomes(&rig, StreamState::Ended, None).await;
    sleep(Duration::from_secs(9)).await;
    assert!(rig.commands(0).await.is_empty());
    sleep(Duration::from_secs(2)).await;
    let commands = rig.commands(0).await;
    assert!(matches!(commands.as_slice(), [Command::StreamEnded { .. }]), "{commands:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_live_again_keeps_its_viewers() {
    let rig = Rig::start().await;
    rig.watch(0).await;
    becomes(&rig, StreamState::Ended, None).await;
    rig.publish(BusMessage::Ended).await;
    sleep(Duration::from_secs(1)).await;
    becomes(&rig, StreamState::Live, None).await;
    sleep(Duration::from_secs(10)).await;
    let ended = |command: &Command| matches!(command, Command::StreamEnded { .. });
    assert!(!rig.commands(0).await.iter().any(ended));
    rig.publish(BusMessage::Ended).await;
    sleep(Duration::from_secs(2)).await;
    assert!(rig.commands(0).await.iter().any(ended), "this node has not read yet that it ended");
}
