use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::metadata::conformance::audit;
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::protocol::room::{TermAction, TermsPatch};
use crate::protocol::stream::ModerationMode;

#[tokio::test]
async fn streams_are_found_by_id_and_listed_in_order() {
    let store = InMemoryMetadata::default();
    for id in [3, 1, 2] {
        store.put_stream(stream(id, ModerationMode::Async));
    }
    let streams = Streams::load(Arc::new(store)).await.unwrap();
    let ids: Vec<_> = streams.all().iter().map(|stream| stream.stream_id.0).collect();
    assert_eq!(ids, [1, 2, 3]);
    assert_eq!(streams.get(StreamId(2)).unwrap().stream_id, StreamId(2));
    assert_eq!(streams.get(StreamId(9)), None);
}

#[tokio::test]
async fn terms_are_new_only_when_they_change() {
    let store = Arc::new(InMemoryMetadata::default());
    for id in [1, 2] {
        store.put_stream(stream(id, ModerationMode::Async));
    }
    let streams = Streams::load(store.clone()).await.unwrap();
    assert_eq!(streams.room_terms(StreamId(1)), None);
    let change = async |stream, term: &str| {
        store.change_terms(StreamId(stream), &add(term), audit(1, "terms")).await.unwrap();
        streams.reload().await.unwrap();
        streams.room_terms(StreamId(1)).unwrap()
    };
    let first = change(1, "one").await;
    assert!(Arc::ptr_eq(&first, &change(2, "two").await), "those of another room changed");
    assert_eq!(change(1, "three").await.len(), 2);
}

fn add(term: &str) -> TermsPatch {
    let add = vec![RoomTerm { term: term.to_owned(), action: TermAction::Reject }];
    TermsPatch { add, remove: Vec::new() }
}

#[tokio::test]
async fn only_terms_that_changed_are_read() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let store = Arc::new(InMemoryMetadata::watched(move |call| {
        if call == "room_terms" {
            counted.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let rooms = 1..=ROOMS_AT_ONCE as u64 + 1;
    for id in rooms.clone() {
        store.put_stream(stream(id, ModerationMode::Async));
        store.change_terms(StreamId(id), &add("one"), audit(1, "terms")).await.unwrap();
    }
    let streams = Streams::load(store.clone()).await.unwrap();
    assert!(rooms.clone().all(|id| streams.room_terms(StreamId(id)).is_some()));
    assert_eq!(calls.swap(0, Ordering::SeqCst), 2, "so many rooms at once");
    streams.reload().await.unwrap();
    assert_eq!(calls.swap(0, Ordering::SeqCst), 0);
    let remove = vec!["one".to_owned()];
    let patch = TermsPatch { add: Vec::new(), remove };
    store.change_terms(StreamId(1), &patch, audit(1, "terms")).await.unwrap();
    streams.reload().await.unwrap();
    assert_eq!(calls.swap(0, Ordering::SeqCst), 1);
    assert_eq!(streams.room_terms(StreamId(1)), None);
}

#[tokio::test]
async fn one_stream_is_read_without_the_others() {
    let store = Arc::new(InMemoryMetadata::default());
    for id in [1, 2] {
        store.put_stream(stream(id, ModerationMode::Async));
    }
    let streams = Streams::load(store.clone()).await.unwrap();
    for id in [1, 2] {
        store.put_stream(stream(id, ModerationMode::Sync));
        store.change_terms(StreamId(id), &add("one"), audit(1, "terms")).await.unwrap();
    }
    streams.reload_stream(StreamId(1)).await.unwrap();
    let mode = |id| streams.get(StreamId(id)).unwrap().moderation;
    assert_eq!((mode(1), mode(2)), (ModerationMode::Sync, ModerationMode::Async));
    let terms = streams.room_terms(StreamId(1)).unwrap();
    assert_eq!((terms.len(), streams.room_terms(StreamId(2))), (1, None));
    streams.reload().await.unwrap();
    assert!(Arc::ptr_eq(&terms, &streams.room_terms(StreamId(1)).unwrap()));
    assert_eq!(streams.room_terms(StreamId(2)).unwrap().len(), 1);
}

#[tokio::test]
async fn a_reload_updates_every_clone_or_none() {
    let store = Arc::new(InMemoryMetadata::default());
    store.put_stream(stream(1, ModerationMode::Async));
    let streams = Streams::load(store.clone()).await.unwrap();
    let clone = streams.clone();
    store.put_stream(stream(1, ModerationMode::Sync));
    assert_eq!(clone.get(StreamId(1)).unwrap().moderation, ModerationMode::Async);
    streams.reload().await.unwrap();
    assert_eq!(clone.get(StreamId(1)).unwrap().moderation, ModerationMode::Sync);
    store.set_down(true);
    assert!(streams.reload().await.is_err());
    assert_eq!(clone.get(StreamId(1)).unwrap().moderation, ModerationMode::Sync);
}

#[tokio::test(start_paused = true)]
async fn a_slow_reload_of_all_delays_and_undoes_nothing() {
    let store = Arc::new(InMemoryMetadata::default());
    for id in [1, 2] {
        store.put_stream(stream(id, ModerationMode::Async));
    }
    let streams = Streams::load(store.clone()).await.unwrap();
    let begun = Instant::now();
    store.slow_streams(Duration::from_secs(60));
    let slow = tokio::spawn({
        let streams = streams.clone();
        async move { streams.reload().await }
    });
    tokio::task::yield_now().await;
    store.put_stream(stream(1, ModerationMode::Sync));
    store.change_terms(StreamId(1), &add("one"), audit(1, "terms")).await.unwrap();
    streams.reload_stream(StreamId(1)).await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO, "nobody waited");
    let is_followed = || {
        let mode = streams.get(StreamId(1)).unwrap().moderation;
        (mode, streams.room_terms(StreamId(1)).map(|terms| terms.len()))
    };
    assert_eq!(is_followed(), (ModerationMode::Sync, Some(1)));
    slow.await.unwrap().unwrap();
    assert_eq!(is_followed(), (ModerationMode::Sync, Some(1)), "it had read the streams before");
    assert_eq!(streams.all().len(), 2);
}
