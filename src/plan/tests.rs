//! Properties of plans, what was measured beside what is planned, and the defaults of `lcd` that a
//! plan contains.

use proptest::prelude::*;

use super::check::{MeasuredRun, RunPart, check};
use super::costs::{Cost, CostFile, CostName, Costs};
use super::edge::{self, EdgeModel};
use super::*;

fn costs() -> Costs {
    Costs::built_in().unwrap()
}

fn planned(inputs: &EventInputs) -> EventPlan {
    plan(inputs, &costs()).unwrap()
}

fn value(plan: &EventPlan, name: &str) -> f64 {
    plan.figure(name).unwrap_or_else(|| panic!("no figure {name}")).value
}

/// Fails if two figures differ by more than a quarter of the measured one.
fn assert_near(what: &str, planned: f64, measured: f64) {
    let off = planned / measured - 1.0;
    assert!(off.abs() <= 0.25, "{what}: planned {planned}, measured {measured}, {off:+.2} off");
}

// ---- properties ----

fn any_inputs() -> impl Strategy<Value = EventInputs> {
    let event = (1_u64..20_000_000, 0.0_f64..100_000.0, 1_u64..50, 0.0_f64..1.0);
    let machine = (1_u64..128, 1_u64..100, 1_u64..512, 1_000_u64..2_000_000);
    let forms = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (event, machine, forms, 0.1_f64..0.95, 0_u64..4).prop_map(
        |(event, machine, (msgpack, deflate, tls, reactions), fill, spare)| {
            let (viewers, comments_per_second, streams, shown) = event;
            let (cores, gigabits, gigabytes, files) = machine;
            let streams = streams.min(viewers);
            let shown_per_second = (comments_per_second / streams as f64 * shown).min(500.0);
            EventInputs {
                streams,
                encoding: if msgpack { Encoding::Msgpack } else { Encoding::Json },
                deflate,
                tls,
                reactions,
                machine: EdgeMachine {
                    cores,
                    uplink_bits_per_second: gigabits * 1_000_000_000,
                    memory_bytes: gigabytes * 1_000_000_000,
                    files,
                },
                fill,
                spare,
                ..EventInputs::new(viewers, comments_per_second, shown_per_second)
            }
        },
    )
}

proptest! {
    #[test]
    fn no_edge_exceeds_its_limits(inputs in any_inputs()) {
        let costs = costs();
        let model = EdgeModel { inputs: &inputs, costs: &costs };
        let edges = model.edges().unwrap();
        let usage = model.usage(inputs.viewers as f64, edges as f64);
        for resource in Resource::ALL {
            prop_assert!(model.share(resource, &usage) <= 1.0, "{resource:?}: {usage:?}");
        }
        if edges > 1 {
            let fewer = model.usage(inputs.viewers as f64, (edges - 1) as f64);
            prop_assert!(model.tightest(&fewer).1 > 1.0, "{edges} edges are one too many");
        }
    }

    #[test]
    fn more_viewers_never_need_fewer_edges(inputs in any_inputs(), more in 1.0_f64..10.0) {
        let larger = EventInputs {
            viewers: (inputs.viewers as f64 * more) as u64,
            ..inputs.clone()
        };
        prop_assert!(value(&planned(&larger), "edges") >= value(&planned(&inputs), "edges"));
    }

    #[test]
    fn more_comments_never_need_less(inputs in any_inputs(), more in 1.0_f64..10.0) {
        let busier = EventInputs {
            comments_per_second: inputs.comments_per_second * more,
            ..inputs.clone()
        };
        let before = planned(&inputs);
        let after = planned(&busier);
        for figure in &before.figures {
            // More edges share the same viewers.
            let shared = ["uplink", "memory", "files", "fan_out", "return", "processor"];
            if !shared.contains(&figure.name) {
                let after = value(&after, figure.name);
                prop_assert!(after >= figure.value * 0.999_999, "{}", figure.name);
            }
        }
    }

    #[test]
    fn spare_edges_are_added(inputs in any_inputs(), spare in 0_u64..20) {
        let without = planned(&EventInputs { spare: 0, ..inputs.clone() });
        let with = planned(&EventInputs { spare, ..inputs });
        prop_assert_eq!(value(&with, "edges"), value(&without, "edges") + spare as f64);
    }

    /// The event stays below the load that is named as first full; a larger one passes it.
    #[test]
    fn first_full_is_where_one_more_edge_is_needed(inputs in any_inputs()) {
        let plan = planned(&inputs);
        let first = plan.figure("edges").unwrap().first_full.clone().unwrap();
        // The edges are filled to the last viewer at most.
        prop_assert!(first.at + 1.0 >= inputs.viewers as f64, "{first:?}");
        let viewers = (first.at * 1.001) as u64 + 2;
        prop_assume!(viewers >= inputs.streams);
        let larger = planned(&EventInputs { viewers, ..inputs });
        prop_assert!(value(&larger, "edges") > value(&plan, "edges"));
    }
}

