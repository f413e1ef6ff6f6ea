//! Fetches what is shown beside the snapshots: alerts, the saved views, and for some views the
//! review queue, the audit log, or live comments and talkers.
//!
//! Always holds: besides these, only what the view on the screen needs is fetched; an answer for a
//! view that was left is dropped.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use super::feed::Metric;
use super::state::{Needs, ReadTerms};
use crate::client::admin::{AdminClient, AdminError};
use crate::client::follow::{Followed, follow};
use crate::protocol::StreamId;
use crate::protocol::admin::{
    Alert, AuditEntry, Cluster, EventItem, ModerationDecision, Offender, ReviewItem, SavedView,
    Session, Shadow, TailItem, Talkers, TimelineAnswer,
};
use crate::protocol::room::RoomTerm;

/// Time between two fetches of a list.
const PERIOD: Duration = Duration::from_secs(2);
/// Time between two fetches of the alerts.
const ALERT_PERIOD: Duration = Duration::from_millis(800);
/// Time between two fetches of the saved views, which others may change.
const VIEWS_PERIOD: Duration = Duration::from_secs(15);
/// Events from before the console was started.
const PAST_EVENTS: usize = 500;
/// Rows of a list.
const LIMIT: usize = 200;
/// Answers that wait to be drawn; further ones wait in their sockets.
const QUEUED: usize = 256;

/// Something that was fetched.
#[derive(Debug)]
pub(super) enum Fetched {
    Reviews(Result<Vec<ReviewItem>, AdminError>),
    Decided(Result<Decided, AdminError>),
    Audit(Result<Vec<AuditEntry>, AdminError>),
    Shadows(Vec<Shadow>),
    Tail(StreamId, TailItem),
    TailFailed(AdminError),
    /// `None` if they cannot be read.
    Talkers(StreamId, Option<Talkers>),
    Past(Past),
    /// `None` if they cannot be read.
    Alerts(Option<Vec<Alert>>),
    Views(Vec<SavedView>),
    Terms(ReadTerms),
}

/// Decisions, and the users whose comments were removed most.
#[derive(Debug)]
pub(super) struct Decided {
    pub(super) decisions: Vec<ModerationDecision>,
    pub(super) offenders: Vec<Offender>,
}

/// Runs the fetches that the view needs.
pub(super) struct Fetcher {
    client: AdminClient,
    results: mpsc::Sender<Fetched>,
    needs: Needs,
    reviews: Option<AbortOnDropHandle<()>>,
    audit: Option<AbortOnDropHandle<()>>,
    shadows: Option<AbortOnDropHandle<()>>,
    tail: Option<AbortOnDropHandle<()>>,
    talkers: Option<AbortOnDropHandle<()>>,
    terms: Option<AbortOnDropHandle<()>>,
    past: Option<AbortOnDropHandle<()>>,
    views: AbortOnDropHandle<()>,
    _alerts: AbortOnDropHandle<()>,
}

impl Fetcher {
    pub(super) fn new(client: AdminClient) -> (Self, mpsc::Receiver<Fetched>) {
        let (results, received) = mpsc::channel(QUEUED);
        let needs = Needs::default();
        let alerts = spawn(poll_alerts(client.clone(), results.clone()));
        let views = spawn(poll_views(client.clone(), results.clone()));
        let fetcher = Self {
            client,
            results,
            needs,
            reviews: None,
            audit: None,
            shadows: None,
            tail: None,
            talkers: None,
            terms: None,
            past: None,
            views,
            _alerts: alerts,
        };
        (fetcher, received)
    }

    /// Fetches the past for the charts, at the start and after contact was lost.
    pub(super) fn fetch_past(&mut self, until_ms: u64) {
        let task = send_past(self.client.clone(), until_ms, self.results.clone());
        self.past = Some(spawn(task));
    }

    /// Fetches the review queue at once, if it is shown: an act may have changed it.
    pub(super) fn refresh_reviews(&mut self) {
        if self.needs.reviews {
            let task = poll_reviews(self.client.clone(), self.results.clone());
            self.reviews = Some(spawn(task));
        }
    }

    /// Fetches the saved views at once, after this console changed them.
    pub(super) fn fetch_views(&mut self) {
        self.views = spawn(poll_views(self.client.clone(), self.results.clone()));
    }

    /// Starts what is newly needed and stops what no longer is.
    pub(super) fn set(&mut self, needs: Needs) {
        if needs.reviews != self.needs.reviews {
            let client = self.client.clone();
            let results = self.results.clone();
            self.reviews = needs.reviews.then(|| spawn(poll_reviews(client, results)));
        }
        if needs.audit != self.needs.audit {
            let client = self.client.clone();
            let results = self.results.clone();
            self.audit = needs.audit.then(|| spawn(poll_audit(client, results)));
        }
        if needs.shadows != self.needs.shadows {
            let client = self.client.clone();
            let results = self.results.clone();
            self.shadows = needs.shadows.then(|| spawn(poll_shadows(client, results)));
        }
        if needs.tail != self.needs.tail {
            let client = self.client.clone();
            let results = self.results.clone();
            self.tail = needs.tail.map(|stream_id| spawn(read_tail(client, stream_id, results)));
            let client = self.client.clone();
            let results = self.results.clone();
            self.talkers =
                needs.tail.map(|stream_id| spawn(poll_talkers(client, stream_id, results)));
        }
        if needs.terms != self.needs.terms {
            let client = self.client.clone();
            let results = self.results.clone();
            self.terms = needs.terms.map(|stream_id| spawn(poll_terms(client, stream_id, results)));
        }
        self.needs = needs;
    }
}

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}

