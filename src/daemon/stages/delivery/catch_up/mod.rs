//! Hands viewers that come back what they missed: one read and one encoding for all who stand at the
//! same place, however many come at once.
//!
//! In: the workers' requests, in a bounded queue. Out: pages, in the workers' mailboxes.
//!
//! Always holds: no page whose reading began before a deletion reached this node is handed to a viewer
//! that asks after it. Such a viewer came too late for the deletion itself, and must not see what it
//! deleted; so every deletion ([`History::note_deletion`]) ends the sharing of what was read before.
//!
//! When full: [`MAX_UNDER_WAY`] viewers wait for pages, the next ones in the queue, and who finds that
//! full asks again. [`MAX_READS`] pages are read at a time. See [`Kept`] for what is kept for others.

mod kept;
mod page;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::kept::Kept;
use self::page::Page;
use super::frame::Form;
use super::history::{History, Past};
use super::mailbox::{CatchUpPage, Command, Mailbox};
use crate::daemon::base::handoff::ConnectionId;
use crate::daemon::base::metrics::Metrics;
use crate::daemon::base::single_flight::SingleFlight;
use crate::protocol::message::Encoding;
use crate::protocol::{Epoch, Seq, StreamId};

/// Viewers that wait for their pages at one time.
const MAX_UNDER_WAY: usize = 4096;
/// Different pages read at one time.
const MAX_READS: usize = 8;

/// A page may have been read for somebody who knew of less, and have found nothing yet. A viewer that
/// knows of more joins another one this often before it has one read for itself.
const SHARED_TRIES: u32 = 3;

/// A viewer wants what came after its position.
#[derive(Debug, Clone, Copy)]
pub(super) struct CatchUpRequest {
    pub(super) connection: ConnectionId,
    pub(super) stream_id: StreamId,
    pub(super) after: Seq,
    /// What is known to be there: the worker has seen the stream come this far.
    pub(super) until: Seq,
    /// Below this, what the recent cache has forgotten is told as a gap, not read from the log.
    pub(super) floor: Seq,
    pub(super) form: Form,
}

/// What makes two viewers ask for the same. Pages are never compressed, so all forms of an encoding
/// share them.
type Question = (StreamId, Seq, Encoding);

type Answered = (CatchUpRequest, Arc<Page>);

/// The service.
#[derive(Debug)]
pub(super) struct CatchUp {
    reader: Reader,
    flights: SingleFlight<Question, Arc<Page>>,
    kept: Kept,
    /// Deletions that this service knows of; what was read before the last one is shared no more.
    deletions: u64,
    mailboxes: Arc<[Arc<Mailbox>]>,
}

/// What a page takes to be read.
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
        let deletions = history.deletions();
        let reads = Arc::new(Semaphore::new(MAX_READS));
        let reader = Reader { history, epoch, reads, metrics };
        let (flights, kept) = (SingleFlight::default(), Kept::default());
        Self { reader, flights, kept, deletions, mailboxes }
    }

    /// Serves viewers' requests until cancelled.
    pub(super) async fn serve(
        mut self,
        mut requests: mpsc::Receiver<CatchUpRequest>,
        stop: CancellationToken,
    ) {
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                request = requests.recv(), if under_way.len() < MAX_UNDER_WAY => match request {
                    Some(request) => match self.at_hand(&request) {
                        Some(page) => self.hand_over(&request, &page),
                        None => under_way.push(self.ask(request)),
                    },
                    None => return,
                },
                Some((request, page)) = under_way.next() => {
                    self.keep(&request, &page);
                    self.hand_over(&request, &page);
                }
                () = self.kept.expired() => self.kept.clear(),
                () = stop.cancelled() => return,
            }
        }
    }

    /// What was read for somebody else a moment ago.
    fn at_hand(&mut self, request: &CatchUpRequest) -> Option<Arc<Page>> {
        let deletions = self.reader.history.deletions();
        if self.deletions != deletions {
            self.deletions = deletions;
            self.kept.clear();
            self.flights.forget(|_| true);
        }
        self.kept.get(&request.question())
    }

    /// Has the page read, or joins who reads the same.
    fn ask(&self, request: CatchUpRequest) -> BoxFuture<'static, Answered> {
        let (flights, reader, deletions) =
            (self.flights.clone(), self.reader.clone(), self.deletions);
        let load = move || {
            let reader = reader.clone();
            async move { Arc::new(reader.read(&request, deletions).await) }
        };
        let mut flight = flights.join(request.question(), &load);
        Box::pin(async move {
            for _ in 0..SHARED_TRIES {
                let page = flight.await;
                if page.serves(&request) {
                    return (request, page);
                }
                flight = flights.join(request.question(), &load);
            }
            (request, load().await)
        })
    }

    fn keep(&mut self, request: &CatchUpRequest, page: &Arc<Page>) {
        if page.deletions == self.deletions && page.covered_to > request.after {
            self.kept.put(request.question(), page);
        }
    }

    fn hand_over(&self, request: &CatchUpRequest, page: &Page) {
        self.reader.metrics.catch_up_pages.inc();
        let mailbox = &self.mailboxes[usize::from(request.connection.worker)];
        let page = CatchUpPage {
            frames: page.frames.clone(),
            comments: page.comments,
            covered_to: page.covered_to,
            until: request.until,
            beyond_end: page.beyond_end,
        };
        mailbox.send(Command::CaughtUp { connection: request.connection, page });
    }
}

impl CatchUpRequest {
    fn question(&self) -> Question {
        (self.stream_id, self.after, self.form.encoding())
    }
}

impl Reader {
    async fn read(&self, request: &CatchUpRequest, deletions: u64) -> Page {
        // Never closed; without a permit it would only be read sooner.
        let _turn = self.reads.acquire().await.ok();
        self.metrics.catch_up_reads.inc();
        let CatchUpRequest { stream_id, after, until, floor, .. } = *request;
        let page = match self.history.missed(stream_id, after, until, floor).await {
            Ok(Past::Kept(events)) => page::encode(request, &events, self.epoch),
            Ok(Past::Expired { before }) => page::gap(request, before),
            Err(error) => {
                warn!(%stream_id, %error, "returning viewers are not served");
                page::nothing(request)
            }
        };
        let beyond_end =
            page.covered_to <= after && self.history.is_beyond_end(stream_id, after).await;
        Page { beyond_end, deletions, ..page }
    }
}