// ---- inputs ----

#[test]
fn contradictions_say_what_would_be_right() {
    let error = |inputs: &EventInputs| plan(inputs, &costs()).unwrap_err().to_string();
    let inputs = EventInputs::new(1_000, 10.0, 20.0);
    let said = error(&inputs);
    assert!(said.contains("at most 10/s") && said.contains("at least 20"), "{said}");
    let inputs = EventInputs { streams: 2_000, ..EventInputs::new(1_000, 10.0, 0.0) };
    assert!(error(&inputs).contains("at most 1000"), "{}", error(&inputs));
    let mut inputs = EventInputs::new(1_000, 10.0, 10.0);
    inputs.machine.files = 600;
    assert!(error(&inputs).contains("--files more than 600"), "{}", error(&inputs));
    let mut inputs = EventInputs::new(1_000, 10.0, 10.0);
    inputs.machine.memory_bytes = 20_000_000;
    assert!(error(&inputs).contains("--memory more"), "{}", error(&inputs));
}

#[test]
fn every_figure_of_a_full_machine_is_a_number() {
    let full = EventInputs { fill: 1.0, ..EventInputs::new(5_000_000, 10_000.0, 20.0) };
    let plan = planned(&full);
    assert!(plan.figures.iter().all(|figure| figure.value.is_finite()), "{plan:?}");
    assert!(plan.figure("return").is_none(), "nothing is unused");
}

#[test]
fn the_resource_that_is_short_decides() {
    let first = |inputs: &EventInputs| {
        let plan = planned(inputs);
        plan.figure("edges").unwrap().first_full.clone().unwrap().resource
    };
    let inputs = || EventInputs::new(5_000_000, 10_000.0, 20.0);
    assert_eq!(first(&inputs()), "processor");
    let mut slow = inputs();
    slow.machine.uplink_bits_per_second = 1_000_000_000;
    assert_eq!(first(&slow), "uplink");
    let mut small = inputs();
    small.machine.memory_bytes = 500_000_000;
    assert_eq!(first(&small), "memory");
    let mut few = inputs();
    few.machine.files = 20_000;
    assert_eq!(first(&few), "open files");
    let mut large = EventInputs::new(5_000_000, 0.01, 0.01);
    large.machine.cores = 1_000;
    large.machine.files = 10_000_000;
    assert_eq!(first(&large), "gateway.max_connections");
}

/// Of a small event, what an edge uses without viewers is most of the memory.
#[test]
fn a_small_event_is_planned_by_what_is_full_first() {
    let plan = planned(&EventInputs::new(100, 1.0, 1.0));
    let edges = plan.figure("edges").unwrap();
    assert_eq!(edges.first_full.as_ref().unwrap().resource, "processor");
    assert!(edges.formula.contains("cores × 70 %"), "{}", edges.formula);
    let costs = costs();
    let inputs = EventInputs::new(100, 1.0, 1.0);
    let model = EdgeModel { inputs: &inputs, costs: &costs };
    let usage = model.usage(100.0, 1.0);
    let room = 32e9 * 0.7 - costs.value(CostName::EdgeBytes);
    for (resource, needed) in [
        (Resource::Processor, usage.processor / (16.0 * 0.7)),
        (Resource::Memory, 100.0 * model.viewer_bytes() / room),
        (Resource::Files, 100.0 / (1_048_576.0 - 600.0)),
        (Resource::Places, 1e-4),
    ] {
        let off = model.edges_needed(resource, &usage, 1.0) / needed - 1.0;
        assert!(off.abs() < 1e-9, "{resource:?}: {off}");
    }
    assert!(!plan.notes.iter().any(|note| note.contains("decides")), "{:?}", plan.notes);
}

#[test]
fn one_stream_that_is_too_busy_is_told() {
    let busy = |per_second| planned(&EventInputs::new(100_000, per_second, 20.0)).notes.join("\n");
    assert!(!busy(10_000.0).contains("falls behind"), "{}", busy(10_000.0));
    assert!(busy(25_000.0).contains("one of the archivers takes 21k/s"), "{}", busy(25_000.0));
    assert!(busy(60_000.0).contains("one of the coordinators takes 43.8k/s"), "{}", busy(60_000.0));
}

