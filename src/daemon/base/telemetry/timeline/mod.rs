//! The last hour of the cluster, its streams, its nodes and its engines, in memory.
//!
//! In: the figures of one second, from the one task that keeps the timeline. Out: series of any
//! step, for time travel and for charts that do not begin empty.
//!
//! Always holds: a second without figures is unknown, not 0. Values are within 0.07 %. A clock that
//! is set back by more than a minute begins the timeline again.
//!
//! Bounded: [`MAX_STREAMS`], [`MAX_NODES`] and [`MAX_ENGINE_SERIES`] subjects, below 8 MB. When a
//! bound is reached, new subjects are left out until others have been idle for an hour; rings of
//! idle subjects are freed.

mod block;
mod codec;
mod series;

use std::sync::atomic::{AtomicBool, Ordering};

use ahash::AHashMap;
use parking_lot::Mutex;

pub use self::block::{BLOCK_S, BLOCKS, BadBlock};
pub use self::series::TimelinePoint;
use self::series::{COARSE_S, COARSE_VALUES, SeriesSet, Shape};
use crate::protocol::admin::{CounterRates, StageName, TimelineSeries};
use crate::protocol::{NodeId, StreamId};

pub const MAX_STREAMS: usize = 1_000;
pub const MAX_NODES: usize = 200;
pub const MAX_ENGINE_SERIES: usize = 876;
/// A second this long before the last one means that the clock was set back.
const CLOCK_SET_BACK_S: u64 = 60;
/// Time between two searches for idle subjects.
const SWEEP_S: u64 = 60;
/// The most values of one answer.
pub const MAX_VALUES: usize = 100_000;

/// The series of the cluster that are neither rates of counters nor of stages.
const CLUSTER_SERIES: [&str; 12] = [
    "viewers",
    "senders",
    "slow_viewers",
    "nodes",
    "nodes_unreachable",
    "review_queue",
    "lag",
    "bus_messages",
    "bus_bytes",
    "p50_ms",
    "p95_ms",
    "p99_ms",
];
/// Per stage: the 99th percentile of its latency, and the share of its fullest queue.
const STAGE_SERIES: [&str; 2] = ["p99_ms", "queue_share"];
pub const STREAM_SERIES: [&str; 6] =
    ["viewers", "in", "shown", "left_out", "share", "throttle_level"];
pub const NODE_SERIES: [&str; 8] =
    ["viewers", "slow_viewers", "delivered", "late", "bytes_out", "cpu", "rss_bytes", "files"];

/// Of as many series as [`cluster_series`] names.
const CLUSTER: Shape = Shape { series: 48, fine: 300, has_peaks: true };
const STREAM: Shape = Shape { series: STREAM_SERIES.len(), fine: 60, has_peaks: false };
const NODE: Shape = Shape { series: NODE_SERIES.len(), fine: 60, has_peaks: false };
const ENGINE: Shape = Shape { series: 1, fine: 0, has_peaks: false };
/// The first series of a stream are 0 while nothing happens there.
const STREAM_ACTIVITY: usize = 4;

/// The figures of one second. What is absent is unknown.
#[derive(Debug, Clone, Default)]
pub struct TimelineFrame {
    /// Seconds since the Unix epoch.
    pub second: u64,
    /// By the names of [`cluster_series`].
    pub cluster: AHashMap<String, f64>,
    /// In the order of [`STREAM_SERIES`].
    pub streams: Vec<(StreamId, [Option<f64>; STREAM_SERIES.len()])>,
    /// In the order of [`NODE_SERIES`].
    pub nodes: Vec<(NodeId, [Option<f64>; NODE_SERIES.len()])>,
    /// By name, such as `bus/10.0.3.11:6379/messages` or `lag/archiver`.
    pub engines: Vec<(String, f64)>,
}

