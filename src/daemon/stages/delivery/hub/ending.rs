//! The end of a stream: its viewers are shown the last comments, and then closed.

use std::time::Duration;

use tokio::time::Instant;

use super::Hub;
use crate::daemon::stages::delivery::mailbox::Command;
use crate::protocol::StreamId;
use crate::protocol::stream::StreamState;

/// A comment that was accepted before the end is shown within this time, unless the room delays it:
/// the longest `broadcast.batch_interval` is 1 s, and before it come an fsync and the way here.
const LAST_COMMENTS_WITHIN: Duration = Duration::from_millis(1_500);

/// A stream that is about to close its viewers.
#[derive(Debug)]
pub(super) struct Ending {
    at: Instant,
    /// Whether this node knows that the stream has ended. It may be told before it has read so.
    is_known: bool,
}

impl Hub {
    /// Plans to close a stream's viewers. The message may be repeated.
    pub(super) fn end(&mut self, stream_id: StreamId) {
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        let delay_ms = self.parts.streams.get(stream_id).and_then(|stream| stream.room.delay_ms);
        let delay = Duration::from_millis(delay_ms.unwrap_or(0));
        let at = Instant::now() + LAST_COMMENTS_WITHIN + delay;
        feed.ending.get_or_insert(Ending { at, is_known: false });
    }

    /// Closes the viewers of streams whose last comments were shown, unless they are live again.
    pub(super) fn close_ended(&mut self) {
        let now = Instant::now();
        for (stream_id, feed) in &mut self.feeds {
            let Some(ending) = &mut feed.ending else { continue };
            let stream = self.parts.streams.get(*stream_id);
            let has_ended = stream.is_none_or(|stream| stream.state == StreamState::Ended);
            if ending.is_known && !has_ended {
                feed.ending = None;
                continue;
            }
            ending.is_known = has_ended;
            if now < ending.at {
                continue;
            }
            feed.ending = None;
            for worker in &feed.watchers {
                let mailbox = &self.parts.mailboxes[usize::from(*worker)];
                mailbox.send(Command::StreamEnded { stream_id: *stream_id });
            }
        }
    }
}
