//! Promises about streams.

use std::sync::Arc;

use super::{actions, audit};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{BEFORE, MetadataStore};
use crate::protocol::room::{RoomPatch, RoomSettings};
use crate::protocol::stream::{ModerationMode, NewStream, Stream, StreamPatch, StreamState};
use crate::protocol::throttle::{FixedRate, SampleRate};
use crate::protocol::{Badge, Badges, CommentId, PinnedComment, StreamId, UserId};

fn asking_for(stream_id: u64) -> NewStream {
    NewStream { stream_id: Some(StreamId(stream_id)), ..NewStream::default() }
}

fn to_state(state: StreamState) -> StreamPatch {
    StreamPatch { state: Some(state), ..StreamPatch::default() }
}

async fn create(store: &impl MetadataStore, new: NewStream, at: u64) -> Stream {
    store.create_stream(new, audit(at, "create")).await.unwrap().1
}

async fn update(
    store: &impl MetadataStore,
    stream_id: StreamId,
    patch: StreamPatch,
    at: u64,
) -> Stream {
    store.update_stream(stream_id, patch, audit(at, "update")).await.unwrap().1
}

pub(crate) async fn a_stream_gets_the_next_id_or_the_requested_one(store: &impl MetadataStore) {
    assert_eq!(store.streams().await.unwrap(), []);
    let first = create(store, NewStream::default(), 5).await;
    assert_eq!((first.stream_id, first.created_at), (StreamId(1), 5));
    let chosen = create(store, asking_for(40), 6).await;
    assert_eq!(chosen.stream_id, StreamId(40));
    let next = create(store, NewStream::default(), 7).await;
    assert_eq!(next.stream_id, StreamId(41));
    let lower = create(store, asking_for(7), 8).await;
    let taken = store.create_stream(asking_for(40), audit(9, "create")).await;
    assert!(matches!(taken, Err(StoreError::Exists("stream"))), "{taken:?}");
    assert_eq!(store.streams().await.unwrap(), [first, lower, chosen.clone(), next]);
    assert_eq!(store.stream(StreamId(40)).await.unwrap(), Some(chosen));
    assert_eq!(store.stream(StreamId(39)).await.unwrap(), None);
    create(store, asking_for(i64::MAX as u64), 10).await;
    let none_left = store.create_stream(NewStream::default(), audit(11, "create")).await;
    assert!(matches!(none_left, Err(StoreError::NotFound(_))), "{none_left:?}");
}

pub(crate) async fn a_patch_changes_only_the_named_fields(store: &impl MetadataStore) {
    let new = NewStream {
        stream_id: Some(StreamId(1)),
        title: "the final".to_owned(),
        description: "of the season".to_owned(),
        state: Some(StreamState::Scheduled),
        starts_at: None,
        anonymous: true,
        moderation: ModerationMode::Sync,
    };
    let created = create(store, new, 5).await;
    let same = update(store, StreamId(1), StreamPatch::default(), 9).await;
    assert_eq!(same, created);
    let patch = StreamPatch {
        title: Some("l'été \u{1F3C6}".to_owned()),
        description: Some("'; DROP TABLE streams; --".to_owned()),
        state: Some(StreamState::Live),
        anonymous: Some(false),
        moderation: Some(ModerationMode::Off),
        ..StreamPatch::default()
    };
    let changed = update(store, StreamId(1), patch, 9).await;
    assert_eq!(changed.title, "l'été \u{1F3C6}");
    assert_eq!(changed.description, "'; DROP TABLE streams; --");
    assert_eq!(changed.state, StreamState::Live);
    assert!(!changed.anonymous);
    assert_eq!(changed.moderation, ModerationMode::Off);
    assert_eq!(changed.created_at, 5);
    assert_eq!(store.stream(StreamId(1)).await.unwrap(), Some(changed));
    let unknown =
        store.update_stream(StreamId(2), StreamPatch::default(), audit(9, "update")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("stream"))), "{unknown:?}");
}

