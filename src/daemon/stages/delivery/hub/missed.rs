//! Events that the bus did not deliver: a hole in front of a batch, or anything during an outage.

use ahash::AHashMap;
use tracing::debug;

use super::sampling::IncomingComments;
use super::{Feed, Hub};
use crate::daemon::engines::bus::HeldBack;
use crate::daemon::engines::eventlog::{ConsumerGroup, Topic};
use crate::daemon::engines::recent::RecentEvent;
use crate::daemon::stages::delivery::history::{HistoryError, HistoryRead};
use crate::protocol::events::HiddenFrom;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, Seq, StreamId, StreamPosition};

/// Events fetched to fill a hole. Of a larger hole only the deletions are sent; for its comments
/// viewers get a gap and read the history.
pub(super) const MAX_HOLE_EVENTS: usize = 10_000;

/// The end of what is fetched of a stream.
#[derive(Debug, Clone, Copy)]
pub(super) struct MissedEnd {
    /// Everything up to here was broadcast.
    pub(super) broadcast: Seq,
    /// Events up to here are fetched. Beyond `broadcast`, they end before the first comment that
    /// the message delay of its room holds back.
    pub(super) until: Seq,
}

/// Events that the bus did not deliver.
struct MissedPage {
    events: Vec<RecentEvent>,
    /// Events up to here are sent.
    to_seq: Seq,
    /// The places that comments of it had in an earlier epoch.
    shown_before: Vec<(Seq, StreamPosition)>,
}

impl MissedEnd {
    /// Returns the end of a range that was broadcast.
    pub(super) fn at(seq: Seq) -> Self {
        Self { broadcast: seq, until: seq }
    }
}

impl Hub {
    /// Retries postponed watch requests, and fetches the events that the bus did not deliver.
    pub(super) async fn read_missed(&mut self) {
        for watch in std::mem::take(&mut self.unplaced) {
            self.watch(watch).await;
        }
        if !self.interrupted && !self.read_log_once {
            return;
        }
        self.read_log_once = false;
        let committed =
            self.parts.log.committed(Topic::CommentEvents, ConsumerGroup::Coordinator).await;
        let broadcast: AHashMap<u32, Seq> = match committed {
            Ok(next) => next.into_iter().map(|next| (next.partition, next.offset)).collect(),
            Err(error) => {
                debug!(%error, "broadcast positions unknown; retrying");
                self.read_log_once = true;
                return;
            }
        };
        let ends = self.ends_with_delays().await;
        let streams: Vec<_> = self.feeds.keys().copied().collect();
        for stream_id in streams {
            let partition = self.parts.log.partition_of(Topic::CommentEvents, stream_id.0);
            let broadcast = broadcast.get(&partition).map_or(0, |next| next.saturating_sub(1));
            let until = ends.get(&partition).copied().unwrap_or(0).max(broadcast);
            let end = MissedEnd { broadcast, until };
            let Feed { covered_to, sample_rate, .. } = self.feeds[&stream_id];
            if until > covered_to
                && let Err(error) = self.fill_hole(stream_id, end, sample_rate).await
            {
                debug!(%stream_id, %error, "cannot read missed events; retrying");
                self.read_log_once = true;
            }
        }
    }

    /// Returns the last place of each partition in which a room has a message delay. There the
    /// committed position stays at the oldest comment that is held back, while later records, of
    /// other rooms or deletions, are broadcast.
    async fn ends_with_delays(&self) -> AHashMap<u32, Seq> {
        let mut ends = AHashMap::new();
        for stream in self.parts.streams.all() {
            if stream.room.delay_ms.is_none() {
                continue;
            }
            let partition = self.parts.log.partition_of(Topic::CommentEvents, stream.stream_id.0);
            if ends.contains_key(&partition) {
                continue;
            }
            match self.parts.log.bounds(Topic::CommentEvents, partition).await {
                Ok(bounds) => {
                    ends.insert(partition, bounds.end.saturating_sub(1));
                }
                Err(error) => debug!(partition, %error, "end of the log unknown; retrying"),
            }
        }
        ends
    }

