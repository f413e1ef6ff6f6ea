//! Keeps the timeline: the figures of each second, of the whole cluster or of this node.
//!
//! In: the reports of the nodes, once per second. Out: `GET /v1/timeline`. The node that broadcasts
//! the first partition of the log keeps the timeline of the cluster, so that one node reads all
//! reports, and shares it as blocks of ten seconds. Every other keeps its own figures, and answers
//! from the blocks; while they cannot be read, from its own figures.

use std::sync::Arc;
use std::time::Duration;

use ahash::AHashMap;
use axum::extract::State;
use serde::Deserialize;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::cluster::ClusterView;
use super::error::Answer;
use super::request::{Params, within};
use super::{AdminParts, AdminState};
use crate::daemon::base::telemetry::timeline::{
    BLOCK_S, BLOCKS, NODE_SERIES, STREAM_SERIES, Timeline, TimelineFrame, TimelineRequest,
};
use crate::daemon::edge::http::{HttpError, Json};
use crate::protocol::admin::{
    BusNode, BusNodeState, ConsumerLag, NodeReport, StageStatus, TimelineAnswer,
};
use crate::protocol::{ErrorCode, StreamId};

/// The review queue and the lag are read less often: each costs a call to a server.
const SLOW_INTERVAL: Duration = Duration::from_secs(10);
/// The time limit for reading or storing blocks.
const BLOCKS_TIMEOUT: Duration = Duration::from_secs(2);
/// Blocks are read at most this often, however many ask.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// A node that loses the first partition goes on for so long. A coordinator that starts again, such
/// as when the bus fails, soon has its partitions back, and the last hour must not be lost then.
const KEEPS_ON_FOR: Duration = Duration::from_secs(60);
/// A last block so many intervals in the future means that the clock was set back.
const CLOCK_SET_BACK: u64 = 6;
/// The time that the timeline covers.
const HOUR_MS: u64 = 3_600_000;
const DEFAULT_SPAN_MS: u64 = 300_000;

/// Adds the figures of each second to the timeline.
#[derive(Debug, Clone)]
pub struct TimelineKeeper(pub(super) Arc<AdminParts>);

/// Figures that are read every [`SLOW_INTERVAL`].
#[derive(Debug, Default)]
struct SlowFigures {
    read_at: Option<Instant>,
    /// `None` if unknown, as is `lag`.
    queued: Option<u64>,
    lag: Option<Vec<ConsumerLag>>,
}

impl TimelineKeeper {
    pub async fn run(&self, stop: CancellationToken) {
        let telemetry = self.0.board.telemetry();
        let timeline = telemetry.timeline();
        let mut slow = SlowFigures::default();
        let mut turn = KeepersTurn::new(timeline.is_whole_cluster().then(Instant::now));
        let mut last_interval = None;
        loop {
            let now_ms = self.0.control.parts().clock.now_ms();
            tokio::select! {
                () = tokio::time::sleep(until_next_middle(now_ms)) => {}
                () = stop.cancelled() => return,
            }
            let whole_cluster = turn.lasts(telemetry.keeps_cluster(), Instant::now());
            if whole_cluster != timeline.is_whole_cluster() {
                timeline.begin(whole_cluster);
                // An interval of before is not this node's to share: it would be blank.
                last_interval = None;
                if whole_cluster {
                    self.0.load_blocks(timeline).await;
                }
            }
            let frame = self.0.timeline_frame(whole_cluster, &mut slow).await;
            timeline.add(&frame);
            if let Some(over) = ended_interval(&mut last_interval, frame.second)
                && whole_cluster
            {
                // Two nodes may share it while one takes over from the other: both have it.
                self.0.share_block(timeline, over).await;
            }
        }
    }
}

/// Decides whether this node goes on keeping the timeline of the cluster.
#[derive(Debug)]
struct KeepersTurn {
    /// When the node had the first partition last.
    had_partition_at: Option<Instant>,
}

impl KeepersTurn {
    fn new(had_partition_at: Option<Instant>) -> Self {
        Self { had_partition_at }
    }

