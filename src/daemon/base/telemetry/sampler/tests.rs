use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::daemon::base::metrics::count;

const DATA_DIR: &str = "/";

/// Samples after `seconds` of the paused clock.
async fn sample_after(seconds: f64, telemetry: &Telemetry, metrics: &Metrics) -> Arc<NodeSample> {
    tokio::time::advance(Duration::from_secs_f64(seconds)).await;
    telemetry.sample(metrics, 7, Path::new(DATA_DIR));
    telemetry.latest()
}

#[tokio::test(start_paused = true)]
async fn rates_are_those_of_the_last_interval() {
    let telemetry = Telemetry::default();
    let metrics = Metrics::default();
    telemetry.stage(StageName::Ingest);
    metrics.comments_accepted.inc_by(1_000);
    let first = sample_after(0.0, &telemetry, &metrics).await;
    assert_eq!(first.rates, CounterRates::default(), "nothing is known about the time before");
    assert_eq!(first.counters.accepted, 1_000);
    metrics.comments_accepted.inc_by(30);
    count(&metrics.comments_refused, "banned");
    let second = sample_after(2.0, &telemetry, &metrics).await;
    assert_eq!((second.rates.accepted, second.rates.refused), (15.0, 0.5));
    let [ingest] = &second.stages[..] else { panic!("{second:?}") };
    assert_eq!((ingest.items, ingest.items_per_second), (1_030, 15.0));
    assert_eq!((ingest.refused, ingest.refused_per_second), (1, 0.5));
    let third = sample_after(1.0, &telemetry, &metrics).await;
    assert_eq!(third.rates, CounterRates::default());
}

#[tokio::test(start_paused = true)]
async fn recent_latencies_are_those_of_ten_seconds() {
    let telemetry = Telemetry::default();
    let metrics = Metrics::default();
    let log = telemetry.stage(StageName::Log);
    let worker = telemetry.add_worker();
    sample_after(0.0, &telemetry, &metrics).await;
    for second in 0..20 {
        log.pass(1, Duration::from_millis(1 << (second / 10)));
        worker.end_to_end.record(Duration::from_millis(20), 3);
        sample_after(1.0, &telemetry, &metrics).await;
    }
    let sample = telemetry.latest();
    assert_eq!(sample.stages[0].latency.count(), 20);
    assert_eq!(sample.stages[0].recent.count(), 10);
    let p0 = sample.stages[0].recent.quantile_ms(0.0).unwrap();
    assert!((1.9..2.1).contains(&p0), "the first ten took 1 ms: {p0}");
    assert_eq!((sample.end_to_end.count(), sample.end_to_end_recent.count()), (60, 30));
}

#[tokio::test(start_paused = true)]
async fn a_sample_has_queues_and_the_process() {
    let telemetry = Telemetry::default();
    let metrics = Metrics::default();
    telemetry.set_started_at(77);
    telemetry.set_started_at(88);
    let archive = telemetry.stage(StageName::Archive);
    archive.set_queue_max(500);
    let _held = archive.hold(20);
    archive.refuse(2);
    telemetry.stage(StageName::Gateway);
    let sample = sample_after(1.0, &telemetry, &metrics).await;
    let names: Vec<_> = sample.stages.iter().map(|stage| stage.name).collect();
    assert_eq!(names, [StageName::Gateway, StageName::Archive], "in the order of the pipeline");
    assert_eq!(sample.stages[0].queue, 7, "connections");
    let archive = &sample.stages[1];
    assert_eq!((archive.queue, archive.queue_max, archive.refused), (20, 500, 2));
    assert_eq!(sample.process.started_at, 77, "counters began with the process");
    assert!(sample.process.rss_bytes.unwrap() > 1 << 20, "{sample:?}");
    assert!(sample.process.files.unwrap() > 2, "{sample:?}");
    assert!(sample.process.files_max >= sample.process.files);
    assert!(sample.process.disk_free_bytes.is_some() && sample.process.cores.is_some());
}

/// One second of a node.
#[derive(Debug, Clone)]
enum Turn {
    /// It counts and reports.
    Counts(u64),
    /// It counts, and its report does not arrive.
    Silent(u64),
    /// It is started again and counts from zero.
    Restarts(u64),
}

fn turns() -> impl Strategy<Value = Vec<Vec<Turn>>> {
    let turn = prop_oneof![
        6 => (0..1_000_000_u64).prop_map(Turn::Counts),
        2 => (0..1_000_000_u64).prop_map(Turn::Silent),
        1 => (0..1_000_000_u64).prop_map(Turn::Restarts),
    ];
    vec(vec(turn, 12), 1..5)
}

/// A node of the test: its sampler, its counter, and the rates of its last report.
#[derive(Default)]
struct Member {
    sampler: Sampler,
    delivered: u64,
    reported: Option<CounterRates>,
}

impl Member {
    /// Passes a second. Returns what the node counted in it.
    fn pass(&mut self, turn: &Turn, now: Instant) -> u64 {
        let (Turn::Counts(count) | Turn::Silent(count) | Turn::Restarts(count)) = *turn;
        if matches!(turn, Turn::Restarts(_)) {
            *self = Self::default();
        }
        self.delivered += count;
        let counters = Counters { delivered: self.delivered, ..Counters::default() };
        let sample = self.sampler.add(now, Reading { counters, ..Reading::default() });
        let is_heard = !matches!(turn, Turn::Silent(_));
        self.reported = is_heard.then_some(sample.rates);
        count
    }
}

proptest! {
    /// Nodes come, go, fall silent and start again: no second has a rate above what was counted.
    #[test]
    fn no_rate_exceeds_what_nodes_counted(nodes in turns()) {
        let start = Instant::now();
        let mut members: Vec<Member> = nodes.iter().map(|_| Member::default()).collect();
        for second in 0..12 {
            let now = start + Duration::from_secs(second as u64);
            let mut counted = 0;
            for (member, turns) in members.iter_mut().zip(&nodes) {
                counted += member.pass(&turns[second], now);
            }
            let mut rates = CounterRates::default();
            members.iter().filter_map(|member| member.reported).for_each(|own| rates.add(&own));
            let delivered = rates.delivered;
            prop_assert!(delivered <= counted as f64 + 1e-3, "{delivered} of {counted}");
            let all_heard = members.iter().zip(&nodes).all(|(_, turns)| {
                second > 0 && matches!(turns[second], Turn::Counts(_))
            });
            if all_heard {
                prop_assert!((delivered - counted as f64).abs() < 1e-2);
            }
        }
    }
}