    /// Fills a hole: fetches the events up to `end` and sends those that `sample_rate` keeps.
    pub(super) async fn fill_hole(
        &mut self,
        stream_id: StreamId,
        end: MissedEnd,
        sample_rate: SampleRate,
    ) -> Result<(), HistoryError> {
        let MissedEnd { broadcast, until } = end;
        let mut events = 0;
        let mut after = self.feeds[&stream_id].covered_to;
        while after < until {
            let HistoryRead::Page(page) =
                self.parts.history.after(stream_id, after, broadcast).await?
            else {
                break;
            };
            let covered_to = page.covered_to;
            if covered_to <= after {
                break;
            }
            if events < MAX_HOLE_EVENTS {
                events += page.events.len();
                let to_seq = covered_to.min(until);
                let old = page.events.iter().filter_map(RecentEvent::comment);
                let old = self.older_than_log(old);
                let shown_before = self.shown_before(stream_id, old).await;
                let page = MissedPage { events: page.events, to_seq, shown_before };
                self.send_page(stream_id, page, sample_rate);
            } else {
                self.send_deletions(stream_id, page.events, until);
            }
            after = covered_to;
        }
        Ok(())
    }

    /// Sends only the deletions of a page. Its comments stay a hole.
    fn send_deletions(&mut self, stream_id: StreamId, events: Vec<RecentEvent>, until: Seq) {
        for event in events {
            if let RecentEvent::Deleted { seq, deletion } = event
                && seq <= until
            {
                self.handle_deletion(stream_id, seq, &deletion);
            }
        }
    }

    fn send_page(&mut self, stream_id: StreamId, page: MissedPage, sample_rate: SampleRate) {
        let MissedPage { events, to_seq, shown_before } = page;
        let mut comments = Vec::new();
        let mut own = Vec::new();
        let mut sampled = false;
        let hidden = hidden_in(&events, to_seq);
        for event in events.into_iter().filter(|event| event.seq() <= to_seq) {
            match event {
                RecentEvent::Comment(comment) | RecentEvent::Own(comment)
                    if hidden.get(&comment.comment_id) == Some(&HiddenFrom::Everybody) => {}
                RecentEvent::Comment(comment) | RecentEvent::Own(comment)
                    if !sample_rate.keeps(comment.comment_id) =>
                {
                    sampled = true;
                }
                RecentEvent::Comment(comment) if hidden.contains_key(&comment.comment_id) => {
                    own.push(comment);
                }
                RecentEvent::Comment(comment) => comments.push(comment),
                RecentEvent::Own(comment) => own.push(comment),
                RecentEvent::Deleted { seq, deletion } => {
                    self.handle_deletion(stream_id, seq, &deletion);
                }
            }
        }
        let epoch = self.parts.log.epoch();
        // The log does not tell the delay at that time, nor this page which comments were released.
        let delay_ms = self.parts.streams.get(stream_id).and_then(|stream| stream.room.delay_ms);
        let held_back = HeldBack { delay_ms: delay_ms.unwrap_or(0), ..HeldBack::default() };
        let incoming = IncomingComments {
            epoch,
            to_seq,
            sample_rate,
            comments,
            own,
            sampled,
            held_back,
            shown_before,
        };
        self.send_comments(stream_id, incoming, &[]);
    }
}

/// Returns the comments that deletions of a page hide. Those that the broadcast stage has not read
/// yet are known from nothing else.
fn hidden_in(events: &[RecentEvent], to_seq: Seq) -> AHashMap<CommentId, HiddenFrom> {
    let mut hidden = AHashMap::new();
    for event in events {
        if let RecentEvent::Deleted { seq, deletion } = event
            && *seq <= to_seq
        {
            let from = hidden.entry(deletion.comment_id).or_insert(HiddenFrom::Others);
            if deletion.hidden_from() == HiddenFrom::Everybody {
                *from = HiddenFrom::Everybody;
            }
        }
    }
    hidden
}
