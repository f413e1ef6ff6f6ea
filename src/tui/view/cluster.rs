//! Nodes, and one of them opened: its limits and its delivery workers.

use ratatui::layout::Rect;

use super::canvas::{Canvas, split_top};
use super::table::{self, facts, wrapped};
use crate::protocol::NodeId;
use crate::protocol::admin::NodeStatus;
use crate::protocol::quantity::{show_bytes, show_duration};
use crate::tui::feed::{Moment, Subject};
use crate::tui::figures;
use crate::tui::state::{Console, Panel};
use crate::tui::tone::{Cell, Health, Tone};

pub(super) fn list(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let Some(moment) = console.moment() else { return };
    let (sums, rest) = split_top(area, u16::from(area.height >= 8));
    canvas.line(sums, &summary(moment));
    let listing = console.nodes(Panel::Nodes);
    table::draw(canvas, rest, "nodes", Panel::Nodes, &listing, console);
}

/// Says what all edges together have, and what the loss of one would mean. Connections
/// of an edge that drains or is silent need places on the others.
fn summary(moment: &Moment) -> Vec<Cell> {
    let snapshot = &moment.snapshot;
    let edges: Vec<_> = snapshot.nodes.iter().filter(|node| node.takes_viewers()).collect();
    let connections: u64 = snapshot.nodes.iter().map(|node| node.connections).sum();
    let places: u64 = edges.iter().map(|node| node.max_connections).sum();
    let largest = edges.iter().map(|node| node.max_connections).max().unwrap_or(0);
    let mut cells = vec![Cell::text(" ")];
    cells.extend(facts(&[
        ("edges", edges.len().to_string()),
        ("places", format!("{} of {}", figures::count(connections), figures::count(places))),
        ("sent", figures::bytes_per_second(Some(snapshot.rates.bytes_out))),
    ]));
    if edges.len() > 1 {
        let left = (places - largest).max(1);
        let share = connections as f64 / left as f64;
        let tone = if share > 1.0 { Tone::Warn } else { Tone::Faint };
        let text = if share > 1.0 {
            "if one is lost: too few places".to_owned()
        } else {
            format!("if one is lost: {} full", figures::percent(share))
        };
        cells.push(Cell::new(text, tone));
    }
    cells
}

pub(super) fn opened(canvas: &mut Canvas<'_>, area: Rect, console: &Console, name: &NodeId) {
    let Some(moment) = console.moment() else { return };
    let (path, rest) = split_top(area, 1);
    let mut crumb = vec![Cell::faint(" cluster › "), Cell::new(name.to_string(), Tone::Strong)];
    let Some(node) = moment.node(name) else {
        let (word, tone) = if moment.snapshot.unreachable.contains(name) {
            let since = moment.silent_ms(name).map(|ms| format!(" {}", figures::age(ms)));
            (format!("  ✗ silent{}", since.unwrap_or_default()), Health::Bad.tone())
        } else {
            ("  is not known at this time".to_owned(), Tone::Faint)
        };
        crumb.push(Cell::new(word, tone));
        canvas.line(path, &crumb);
        return;
    };
    crumb.push(Cell::faint(format!("   {}", node.roles.join(" "))));
    canvas.line(path, &crumb);
    let limits = limits(node);
    let (upper, lower) = split_top(rest, 1 + limits.len() as u16);
    let inner = canvas.open(upper, &[Cell::new("limits", Tone::Title)], &[]);
    table::lines(canvas, inner, &limits);
    let told = alarms_of(moment, name, rest.width);
    let (middle, lower) = split_top(lower, (told.len() as u16).min(lower.height / 2));
    table::lines(canvas, middle, &told);
    let workers = console.workers();
    table::draw(canvas, lower, "delivery workers", Panel::Workers, &workers, console);
}