/// Returns the names of the series of the cluster. Rates have the names of their counters; those of
/// a stage are like `stage/log/p99_ms`.
pub fn cluster_series() -> impl Iterator<Item = String> {
    let stages = StageName::ALL.into_iter().flat_map(|stage| {
        STAGE_SERIES.into_iter().map(move |series| format!("stage/{}/{series}", stage.as_str()))
    });
    let rates = CounterRates::default();
    let rates: Vec<_> = rates.named().map(|(name, _)| name.to_owned()).collect();
    rates.into_iter().chain(CLUSTER_SERIES.map(str::to_owned)).chain(stages)
}

/// Which values are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimelineRequest {
    /// Names of series; `*` at the end of a name stands for any rest.
    pub series: Vec<String>,
    /// Seconds since the Unix epoch.
    pub from_s: u64,
    pub step_s: u64,
    pub steps: usize,
}

/// The answer would have more than [`MAX_VALUES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "that is more than {MAX_VALUES} values: name fewer series, a later `from` or a longer `step`"
)]
pub struct TooManyValues;

#[derive(Debug, Default)]
pub struct Timeline {
    rings: Mutex<Rings>,
    /// Whether the figures are of the whole cluster; else they are of this node.
    whole_cluster: AtomicBool,
}

#[derive(Debug)]
struct Rings {
    names: Vec<String>,
    cluster: SeriesSet,
    streams: AHashMap<StreamId, SeriesSet>,
    nodes: AHashMap<NodeId, SeriesSet>,
    engines: AHashMap<String, SeriesSet>,
    swept_s: u64,
}

impl Default for Rings {
    fn default() -> Self {
        Self {
            names: cluster_series().collect(),
            cluster: SeriesSet::new(CLUSTER),
            streams: AHashMap::new(),
            nodes: AHashMap::new(),
            engines: AHashMap::new(),
            swept_s: 0,
        }
    }
}

impl Timeline {
    /// Adds the figures of a second.
    pub fn add(&self, frame: &TimelineFrame) {
        let mut rings = self.rings.lock();
        let second = frame.second;
        if rings.cluster.last_s().is_some_and(|last| second + CLOCK_SET_BACK_S < last) {
            *rings = Rings::default();
        }
        let Rings { names, cluster, streams, nodes, engines, .. } = &mut *rings;
        let values: Vec<_> = names.iter().map(|name| frame.cluster.get(name).copied()).collect();
        cluster.add(second, &values);
        for (stream_id, values) in &frame.streams {
            // A stream without any activity takes no memory until it has some.
            let activity = values[..STREAM_ACTIVITY].iter().flatten();
            let is_active = activity.copied().any(|value| value > 0.0);
            let most = if is_active { MAX_STREAMS } else { 0 };
            if let Some(ring) = ring_of(streams, stream_id, most, STREAM) {
                ring.add(second, values);
            }
        }
        for (node, values) in &frame.nodes {
            if let Some(ring) = ring_of(nodes, node, MAX_NODES, NODE) {
                ring.add(second, values);
            }
        }
        for (name, value) in &frame.engines {
            if let Some(ring) = ring_of(engines, name, MAX_ENGINE_SERIES, ENGINE) {
                ring.add(second, &[Some(*value)]);
            }
        }
        rings.sweep_if_due(second);
    }

    /// Forgets everything and begins with figures of the whole cluster, or of this node: both must
    /// not be in one series.
    pub fn begin(&self, whole_cluster: bool) {
        let mut rings = self.rings.lock();
        self.whole_cluster.store(whole_cluster, Ordering::Relaxed);
        *rings = Rings::default();
    }

    /// Reports whether the figures are of the whole cluster.
    pub fn is_whole_cluster(&self) -> bool {
        self.whole_cluster.load(Ordering::Relaxed)
    }

    /// Returns the memory of all rings.
    pub fn bytes(&self) -> usize {
        let rings = self.rings.lock();
        let names = rings.engines.keys().map(String::len).sum::<usize>()
            + rings.nodes.keys().map(|node| node.as_str().len()).sum::<usize>();
        let sets = std::iter::once(&rings.cluster)
            .chain(rings.streams.values())
            .chain(rings.nodes.values())
            .chain(rings.engines.values());
        sets.map(SeriesSet::bytes).sum::<usize>() + names
    }

