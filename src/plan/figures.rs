//! The figures of the edges, and the notes of a plan.

use super::batches::accepting;
use super::costs::CostName;
use super::edge::{
    BATCHES_PER_SECOND, EdgeModel, EdgeUse, GATHERED_PER_SECOND, MAX_CONNECTIONS, OTHER_FILES,
    PACKET_BYTES,
};
use super::notation::{number, with_unit};
use super::{FirstFull, PlanFigure, Resource};

/// Returns the figures of `carrying` edges that carry everything, with the spare ones beside them.
pub(super) fn of_edges(model: &EdgeModel<'_>, carrying: u64) -> Vec<PlanFigure> {
    let inputs = model.inputs;
    let viewers = inputs.viewers as f64;
    let edges = carrying as f64;
    let usage = model.usage(viewers, edges);
    let full = |resource: Resource| {
        let at = model.full_at(resource, edges)?;
        Some(FirstFull { resource: resource.as_str(), at: at.floor(), unit: "viewers" })
    };
    let deciding = deciding(model, carrying);
    let figure = |name, value, unit, formula, first_full| PlanFigure {
        name,
        value,
        unit,
        formula,
        first_full,
    };
    let per_edge = format!("{} ÷ {carrying}", number(viewers));
    let total_bits = viewers * usage.viewer_bits;
    let connect_us = model.costs.value(CostName::ConnectUs);
    let others = (carrying + inputs.spare).saturating_sub(1).max(1);
    let idle_cores = others as f64 * inputs.machine.cores as f64 * (1.0 - inputs.fill);
    let mut figures = vec![
        figure(
            "edges",
            (carrying + inputs.spare) as f64,
            "",
            edges_formula(model, carrying, deciding),
            full(deciding),
        ),
        figure(
            "processor",
            usage.processor,
            "cores per edge",
            format!(
                "{per_edge} × {} + {} + {}",
                viewer_time(model, &usage),
                comments_time(model, &per_share(carrying)),
                batches_time(model, carrying),
            ),
            full(Resource::Processor),
        ),
        figure(
            "uplink",
            usage.uplink_bits,
            "bit/s per edge",
            format!("{per_edge} × {}", viewer_traffic(model, &usage)),
            full(Resource::Uplink),
        ),
        figure(
            "bandwidth",
            total_bits,
            "bit/s",
            format!("{} × {} of all edges", number(viewers), with_unit(usage.viewer_bits, "bit/s")),
            None,
        ),
        figure(
            "memory",
            usage.memory_bytes,
            "B per edge",
            format!("{} + {per_edge} × {}", daemon_memory(model), viewer_memory(model)),
            full(Resource::Memory),
        ),
        figure(
            "files",
            usage.files.ceil(),
            "per edge",
            format!("{per_edge} + {} for everything else", number(OTHER_FILES)),
            full(Resource::Files),
        ),
        figure(
            "fan_out",
            usage.viewers * usage.write_us / 1e6 / inputs.machine.cores as f64,
            "s",
            format!(
                "{per_edge} × {} ÷ {} cores, from the first viewer of a frame to the last",
                micros(usage.write_us),
                inputs.machine.cores
            ),
            None,
        ),
    ];
    // Edges without unused processor time have none for viewers that return.
    if inputs.fill < 1.0 {
        figures.push(figure(
            "return",
            usage.viewers * connect_us / 1e6 / idle_cores,
            "s",
            format!(
                "{per_edge} × {} ÷ ({others} edges × {} cores × {} unused), for the viewers of one \
                 lost edge",
                micros(connect_us),
                inputs.machine.cores,
                percent(1.0 - inputs.fill)
            ),
            None,
        ));
    }
    figures
}

/// Returns the resource that decides the number of edges: the one that is full first.
fn deciding(model: &EdgeModel<'_>, carrying: u64) -> Resource {
    model.first_full(carrying as f64).map_or(Resource::Processor, |(resource, _)| resource)
}

/// Returns the formula of the number of edges: the demand for the resource that decides, divided by
/// what one edge has of it.
fn edges_formula(model: &EdgeModel<'_>, carrying: u64, resource: Resource) -> String {
    let inputs = model.inputs;
    let viewers = inputs.viewers as f64;
    let usage = model.usage(viewers, carrying as f64);
    let needed = model.edges_needed(resource, &usage, carrying as f64);
    let all = number(viewers);
    let fill = percent(inputs.fill);
    let machine = &inputs.machine;
    let quotient = match resource {
        Resource::Processor => format!(
            "({all} × {} + {} + {carrying} × {}) ÷ ({} cores × {fill})",
            viewer_time(model, &usage),
            comments_time(model, ""),
            batches_time(model, carrying),
            machine.cores
        ),
        Resource::Uplink => format!(
            "{all} × {} ÷ ({} × {fill})",
            viewer_traffic(model, &usage),
            with_unit(machine.uplink_bits_per_second as f64, "bit/s")
        ),
        Resource::Memory => format!(
            "{all} × {} ÷ ({} × {fill} − {})",
            viewer_memory(model),
            with_unit(machine.memory_bytes as f64, "B"),
            daemon_memory(model)
        ),
        Resource::Files => {
            format!("{all} ÷ ({} files − {})", number(machine.files as f64), number(OTHER_FILES))
        }
        Resource::Places => format!("{all} ÷ {} places", number(MAX_CONNECTIONS)),
    };
    let spare = match inputs.spare {
        0 => String::new(),
        spare => format!(" + {spare} spare"),
    };
    format!("{quotient} = {}, so {carrying}{spare}", number(needed))
}

