//! The policy in a closed loop with simulated streams and a simulated link.

use proptest::prelude::*;

use super::*;

const TICK_S: f64 = 0.25;
const IDLE_SOCKETS: SocketLoad =
    SocketLoad { visits: MeterReading { sent_bytes: 0, visits: 0, held_up: 0 }, held_up: 0 };

/// A simulated stream.
#[derive(Debug, Default)]
struct Stream {
    per_second: f64,
    /// Bytes per comment over all of its viewers.
    bytes_per_comment: f64,
    /// Fixed cost of frames per second.
    overhead: f64,
    pace: StreamPace,
    /// Fractions of comments carried to the next tick.
    offered: f64,
    shown: f64,
}

impl Stream {
    fn new(per_second: f64, bytes_per_comment: f64) -> Self {
        Self { per_second, bytes_per_comment, ..Self::default() }
    }

    /// Simulates one tick.
    fn run(&mut self) -> StreamLoad {
        let whole = |sum: &mut f64, more: f64| {
            *sum += more;
            let whole = sum.floor();
            *sum -= whole;
            whole
        };
        let offered = whole(&mut self.offered, self.per_second * TICK_S);
        let shown = whole(&mut self.shown, offered * self.pace.share().share());
        let sent = shown * self.bytes_per_comment + self.overhead * TICK_S;
        StreamLoad { sent_bytes: sent as u64, offered: offered as u64, shown: shown as u64 }
    }

    fn shown_bytes(&self) -> f64 {
        self.per_second * self.pace.share().share() * self.bytes_per_comment
    }
}

fn policy(bytes_per_second: u64, held_up: f64) -> EgressPolicy {
    EgressPolicy::new(EgressRules { bytes_per_second, held_up })
}

/// Returns the average bytes per second sent in that time.
fn run(policy: &mut EgressPolicy, streams: &mut [Stream], seconds: u32) -> f64 {
    let mut sent = 0;
    for _ in 0..4 * seconds {
        let before: Vec<_> = streams.iter().map(|stream| stream.pace.share().share()).collect();
        for stream in streams.iter_mut() {
            let load = stream.run();
            sent += load.sent_bytes;
            stream.pace.record(load, TICK);
        }
        let mut paces: Vec<_> = streams.iter_mut().map(|stream| &mut stream.pace).collect();
        policy.adjust(&mut paces, IDLE_SOCKETS, TICK);
        for (stream, before) in streams.iter().zip(before) {
            let step = stream.pace.share().share() / before;
            assert!((0.77..1.3).contains(&step), "smooth: {before} became {step} of it");
        }
    }
    sent as f64 / f64::from(seconds)
}

fn shares(streams: &[Stream]) -> Vec<f64> {
    streams.iter().map(|stream| stream.pace.share().share()).collect()
}

#[test]
fn without_a_budget_nothing_is_lowered() {
    let mut streams = [Stream::new(100.0, 1e9)];
    run(&mut policy(0, 0.25), &mut streams, 60);
    assert_eq!(shares(&streams), [1.0]);
}

#[test]
fn only_the_hottest_stream_is_lowered() {
    let mut streams = [Stream::new(100.0, 2e5), Stream::new(20.0, 2e4), Stream::new(0.5, 2e5)];
    let mut policy = policy(5_000_000, 0.0);
    run(&mut policy, &mut streams, 20);
    let sent = run(&mut policy, &mut streams, 30);
    assert!((3_500_000.0..=5_000_000.0).contains(&sent), "{sent} bytes a second");
    assert_eq!(shares(&streams)[1..], [1.0, 1.0]);
    assert!((0.15..0.25).contains(&shares(&streams)[0]), "{:?}", shares(&streams));
}

#[test]
fn large_streams_are_sent_equally_much() {
    // As many bytes wanted, or eight times as many; by viewers or by comments.
    let mut streams = [Stream::new(100.0, 1e5), Stream::new(50.0, 2e5), Stream::new(400.0, 2e5)];
    let mut policy = policy(9_000_000, 0.0);
    run(&mut policy, &mut streams, 40);
    for stream in &streams {
        let bytes = stream.shown_bytes();
        assert!((2_200_000.0..=3_000_000.0).contains(&bytes), "{bytes}: {:?}", shares(&streams));
    }
}

