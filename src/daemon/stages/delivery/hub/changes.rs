//! Changes of a stream that its viewers are told: the rules of its room, the event, and its end,
//! before which they are shown the last comments.

use std::time::Duration;

use tokio::time::Instant;

use super::Hub;
use crate::daemon::stages::delivery::frame::Lane;
use crate::daemon::stages::delivery::mailbox::Command;
use crate::protocol::StreamId;
use crate::protocol::message::ServerMessage;
use crate::protocol::stream::StreamState;

/// A comment that was accepted before the end is shown within this time, unless the room delays it:
/// the longest `broadcast.batch_interval` is 1 s, and before it come an fsync and the way here.
pub(super) const LAST_COMMENTS_WITHIN: Duration = Duration::from_millis(1_500);
/// The bus may lose the message that a stream has ended, and other nodes may still accept comments
/// when this one reads that it has. Without the message its viewers are closed after this time.
const UNTOLD_END_AFTER: Duration = Duration::from_secs(10);
/// Viewers are not closed while the hub reads what the bus has lost, for this time at most.
const LONGEST_POSTPONEMENT: Duration = Duration::from_secs(30);

/// The planned close of a stream's viewers.
#[derive(Debug)]
pub(super) struct Ending {
    close_at: Instant,
    /// Whether this node knows that the stream has ended. It may be told before it has read so.
    is_known: bool,
}

impl Hub {
    /// Tells viewers of rooms whose rules have changed, and of events that have. Never skipped: a
    /// viewer that is behind must know them, too. The end of a stream comes through the bus, behind
    /// its last comments, and that it exists no longer by closing its viewers.
    pub(super) fn tell_changes(&mut self) {
        let mut changed = Vec::new();
        let mut ended = Vec::new();
        for (stream_id, feed) in &mut self.feeds {
            let Some(stream) = self.parts.streams.get(*stream_id) else { continue };
            let room = stream.room.in_force();
            if feed.room != room {
                feed.room = room;
                changed.push((*stream_id, ServerMessage::Room(room)));
            }
            if stream.state == StreamState::Ended {
                ended.push(*stream_id);
                continue;
            }
            if !feed.notice.differs_from(&stream) {
                continue;
            }
            feed.notice = stream.notice();
            changed.push((*stream_id, ServerMessage::Stream(feed.notice.clone())));
        }
        for (stream_id, message) in changed {
            self.send(stream_id, Lane::Control, message);
        }
        for stream_id in ended {
            self.plan_end(stream_id, UNTOLD_END_AFTER);
        }
    }

    /// Plans to close a stream's viewers after a time and the message delay of the room. A plan for
    /// earlier stays.
    pub(super) fn plan_end(&mut self, stream_id: StreamId, after: Duration) {
        let Some(feed) = self.feeds.get_mut(&stream_id) else { return };
        let delay_ms = self.parts.streams.get(stream_id).and_then(|stream| stream.room.delay_ms);
        let delay = Duration::from_millis(delay_ms.unwrap_or(0));
        let close_at = Instant::now() + after + delay;
        let ending = feed.ending.get_or_insert(Ending { close_at, is_known: false });
        ending.close_at = ending.close_at.min(close_at);
    }

    /// Closes the viewers of streams whose last comments were shown, unless they are live again.
    pub(super) fn close_ended(&mut self) {
        let now = Instant::now();
        let is_behind = self.interrupted || self.read_log_once;
        for (stream_id, feed) in &mut self.feeds {
            let Some(ending) = &mut feed.ending else { continue };
            let stream = self.parts.streams.get(*stream_id);
            let has_ended = stream.is_none_or(|stream| stream.state == StreamState::Ended);
            if ending.is_known && !has_ended {
                feed.ending = None;
                continue;
            }
            ending.is_known = has_ended;
            let postponed = if is_behind { LONGEST_POSTPONEMENT } else { Duration::ZERO };
            if now < ending.close_at + postponed {
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
