//! The figures of everything behind the edges: stages that read the log, the bus, the log itself.

use super::batches::reading;
use super::costs::CostName;
use super::edge::{BATCHES_PER_SECOND, EdgeModel};
use super::figures::{micros, percent};
use super::notation::{number, with_unit};
use super::{FirstFull, PlanFigure};

/// Defaults of `lcd` that the arithmetic contains. A test compares them with its configuration.
pub(super) const SHARDS: u64 = 8;
pub(super) const PARTITIONS: u64 = 100;
/// Redis nodes and copies in Kafka: the smallest number of which one may be lost.
const SURVIVES_ONE: u64 = 3;
/// A stage whose node is lost is continued by another.
const SPARE: u64 = 1;

/// Nodes of one stage.
struct Stage {
    name: &'static str,
    /// Comments per second that one node takes, of many streams and of one.
    node_takes: f64,
    stream_takes: f64,
    formula: String,
}

/// Returns the figures of all stages, with `edges` edges that listen on the bus.
pub(super) fn of_stages(model: &EdgeModel<'_>, edges: u64) -> Vec<PlanFigure> {
    let stages = [coordinators(model), moderators(model), archivers(model)];
    let mut figures: Vec<_> = stages.iter().map(|stage| of_stage(model, stage)).collect();
    let most_nodes = figures.iter().map(|figure| figure.value as u64).max().unwrap_or(1);
    figures.extend([partitions(most_nodes), shards(model, edges)]);
    figures.extend(redis(model, edges));
    figures.extend(log(model));
    figures
}

/// Returns a sentence per stage that one stream overloads, whatever the number of nodes.
pub(super) fn notes(model: &EdgeModel<'_>) -> Vec<String> {
    let per_stream = model.inputs.comments_per_stream();
    let stages = [coordinators(model), moderators(model), archivers(model)];
    let overloaded = stages.iter().filter(|stage| stage.stream_takes < per_stream);
    let sentence = |stage: &Stage| {
        format!(
            "a stream has {}/s, of which one of the {} takes {}/s, and one stream is always one node's: \
             it falls behind until the rate drops",
            number(per_stream),
            stage.name,
            number(stage.stream_takes)
        )
    };
    overloaded.map(sentence).collect()
}

fn coordinators(model: &EdgeModel<'_>) -> Stage {
    on_processor("coordinators", model)
}

fn moderators(model: &EdgeModel<'_>) -> Stage {
    on_processor("moderators", model)
}

/// A stage of which only the time of all stages together was measured: for a comment it takes no
/// more than that. Its batches take the same time at any rate that fills a node.
fn on_processor(name: &'static str, model: &EdgeModel<'_>) -> Stage {
    let cores = model.inputs.machine.cores as f64;
    let fill = model.inputs.fill;
    let stage_us = model.costs.value(CostName::StageUs);
    // A share so small that batches fill it carries comments with half of it.
    let batches = (reading(model.costs).full_us / 1e6).min(fill / 2.0);
    Stage {
        name,
        node_takes: (cores * fill - batches) * 1e6 / stage_us,
        stream_takes: (fill - batches) * 1e6 / stage_us,
        formula: format!(
            "{} ÷ ({} cores × {} − {} of batches)",
            micros(stage_us),
            number(cores),
            percent(fill),
            number(batches)
        ),
    }
}

fn archivers(model: &EdgeModel<'_>) -> Stage {
    let writes = model.costs.value(CostName::ArchiverPerSecond);
    let fill = model.inputs.fill;
    Stage {
        name: "archivers",
        node_takes: writes * fill,
        stream_takes: writes * fill,
        formula: format!("1 ÷ ({}/s × {})", number(writes), percent(fill)),
    }
}

fn of_stage(model: &EdgeModel<'_>, stage: &Stage) -> PlanFigure {
    let inputs = model.inputs;
    let rate = inputs.comments_per_second;
    let needed = rate / stage.node_takes;
    let carrying = (needed.ceil() as u64).max(1);
    let nodes = carrying + SPARE;
    // Streams share the comments evenly, and a stream is one node's.
    let one_stream = stage.stream_takes * inputs.streams as f64;
    let all_nodes = stage.node_takes * carrying as f64;
    let (resource, at) = if one_stream < all_nodes {
        ("one stream, which one node reads in order", one_stream)
    } else {
        ("all of them", all_nodes)
    };
    PlanFigure {
        name: stage.name,
        value: nodes as f64,
        unit: "",
        formula: format!(
            "{}/s × {} = {}, so {carrying} + {SPARE} spare",
            number(rate),
            stage.formula,
            number(needed)
        ),
        first_full: Some(FirstFull { resource, at: at.floor(), unit: "comments/s" }),
    }
}

fn partitions(most_nodes: u64) -> PlanFigure {
    PlanFigure {
        name: "partitions",
        value: PARTITIONS.max(most_nodes) as f64,
        unit: "",
        formula: format!(
            "the larger of {PARTITIONS} (kafka.partitions.comment_events) and {most_nodes}, the most \
             nodes of one stage"
        ),
        first_full: None,
    }
}

fn shards(model: &EdgeModel<'_>, edges: u64) -> PlanFigure {
    let used = SHARDS.min(edges);
    let listeners = edges.div_ceil(SHARDS.max(1));
    let channels = model.inputs.streams * SHARDS;
    PlanFigure {
        name: "shards",
        value: SHARDS as f64,
        unit: "",
        formula: format!(
            "redis.shards: {} channels; {edges} edges listen on {used} shards of each stream, up to \
             {listeners} on one",
            number(channels as f64)
        ),
        first_full: None,
    }
}

/// The nodes of the bus, and what they send.
fn redis(model: &EdgeModel<'_>, edges: u64) -> [PlanFigure; 2] {
    let inputs = model.inputs;
    let shown = inputs.shown_per_second;
    let streams = inputs.streams as f64;
    let bus_bytes = model.costs.value(CostName::BusBytes);
    let batches = shown.min(BATCHES_PER_SECOND) * streams;
    let bits = 8.0 * shown * streams * bus_bytes * edges as f64;
    [
        PlanFigure {
            name: "redis",
            value: SURVIVES_ONE as f64,
            unit: "",
            formula: format!(
                "so that one may be lost: the log carries its channels meanwhile; {} messages/s in, {} \
                 out",
                number(batches * SHARDS.min(edges) as f64),
                number(batches * edges as f64)
            ),
            first_full: None,
        },
        PlanFigure {
            name: "bus",
            value: bits,
            unit: "bit/s",
            formula: format!(
                "{}/s × {} streams × {} B × {edges} edges × 8, of all Redis nodes",
                number(shown),
                number(streams),
                number(bus_bytes)
            ),
            first_full: None,
        },
    ]
}

/// Returns the bytes that the log takes in, and its disk.
fn log(model: &EdgeModel<'_>) -> [PlanFigure; 2] {
    let rate = model.inputs.comments_per_second;
    let log_bytes = model.costs.value(CostName::LogBytes);
    let bytes_per_second = rate * log_bytes * SURVIVES_ONE as f64;
    let product = format!("{}/s × {} B × {SURVIVES_ONE} copies", number(rate), number(log_bytes));
    [
        PlanFigure {
            name: "log",
            value: bytes_per_second,
            unit: "B/s",
            formula: format!("{product}, of all brokers"),
            first_full: None,
        },
        PlanFigure {
            name: "log_disk",
            value: bytes_per_second * 3600.0,
            unit: "B per hour",
            formula: format!("{product} × 3600 s = {}", with_unit(bytes_per_second * 3600.0, "B")),
            first_full: None,
        },
    ]
}
