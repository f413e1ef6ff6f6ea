//! Promises about streams.

use super::{actions, audit};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{BEFORE, MetadataStore};
use crate::protocol::StreamId;
use crate::protocol::room::{RoomPatch, RoomSettings};
use crate::protocol::stream::{ModerationMode, NewStream, Stream, StreamPatch, StreamState};
use crate::protocol::throttle::{FixedRate, SampleRate};

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
        state: StreamState::Scheduled,
        anonymous: true,
        moderation: ModerationMode::Sync,
    };
    let created = create(store, new, 5).await;
    let same = update(store, StreamId(1), StreamPatch::default(), 9).await;
    assert_eq!(same, created);
    let patch = StreamPatch {
        title: Some("l'été \u{1F3C6}".to_owned()),
        state: Some(StreamState::Live),
        anonymous: Some(false),
        moderation: Some(ModerationMode::Off),
    };
    let changed = update(store, StreamId(1), patch, 9).await;
    assert_eq!(changed.title, "l'été \u{1F3C6}");
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
    let new = NewStream { state: StreamState::Ended, ..NewStream::default() };
    assert_eq!(create(store, new, 90).await.ended_at, Some(90));
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
