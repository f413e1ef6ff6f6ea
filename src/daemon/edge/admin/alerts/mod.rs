//! Alerts: what is wrong now, with its effect and the next step.
//!
//! In: this node's report and the ages of the others' once per second, and what the others report
//! every two seconds. Out:
//! [`Alert`]s in the node's report, from which any node answers for all, and events when one begins
//! or ends.
//!
//! Always holds: an alert is raised after its condition has held for the time that `[alerts]` says,
//! and ends when the condition ends; its id is the same on every node; an acknowledgement lasts as
//! long as its alert. The problems of a node are alerts, too. A loss is acknowledged only as it was
//! shown: a further one of the same part is not.
//!
//! When full: at most [`board::MAX_ALERTS`] are kept per node; further ones wait until others end.

mod acks;
mod board;
mod conditions;
mod rule;
#[cfg(test)]
mod tests;
mod texts;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use self::acks::Acks;
use self::board::{AlertBoard, Change};
use self::conditions::{Condition, Window};
use super::AdminParts;
use super::cluster::ClusterView;
use crate::daemon::base::config::{AlertsConfig, NodeRole};
use crate::daemon::base::status::{EVENT_LOG, METADATA_STORE};
use crate::daemon::stages::control::{Actor, ControlError, OpenDeadLetters};
use crate::protocol::NodeId;
use crate::protocol::admin::{
    AckRequest, Alert, AlertAck, AlertThresholds, BreakerState, EventKind, Health, NodeReport,
    NodeStatus, Outcome, ProblemCode, Severity,
};
use crate::protocol::printable::printable;
use crate::protocol::quantity::show_duration;

/// The time limit per dependency that is asked for alerts.
const DEPENDENCY_TIMEOUT: Duration = Duration::from_millis(1_500);

/// The alerts of this node.
#[derive(Debug)]
pub(super) struct Alerts {
    settings: AlertsConfig,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Measurements of the last seconds.
    window: Window,
    /// Conditions of this node itself.
    own: AlertBoard,
    /// Conditions that this node sees in others.
    seen: AlertBoard,
    /// Nodes that have fallen silent.
    silent: AlertBoard,
    /// The viewers of each node that is known, as it reported last.
    last_viewers: BTreeMap<NodeId, u64>,
    acks: Acks,
    dead_letters: OpenDeadLetters,
}

impl Inner {
    /// Keeps how many viewers the nodes have, for when one of them does not report any more.
    fn remember_viewers(&mut self, view: &ClusterView) {
        self.last_viewers.retain(|node, _| view.unreachable.contains(node));
        let reported = view.reports().iter().map(|report| &report.node);
        self.last_viewers.extend(reported.map(|node| (node.node.clone(), node.viewers())));
    }

    fn raised(&self) -> impl Iterator<Item = &Alert> {
        [&self.own, &self.seen, &self.silent].into_iter().flat_map(AlertBoard::raised)
    }
}

impl Alerts {
    pub(super) fn new(settings: AlertsConfig) -> Self {
        Self { settings, inner: Mutex::default() }
    }

    /// Returns the lag, in records, from which operators are told.
    pub(super) fn lag_high(&self) -> u64 {
        self.settings.lag_high
    }

    /// Returns the thresholds that a console judges by, too.
    pub(super) fn thresholds(&self) -> AlertThresholds {
        self.settings.thresholds()
    }

    /// Returns the alerts of this node, for its report.
    pub(super) fn own(&self) -> Vec<Alert> {
        self.inner.lock().raised().cloned().collect()
    }

    /// Returns the alerts about this node itself.
    pub(super) fn of_this_node(&self) -> Vec<Alert> {
        self.inner.lock().own.raised().cloned().collect()
    }

    pub(super) fn acks(&self) -> Vec<AlertAck> {
        self.inner.lock().acks.list()
    }
}

