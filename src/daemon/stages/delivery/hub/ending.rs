//! The end of a stream: its viewers are shown the last comments, and then closed.

use std::time::Duration;

use tokio::time::Instant;

use super::Hub;
use crate::daemon::stages::delivery::mailbox::Command;
use crate::protocol::StreamId;

/// What was accepted before the end comes within this time, unless the room delays it: it waits for
/// an fsync, and for `delivery.batch_interval`.
const LAST_COMMENTS_WITHIN: Duration = Duration::from_millis(500);

impl Hub {
    /// Plans the close of a stream's viewers. The message may be repeated.
    pub(super) fn end(&mut self, stream_id: StreamId) {
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        let delay_ms = self.parts.streams.get(stream_id).and_then(|stream| stream.room.delay_ms);
        let delay = Duration::from_millis(delay_ms.unwrap_or(0));
        feed.ends_at.get_or_insert_with(|| Instant::now() + LAST_COMMENTS_WITHIN + delay);
    }

    /// Closes the viewers of the streams whose last comments were shown.
    pub(super) fn close_ended(&mut self) {
        let now = Instant::now();
        for (stream_id, feed) in &mut self.feeds {
            if feed.ends_at.take_if(|at| *at <= now).is_none() {
                continue;
            }
            for worker in &feed.watchers {
                let mailbox = &self.parts.mailboxes[usize::from(*worker)];
                mailbox.send(Command::StreamEnded { stream_id: *stream_id });
            }
        }
    }
}
