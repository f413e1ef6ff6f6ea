//! The rules of admission, applied to viewers who watch already.
//!
//! A viewer is admitted if its stream exists, has not ended, and admits viewers without a token or
//! the viewer has one. A rule that changes while viewers watch applies to them too. The other rules
//! of admission are applied elsewhere: bans by [`LocalEndpoint`](super::LocalEndpoint) and the
//! periodic reload, and the expiry of tokens by delivery.

use std::time::Duration;

use crate::daemon::base::handoff::ViewerSink;
use crate::daemon::engines::directory::Streams;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::stream::{Stream, StreamState};
use crate::protocol::{ErrorCode, StreamId};

/// The end of a stream comes through the bus, behind its last comments. Viewers that it did not
/// reach are closed this long after the end.
const END_GRACE: Duration = Duration::from_secs(5);

/// Closes the viewers of this node that would not be admitted any more. Returns their number.
pub async fn close_inadmissible(streams: &Streams, sink: &dyn ViewerSink, now_ms: u64) -> u64 {
    let mut closed = 0;
    for stream_id in sink.watched_streams() {
        closed += close_inadmissible_of(stream_id, streams, sink, now_ms).await;
    }
    closed
}

/// Closes the viewers of one stream on this node that would not be admitted any more. Returns their
/// number.
pub async fn close_inadmissible_of(
    stream_id: StreamId,
    streams: &Streams,
    sink: &dyn ViewerSink,
    now_ms: u64,
) -> u64 {
    match broken_rule(stream_id, streams.get(stream_id).as_deref(), now_ms) {
        Some(rule) => sink.close_stream(stream_id, rule.error, rule.anonymous_only).await,
        None => 0,
    }
}

#[derive(Debug)]
struct BrokenRule {
    error: ErrorBody,
    anonymous_only: bool,
}

fn broken_rule(stream_id: StreamId, stream: Option<&Stream>, now_ms: u64) -> Option<BrokenRule> {
    let Some(stream) = stream else {
        let text = format!("stream {stream_id} exists no longer");
        let error = ErrorBody::new(ErrorCode::UnknownStream, text);
        return Some(BrokenRule { error, anonymous_only: false });
    };
    let ended_ms = stream.ended_at.map_or(0, |at| at.saturating_add(END_GRACE.as_millis() as u64));
    if stream.state == StreamState::Ended && ended_ms <= now_ms {
        let text = format!("stream {stream_id} has ended; its history remains");
        let error = ErrorBody::new(ErrorCode::StreamEnded, text);
        return Some(BrokenRule { error, anonymous_only: false });
    }
    (!stream.anonymous).then(|| {
        let text = format!("stream {stream_id} requires a token now: reconnect with one");
        let error = ErrorBody::new(ErrorCode::TokenRequired, text);
        BrokenRule { error, anonymous_only: true }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::stream::NewStream;

    #[test]
    fn every_rule_of_admission_has_its_error() {
        let stream = |state, anonymous| {
            let new = NewStream { state: Some(state), anonymous, ..NewStream::default() };
            new.begin(StreamId(1), 1_000)
        };
        let broken = |stream: Option<&Stream>, now_ms| {
            let rule = broken_rule(StreamId(1), stream, now_ms)?;
            Some((rule.error.code, rule.anonymous_only))
        };
        let live = stream(StreamState::Live, true);
        let closed = stream(StreamState::Scheduled, false);
        let ended = stream(StreamState::Ended, true);
        assert_eq!(broken(Some(&live), 9_000), None);
        assert_eq!(broken(Some(&closed), 9_000), Some((ErrorCode::TokenRequired, true)));
        assert_eq!(broken(Some(&ended), 5_999), None, "the bus tells it behind the last comments");
        assert_eq!(broken(Some(&ended), 6_000), Some((ErrorCode::StreamEnded, false)));
        assert_eq!(broken(None, 0), Some((ErrorCode::UnknownStream, false)));
    }
}