impl AdminParts {
    /// Looks at this node once.
    pub(super) fn watch_self(&self, report: &NodeReport) {
        let alerts = &self.live.alerts;
        let now = Instant::now();
        let mut inner = alerts.inner.lock();
        inner.window.add(now, report);
        let serves = self.board.serves();
        let mut found = conditions::of_problems(&report.problems, serves);
        found.extend(conditions::of_breakers(
            &report.breakers,
            &self.board.essential(),
            &alerts.settings,
        ));
        found.extend(conditions::of_readiness(self.board.is_ready(), self.board.is_draining()));
        let expires_at_ms = (self.certificate)().and_then(|certificate| certificate.expires_at_ms);
        let now_ms = report.taken_at;
        found.extend(conditions::of_certificate(expires_at_ms, now_ms, &alerts.settings));
        let of_admin = self.remote.as_ref().and_then(|remote| remote.expires_at_ms());
        found.extend(conditions::of_admin_certificate(of_admin, now_ms, &alerts.settings));
        found.extend(inner.window.conditions(report, &alerts.settings));
        found.extend(conditions::of_stages(&report.stages, &alerts.settings));
        found.extend(conditions::of_flagged(&report.moderation.recent, &alerts.settings));
        found.extend(conditions::of_bus(&report.bus, &alerts.settings));
        found.extend(conditions::of_latency(&report.end_to_end_recent, &alerts.settings));
        found.extend(conditions::of_process(&report.node.process, &alerts.settings));
        let changes = inner.own.update(now, found, Some(&report.node));
        drop(inner);
        self.record_changes(&changes);
    }

    /// Looks at the other nodes once, and learns what they have acknowledged.
    pub(super) async fn watch_cluster(&self) {
        let view = self.cluster().await;
        let settings = &self.live.alerts.settings;
        let mut found = conditions::of_nodes_without_report(&view.without_report, settings);
        found.extend(conditions::of_versions(&view.nodes(), settings));
        found.extend(self.log_conditions().await);
        found.extend(self.store_conditions().await);
        let now = Instant::now();
        let mut inner = self.live.alerts.inner.lock();
        inner.remember_viewers(&view);
        let changes = inner.seen.update(now, found, None);
        let active: Vec<String> = self.merged(&view, &inner).into_keys().collect();
        inner.acks.merge(view.acks(), &active, now);
        drop(inner);
        self.record_changes(&changes);
        self.live.events.lock().learn(view.events(), &self.about.node);
    }

    /// Looks once at how old the reports of the others are. Costs no call, so that it can be done
    /// as often as nodes report.
    pub(super) fn watch_silence(&self) {
        let silences = self.control.parts().registry.silences();
        let alerts = &self.live.alerts;
        let mut inner = alerts.inner.lock();
        let found = conditions::of_silences(&silences, &inner.last_viewers, &alerts.settings);
        let changes = inner.silent.update(Instant::now(), found, None);
        drop(inner);
        self.record_changes(&changes);
    }

    /// Only coordinators look at the log, so that a large cluster does not ask it 200 times.
    async fn log_conditions(&self) -> Vec<Condition> {
        let is_coordinator = self.has_role(NodeRole::Coordinator);
        if !is_coordinator || self.is_down(EVENT_LOG) {
            return Vec::new();
        }
        let lag = timeout(DEPENDENCY_TIMEOUT, self.control.parts().log.lag());
        let (lag, view, dead_letters) = tokio::join!(lag, self.cluster(), self.dead_letters());
        let mut found = match lag {
            Ok(Ok(mut lag)) => {
                self.live.unheld.leave_out_held(&view, &mut lag);
                conditions::of_lag(&lag, &self.live.alerts.settings)
            }
            // A log that does not answer opens its breaker.
            Ok(Err(_)) | Err(_) => Vec::new(),
        };
        found.extend(conditions::of_dead_letters(dead_letters));
        found
    }