pub(crate) async fn the_end_of_a_stream_is_dated_once(store: &impl MetadataStore) {
    let id = create(store, NewStream::default(), 1).await.stream_id;
    let ended = update(store, id, to_state(StreamState::Ended), 50).await;
    assert_eq!(ended.ended_at, Some(50));
    let again = update(store, id, to_state(StreamState::Ended), 60).await;
    assert_eq!(again.ended_at, Some(50));
    let resumed = update(store, id, to_state(StreamState::Live), 70).await;
    assert_eq!(resumed.ended_at, None);
    let ended = update(store, id, to_state(StreamState::Ended), 80).await;
    assert_eq!(ended.ended_at, Some(80));
    assert_eq!(store.stream(id).await.unwrap(), Some(ended));
    let new = NewStream { state: Some(StreamState::Ended), ..NewStream::default() };
    assert_eq!(create(store, new, 90).await.ended_at, Some(90));
}

pub(crate) async fn the_times_of_an_event_are_kept(store: &impl MetadataStore) {
    let id = create(store, NewStream { starts_at: Some(900), ..NewStream::default() }, 5).await;
    assert_eq!((id.state, id.starts_at), (StreamState::Scheduled, Some(900)));
    let id = id.stream_id;
    let later = StreamPatch { starts_at: Some(Some(950)), ..StreamPatch::default() };
    assert_eq!(update(store, id, later, 6).await.starts_at, Some(950));
    let live = update(store, id, StreamPatch::start(), 940).await;
    assert_eq!((live.starts_at, live.started_at), (Some(950), Some(940)));
    let ended = update(store, id, to_state(StreamState::Ended), 990).await;
    assert_eq!((ended.started_at, ended.ended_at), (Some(940), Some(990)));
    assert_eq!(store.stream(id).await.unwrap(), Some(ended));
    let none = StreamPatch { starts_at: Some(None), ..StreamPatch::default() };
    assert_eq!(update(store, id, none, 991).await.starts_at, None);
    assert_eq!(store.streams().await.unwrap()[0].starts_at, None);
}

pub(crate) async fn a_stream_that_is_due_starts_once(store: &impl MetadataStore) {
    let new = NewStream { starts_at: Some(900), ..NewStream::default() };
    let id = create(store, new, 5).await.stream_id;
    let start = async |id, at| store.start_due_stream(id, audit(at, "start")).await.unwrap();
    assert_eq!(start(id, 899).await, None);
    let (_, started) = start(id, 901).await.unwrap();
    assert_eq!((started.state, started.started_at), (StreamState::Live, Some(901)));
    assert_eq!(start(id, 902).await, None, "another node was earlier");
    assert_eq!(start(StreamId(9), 902).await, None);
    assert_eq!(store.stream(id).await.unwrap(), Some(started));
    assert_eq!(actions(store).await, ["start", "create"], "no entry without a change");
}

pub(crate) async fn the_id_of_a_deleted_stream_is_never_reused(store: &impl MetadataStore) {
    create(store, asking_for(3), 1).await;
    let last = create(store, asking_for(7), 2).await;
    let rate = FixedRate { rate: SampleRate::from_share(0.5).unwrap(), until_ms: None };
    store.set_throttle_override(StreamId(7), Some(rate), audit(3, "fix")).await.unwrap();
    let (_, deleted) = store.delete_stream(StreamId(7), audit(4, "delete")).await.unwrap();
    assert_eq!(deleted, last);
    assert_eq!(store.stream(StreamId(7)).await.unwrap(), None);
    assert_eq!(store.streams().await.unwrap().len(), 1);
    assert_eq!(store.throttle_overrides().await.unwrap(), []);
    let again = store.delete_stream(StreamId(7), audit(5, "delete")).await;
    assert!(matches!(again, Err(StoreError::NotFound("stream"))), "{again:?}");
    let patched = store.update_stream(StreamId(7), StreamPatch::start(), audit(5, "update")).await;
    assert!(matches!(patched, Err(StoreError::NotFound("stream"))), "{patched:?}");
    let fixed = store.set_throttle_override(StreamId(7), None, audit(5, "free")).await;
    assert!(matches!(fixed, Err(StoreError::NotFound("stream"))), "{fixed:?}");
    let taken = store.create_stream(asking_for(7), audit(6, "create")).await;
    assert!(matches!(taken, Err(StoreError::Exists("stream"))), "{taken:?}");
    assert_eq!(create(store, NewStream::default(), 7).await.stream_id, StreamId(8));
    let expected = ["create", "delete", "fix", "create", "create"];
    assert_eq!(actions(store).await, expected, "no entry without a change");
}