/// Returns what is wrong with a node, in words.
fn alarms_of(moment: &Moment, name: &NodeId, width: u16) -> Vec<Vec<Cell>> {
    let subject = Subject::Node(name.clone());
    let own = moment.alarms.iter().filter(|alarm| alarm.subject == subject);
    let words = own.map(|alarm| {
        let health = alarm.severity.health();
        let prefix = vec![Cell::mark(health), Cell::text(" ")];
        wrapped(&prefix, &alarm.sentences(), health.tone(), width, 4)
    });
    words.flatten().collect()
}

fn limits(node: &NodeStatus) -> Vec<Vec<Cell>> {
    let known = |text: Option<String>| text.unwrap_or(figures::UNKNOWN.to_owned());
    let process = &node.process;
    let of = |used: Option<u64>, most: Option<u64>, show: fn(u64) -> String| {
        let most = most.map_or(String::new(), |most| format!(" of {}", show(most)));
        used.map(|used| format!("{}{most}", show(used)))
    };
    let cpu = process.cpu.map(|cpu| {
        let cores = process.cores.map_or(String::new(), |cores| format!(" of {cores} cores"));
        format!("{cpu:.1}{cores}")
    });
    let egress = &node.egress;
    let sent = format!(
        "{} of {}",
        figures::bytes_per_second(Some(egress.sent_bytes_per_second as f64)),
        egress.limit_bytes_per_second.map_or("no limit".to_owned(), |limit| {
            figures::bytes_per_second(Some(limit as f64))
        }),
    );
    let partitions = node.partitions_text();
    let partitions = (!partitions.is_empty()).then_some(("partitions", partitions));
    let senders = (node.senders > 0).then(|| ("senders", figures::count(node.senders)));
    let mut lines = [
        vec![
            (
                "connections",
                format!(
                    "{} of {}",
                    figures::count(node.connections),
                    figures::count(node.max_connections)
                ),
            ),
            ("new", figures::per_second(Some(node.rates.connections_opened))),
            ("gone", figures::per_second(Some(node.rates.connections_closed))),
        ],
        vec![
            ("sends", sent),
            ("wants", figures::bytes_per_second(Some(egress.wanted_bytes_per_second as f64))),
            ("streams lowered", figures::count(egress.streams_lowered)),
        ],
        vec![
            ("CPU", known(cpu)),
            ("memory", known(of(process.rss_bytes, process.memory_bytes, show_bytes))),
            ("files", known(of(process.files, process.files_max, figures::count))),
            ("disk free", known(process.disk_free_bytes.map(show_bytes))),
        ],
        vec![
            ("listens", node.listen.clone()),
            ("version", node.version.clone()),
            ("up", show_duration(node.uptime_ms)),
            ("clock", known(process.clock_ms.map(|ms| format!("{ms:+} ms")))),
        ],
    ];
    lines[0].extend(senders);
    // Nearly all viewers have a WebSocket; the others are named if there are any.
    let transports = node.transports;
    let others = [("SSE", transports.sse), ("polls", transports.poll)];
    let others = others.into_iter().filter(|(_, connections)| *connections > 0);
    lines[0].extend(others.map(|(name, connections)| (name, figures::count(connections))));
    lines[3].extend(partitions);
    let indented = |pairs: &Vec<(&str, String)>| {
        let mut cells = vec![Cell::text(" ")];
        cells.extend(facts(pairs));
        cells
    };
    lines.iter().map(indented).filter(|cells| cells.len() > 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tui::feed::samples;

    #[test]
    fn viewers_of_a_draining_edge_need_a_place() {
        let summed = |snapshot| -> String {
            let cells = summary(&samples::moment(snapshot));
            cells.iter().map(|cell| cell.text.as_str()).collect()
        };
        let mut snapshot = samples::healthy(60);
        let both = summed(snapshot.clone());
        assert!(both.contains("18k of 40k") && both.contains("if one is lost"), "{both}");
        snapshot.nodes[1].draining = true;
        let one = summed(snapshot);
        assert!(one.contains("edges 1") && one.contains("18k of 20k"), "{one}");
    }
}
