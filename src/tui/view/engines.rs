//! What the cluster stands on: the bus with its shards, the event log with its consumers, stores.

use ratatui::layout::Rect;

use super::canvas::{Canvas, split_top};
use super::table;
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

/// Draws one bar per shard: its bytes per second over all servers, against the busiest.
fn shard_line(servers: &[BusNode]) -> Vec<Cell> {
    let mut load: std::collections::BTreeMap<u32, (f64, usize)> = std::collections::BTreeMap::new();
    for shard in servers.iter().flat_map(|server| &server.shards) {
        let known = load.entry(shard.shard).or_default();
        known.0 += shard.bytes_per_second;
        known.1 = known.1.max(shard.nodes.len());
    }
    if load.is_empty() {
        return Vec::new();
    }
    let most = load.values().map(|(bytes, _)| *bytes).fold(0.0, f64::max);
    let mut cells = vec![Cell::faint("  shards by bytes/s  ")];
    for (shard, (bytes, nodes)) in load {
        let bar = figures::bars(&[(bytes > 0.0).then_some(bytes)], most);
        cells.push(Cell::faint(format!("{shard} ")));
        cells.push(Cell::new(bar, Tone::Chart));
        cells.push(Cell::text(format!(" {} {nodes}n  ", figures::bytes_per_second(Some(bytes)))));
    }
    cells
}

fn groups(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let listing = console.groups();
    table::draw(canvas, area, "event log · consumers", Panel::Groups, &listing, console);
}

fn stores(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let listing = console.stores();
    table::draw(canvas, area, "dependencies", Panel::Stores, &listing, console);
}
