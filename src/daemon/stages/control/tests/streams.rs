//! Streams as events, on every node.

use super::*;

#[tokio::test]
async fn streams_are_created_changed_and_ended_everywhere() {
    let world = World::new().await;
    let new = NewStream { title: " two ".to_owned(), ..NewStream::default() };
    let made = world.control.create_stream(&operator(), &new).await.unwrap().stream.unwrap();
    assert_eq!((made.stream_id, &*made.title), (StreamId(2), "two"));
    assert!(world.control.parts().streams.get(StreamId(2)).is_some(), "known here at once");
    let same = NewStream { stream_id: Some(StreamId(2)), ..NewStream::default() };
    let twice = world.control.create_stream(&operator(), &same).await.unwrap_err();
    assert_eq!(twice.body().code, ErrorCode::StreamExists);

    let patch = StreamPatch { state: Some(StreamState::Ended), ..StreamPatch::default() };
    let outcome = world.control.update_stream(&operator(), StreamId(2), &patch).await.unwrap();
    assert_eq!(outcome.stream.unwrap().state, StreamState::Ended);
    let lines = world.journal.lines();
    assert_eq!(lines.last().unwrap(), "bus 2: Ended", "after every node refuses newcomers");
}

#[tokio::test]
async fn a_deleted_stream_is_closed_on_every_node() {
    let world = World::new().await;
    let outcome = world.control.delete_stream(&operator(), StreamId(1)).await.unwrap();
    assert!(world.control.parts().streams.get(StreamId(1)).is_none(), "gone here at once");
    assert!(outcome.connections.is_some());
    let lines = world.journal.lines();
    assert!(lines.contains(&"a: close all of 1: unknown_stream".to_owned()), "{lines:?}");
    for node in ["b", "c"] {
        let reload = format!("{node}: ReloadStream {{ stream_id: StreamId(1) }}");
        assert!(lines.contains(&reload), "{lines:?}");
    }
    let again = world.control.delete_stream(&operator(), StreamId(1)).await.unwrap_err();
    assert_eq!(again.body().code, ErrorCode::UnknownStream);
}

/// Two nodes look, and one of them starts it.
#[tokio::test(start_paused = true)]
async fn a_stream_that_is_due_starts_once_everywhere() {
    let world = World::new().await;
    let new = NewStream { starts_at: Some(STARTED_MS + 5_000), ..NewStream::default() };
    world.control.create_stream(&operator(), &new).await.unwrap();
    let stop = CancellationToken::new();
    for _ in 0..2 {
        tokio::spawn(world.control.clone().start_due_streams(stop.clone()));
    }
    let state = || world.control.parts().streams.get(StreamId(2)).unwrap().state;
    tokio::time::sleep(Duration::from_millis(4_500)).await;
    assert_eq!(state(), StreamState::Scheduled);
    tokio::time::sleep(Duration::from_millis(3_000)).await;
    assert_eq!(state(), StreamState::Live);
    stop.cancel();
    let audits = world.metadata.audits();
    let starts: Vec<_> = audits.iter().filter(|entry| &*entry.actor == "schedule").collect();
    assert_eq!(starts.len(), 1, "{audits:?}");
    let reload = "b: ReloadStream { stream_id: StreamId(2) }".to_owned();
    assert_eq!(world.journal.lines().iter().filter(|line| **line == reload).count(), 2);
}

#[tokio::test]
async fn a_start_time_is_of_a_scheduled_stream_to_come() {
    let world = World::new().await;
    let before = world.metadata.audits().len();
    let in_a_minute = STARTED_MS + 60_000;
    for (starts_at, state) in [
        (STARTED_MS, None),
        (0, None),
        (u64::MAX, None),
        (in_a_minute, Some(StreamState::Live)),
        (in_a_minute, Some(StreamState::Ended)),
    ] {
        let new = NewStream { starts_at: Some(starts_at), state, ..NewStream::default() };
        let refused = world.control.create_stream(&operator(), &new).await.unwrap_err();
        assert!(
            matches!(refused, ControlError::Invalid { field: "starts_at", .. }),
            "{starts_at}: {refused}"
        );
    }
    let of_live = StreamPatch { starts_at: Some(Some(in_a_minute)), ..StreamPatch::default() };
    let refused = world.control.update_stream(&operator(), StreamId(1), &of_live).await;
    assert!(matches!(refused, Err(ControlError::Invalid { field: "starts_at", .. })));
    assert_eq!(world.metadata.audits().len(), before, "a refused request leaves no entry");
    let state = Some(StreamState::Scheduled);
    let again = StreamPatch { state, ..of_live };
    let outcome = world.control.update_stream(&operator(), StreamId(1), &again).await.unwrap();
    assert_eq!(outcome.stream.unwrap().starts_at, Some(in_a_minute));
}