    /// Reads the series that match, in the order of their names.
    ///
    /// # Errors
    /// The answer would be too large.
    pub fn read(&self, request: &TimelineRequest) -> Result<Vec<TimelineSeries>, TooManyValues> {
        let TimelineRequest { series: wanted, from_s, step_s, steps } = request;
        let rings = self.rings.lock();
        let is_wanted =
            |series: &NamedSeries<'_>| wanted.iter().any(|pattern| matches(pattern, &series.name));
        let mut found: Vec<_> = rings.all().filter(is_wanted).collect();
        if found.len().saturating_mul(*steps) > MAX_VALUES {
            return Err(TooManyValues);
        }
        found.sort_by(|a, b| a.name.cmp(&b.name));
        let read = |NamedSeries { name, set, index }: NamedSeries<'_>| {
            let points = set.read(index, *from_s, *step_s, *steps);
            let of = |figure: fn(&TimelinePoint) -> f64| {
                points.iter().map(|point| point.as_ref().map(figure)).collect()
            };
            TimelineSeries {
                name,
                average: of(|point| point.average),
                peak: of(|point| point.peak),
            }
        };
        Ok(found.into_iter().map(read).collect())
    }
}

/// One series and where it is kept.
struct NamedSeries<'a> {
    name: String,
    set: &'a SeriesSet,
    index: usize,
}

impl Rings {
    fn all(&self) -> impl Iterator<Item = NamedSeries<'_>> {
        let cluster = self.names.iter().enumerate().map(|(index, name)| NamedSeries {
            name: name.clone(),
            set: &self.cluster,
            index,
        });
        let streams = self.streams.iter().flat_map(|(stream_id, set)| {
            STREAM_SERIES.iter().enumerate().map(move |(index, series)| NamedSeries {
                name: format!("stream/{stream_id}/{series}"),
                set,
                index,
            })
        });
        let nodes = self.nodes.iter().flat_map(|(node, set)| {
            NODE_SERIES.iter().enumerate().map(move |(index, series)| NamedSeries {
                name: format!("node/{node}/{series}"),
                set,
                index,
            })
        });
        let engines = self.engines.iter().map(|(name, set)| NamedSeries {
            name: name.clone(),
            set,
            index: 0,
        });
        cluster.chain(streams).chain(nodes).chain(engines)
    }

    /// Frees the rings of subjects that were idle or gone for an hour.
    fn sweep_if_due(&mut self, second: u64) {
        if second < self.swept_s + SWEEP_S {
            return;
        }
        self.swept_s = second;
        let hour = COARSE_S * COARSE_VALUES as u64;
        let is_gone = |set: &SeriesSet| set.last_s().is_none_or(|last| last + hour < second);
        self.streams.retain(|_, set| !is_gone(set) && !set.is_blank(STREAM_ACTIVITY));
        self.nodes.retain(|_, set| !is_gone(set));
        self.engines.retain(|_, set| !is_gone(set));
    }
}

/// Returns the rings of a subject; `None` if it is new and there are `most` already.
fn ring_of<'a, Name: Clone + Eq + std::hash::Hash>(
    rings: &'a mut AHashMap<Name, SeriesSet>,
    name: &Name,
    most: usize,
    shape: Shape,
) -> Option<&'a mut SeriesSet> {
    if !rings.contains_key(name) {
        if rings.len() >= most {
            return None;
        }
        rings.insert(name.clone(), SeriesSet::new(shape));
    }
    rings.get_mut(name)
}