    fn lasts(&mut self, has_partition: bool, now: Instant) -> bool {
        if has_partition {
            self.had_partition_at = Some(now);
        }
        let since = self.had_partition_at.map(|at| now.saturating_duration_since(at));
        since.is_some_and(|since| since < KEEPS_ON_FOR)
    }
}

/// Returns the interval that ended with a frame, whichever second of the next one the frame is:
/// when frames take long, seconds are left out.
fn ended_interval(last: &mut Option<u64>, second: u64) -> Option<u64> {
    let interval = second / BLOCK_S;
    last.replace(interval).filter(|last| *last < interval)
}

/// The timeline of the cluster as another node shares it, read when somebody asks.
#[derive(Debug, Default)]
pub(super) struct SharedPast {
    timeline: Timeline,
    /// Locked while blocks are read, so that they are read once.
    last_read: tokio::sync::Mutex<Option<LastRead>>,
}

#[derive(Debug, Clone, Copy)]
struct LastRead {
    at: Instant,
    succeeded: bool,
}

impl SharedPast {
    /// Reads the blocks that came since the last time. Returns `None` if there are none.
    async fn read(&self, parts: &AdminParts) -> Option<&Timeline> {
        let mut last = self.last_read.lock().await;
        // Those who waited for one that failed must not wait again, each in turn.
        let recent = last.filter(|read| read.at.elapsed() < READ_INTERVAL);
        let succeeded = match recent {
            Some(read) => read.succeeded,
            None => parts.load_blocks(&self.timeline).await,
        };
        if recent.is_none() {
            *last = Some(LastRead { at: Instant::now(), succeeded });
        }
        (succeeded && self.timeline.next_interval().is_some()).then_some(&self.timeline)
    }

    /// Frees the memory, once this node keeps the timeline itself.
    fn forget(&self) {
        if self.timeline.next_interval().is_some() {
            self.timeline.begin(true);
        }
    }
}

/// Returns the time until the middle of the next second. No second has two frames, and none is left
/// out unless a frame takes longer than half a second.
fn until_next_middle(now_ms: u64) -> Duration {
    Duration::from_millis(1_500 - now_ms % 1_000)
}

impl AdminParts {
    /// Adds the blocks of the last hour that are not known yet. Returns whether they could be read.
    async fn load_blocks(&self, timeline: &Timeline) -> bool {
        let Some(blocks) = &self.timeline else { return false };
        let end = self.control.parts().clock.now_ms() / 1_000 / BLOCK_S;
        let hour_ago = end.saturating_sub(BLOCKS);
        if timeline.next_interval().is_some_and(|next| next > end + CLOCK_SET_BACK) {
            timeline.begin(true);
        }
        let start = timeline.next_interval().unwrap_or(hour_ago).max(hour_ago);
        if start >= end {
            return true;
        }
        let read = timeout(BLOCKS_TIMEOUT, blocks.get(start..end)).await;
        let read = read.map_err(|_| "no answer in time".to_owned());
        match read.and_then(|read| read.map_err(|error| error.to_string())) {
            Ok(read) => {
                for error in read.iter().filter_map(|block| timeline.add_block(block).err()) {
                    debug!(%error, "a block of the timeline is left out");
                }
                true
            }
            Err(error) => {
                debug!(error, "blocks of the timeline not read");
                false
            }
        }
    }

    /// Stores a block of the timeline for the other nodes.
    async fn share_block(&self, timeline: &Timeline, interval: u64) {
        let Some(blocks) = &self.timeline else { return };
        let Some(block) = timeline.block(interval) else { return };
        match timeout(BLOCKS_TIMEOUT, blocks.put(interval, block)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => debug!(%error, "a block of the timeline is not shared"),
            Err(_) => debug!("a block of the timeline is not shared: no answer in time"),
        }
    }