/// Frames gather while fan-outs take more than a fifth of a worker: between the two limits their
/// time is that fifth, whatever the number of viewers.
#[test]
fn gathering_frames_bounds_the_time_of_writes() {
    let costs = costs();
    let inputs = EventInputs { ping_interval_s: 1e9, ..EventInputs::new(1_000_000, 1_000.0, 20.0) };
    let model = EdgeModel { inputs: &inputs, costs: &costs };
    for viewers in [25_000.0, 30_000.0, 40_000.0] {
        let usage = model.usage(viewers, 1.0);
        let fan_out = usage.viewers * usage.viewer_us / 1e6 / 16.0;
        assert!((fan_out - 0.2).abs() < 1e-3, "{viewers}: {usage:?}");
    }
    assert_eq!(model.usage(1_000.0, 1.0).writes_per_second, 20.5);
    assert_eq!(model.usage(200_000.0, 1.0).writes_per_second, 8.0);
}

// ---- what was measured ----

/// `scripts/million`, docs/million.md: a million viewers on two cores, 53 edges of at most 20 000
/// open files, plain JSON, a ping every 120 s, no message with the number of viewers.
fn million() -> EventInputs {
    let comments_per_second = 3.0 / 71.0;
    EventInputs {
        deflate: false,
        presence_per_second: 0.0,
        ping_interval_s: 120.0,
        machine: EdgeMachine { cores: 2, files: 20_000, ..EventInputs::new(1, 0.0, 0.0).machine },
        fill: 1.0,
        spare: 0,
        ..EventInputs::new(1_000_000, comments_per_second, comments_per_second)
    }
}

/// The memory of a viewer in the daemon comes from another benchmark, the rest of this from the
/// run's own costs.
#[test]
fn the_plan_of_a_million_viewers_is_the_run() {
    let costs = costs();
    let inputs = million();
    assert_near("edges", value(&planned(&inputs), "edges"), 53.0);
    let model = EdgeModel { inputs: &inputs, costs: &costs };
    // All edges on one machine are one edge with its two cores.
    let usage = model.usage(1e6, 1.0);
    assert_near("seconds of processor time with comments", usage.processor * 71.0, 74.6);
    let silent = EventInputs { shown_per_second: 0.0, comments_per_second: 0.0, ..inputs.clone() };
    let silence = EdgeModel { inputs: &silent, costs: &costs }.usage(1e6, 1.0);
    assert_near("seconds of processor time in silence", silence.processor * 58.0, 23.4);
    let edges = 53.0;
    let daemons = edges * costs.value(CostName::EdgeBytes) + 1e6 * model.daemon_viewer_bytes();
    assert_near("MiB of all edges", daemons / 1_048_576.0, 1734.0);
    let connecting = 1e6 * costs.value(CostName::ConnectUs) / 1e6;
    assert_near("seconds of processor time while connecting", connecting, 375.2);
}

/// docs/benchmarks.md, Ingest: 2 000 viewers are shown 2 500 comments/s for a minute, plain JSON.
/// Of 90 % of two cores 26 parts in 98 read comments, write acks and write to viewers. The costs of
/// a write come from another benchmark, with 10 000 viewers and at most 100 comments/s.
#[test]
fn the_plan_of_300_million_deliveries_is_the_run() {
    let inputs = EventInputs {
        deflate: false,
        machine: EdgeMachine { cores: 2, ..EventInputs::new(1, 0.0, 0.0).machine },
        ..EventInputs::new(2_000, 50_000.0, 2_500.0)
    };
    let costs = costs();
    let usage = EdgeModel { inputs: &inputs, costs: &costs }.usage(2_000.0, 1.0);
    let delivering = usage.viewers * usage.viewer_us / 1e6;
    assert_near("cores that deliver", delivering, 2.0 * 0.90 * 26.0 / 98.0);
    assert_near("deliveries in a minute", usage.viewers * inputs.shown_per_second * 60.0, 299e6);
}

/// docs/benchmarks.md, Ingest: 90 000 comments/s on two cores of which the load generator takes a
/// third. The cost of a comment was measured at 50 000/s.
#[test]
fn the_plan_of_ingest_is_the_run() {
    let cores = 2.0 * (1.0 - 1.0 / 3.0);
    let per_second = cores * 1e6 / costs().value(CostName::StageUs);
    assert_near("comments per second", per_second, 90_000.0);
}

/// docs/benchmarks.md, A cluster on one machine: 5 000/s over two edges, two coordinators, a
/// moderator and an archiver on two cores; nothing lost. One archiver holds 30 000/s and not
/// 35 000/s.
#[test]
fn what_the_cluster_carried_is_planned_as_carried() {
    let inputs = EventInputs {
        deflate: false,
        machine: EdgeMachine { cores: 2, ..EventInputs::new(1, 0.0, 0.0).machine },
        fill: 1.0,
        spare: 0,
        ..EventInputs::new(200, 5_000.0, 5_000.0)
    };
    let plan = planned(&inputs);
    assert_eq!(value(&plan, "edges"), 1.0);
    for name in ["coordinators", "moderators", "archivers"] {
        assert_eq!(value(&plan, name), 2.0, "{name}: one, and one spare");
        let full = plan.figure(name).unwrap().first_full.clone().unwrap();
        assert!(full.at > 5_000.0, "{name}: {full:?}");
    }
    for (rate, archivers) in [(30_000.0, 2.0), (35_000.0, 3.0)] {
        let inputs = EventInputs { comments_per_second: rate, streams: 100, ..inputs.clone() };
        let inputs = EventInputs { shown_per_second: 10.0, ..inputs };
        assert_eq!(value(&planned(&inputs), "archivers"), archivers, "{rate}");
    }
}