fn matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(second: u64) -> TimelineFrame {
        TimelineFrame {
            second,
            cluster: [("received".to_owned(), 5.0), ("p99_ms".to_owned(), 84.0)]
                .into_iter()
                .collect(),
            streams: vec![(StreamId(7), [Some(10.0), Some(2.0), Some(1.0), Some(1.0), None, None])],
            nodes: vec![(NodeId::new("edge-1"), [Some(10.0); 8])],
            engines: vec![("lag/archiver".to_owned(), 14_000.0)],
        }
    }

    fn read(
        timeline: &Timeline,
        series: &str,
        from_s: u64,
        step_s: u64,
        steps: usize,
    ) -> Vec<TimelineSeries> {
        let series = series.split(',').map(str::to_owned).collect();
        timeline.read(&TimelineRequest { series, from_s, step_s, steps }).unwrap()
    }

    #[test]
    fn series_are_found_by_name_and_by_beginning() {
        let timeline = Timeline::default();
        timeline.add(&frame(1_000));
        let [found] = read(&timeline, "received", 1_000, 1, 2).try_into().unwrap();
        assert_eq!(found.name, "received");
        assert!((found.average[0].unwrap() - 5.0).abs() < 0.01 && found.average[1].is_none());
        let names: Vec<_> = read(&timeline, "stream/7/*,lag/*,no/such", 1_000, 10, 1)
            .into_iter()
            .map(|s| s.name)
            .collect();
        let streams = ["in", "left_out", "share", "shown", "throttle_level", "viewers"];
        let streams = streams.map(|series| format!("stream/7/{series}"));
        assert_eq!(names, [vec!["lag/archiver".to_owned()], streams.to_vec()].concat());
        assert_eq!(cluster_series().count(), CLUSTER.series);
        let request =
            TimelineRequest { series: vec!["*".into()], from_s: 0, step_s: 1, steps: 3_600 };
        assert_eq!(timeline.read(&request), Err(TooManyValues));
    }

    #[test]
    fn memory_is_bounded_and_idle_streams_are_freed() {
        let timeline = Timeline::default();
        timeline.add(&frame(1_000));
        let little = timeline.bytes();
        assert!(little < 128 * 1024, "{little} bytes for one stream");
        let mut full = frame(1_001);
        let activity = [Some(3.0), Some(1.0), None, None, None, None];
        full.streams = (1..=2 * MAX_STREAMS as u64).map(|id| (StreamId(id), activity)).collect();
        full.nodes = (0..2 * MAX_NODES)
            .map(|index| (NodeId::new(&format!("edge-{index}.example.com")), [Some(1.0); 8]))
            .collect();
        full.engines = (0..2 * MAX_ENGINE_SERIES)
            .map(|index| (format!("bus/redis-{index}.example.com:6379/shard/7/messages"), 1.0))
            .collect();
        timeline.add(&full);
        let bytes = timeline.bytes();
        assert!((7_000_000..=8_000_000).contains(&bytes), "{bytes} bytes");
        // One stream stays, and is idle.
        let idle = [Some(0.0), Some(0.0), Some(0.0), Some(0.0), Some(1.0), Some(0.0)];
        let idle = vec![(StreamId(3), idle)];
        for second in 0..500 {
            timeline.add(&TimelineFrame { streams: idle.clone(), ..frame(2_000 + 10 * second) });
        }
        let after = timeline.bytes();
        assert!(after < little + 8_192, "{after} bytes after an idle hour, {little} before");
    }

    #[test]
    fn figures_of_node_and_cluster_do_not_mix() {
        let timeline = Timeline::default();
        timeline.add(&frame(1_000));
        assert!(!timeline.is_whole_cluster());
        timeline.begin(true);
        assert!(timeline.is_whole_cluster());
        assert!(read(&timeline, "received", 1_000, 1, 1)[0].average[0].is_none());
    }

    #[test]
    fn a_clock_set_back_begins_again() {
        let timeline = Timeline::default();
        timeline.add(&frame(10_000));
        timeline.add(&frame(9_990));
        assert!(
            read(&timeline, "received", 9_990, 1, 1)[0].average[0].is_none(),
            "slightly: waits"
        );
        timeline.add(&frame(5_000));
        assert!(read(&timeline, "received", 5_000, 1, 1)[0].average[0].is_some());
        assert!(read(&timeline, "received", 10_000, 1, 1)[0].average[0].is_none());
    }
}