async fn poll_reviews(client: AdminClient, results: mpsc::Sender<Fetched>) {
    let path = format!("/v1/mod/queue?limit={LIMIT}");
    loop {
        let list = client.get::<Cluster<ReviewItem>>(&path).await.map(|list| list.items);
        if results.send(Fetched::Reviews(list)).await.is_err() {
            return;
        }
        let decided = read_decided(&client).await;
        if results.send(Fetched::Decided(decided)).await.is_err() {
            return;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

async fn read_decided(client: &AdminClient) -> Result<Decided, AdminError> {
    let decisions = client.get::<Cluster<_>>(&format!("/v1/mod/decisions?limit={LIMIT}")).await?;
    let offenders = client.get::<Cluster<_>>(&format!("/v1/mod/offenders?limit={LIMIT}")).await?;
    Ok(Decided { decisions: decisions.items, offenders: offenders.items })
}

async fn poll_audit(client: AdminClient, results: mpsc::Sender<Fetched>) {
    let path = format!("/v1/audit?limit={LIMIT}");
    loop {
        let list = client.get::<Cluster<AuditEntry>>(&path).await.map(|list| list.items);
        if results.send(Fetched::Audit(list)).await.is_err() {
            return;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Reads the shadow bans. While they cannot be read, those of before are shown.
async fn poll_shadows(client: AdminClient, results: mpsc::Sender<Fetched>) {
    loop {
        if let Ok(list) = client.get::<Cluster<Shadow>>("/v1/shadows").await
            && results.send(Fetched::Shadows(list.items)).await.is_err()
        {
            return;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Reads the alerts about once per second. While they cannot be read, the console shows its own.
async fn poll_alerts(client: AdminClient, results: mpsc::Sender<Fetched>) {
    loop {
        let list = client.get::<Cluster<Alert>>("/v1/alerts").await;
        let alerts = list.ok().map(|list| list.items);
        if results.send(Fetched::Alerts(alerts)).await.is_err() {
            return;
        }
        tokio::time::sleep(ALERT_PERIOD).await;
    }
}

/// Reads the saved views. While they cannot be read, those of before are offered.
async fn poll_views(client: AdminClient, results: mpsc::Sender<Fetched>) {
    loop {
        if let Ok(list) = read_views(&client).await
            && results.send(Fetched::Views(list)).await.is_err()
        {
            return;
        }
        tokio::time::sleep(VIEWS_PERIOD).await;
    }
}

/// Returns the views that operators saved.
pub(super) async fn read_views(client: &AdminClient) -> Result<Vec<SavedView>, AdminError> {
    client.get::<Cluster<SavedView>>("/v1/views").await.map(|list| list.items)
}

async fn read_tail(client: AdminClient, stream_id: StreamId, results: mpsc::Sender<Fetched>) {
    let items = match follow::<TailItem>(client, format!("/v1/tail/{stream_id}")).await {
        Ok(items) => items,
        Err(error) => {
            let _ = results.send(Fetched::TailFailed(error)).await;
            return;
        }
    };
    let mut items = Box::pin(items);
    while let Some(item) = items.next().await {
        let fetched = match item {
            Followed::Item(item) => Fetched::Tail(stream_id, item),
            Followed::Lost { why, .. } => Fetched::TailFailed(why),
            Followed::Ended(error) => Fetched::TailFailed(error),
        };
        if results.send(fetched).await.is_err() {
            return;
        }
    }
}

/// Reads the talkers of a stream. While they cannot be read, the console counts its own comments.
async fn poll_talkers(client: AdminClient, stream_id: StreamId, results: mpsc::Sender<Fetched>) {
    let path = format!("/v1/streams/{stream_id}/talkers");
    loop {
        let talkers = client.get::<Talkers>(&path).await.ok();
        if results.send(Fetched::Talkers(stream_id, talkers)).await.is_err() {
            return;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// Reads the blocked terms of a room, which others may change while the palette names them.
async fn poll_terms(client: AdminClient, stream_id: StreamId, results: mpsc::Sender<Fetched>) {
    let path = format!("/v1/streams/{stream_id}/room/terms");
    loop {
        let read = client.get::<Cluster<RoomTerm>>(&path).await;
        let terms = read.map(|list| list.items).map_err(|error| error.to_string());
        if results.send(Fetched::Terms(ReadTerms { stream_id, terms })).await.is_err() {
            return;
        }
        tokio::time::sleep(PERIOD).await;
    }
}

/// The history that the daemon kept from before the console was started.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// The last five minutes by the second, then the last hour by ten seconds.
    pub(super) timelines: Vec<TimelineAnswer>,
    pub(super) events: Vec<EventItem>,
    /// The operator that the console acts for. After a restart the daemon may give another role.
    pub(super) session: Option<Session>,
}

/// Reads the past. A part that the daemon does not keep stays empty.
pub(super) async fn read_past(client: &AdminClient, until_ms: u64) -> Past {
    let names = Metric::ALL.map(Metric::timeline_name).join(",");
    let mut past = Past::default();
    for (span_ms, step_ms) in [(300_000, 1_000), (3_600_000, 10_000)] {
        let from = until_ms.saturating_sub(span_ms);
        let path = format!("/v1/timeline?series={names}&from={from}&to={until_ms}&step={step_ms}");
        past.timelines.extend(client.get::<TimelineAnswer>(&path).await);
    }
    let path = format!("/v1/events?limit={PAST_EVENTS}");
    let events = client.get::<Cluster<EventItem>>(&path).await;
    past.events = events.map_or_else(|_| Vec::new(), |list| list.items);
    past.session = client.get("/v1/session").await.ok();
    past
}

async fn send_past(client: AdminClient, until_ms: u64, results: mpsc::Sender<Fetched>) {
    let past = read_past(&client, until_ms).await;
    // The console has ended if nobody takes it.
    let _ = results.send(Fetched::Past(past)).await;
}