    async fn timeline_frame(&self, whole_cluster: bool, slow: &mut SlowFigures) -> TimelineFrame {
        let second = self.control.parts().clock.now_ms() / 1_000;
        if !whole_cluster {
            let view = ClusterView::new(self.report(), Vec::new());
            return frame(second, &view, None, None);
        }
        if slow.read_at.is_none_or(|at| at.elapsed() >= SLOW_INTERVAL) {
            slow.read_at = Some(Instant::now());
            let (queued, lag, view) = tokio::join!(self.queued(), self.lag(), self.cluster());
            slow.queued = queued;
            slow.lag = lag.map(|mut lag| {
                self.live.unheld.leave_out_held(&view, &mut lag);
                lag
            });
        }
        let (nodes, viewers) = tokio::join!(self.known_nodes(), self.viewers());
        let Some(nodes) = nodes else {
            // The figures of this node alone would pass for those of the cluster.
            return TimelineFrame { second, ..TimelineFrame::default() };
        };
        let view = ClusterView::new(self.report(), nodes);
        frame(second, &view, viewers.as_ref(), Some(slow))
    }
}

fn frame(
    second: u64,
    view: &ClusterView,
    viewers: Option<&AHashMap<StreamId, u64>>,
    slow: Option<&SlowFigures>,
) -> TimelineFrame {
    let lag = slow.and_then(|slow| slow.lag.as_deref());
    let mut frame = TimelineFrame { second, ..TimelineFrame::default() };
    let mut put = |name: &str, value: Option<f64>| {
        if let Some(value) = value {
            frame.cluster.insert(name.to_owned(), value);
        }
    };
    view.counter_rates().named().for_each(|(name, rate)| put(name, Some(rate)));
    let bus = view.bus();
    let end_to_end = view.end_to_end();
    let nodes = view.reports();
    for (name, value) in [
        ("viewers", view.viewers()),
        ("senders", view.senders()),
        ("slow_viewers", view.slow_viewers()),
        ("nodes", nodes.len() as u64),
        ("nodes_unreachable", view.unreachable.len() as u64),
    ] {
        put(name, Some(value as f64));
    }
    put("review_queue", slow.and_then(|slow| slow.queued).map(|queued| queued as f64));
    put("lag", lag.map(|lag| lag.iter().map(|of| of.lag).sum::<u64>() as f64));
    put("bus_messages", Some(bus.iter().map(|server| server.messages_per_second).sum()));
    put("bus_bytes", Some(bus.iter().map(|server| server.bytes_per_second).sum()));
    put("p50_ms", end_to_end.quantile_ms(0.5));
    put("p95_ms", end_to_end.quantile_ms(0.95));
    put("p99_ms", end_to_end.quantile_ms(0.99));
    for StageStatus { name, recent, fullest, .. } in view.stages() {
        let name = name.as_str();
        put(&format!("stage/{name}/p99_ms"), recent.quantile_ms(0.99));
        let share = fullest.map(|fullest| fullest.share());
        put(&format!("stage/{name}/queue_share"), share);
    }
    frame.streams = stream_figures(view, viewers);
    frame.nodes = nodes.iter().map(|of| (of.node.node.clone(), node_figures(of))).collect();
    frame.engines = engine_figures(&bus, lag.unwrap_or_default());
    frame
}

type StreamFigures = [Option<f64>; STREAM_SERIES.len()];

fn stream_figures(
    view: &ClusterView,
    viewers: Option<&AHashMap<StreamId, u64>>,
) -> Vec<(StreamId, StreamFigures)> {
    let egress = view.egress();
    let rates = view.rates();
    // Streams without a comment so far have viewers all the same.
    let counts = viewers.into_iter().flatten();
    let quiet = counts.filter(|(stream_id, _)| !rates.contains_key(*stream_id));
    let quiet = quiet.map(|(stream_id, count)| {
        (*stream_id, [Some(*count as f64), None, None, None, None, None])
    });
    let mut streams: Vec<(StreamId, StreamFigures)> = quiet.collect();
    let figures = |(stream_id, rates): (StreamId, crate::protocol::admin::StreamRates)| {
        let share = egress
            .get(&stream_id)
            .map_or(rates.sample_rate, |egress| egress.share.of(rates.sample_rate))
            .share();
        let incoming = rates.comments_per_second;
        let shown = incoming * share;
        let figures = [
            viewers.map(|counts| counts.get(&stream_id).copied().unwrap_or(0) as f64),
            Some(incoming),
            Some(shown),
            Some(incoming - shown),
            Some(share),
            Some(f64::from(rates.throttle_level)),
        ];
        (stream_id, figures)
    };
    streams.extend(rates.into_iter().map(figures));
    streams
}

