//! Catch-up: sends returning viewers what they missed. Viewers that need the same page share one
//! read and one encoding, however many reconnect at once. Only a page with comments that nobody but
//! their authors is shown is encoded again for each of these authors.
//!
//! In: requests of the workers, in a bounded queue. Out: pages, in the mailboxes of the workers.
//!
//! Always holds: a page whose reading began before a deletion reached this node is never sent to
//! a viewer that asks after the deletion. Such a viewer was not sent the deletion and must not
//! see the comment; so every deletion ends the sharing of earlier reads, and so does what takes one
//! back ([`History::record_change`]).
//!
//! When full: [`MAX_WAITING`] viewers wait for pages and further ones in the queue; a worker that
//! finds it full tries again. At most [`MAX_READS`] pages are read at a time. See [`RecentPages`]
//! for the pages that are kept.

mod page;
mod recent_pages;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::page::Page;
use self::recent_pages::RecentPages;
use super::form::{Form, Wire};
use super::history::{History, HistoryRead};
use super::mailbox::{CatchUpPage, Command, Mailbox};
use crate::daemon::base::handoff::ConnectionId;
use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::single_flight::SingleFlight;
use crate::protocol::{Epoch, Seq, StreamId, UserId};

/// Viewers that wait for pages at a time.
const MAX_WAITING: usize = 4096;
/// Different pages read at a time.
const MAX_READS: usize = 8;

/// A shared page may be of no use to a viewer that knows of newer comments than the one it was
/// read for. That viewer joins another read this often before it has a page read for itself.
const SHARED_TRIES: u32 = 3;

/// A viewer's request for the events after its position.
#[derive(Debug, Clone, Copy)]
pub(super) struct CatchUpRequest {
    pub(super) connection: ConnectionId,
    pub(super) stream_id: StreamId,
    pub(super) after: Seq,
    /// Position of the stream on the viewer's worker.
    pub(super) until: Seq,
    /// Events below this that the recent cache has dropped become a gap instead of being read
    /// from the log.
    pub(super) floor: Seq,
    pub(super) form: Form,
    /// The viewer's user. It is shown comments that only their author is shown.
    pub(super) user: Option<UserId>,
}

/// Identifies a page. Pages are never compressed, so all forms of a wire share them.
type PageKey = (StreamId, Seq, Wire);

/// The task that serves catch-up requests.
#[derive(Debug)]
pub(super) struct CatchUp {
    reader: Reader,
    flights: SingleFlight<PageKey, Arc<Page>>,
    recent: RecentPages,
    /// Changes seen so far. Pages whose reading began before the last one are not shared any more.
    changes: u64,
    mailboxes: Arc<[Arc<Mailbox>]>,
}

/// Reads pages.
#[derive(Debug, Clone)]
struct Reader {
    history: History,
    epoch: Epoch,
    reads: Arc<Semaphore>,
    metrics: Metrics,
}

impl CatchUp {
    pub(super) fn new(
        history: History,
        epoch: Epoch,
        mailboxes: Arc<[Arc<Mailbox>]>,
        metrics: Metrics,
    ) -> Self {
        let changes = history.changes();
        let reads = Arc::new(Semaphore::new(MAX_READS));
        let reader = Reader { history, epoch, reads, metrics };
        Self {
            reader,
            flights: SingleFlight::default(),
            recent: RecentPages::default(),
            changes,
            mailboxes,
        }
    }

    /// Serves viewers' requests until cancelled.
    pub(super) async fn serve(
        mut self,
        mut requests: mpsc::Receiver<CatchUpRequest>,
        stop: CancellationToken,
    ) {
        let mut waiting = FuturesUnordered::new();
        loop {
            tokio::select! {
                request = requests.recv(), if waiting.len() < MAX_WAITING => match request {
                    Some(request) => match self.find_recent(&request) {
                        Some(page) => self.deliver(&request, &page),
                        None => waiting.push(self.fetch(request)),
                    },
                    None => return,
                },
                Some((request, page)) = waiting.next() => {
                    self.remember(&request, &page);
                    self.deliver(&request, &page);
                }
                () = self.recent.expired() => self.recent.clear(),
                () = stop.cancelled() => return,
            }
        }
    }

    /// Returns a page that was read recently. Drops the kept pages first if a deletion has come or
    /// was taken back since.
    fn find_recent(&mut self, request: &CatchUpRequest) -> Option<Arc<Page>> {
        let changes = self.reader.history.changes();
        if self.changes != changes {
            self.changes = changes;
            self.recent.clear();
            self.flights.forget(|_| true);
        }
        self.recent.get(&request.key())
    }

    /// Reads the page, or joins a running read of the same page.
    fn fetch(&self, request: CatchUpRequest) -> BoxFuture<'static, (CatchUpRequest, Arc<Page>)> {
        let flights = self.flights.clone();
        let reader = self.reader.clone();
        let changes = self.changes;
        let load = move || {
            let reader = reader.clone();
            async move { Arc::new(reader.read(&request, changes).await) }
        };
        let mut flight = flights.join(request.key(), &load);
        Box::pin(async move {
            for _ in 0..SHARED_TRIES {
                let page = flight.await;
                if page.serves(&request) {
                    return (request, page);
                }
                flight = flights.join(request.key(), &load);
            }
            (request, load().await)
        })
    }

    fn remember(&mut self, request: &CatchUpRequest, page: &Arc<Page>) {
        if page.changes == self.changes && page.covered_to > request.after {
            self.recent.put(request.key(), page);
        }
    }

    fn deliver(&self, request: &CatchUpRequest, page: &Page) {
        self.reader.metrics.catch_up_pages.inc();
        let mailbox = &self.mailboxes[usize::from(request.connection.worker)];
        let own = page.frames_for(request);
        let comments = own.as_ref().map_or(page.comments, |own| own.comments);
        let frames = own.map_or_else(|| page.frames.clone(), |own| own.frames.into());
        let page = CatchUpPage {
            frames,
            comments,
            after: request.after,
            covered_to: page.covered_to,
            until: request.until,
            beyond_end: page.beyond_end,
        };
        mailbox.send(Command::CaughtUp { connection: request.connection, page });
    }
}

impl CatchUpRequest {
    fn key(&self) -> PageKey {
        (self.stream_id, self.after, self.form.wire())
    }
}

impl Reader {
    async fn read(&self, request: &CatchUpRequest, changes: u64) -> Page {
        // The semaphore is never closed.
        let _turn = self.reads.acquire().await.ok();
        self.metrics.catch_up_reads.inc();
        let CatchUpRequest { stream_id, after, until, floor, .. } = *request;
        let page = match self.history.after_for_viewer(stream_id, after, until, floor).await {
            Ok(HistoryRead::Page(events)) => page::encode(request, events, self.epoch),
            Ok(HistoryRead::Expired { before }) => page::gap(request, before, self.epoch),
            Err(error) => {
                warn!(%stream_id, %error, "cannot read the history; returning viewers get a gap");
                page::nothing(request)
            }
        };
        let beyond_end =
            page.covered_to <= after && self.history.is_beyond_end(stream_id, after).await;
        Page { beyond_end, changes, ..page }
    }
}