/// Writes `(8 writes/s × 7.07 µs + 20/s × 0.0626 µs + 48.4 µs ÷ 30 s)`.
fn viewer_time(model: &EdgeModel<'_>, usage: &EdgeUse) -> String {
    let cost = |name| micros(model.costs.value(name));
    format!(
        "({} writes/s × {} + {}/s × {} + {} ÷ {} s)",
        number(usage.writes_per_second),
        micros(usage.write_us),
        number(model.inputs.shown_per_second),
        cost(CostName::CommentUs),
        cost(CostName::PingUs),
        number(model.inputs.ping_interval_s)
    )
}

/// Writes the time for comments that viewers send to the edges.
fn comments_time(model: &EdgeModel<'_>, divided: &str) -> String {
    let stage_us = micros(model.costs.value(CostName::StageUs));
    format!("{}/s{divided} × {stage_us}", number(model.inputs.comments_per_second))
}

/// Writes the time of one edge per second for batches of these comments.
fn batches_time(model: &EdgeModel<'_>, carrying: u64) -> String {
    let rate = model.inputs.comments_per_second / carrying as f64;
    let seconds = accepting(model.costs).per_second_us(rate) / 1e6;
    format!("{} of batches", with_unit(seconds, "s"))
}

fn per_share(carrying: u64) -> String {
    format!(" ÷ {carrying}")
}

/// Writes `(20 × 51 B + 8 × 70 B) × 8`.
fn viewer_traffic(model: &EdgeModel<'_>, usage: &EdgeUse) -> String {
    let comments = number(model.inputs.shown_per_second);
    let bytes = number(model.comment_bytes());
    let packets = usage.viewer_bits / 8.0 - model.inputs.shown_per_second * model.comment_bytes();
    let packets = number(packets / PACKET_BYTES);
    format!("({comments}/s × {bytes} B + {packets} packets/s × {PACKET_BYTES} B) × 8")
}

fn viewer_memory(model: &EdgeModel<'_>) -> String {
    let daemon = model.daemon_viewer_bytes();
    format!(
        "({} + {} of the kernel)",
        with_unit(daemon, "B"),
        with_unit(model.costs.value(CostName::SocketBytes), "B")
    )
}

fn daemon_memory(model: &EdgeModel<'_>) -> String {
    with_unit(model.costs.value(CostName::EdgeBytes), "B")
}

pub(super) fn micros(us: f64) -> String {
    format!("{} µs", number(us))
}

pub(super) fn percent(share: f64) -> String {
    format!("{} %", number(share * 100.0))
}

/// Returns what a reader must know besides the figures.
pub(super) fn notes(model: &EdgeModel<'_>, carrying: u64) -> Vec<String> {
    let inputs = model.inputs;
    let usage = model.usage(inputs.viewers as f64, carrying as f64);
    let mut notes = Vec::new();
    let resource = deciding(model, carrying);
    // One edge is needed in any case.
    if carrying > 1 && matches!(resource, Resource::Files | Resource::Places) {
        notes.push(format!(
            "{} decides the number of edges, not the machine: raise it",
            match resource {
                Resource::Files => "the limit of open files (LimitNOFILE, ulimit -n)",
                _ => "gateway.max_connections",
            }
        ));
    }
    if usage.writes_per_second < 0.99 * model.frames_per_second() {
        notes.push(format!(
            "writing takes much of the edges' time, so frames gather: {} writes/s carry {} frames/s, \
             a comment waits up to {} longer",
            number(usage.writes_per_second),
            number(model.frames_per_second()),
            with_unit(1.0 / usage.writes_per_second.max(GATHERED_PER_SECOND), "s"),
        ));
    }
    if inputs.shown_per_second > BATCHES_PER_SECOND {
        notes.push(format!(
            "{}/s is more than anybody reads, {} to each viewer: give --shown what viewers should see, and \
             set delivery.egress_bytes_per_second or a throttle that holds it",
            number(inputs.shown_per_second),
            with_unit(usage.viewer_bits, "bit/s"),
        ));
    }
    let cores = inputs.machine.cores as f64;
    let most = model.costs.viewers_per_core(CostName::CrowdedWriteUs);
    if usage.viewers / cores > most {
        notes.push(format!(
            "{} viewers per core are more than the {} that were measured; a write may cost more",
            number(usage.viewers / cores),
            number(most)
        ));
    }
    if inputs.streams == 1 {
        notes.push(
            "one stream stays in one partition: more coordinators, moderators or archivers do not \
             make it faster"
                .to_owned(),
        );
    }
    notes
}