    /// Returns the number of open dead letters. If the log or the audit log does not answer, it is
    /// the last number.
    async fn dead_letters(&self) -> u64 {
        let known = self.live.alerts.inner.lock().dead_letters.clone();
        let counted = timeout(DEPENDENCY_TIMEOUT, self.control.recount_dead_letters(&known)).await;
        let Ok(Ok(counted)) = counted else { return known.open };
        let open = counted.open;
        self.live.alerts.inner.lock().dead_letters = counted;
        open
    }

    /// Only moderators look at the review queue.
    async fn store_conditions(&self) -> Vec<Condition> {
        let is_moderator = self.has_role(NodeRole::Moderator);
        if !is_moderator || self.is_down(METADATA_STORE) {
            return Vec::new();
        }
        let parts = self.control.parts();
        match timeout(DEPENDENCY_TIMEOUT, parts.metadata.review_queue(1)).await {
            Ok(Ok(oldest)) => {
                let now_ms = parts.clock.now_ms();
                conditions::of_review(oldest.first(), now_ms, &self.live.alerts.settings)
                    .into_iter()
                    .collect()
            }
            Ok(Err(_)) | Err(_) => Vec::new(),
        }
    }

    fn has_role(&self, role: NodeRole) -> bool {
        self.about.roles.iter().any(|name| name == role.as_str())
    }

    /// Returns the alerts of all nodes, the worst and the longest first.
    pub(super) fn alerts_of(&self, view: &ClusterView) -> Vec<Alert> {
        let inner = self.live.alerts.inner.lock();
        let with_ack = |MergedAlert { alert, losses }: MergedAlert| {
            let acked_by = inner.acks.of(&alert.id, &losses);
            Alert { acked_by, ..alert }
        };
        let mut alerts: Vec<_> = self.merged(view, &inner).into_values().map(with_ack).collect();
        mark_unserved(&mut alerts, &view.nodes());
        alerts.sort_by_key(|alert| {
            (std::cmp::Reverse((alert.severity, alert.since_ms)), alert.id.clone())
        });
        alerts
    }

    /// Joins what nodes report of the same alert.
    fn merged(&self, view: &ClusterView, inner: &Inner) -> BTreeMap<String, MergedAlert> {
        let own = inner.raised();
        let mut merged: BTreeMap<String, MergedAlert> = BTreeMap::new();
        for alert in own.chain(view.alerts_of_others(&self.about.node)) {
            merged
                .entry(alert.id.clone())
                .and_modify(|known| known.join(alert))
                .or_insert_with(|| MergedAlert::new(alert));
        }
        merged
    }

    /// Returns the texts of an alert that is a loss, none of any other; `None` without such an
    /// alert.
    fn losses_of(&self, view: &ClusterView, id: &str) -> Option<BTreeSet<String>> {
        let inner = self.live.alerts.inner.lock();
        self.merged(view, &inner).remove(id).map(|known| known.losses)
    }

    /// Acknowledges an alert for everybody: the other nodes learn it from this node's report.
    pub(super) async fn acknowledge(
        &self,
        actor: &Actor,
        request: &AckRequest,
    ) -> Result<Outcome, ControlError> {
        let view = self.cluster().await;
        let Some(losses) = self.losses_of(&view, &request.id) else {
            let shown: String = request.id.chars().take(100).collect();
            return Err(ControlError::UnknownAlert(printable(&shown)));
        };
        let outcome = self.control.record_ack(actor, request).await?;
        let ack = AlertAck {
            id: request.id.clone(),
            by: actor.name().to_owned(),
            at: self.control.parts().clock.now_ms(),
            shown: acks::digests(&losses),
        };
        self.live.alerts.inner.lock().acks.add(ack, Instant::now());
        let text = format!("acknowledged by {}", actor.name());
        self.record_event(EventKind::Alert, &request.id, text, Some(outcome.audit_id));
        Ok(Outcome { losses: losses.into_iter().collect(), ..outcome })
    }

    fn record_changes(&self, changes: &[Change]) {
        for change in changes {
            match change {
                Change::Raised(alert) => {
                    self.record_event(EventKind::Alert, &alert.id, alert.effect.clone(), None);
                }
                Change::Cleared { id, lasted } => {
                    let lasted = show_duration(lasted.as_millis() as u64);
                    self.record_event(EventKind::Alert, id, format!("over after {lasted}"), None);
                }
            }
        }
    }
}