#[test]
fn decision_names_the_limit_in_force() {
    let mut streams = [Stream::new(100.0, 1e5)];
    let mut policy = policy(1_000_000, 0.0);
    run(&mut policy, &mut streams, 30);
    let mut paces: Vec<_> = streams.iter_mut().map(|stream| &mut stream.pace).collect();
    let decision = policy.adjust(&mut paces, IDLE_SOCKETS, TICK);
    assert_eq!(
        (decision.limit.map(|limit| (limit.kind, limit.limit)), decision.lowered),
        (Some((EgressLimit::Budget, 1e6)), 1)
    );
    assert!(decision.sent < 1.05e6 && decision.wanted > 9e6, "{decision:?}");
}

#[test]
fn narrow_link_lowers_the_limit_until_it_widens() {
    let mut streams = [Stream::new(100.0, 1e5), Stream::new(10.0, 1e4)];
    let mut policy = policy(0, 0.25);
    let over = |policy: &mut EgressPolicy, streams: &mut [Stream], link: f64, ticks: u32| {
        let mut full = 0;
        for _ in 0..ticks {
            let loads: Vec<_> = streams.iter_mut().map(Stream::run).collect();
            let asked = loads.iter().map(|load| load.sent_bytes).sum::<u64>() as f64;
            // The link drops the excess, and most sockets are full then.
            let fits = (link * TICK_S / asked).min(1.0);
            for (stream, load) in streams.iter_mut().zip(&loads) {
                let sent_bytes = (load.sent_bytes as f64 * fits) as u64;
                stream.pace.record(StreamLoad { sent_bytes, ..*load }, TICK);
            }
            let held_up = if fits < 1.0 { 900 } else { 0 };
            full += u32::from(fits < 1.0);
            let visits = MeterReading { sent_bytes: 0, visits: 1_000, held_up };
            let mut paces: Vec<_> = streams.iter_mut().map(|stream| &mut stream.pace).collect();
            policy.adjust(&mut paces, SocketLoad { visits, held_up }, TICK);
        }
        f64::from(full) / f64::from(ticks)
    };
    // Ten megabytes a second are wanted, and four go through.
    over(&mut policy, &mut streams, 4e6, 80);
    let full = over(&mut policy, &mut streams, 4e6, 400);
    assert!(full < 0.35, "the sockets are full {full} of the time");
    let shares_then = shares(&streams);
    assert!((0.15..=0.5).contains(&shares_then[0]) && shares_then[1] == 1.0, "{shares_then:?}");
    over(&mut policy, &mut streams, 1e8, 400);
    assert_eq!(shares(&streams), [1.0, 1.0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn budget_holds_and_every_stream_recovers(
        loads in proptest::collection::vec((0.0_f64..3.0, 2.0_f64..6.0, 0.0_f64..0.05), 1..12),
        budget in 4.0_f64..7.5,
    ) {
        let stream = |&(rate, bytes, overhead): &(f64, f64, f64)| {
            let per_second = 10_f64.powf(rate);
            let bytes_per_comment = 10_f64.powf(bytes);
            let overhead = per_second * bytes_per_comment * overhead;
            Stream { overhead, ..Stream::new(per_second, bytes_per_comment) }
        };
        let mut streams: Vec<_> = loads.iter().map(stream).collect();
        let budget = 10_f64.powf(budget);
        let mut policy = policy(budget as u64, 0.0);
        run(&mut policy, &mut streams, 40);
        let sent = run(&mut policy, &mut streams, 60);
        // The part that cannot be lowered: one comment per second, rounded up to a rung, and the
        // overhead.
        let least: f64 = streams
            .iter()
            .map(|s| s.overhead + s.bytes_per_comment * (s.per_second * 0.0126).max(2.0).min(s.per_second))
            .sum();
        prop_assert!(sent <= budget.max(least) * 1.1, "{sent} bytes a second of {budget} ({least})");
        for stream in &streams {
            let shown = stream.per_second * stream.pace.share().share();
            prop_assert!(shown >= 0.8_f64.min(stream.per_second * 0.99), "{shown}/s shown");
        }
        for stream in &mut streams {
            (stream.bytes_per_comment, stream.overhead) = (1.0, 0.0);
        }
        run(&mut policy, &mut streams, 90);
        prop_assert!(shares(&streams).iter().all(|share| *share == 1.0), "{:?}", shares(&streams));
    }
}
