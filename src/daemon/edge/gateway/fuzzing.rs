//! The fuzz target of the positions that viewers without a WebSocket send.

use bytes::Bytes;

use super::poll_sessions::{PolledMessages, Since};
use super::positions::parse_event_id;
use crate::protocol::ids::MAX_SAFE_INTEGER;

/// A `Last-Event-ID` and a `since`: what is accepted is in range, and survives its text. The same
/// bytes as events for a poller.
pub fn position(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Some(position) = parse_event_id(text) {
            assert!(position.seq <= MAX_SAFE_INTEGER, "{position:?}");
            let again = format!("{}:{}", position.epoch, position.seq);
            assert_eq!(parse_event_id(&again), Some(position));
        }
        if let Some(since) = Since::parse(text) {
            assert!(since.position.seq <= MAX_SAFE_INTEGER, "{since:?}");
            assert_eq!(Since::parse(&since.to_string()), Some(since));
        }
    }
    let read = PolledMessages::read([&Bytes::copy_from_slice(data)]);
    assert!(read.json.len() <= data.len());
}
