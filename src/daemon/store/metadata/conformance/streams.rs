//! Promises about streams.

use super::{actions, audit};
use crate::daemon::store::StoreError;
use crate::daemon::store::metadata::MetadataStore;
use crate::protocol::StreamId;
use crate::protocol::stream::{ModerationMode, NewStream, StreamPatch, StreamState};
use crate::protocol::throttle::SampleRate;

fn asking_for(stream_id: u64) -> NewStream {
    NewStream { stream_id: Some(StreamId(stream_id)), ..NewStream::default() }
}

fn to_state(state: StreamState) -> StreamPatch {
    StreamPatch { state: Some(state), ..StreamPatch::default() }
}

pub(crate) async fn a_stream_gets_the_next_id_or_the_one_it_asks_for(store: &impl MetadataStore) {
    assert_eq!(store.streams().await.unwrap(), []);
    let first = store.create_stream(NewStream::default(), 5).await.unwrap();
    assert_eq!((first.stream_id, first.created_at), (StreamId(1), 5));
    let chosen = store.create_stream(asking_for(40), 6).await.unwrap();
    assert_eq!(chosen.stream_id, StreamId(40));
    let next = store.create_stream(NewStream::default(), 7).await.unwrap();
    assert_eq!(next.stream_id, StreamId(41));
    let lower = store.create_stream(asking_for(7), 8).await.unwrap();
    let taken = store.create_stream(asking_for(40), 9).await;
    assert!(matches!(taken, Err(StoreError::Exists("stream"))), "{taken:?}");
    assert_eq!(store.streams().await.unwrap(), [first, lower, chosen.clone(), next]);
    assert_eq!(store.stream(StreamId(40)).await.unwrap(), Some(chosen));
    assert_eq!(store.stream(StreamId(39)).await.unwrap(), None);
    store.create_stream(asking_for(i64::MAX as u64), 10).await.unwrap();
    let none_left = store.create_stream(NewStream::default(), 11).await;
    assert!(matches!(none_left, Err(StoreError::NotFound(_))), "{none_left:?}");
}

pub(crate) async fn a_patch_changes_what_it_names(store: &impl MetadataStore) {
    let new = NewStream {
        stream_id: Some(StreamId(1)),
        title: "the final".to_owned(),
        state: StreamState::Scheduled,
        anonymous: true,
        moderation: ModerationMode::Sync,
    };
    let created = store.create_stream(new, 5).await.unwrap();
    let same = store.update_stream(StreamId(1), StreamPatch::default(), 9).await.unwrap();
    assert_eq!(same, created);
    let patch = StreamPatch {
        title: Some("l'été \u{1F3C6}".to_owned()),
        state: Some(StreamState::Live),
        anonymous: Some(false),
        moderation: Some(ModerationMode::Off),
    };
    let changed = store.update_stream(StreamId(1), patch, 9).await.unwrap();
    assert_eq!(changed.title, "l'été \u{1F3C6}");
    assert_eq!(changed.state, StreamState::Live);
    assert!(!changed.anonymous);
    assert_eq!(changed.moderation, ModerationMode::Off);
    assert_eq!(changed.created_at, 5);
    assert_eq!(store.stream(StreamId(1)).await.unwrap(), Some(changed));
    let unknown = store.update_stream(StreamId(2), StreamPatch::default(), 9).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("stream"))), "{unknown:?}");
}

pub(crate) async fn when_a_stream_ended_is_kept(store: &impl MetadataStore) {
    let id = store.create_stream(NewStream::default(), 1).await.unwrap().stream_id;
    let ended = store.update_stream(id, to_state(StreamState::Ended), 50).await.unwrap();
    assert_eq!(ended.ended_at, Some(50));
    let again = store.update_stream(id, to_state(StreamState::Ended), 60).await.unwrap();
    assert_eq!(again.ended_at, Some(50));
    let resumed = store.update_stream(id, to_state(StreamState::Live), 70).await.unwrap();
    assert_eq!(resumed.ended_at, None);
    let ended = store.update_stream(id, to_state(StreamState::Ended), 80).await.unwrap();
    assert_eq!(ended.ended_at, Some(80));
    assert_eq!(store.stream(id).await.unwrap(), Some(ended));
    let new = NewStream { state: StreamState::Ended, ..NewStream::default() };
    assert_eq!(store.create_stream(new, 90).await.unwrap().ended_at, Some(90));
}

pub(crate) async fn throttle_overrides_are_kept_with_their_audit(store: &impl MetadataStore) {
    for _ in 0..3 {
        store.create_stream(NewStream::default(), 1).await.unwrap();
    }
    let rates = [0.0, 0.333_333, 1.0].map(|share| SampleRate::from_share(share).unwrap());
    for (stream, rate) in (1..).zip(rates) {
        store.set_throttle_override(StreamId(stream), Some(rate), audit(1, "fix")).await.unwrap();
    }
    let fixed = store.throttle_overrides().await.unwrap();
    assert_eq!(fixed, (1..).map(StreamId).zip(rates).collect::<Vec<_>>());
    store.set_throttle_override(StreamId(2), None, audit(2, "free")).await.unwrap();
    let fixed = store.throttle_overrides().await.unwrap();
    assert_eq!(fixed, [(StreamId(1), rates[0]), (StreamId(3), rates[2])]);
    store.update_stream(StreamId(1), to_state(StreamState::Live), 3).await.unwrap();
    assert_eq!(store.throttle_overrides().await.unwrap(), fixed, "a patch does not touch it");
    let unknown = store.set_throttle_override(StreamId(9), None, audit(3, "free")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("stream"))), "{unknown:?}");
    assert_eq!(actions(store).await, ["free", "fix", "fix", "fix"], "no entry without a change");
}