pub(crate) async fn throttle_overrides_are_kept_and_audited(store: &impl MetadataStore) {
    for _ in 0..3 {
        create(store, NewStream::default(), 1).await;
    }
    let ends = [None, Some(9), Some(1_800_000_000_000)];
    let rates = [0.0, 0.333_333, 1.0].map(|share| SampleRate::from_share(share).unwrap());
    let rates: [_; 3] = std::array::from_fn(|at| FixedRate { rate: rates[at], until_ms: ends[at] });
    for (stream, rate) in (1..).zip(rates) {
        store.set_throttle_override(StreamId(stream), Some(rate), audit(1, "fix")).await.unwrap();
    }
    let fixed = store.throttle_overrides().await.unwrap();
    assert_eq!(fixed, (1..).map(StreamId).zip(rates).collect::<Vec<_>>());
    store.set_throttle_override(StreamId(2), None, audit(2, "free")).await.unwrap();
    let fixed = store.throttle_overrides().await.unwrap();
    assert_eq!(fixed, [(StreamId(1), rates[0]), (StreamId(3), rates[2])]);
    update(store, StreamId(1), to_state(StreamState::Live), 3).await;
    assert_eq!(store.throttle_overrides().await.unwrap(), fixed, "a patch does not touch it");
    let unknown = store.set_throttle_override(StreamId(9), None, audit(3, "free")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("stream"))), "{unknown:?}");
    let entries = actions(store).await;
    let expected = ["update", "free", "fix", "fix", "fix", "create", "create", "create"];
    assert_eq!(entries, expected, "no entry without a change");
}

pub(crate) async fn room_settings_are_kept_and_audited(store: &impl MetadataStore) {
    let created = create(store, asking_for(7), 1).await;
    assert!(created.room.is_default());
    let first = RoomPatch {
        slow_ms: Some(Some(30_000)),
        no_links: Some(true),
        timeouts_ms: Some(vec![60_000, 600_000]),
        ..RoomPatch::default()
    };
    let entry = audit(2, "room");
    let (first_id, changed) = store.update_room(StreamId(7), first, entry).await.unwrap();
    assert_eq!(changed.room.rules.slow_ms, Some(30_000));
    let second = RoomPatch { slow_ms: Some(None), shield: Some(true), ..RoomPatch::default() };
    let entry = audit(3, "room");
    let (second_id, again) = store.update_room(StreamId(7), second, entry).await.unwrap();
    assert_eq!((again.room.rules.slow_ms, again.room.rules.no_links), (None, true));
    assert_eq!((again.room.shield, &*again.room.timeouts_ms), (true, &[60_000, 600_000][..]));
    assert_eq!(store.stream(StreamId(7)).await.unwrap().as_ref(), Some(&again));
    let ended = update(store, StreamId(7), to_state(StreamState::Ended), 4).await;
    assert_eq!(ended.room, again.room, "a patch of the stream does not touch it");
    let before = async |audit_id| {
        let entry = store.audit_entry(audit_id).await.unwrap().unwrap();
        serde_json::from_value::<RoomSettings>(entry.detail[BEFORE].clone()).unwrap()
    };
    assert!(before(first_id).await.is_default());
    assert_eq!(before(second_id).await, changed.room);
    let back = RoomPatch {
        no_links: Some(false),
        shield: Some(false),
        timeouts_ms: Some(Vec::new()),
        ..RoomPatch::default()
    };
    let (_, open) = store.update_room(StreamId(7), back, audit(5, "room")).await.unwrap();
    assert!(open.room.is_default());
    assert_eq!(store.stream(StreamId(7)).await.unwrap(), Some(open));
    let unknown = store.update_room(StreamId(8), RoomPatch::default(), audit(6, "room")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("stream"))), "{unknown:?}");
    let expected = ["room", "update", "room", "room", "create"];
    assert_eq!(actions(store).await, expected, "no entry without a change");
}