fn node_figures(report: &NodeReport) -> [Option<f64>; NODE_SERIES.len()] {
    let NodeReport { node, slow_viewers, .. } = report;
    let float = |figure: Option<u64>| figure.map(|figure| figure as f64);
    [
        Some(node.viewers() as f64),
        Some(*slow_viewers as f64),
        Some(node.rates.delivered),
        Some(node.rates.late),
        Some(node.rates.bytes_out),
        node.process.cpu,
        float(node.process.rss_bytes),
        float(node.process.files),
    ]
}

fn engine_figures(bus: &[BusNode], lag: &[ConsumerLag]) -> Vec<(String, f64)> {
    let mut figures = Vec::new();
    for server in bus {
        let BusNode { address, .. } = server;
        let mut put =
            |name: &str, value: f64| figures.push((format!("bus/{address}/{name}"), value));
        put("messages", server.messages_per_second);
        put("bytes", server.bytes_per_second);
        put("up", f64::from(u8::from(server.state == BusNodeState::Works)));
        if let Some(ms) = server.publish.quantile_ms(0.99) {
            put("p99_ms", ms);
        }
        for shard in &server.shards {
            put(&format!("shard/{}/messages", shard.shard), shard.messages_per_second);
        }
    }
    let mut groups = std::collections::BTreeMap::<&str, u64>::new();
    for of in lag {
        *groups.entry(&of.group).or_default() += of.lag;
    }
    figures.extend(groups.into_iter().map(|(group, lag)| (format!("lag/{group}"), lag as f64)));
    figures
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TimelineParams {
    series: String,
    #[serde(default)]
    from: Option<u64>,
    #[serde(default)]
    to: Option<u64>,
    #[serde(default = "default_step_ms")]
    step: u64,
}

fn default_step_ms() -> u64 {
    1_000
}

pub(super) async fn timeline(
    State(state): State<AdminState>,
    Params(params): Params<TimelineParams>,
) -> Answer<Json<TimelineAnswer>> {
    let parts = &state.parts;
    let step_ms = within("step", params.step, 1_000, HOUR_MS)?;
    let now_ms = parts.control.parts().clock.now_ms();
    let to_ms = params.to.unwrap_or(now_ms).min(now_ms + step_ms);
    let from_ms = params.from.unwrap_or(to_ms.saturating_sub(DEFAULT_SPAN_MS));
    if from_ms > to_ms {
        let message = format!("`from` must not be after `to`: {from_ms} is after {to_ms}");
        return Err(HttpError::new(ErrorCode::BadRequest, message).into());
    }
    // Nothing is older.
    let from_ms = from_ms.max(to_ms.saturating_sub(HOUR_MS));
    let from_s = from_ms / step_ms * step_ms / 1_000;
    let step_s = step_ms / 1_000;
    let steps = (to_ms / 1_000).saturating_sub(from_s).div_ceil(step_s) as usize;
    let series = params.series.split(',').map(|name| name.trim().to_owned()).collect();
    let request = TimelineRequest { series, from_s, step_s, steps };
    let own = parts.board.telemetry().timeline();
    let is_keeper = own.is_whole_cluster();
    let past = if is_keeper { None } else { state.past.read(parts).await };
    if is_keeper {
        state.past.forget();
    }
    let series = past
        .unwrap_or(own)
        .read(&request)
        .map_err(|error| HttpError::new(ErrorCode::BadRequest, error.to_string()))?;
    Ok(Json(TimelineAnswer {
        node: parts.about.node.clone(),
        whole_cluster: is_keeper || past.is_some(),
        from: from_s * 1_000,
        step_ms: step_s * 1_000,
        series,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::telemetry::timeline::cluster_series;
    use crate::daemon::engines::registry::conformance::report;
    use crate::protocol::NodeId;

    #[test]
    fn each_second_has_one_frame() {
        for now_ms in 5_000..6_000 {
            let next = now_ms + until_next_middle(now_ms).as_millis() as u64;
            assert_eq!(next, 6_500, "from {now_ms}");
        }
    }

    #[test]
    fn a_coordinator_may_start_again() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut turn = KeepersTurn::new(None);
        assert!(!turn.lasts(false, start), "another node has the first partition");
        assert!(turn.lasts(true, at(1)));
        assert!(turn.lasts(false, at(30)), "it may come back");
        assert!(turn.lasts(true, at(40)));
        assert!(turn.lasts(false, at(99)) && !turn.lasts(false, at(100)));
        assert!(KeepersTurn::new(Some(start)).lasts(false, at(1)), "the node was built again");
    }

    #[test]
    fn a_late_frame_ends_its_interval_too() {
        let mut last = None;
        let seconds = [998, 999, 1_001, 1_002, 1_009, 1_010, 1_035];
        let ended = seconds.map(|second| ended_interval(&mut last, second));
        assert_eq!(ended, [None, None, Some(99), None, None, Some(100), Some(101)]);
    }

    #[test]
    fn what_is_not_known_is_not_zero() {
        let view = ClusterView::new(report(&NodeId::new("a")), Vec::new());
        let unknown = frame(1_000, &view, None, Some(&SlowFigures::default()));
        let names = ["review_queue", "lag"];
        assert!(names.iter().all(|name| !unknown.cluster.contains_key(*name)), "{unknown:?}");
        assert_eq!(unknown.streams[0].1[0], None, "viewers");
        let viewers = [(StreamId(9), 5)].into_iter().collect();
        let mut known = frame(1_000, &view, Some(&viewers), None).streams;
        known.sort_by_key(|(stream_id, _)| *stream_id);
        let [commented, quiet] = &known[..] else { panic!("{known:?}") };
        assert_eq!((commented.0, commented.1[0]), (StreamId(1), Some(0.0)), "nobody watches");
        assert_eq!((quiet.0, quiet.1[0], quiet.1[1]), (StreamId(9), Some(5.0), None));
    }

    #[test]
    fn every_series_of_the_cluster_is_filled() {
        let mut own = report(&NodeId::new("a"));
        let stage = own.stages[0].clone();
        own.stages = crate::protocol::admin::StageName::ALL
            .map(|name| crate::protocol::admin::StageReport { name, ..stage.clone() })
            .into();
        let view = ClusterView::new(own, Vec::new());
        let viewers = [(StreamId(1), 30)].into_iter().collect();
        let lag = ConsumerLag {
            group: "archiver".to_owned(),
            topic: "comment_events".to_owned(),
            partition: 3,
            position: 1,
            end: 15,
            lag: 14,
            ..ConsumerLag::default()
        };
        let lag = Some(vec![lag.clone(), lag]);
        let slow = SlowFigures { read_at: None, queued: Some(17), lag };
        let frame = frame(1_000, &view, Some(&viewers), Some(&slow));
        let missing: Vec<_> =
            cluster_series().filter(|name| !frame.cluster.contains_key(name)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        assert_eq!(frame.cluster.len(), cluster_series().count(), "none has another name");
        assert_eq!((frame.cluster["review_queue"], frame.cluster["lag"]), (17.0, 28.0));
        let [(stream_id, figures)] = &frame.streams[..] else { panic!("{frame:?}") };
        let expected = [Some(30.0), Some(1.5), Some(0.75), Some(0.75), Some(0.5), Some(1.0)];
        assert_eq!((*stream_id, *figures), (StreamId(1), expected));
        let [(node, figures)] = &frame.nodes[..] else { panic!("{frame:?}") };
        assert_eq!((node.as_str(), figures[2], figures[5]), ("a", Some(2.5), Some(1.5)));
        let names: Vec<_> = frame.engines.iter().map(|(name, _)| name.as_str()).collect();
        let expected =
            ["bus/embedded/messages", "bus/embedded/bytes", "bus/embedded/up", "lag/archiver"];
        assert_eq!(names, expected);
    }
}