/// docs/capacity.md, Runs beside plans: two edges, two coordinators, a moderator and an archiver on
/// real servers, with 200 viewers. The costs of batches come from another run, with 100/s and
/// 2 500/s; that of a write was measured with 10 000 viewers on the same machine.
#[test]
fn the_plan_of_a_cluster_is_the_run() {
    let write = Cost::measured_now(CostName::WriteUs, 11.6, "a write", "scripts/bench fanout");
    let mut own = CostFile::default();
    own.set(CostName::WriteUs, write.at(10_000));
    let costs = costs().with(own).unwrap();
    let run = |rate: f64, edges, coordinators, daemons| MeasuredRun {
        run: format!("{rate}/s"),
        viewers: 200,
        edges: 2,
        cores: 2,
        comments_per_second: rate,
        shown_per_second: rate,
        ping_interval_s: 30.0,
        presence_per_second: 0.5,
        used_cores: [
            (RunPart::Edges, edges),
            (RunPart::Coordinators, coordinators),
            (RunPart::Daemons, daemons),
        ]
        .into(),
    };
    for run in [run(999.9, 0.3288, 0.0938, 0.5656), run(4926.9, 0.4079, 0.0908, 0.6403)] {
        for figure in check(&run, &costs) {
            assert!(figure.agrees, "{figure:?}");
            if figure.part != RunPart::Coordinators {
                assert_near(figure.part.as_str(), figure.planned_cores, figure.used_cores);
            }
        }
    }
}

/// The first example of docs/capacity.md, computed as a reader does it there.
#[test]
fn the_example_can_be_computed_by_hand() {
    let plan = planned(&EventInputs::new(5_000_000, 10_000.0, 20.0));
    let costs = costs();
    let carrying = value(&plan, "edges") - 1.0;
    let processor = |edges: f64| {
        let viewers = 5_000_000.0 / edges;
        let per_core: f64 = viewers / 16.0;
        let write_us = 6.82 + (15.3 - 6.82) * (per_core / 10_000.0).ln() / 50_f64.ln();
        let viewer_us = 8.0 * write_us + 20.0 * 0.065 + 48.4 / 30.0;
        let per_edge = 10_000.0 / edges;
        let batches_us = 118_500.0 * (1.0 - (-per_edge * 1_730.0 / 118_500.0).exp());
        (viewers * viewer_us + per_edge * 14.0 + batches_us) / 1e6
    };
    assert!((value(&plan, "processor") - processor(carrying)).abs() < 1e-6);
    assert!(processor(carrying) <= 16.0 * 0.7 && processor(carrying - 1.0) > 16.0 * 0.7);
    let viewers = 5_000_000.0 / carrying;
    let bytes = costs.value(CostName::JsonDeflateBytes);
    let bits = viewers * (20.0 * bytes + 8.0 * 70.0) * 8.0;
    assert!((value(&plan, "uplink") - bits).abs() < 1.0);
}

// ---- the defaults of lcd ----

#[cfg(feature = "daemon")]
#[test]
fn a_plan_has_the_defaults_of_the_daemon() {
    use crate::daemon::base::config::Config;
    let config = Config::default();
    let inputs = EventInputs::new(1, 0.0, 0.0);
    let delivery = &config.delivery;
    let gateway = &config.gateway;
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} is not {b}");
    near(edge::BATCHES_PER_SECOND, 1.0 / config.broadcast.batch_interval.as_secs_f64());
    near(edge::FAN_OUT_SHARE, delivery.fan_out_share);
    near(edge::GATHERED_PER_SECOND, 1.0 / delivery.coalesce_up_to.as_secs_f64());
    near(edge::REACTIONS_PER_SECOND, 1.0 / config.reactions.window.as_secs_f64());
    near(edge::MAX_CONNECTIONS, gateway.max_connections as f64);
    near(inputs.presence_per_second, 1.0 / delivery.presence_interval.as_secs_f64());
    near(inputs.ping_interval_s, gateway.ping_interval.as_secs_f64());
    assert_eq!(pipeline::SHARDS, u64::from(config.redis.shards));
    assert_eq!(pipeline::PARTITIONS, u64::from(config.kafka.partitions.comment_events));
}