/// An alert as all nodes report it.
#[derive(Debug)]
struct MergedAlert {
    alert: Alert,
    /// The texts of a loss, each once, whichever nodes show it. Empty for any other alert.
    losses: BTreeSet<String>,
}

impl MergedAlert {
    fn new(alert: &Alert) -> Self {
        let mut merged = Self { alert: alert.clone(), losses: BTreeSet::new() };
        merged.add_loss(alert);
        merged
    }

    fn join(&mut self, other: &Alert) {
        texts::join(&mut self.alert, other);
        self.add_loss(other);
    }

    fn add_loss(&mut self, alert: &Alert) {
        if ProblemCode::loss(&alert.rule).is_some() {
            self.losses.insert(alert.effect.clone());
        }
    }
}

/// Makes a drain critical if no node takes viewers: nobody serves those that come.
fn mark_unserved(alerts: &mut [Alert], nodes: &[NodeStatus]) {
    let not_ready = alerts.iter().filter(|alert| alert.rule == rule::NOT_READY);
    let not_ready: BTreeSet<_> = not_ready.flat_map(|alert| alert.nodes.clone()).collect();
    if nodes.iter().any(|node| node.takes_viewers() && !not_ready.contains(&node.node)) {
        return;
    }
    for alert in alerts.iter_mut().filter(|alert| alert.rule == rule::DRAINING) {
        alert.severity = Severity::Critical;
        alert.effect.push_str("; no other node takes viewers");
    }
}

/// Returns the state of a cluster of so many nodes that alerts amount to. It is failing if half of
/// the nodes fail; with fewer, viewers find one that serves them. An alert that somebody has
/// acknowledged does not lower it while viewers are served.
pub(super) fn health(alerts: &[Alert], nodes: usize) -> Health {
    if alerts.iter().any(|alert| stops_service(alert, nodes)) {
        return Health::Failing;
    }
    let is_well = alerts.iter().all(|alert| alert.acked_by.is_some());
    if is_well { Health::Well } else { Health::Degraded }
}

/// A critical drain is that of every node that takes viewers.
fn stops_service(alert: &Alert, nodes: usize) -> bool {
    let is_of_most = alert.rule == rule::DRAINING || alert.nodes.len() * 2 >= nodes.max(1);
    alert.severity == Severity::Critical && is_of_most
}

/// Returns for how long alerts have made the state what it is. A certificate that is about to
/// expire does not make an outage days old.
pub(super) fn unwell_ms(alerts: &[Alert], nodes: usize, health: Health) -> Option<u64> {
    let is_cause = |alert: &&Alert| match health {
        Health::Well => false,
        Health::Degraded => alert.acked_by.is_none(),
        Health::Failing => stops_service(alert, nodes),
    };
    alerts.iter().filter(is_cause).map(|alert| alert.since_ms).max()
}

/// Returns what works, in words for operators, so that a short list of alerts is known to be
/// complete.
pub(super) fn what_works(view: &ClusterView, alerts: &[Alert]) -> Vec<String> {
    let nodes = view.nodes();
    let known = nodes.len() + view.unreachable.len();
    let mut well = vec![format!("{} of {known} nodes report", nodes.len())];
    let works = view.breakers().into_iter().filter(|it| it.state == BreakerState::Closed);
    well.extend(works.map(|breaker| breaker.dependency));
    let is_raised = |rule: &str| alerts.iter().any(|alert| alert.rule == rule);
    for (rule, words) in texts::WELL {
        if !is_raised(rule) {
            well.push((*words).to_owned());
        }
    }
    well
}

/// The nodes of an alert as text: one by its name, several by their number.
fn nodes_text(nodes: &[NodeId]) -> String {
    match nodes {
        [one] => one.to_string(),
        several => format!("{} nodes", several.len()),
    }
}