pub(crate) async fn every_stream_change_is_audited(store: &impl MetadataStore) {
    let (first, _) = store.create_stream(asking_for(40), audit(1, "create")).await.unwrap();
    let (second, chosen) =
        store.create_stream(NewStream::default(), audit(2, "create")).await.unwrap();
    let entry = audit(3, "update").of_stream(chosen.stream_id);
    let patch = to_state(StreamState::Ended);
    let (third, _) = store.update_stream(chosen.stream_id, patch.clone(), entry).await.unwrap();
    store.create_stream(asking_for(40), audit(4, "create")).await.unwrap_err();
    store.update_stream(StreamId(9), patch, audit(5, "update")).await.unwrap_err();
    let log = store.audit_log(10).await.unwrap();
    let found: Vec<_> = log.iter().map(|entry| (entry.audit_id, entry.target.as_str())).collect();
    assert_eq!(found, [(third, "stream 41"), (second, "stream 41"), (first, "stream 40")]);
    assert_eq!((log[2].at, log[2].action.as_str()), (1, "create"));
}

fn pinned(number: u64) -> Option<Arc<PinnedComment>> {
    Some(Arc::new(PinnedComment {
        comment_id: CommentId::from_unix_ticks(number * 1000, 5, [2, 0, 0, 0, 0, 1]),
        user_id: UserId(number),
        name: "ann".into(),
        message: "<b>'; -- \u{1F600}".into(),
        created_at: number,
        badges: Badges::from_iter([Badge::Moderator]),
        pinned_at: number + 1,
    }))
}

pub(crate) async fn a_pinned_comment_is_kept_and_audited(store: &impl MetadataStore) {
    assert_eq!(create(store, asking_for(7), 1).await.pinned, None);
    let stream_id = StreamId(7);
    let set_only = async |number: Option<u64>, only: Option<Arc<PinnedComment>>| {
        store.set_pinned(stream_id, number.and_then(pinned), only, audit(2, "pin")).await
    };
    let set = async |number: Option<u64>, only: Option<u64>| {
        set_only(number, only.and_then(pinned)).await
    };
    let (first, stream) = set(Some(1), None).await.unwrap();
    assert_eq!(stream.pinned, pinned(1));
    let (second, stream) = set(Some(2), None).await.unwrap();
    assert_eq!(store.stream(stream_id).await.unwrap(), Some(stream));
    let other = set(None, Some(1)).await;
    assert!(matches!(other, Err(StoreError::NotFound(_))), "{other:?}");
    let earlier = pinned(2).map(|pin| PinnedComment { pinned_at: 2, ..PinnedComment::clone(&pin) });
    let earlier = set_only(None, earlier.map(Arc::new)).await;
    assert!(matches!(earlier, Err(StoreError::NotFound(_))), "it was pinned again: {earlier:?}");
    assert_eq!(store.stream(stream_id).await.unwrap().unwrap().pinned, pinned(2));
    let ended = update(store, stream_id, to_state(StreamState::Ended), 4).await;
    assert_eq!(ended.pinned, pinned(2), "a patch of the stream does not touch it");
    let (third, stream) = set(None, Some(2)).await.unwrap();
    assert_eq!(stream.pinned, None);
    for (audit_id, before) in [(first, None), (second, pinned(1)), (third, pinned(2))] {
        let entry = store.audit_entry(audit_id).await.unwrap().unwrap();
        let kept: Option<PinnedComment> =
            serde_json::from_value(entry.detail[BEFORE].clone()).unwrap();
        assert_eq!(kept.map(Arc::new), before);
    }
    let unknown = store.set_pinned(StreamId(8), None, None, audit(6, "pin")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("stream"))), "{unknown:?}");
    assert_eq!(actions(store).await, ["pin", "update", "pin", "pin", "create"]);
}
