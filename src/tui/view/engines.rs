//! The engines of the cluster: the bus with its shards, the event log with its consumers, stores.

use std::collections::{BTreeMap, BTreeSet};

use ratatui::layout::Rect;

use super::canvas::{Canvas, split_top};
use super::table;
use crate::protocol::NodeId;
use crate::protocol::admin::BusNode;
use crate::tui::figures;
use crate::tui::state::{Console, Panel};
use crate::tui::tone::{Cell, Tone};

/// Below this height one engine is shown at a time.
const ALL: u16 = 24;

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    if area.height < ALL {
        match console.panel() {
            Panel::Bus => bus(canvas, area, console),
            Panel::Groups => groups(canvas, area, console),
            _ => stores(canvas, area, console),
        }
        return;
    }
    let servers = console.bus().rows.len().max(1) as u16;
    let consumers = console.groups().rows.len().max(1) as u16;
    let third = area.height / 3;
    let (top, rest) = split_top(area, (servers + 4).min(third));
    let (middle, bottom) = split_top(rest, (consumers + 3).min(third));
    bus(canvas, top, console);
    groups(canvas, middle, console);
    stores(canvas, bottom, console);
}

fn bus(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let listing = console.bus();
    let shards = if area.height >= 5 { 1 } else { 0 };
    let (upper, lower) = split_top(area, area.height.saturating_sub(shards));
    table::draw(canvas, upper, "fan-out bus · servers", Panel::Bus, &listing, console);
    if let Some(moment) = console.moment() {
        canvas.line(lower, &shard_line(&moment.snapshot.bus));
    }
}

/// The load of one shard on all servers.
#[derive(Debug, Default)]
struct ShardLoad<'a> {
    bytes_per_second: f64,
    /// False if no server measures bytes.
    is_measured: bool,
    /// A shard of different streams lies on different servers, so its nodes do, too.
    nodes: BTreeSet<&'a NodeId>,
}

/// Draws one bar per shard: its bytes per second over all servers, against the busiest, which
/// comes first, so that what does not fit are the idle ones.
fn shard_line(servers: &[BusNode]) -> Vec<Cell> {
    let mut loads: BTreeMap<u32, ShardLoad<'_>> = BTreeMap::new();
    for shard in servers.iter().flat_map(|server| &server.shards) {
        let load = loads.entry(shard.shard).or_default();
        load.bytes_per_second += shard.bytes_per_second;
        load.is_measured |= shard.sent_per_second().is_some();
        load.nodes.extend(&shard.nodes);
    }
    let mut loads: Vec<_> = loads.into_iter().collect();
    loads.sort_by(|(_, a), (_, b)| b.bytes_per_second.total_cmp(&a.bytes_per_second));
    let Some((_, busiest)) = loads.first() else { return Vec::new() };
    let most = busiest.bytes_per_second;
    let mut cells = vec![Cell::faint("  shards, busiest first: ")];
    for (shard, ShardLoad { bytes_per_second, is_measured, nodes }) in loads {
        let bar = figures::bars(&[(bytes_per_second > 0.0).then_some(bytes_per_second)], most);
        let sent = figures::bytes_per_second(is_measured.then_some(bytes_per_second));
        cells.push(Cell::faint(format!("{shard} ")));
        cells.push(Cell::new(bar, Tone::Chart));
        let nodes = figures::counted(nodes.len() as u64, "node");
        cells.push(Cell::text(format!(" {sent} {nodes}  ")));
    }
    cells
}

fn groups(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let listing = console.groups();
    table::draw(canvas, area, "event log · consumers", Panel::Groups, &listing, console);
}

fn stores(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let listing = console.stores();
    table::draw(canvas, area, "stores and dependencies", Panel::Stores, &listing, console);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::BusShard;

    #[test]
    fn the_hot_shard_comes_first_with_all_its_nodes() {
        let shard = |shard, bytes_per_second, nodes: &[&str]| BusShard {
            shard,
            messages_per_second: 1.0,
            bytes_per_second,
            messages: 1,
            bytes: 1,
            subscribers: 1,
            nodes: nodes.iter().copied().map(NodeId::new).collect(),
        };
        let server = |name: &str, shards| BusNode { shards, ..BusNode::new(name.to_owned()) };
        let servers = [
            server("a", vec![shard(0, 2_000.0, &["edge-1"]), shard(5, 7_000.0, &["edge-1"])]),
            server("b", vec![shard(5, 2_000.0, &["edge-2", "edge-1"])]),
        ];
        let line: String = shard_line(&servers).iter().map(|cell| cell.text.as_str()).collect();
        assert_eq!(line, "  shards, busiest first: 5 █ 9 kB/s 2 nodes  0 ▂ 2 kB/s 1 node  ");
        assert!(shard_line(&[]).is_empty());
    }
}
