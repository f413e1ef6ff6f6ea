//! Reads the messages back out of the server-sent events that delivery writes for a poller.

use bytes::Bytes;

use crate::daemon::edge::gateway::positions::parse_event_id;
use crate::protocol::StreamPosition;

/// Messages in JSON, separated by commas, and the position after them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PolledMessages {
    pub(crate) json: Vec<u8>,
    /// `None` if no message moves it.
    pub(crate) position: Option<StreamPosition>,
}

impl PolledMessages {
    /// Each buffer holds whole events.
    pub(crate) fn read<'a>(events: impl IntoIterator<Item = &'a Bytes>) -> Self {
        let mut read = Self::default();
        for line in events.into_iter().flat_map(|bytes| bytes.split(|byte| *byte == b'\n')) {
            if let Some(data) = line.strip_prefix(b"data: ") {
                if !read.json.is_empty() {
                    read.json.push(b',');
                }
                read.json.extend_from_slice(data);
            } else if let Some(id) = line.strip_prefix(b"id: ") {
                let position = std::str::from_utf8(id).ok().and_then(parse_event_id);
                read.position = position.or(read.position);
            }
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::edge::gateway::positions::position;

    #[test]
    fn messages_and_the_last_position_are_read() {
        let events = [
            Bytes::from_static(b": ping\n\nid: 3:8\ndata: {\"type\":\"a\"}\n\ndata: {}\n\n"),
            Bytes::from_static(b"id: 3:9\ndata: {\"b\":\"x\\ndata: y\"}\n\n"),
        ];
        let read = PolledMessages::read(&events);
        assert_eq!(read.json, br#"{"type":"a"},{},{"b":"x\ndata: y"}"#);
        assert_eq!(read.position, Some(position(3, 9)));
        assert_eq!(PolledMessages::read([]), PolledMessages::default());
    }
}
