//! The pipeline: each stage with its rate, what is lost there, its queue and its latency.

use ratatui::layout::Rect;

use super::canvas::{Canvas, cell_width, row};
use super::table::lines;
use crate::protocol::admin::dependency::{COMMENT_STORE, EVENT_LOG, FAN_OUT_BUS};
use crate::protocol::admin::{BreakerState, GroupLag, LagState, StageName, StageStatus};
use crate::protocol::quantity::show_bytes;
use crate::tui::feed::{Moment, is_nearly_full};
use crate::tui::figures;
use crate::tui::tone::{Cell, Health, Tone};

/// Age of the oldest unread record from which it is told, in milliseconds.
const NOTABLE_AGE_MS: u64 = 1_000;
/// Width of the arrow between two boxes.
const ARROW: u16 = 2;
/// Width of the corner before a branch.
const BRANCH_WIDTH: u16 = 4;
/// Rows of a box with its edges.
const BOX_ROWS: u16 = 6;
/// The least width at which boxes are drawn.
pub(super) const WIDTH_OF_BOXES: u16 = 104;
/// Rows of the boxes and the two branches.
pub(super) const ROWS_OF_BOXES: u16 = BOX_ROWS + 2;
/// Rows if each stage has one line.
pub(super) const ROWS_OF_LINES: u16 = 8;

/// Width of each fact of a stage in one line, and the one if they do not fit otherwise.
const FACT_WIDTH: usize = 12;
const NARROW_FACT_WIDTH: usize = 9;

/// A stage as it is shown.
#[derive(Debug, Clone)]
pub(super) struct StageView {
    pub(super) name: StageName,
    pub(super) health: Health,
    /// The most important first.
    pub(super) facts: Vec<Cell>,
}

/// Returns the stages in the order of the pipeline.
pub(super) fn stages(moment: &Moment) -> Vec<StageView> {
    vec![
        gateway(moment),
        ingest(moment),
        log(moment),
        broadcast(moment),
        bus(moment),
        delivery(moment),
        moderation(moment),
        archive(moment),
    ]
}

/// Returns the p99 of a stage, if it measures one.
fn p99(stage: Option<&StageStatus>) -> Option<Cell> {
    let ms = stage?.recent.quantile_ms(0.99)?;
    Some(Cell::faint(format!("p99 {}", figures::latency(Some(ms)))))
}

/// Returns how full the fullest queue of a stage is.
fn queue(stage: Option<&StageStatus>) -> Option<(f64, Cell)> {
    let share = stage?.fullest.as_ref()?.share();
    let tone = if share >= 0.5 { Tone::Warn } else { Tone::Faint };
    Some((share, Cell::new(format!("queue {}", figures::percent(share)), tone)))
}

fn loss(rate: f64, what: &str) -> Cell {
    let tone = if rate >= 0.05 { Tone::Warn } else { Tone::Faint };
    Cell::new(format!("{} {what}", figures::per_second(Some(rate))), tone)
}

/// Returns the state of a dependency, if it fails.
fn failure(moment: &Moment, dependency: &str) -> Option<(Health, Cell)> {
    let breaker = moment.breaker(dependency)?;
    match breaker.state {
        BreakerState::Closed => None,
        BreakerState::HalfOpen => Some((Health::Warn, Cell::new("tried again", Tone::Warn))),
        BreakerState::Open => {
            let since = figures::age(breaker.since_ms);
            Some((Health::Bad, Cell::new(format!("FAILS {since}"), Tone::Bad)))
        }
    }
}

/// Returns the state of a stage whose queue may be full.
fn queue_health(stage: Option<&StageStatus>) -> Health {
    match queue(stage) {
        Some((share, _)) if share >= 0.9 => Health::Bad,
        Some((share, _)) if share >= 0.5 => Health::Warn,
        _ => Health::Good,
    }
}

fn gateway(moment: &Moment) -> StageView {
    let rates = &moment.snapshot.rates;
    let connections = moment.snapshot.connections;
    let places = moment.places();
    let full = is_nearly_full(connections, places);
    let refused = rates.connections_refused;
    let stage = moment.stage(StageName::Gateway);
    let opened = figures::plain_rate(Some(rates.connections_opened));
    let closed = figures::plain_rate(Some(rates.connections_closed));
    let mut facts = vec![
        Cell::new(
            format!("{} of {}", figures::count(connections), figures::count(places)),
            if full { Tone::Warn } else { Tone::Text },
        ),
        Cell::text(format!("+{opened} −{closed}/s")),
        loss(refused, "refused"),
    ];
    facts.extend(p99(stage));
    let health = if full || refused >= 0.05 { Health::Warn } else { Health::Good };
    StageView { name: StageName::Gateway, health, facts }
}

fn ingest(moment: &Moment) -> StageView {
    let rates = &moment.snapshot.rates;
    let stage = moment.stage(StageName::Ingest);
    let mut facts = vec![
        Cell::text(format!("{} in", figures::per_second(Some(rates.received)))),
        loss(rates.refused, "refused"),
    ];
    facts.extend(queue(stage).map(|(_, cell)| cell));
    facts.extend(p99(stage));
    StageView { name: StageName::Ingest, health: queue_health(stage), facts }
}

fn log(moment: &Moment) -> StageView {
    let stage = moment.stage(StageName::Log);
    let fails = failure(moment, EVENT_LOG);
    let health = fails.as_ref().map_or(queue_health(stage), |(health, _)| *health);
    let mut facts = Vec::new();
    facts.extend(fails.map(|(_, cell)| cell));
    facts.push(Cell::text(figures::per_second(Some(moment.snapshot.rates.accepted))));
    if let Some(stage) = stage {
        facts.push(Cell::faint(format!("{} in flight", show_bytes(stage.queue))));
    }
    facts.extend(p99(stage));
    StageView { name: StageName::Log, health, facts }
}

fn broadcast(moment: &Moment) -> StageView {
    let rates = &moment.snapshot.rates;
    let stage = moment.stage(StageName::Broadcast);
    let group = moment.group("coordinator");
    let mut facts = vec![
        Cell::text(figures::per_second(Some(rates.broadcast))),
        Cell::new(format!("{} left out", figures::per_second(Some(rates.sampled_out))), Tone::Text),
    ];
    facts.extend(group.map(|group| behind(moment, group)));
    facts.extend(p99(stage));
    let health = group_health(moment, group).max(queue_health(stage));
    StageView { name: StageName::Broadcast, health, facts }
}

fn bus(moment: &Moment) -> StageView {
    let stage = moment.stage(StageName::Bus);
    let fails = failure(moment, FAN_OUT_BUS);
    let (working, servers) = moment.bus_servers();
    let down = working < servers;
    let mut facts = Vec::new();
    facts.extend(fails.as_ref().map(|(_, cell)| cell.clone()));
    if servers > 1 {
        let tone = if down { Tone::Bad } else { Tone::Text };
        facts.push(Cell::new(format!("{working} of {servers} nodes"), tone));
    }
    if let Some(stage) = stage {
        let rate = figures::plain_rate(Some(stage.items_per_second));
        facts.push(Cell::text(format!("{rate} msg/s")));
    }
    let bytes: f64 = moment.snapshot.bus.iter().map(|server| server.bytes_per_second).sum();
    if servers > 0 {
        facts.push(Cell::faint(figures::bytes_per_second(Some(bytes))));
    }
    facts.extend(p99(stage));
    let health = match fails {
        Some((health, _)) => health,
        None if down => Health::Bad,
        None => Health::Good,
    };
    StageView { name: StageName::Bus, health, facts }
}

fn delivery(moment: &Moment) -> StageView {
    let snapshot = &moment.snapshot;
    let rates = &snapshot.rates;
    let stage = moment.stage(StageName::Delivery);
    let (limited, edges) = moment.at_egress_limit();
    let mut facts = vec![
        Cell::text(figures::per_second(Some(rates.delivered))),
        Cell::text(figures::bytes_per_second(Some(rates.bytes_out))),
    ];
    if limited > 0 {
        facts.push(Cell::new(format!("{limited} of {edges} at cap"), Tone::Warn));
    } else {
        facts.push(Cell::faint(format!("{} slow", figures::count(snapshot.slow_viewers))));
    }
    facts.extend(p99(stage));
    // A viewer that skips is an alert only if many do.
    let goal = snapshot.thresholds.served_low;
    let warn = limited > 0 || moment.served().is_some_and(|served| served < goal);
    let health = if warn { Health::Warn } else { Health::Good };
    StageView { name: StageName::Delivery, health: health.max(queue_health(stage)), facts }
}

fn moderation(moment: &Moment) -> StageView {
    let stage = moment.stage(StageName::Moderation);
    let group = moment.group("moderator");
    let mut facts = Vec::new();
    facts.extend(stage.map(|stage| Cell::text(figures::per_second(Some(stage.items_per_second)))));
    facts.extend(group.map(|group| behind(moment, group)));
    facts.extend(p99(stage));
    let queued = moment.snapshot.moderation.queued;
    let tone = if queued > 0 { Tone::Warn } else { Tone::Faint };
    facts.push(Cell::new(format!("{} to review", figures::count(queued)), tone));
    let health = group_health(moment, group).max(queue_health(stage));
    StageView { name: StageName::Moderation, health, facts }
}

fn archive(moment: &Moment) -> StageView {
    let stage = moment.stage(StageName::Archive);
    let group = moment.group("archiver");
    let fails = failure(moment, COMMENT_STORE);
    let mut facts = Vec::new();
    let down = fails.as_ref().map(|(health, _)| *health);
    facts.extend(fails.map(|(_, cell)| cell));
    let written = moment.snapshot.rates.archived;
    facts.push(Cell::text(figures::per_second(Some(written))));
    facts.extend(group.map(|group| behind(moment, group)));
    facts.extend(p99(stage));
    let health = group_health(moment, group).max(queue_health(stage));
    StageView { name: StageName::Archive, health: health.max(down.unwrap_or_default()), facts }
}

fn group_health(moment: &Moment, group: Option<&GroupLag>) -> Health {
    group.map_or(Health::Good, |group| moment.lag_state(group).into())
}

fn behind(moment: &Moment, group: &GroupLag) -> Cell {
    let mut shown = format!("{} behind", figures::count(group.lag));
    if let Some(oldest_ms) = group.oldest_ms.filter(|oldest_ms| *oldest_ms >= NOTABLE_AGE_MS) {
        shown.push_str(&format!(" ({})", figures::lateness(oldest_ms)));
    }
    if moment.lag_state(group) == LagState::InTime {
        return Cell::faint(shown);
    }
    if let Some(change) = group.change_per_s {
        shown.push_str(&format!(" {}", figures::change(change)));
    }
    Cell::new(shown, Tone::Warn)
}

fn head(stage: &StageView) -> Vec<Cell> {
    vec![Cell::new(format!("{} ", stage.name.as_str()), Tone::Strong), Cell::mark(stage.health)]
}

/// Draws the first six stages as boxes, and the two that read the log beside as branches.
pub(super) fn boxes(canvas: &mut Canvas<'_>, area: Rect, stages: &[StageView]) {
    let (path, branches) = stages.split_at(6);
    let width = (area.width - ARROW * 5) / 6;
    let mut log_x = area.x;
    for (at, stage) in path.iter().enumerate() {
        let x = area.x + at as u16 * (width + ARROW);
        if stage.name == StageName::Log {
            log_x = x + width / 2;
        }
        let place = Rect { x, y: area.y, width, height: BOX_ROWS.min(area.height) };
        let inside = canvas.boxed(place, &head(stage));
        let inside = Rect {
            x: inside.x + 1.min(inside.width),
            width: inside.width.saturating_sub(1),
            ..inside
        };
        for (line, fact) in stage.facts.iter().enumerate().take(inside.height.into()) {
            canvas.line(row(inside, line as u16), std::slice::from_ref(fact));
        }
        if at > 0 && place.height > 2 {
            let arrow = Rect { x: x - ARROW, y: area.y + 2, width: ARROW, height: 1 };
            canvas.text(arrow, "─▶", Tone::Rule);
        }
    }
    let branch_x = log_x + BRANCH_WIDTH;
    let room = usize::from(area.right().saturating_sub(branch_x));
    let fits = |stage: &StageView| {
        one_line(stage, FACT_WIDTH).iter().map(cell_width).sum::<usize>() <= room
    };
    let fact_width = if branches.iter().all(fits) { FACT_WIDTH } else { NARROW_FACT_WIDTH };
    for (at, stage) in branches.iter().enumerate() {
        let line = row(area, BOX_ROWS + at as u16);
        if line.is_empty() {
            break;
        }
        let corner = if at + 1 == branches.len() { "└─▶ " } else { "├─▶ " };
        let line = Rect { x: log_x, width: area.right() - log_x, ..line };
        let mut cells = vec![Cell::new(corner, Tone::Rule)];
        cells.extend(one_line(stage, fact_width));
        canvas.line(line, &cells);
    }
    // The stem of the branches leaves the lower edge of the log's box.
    let stem = Rect { x: log_x, y: area.y + BOX_ROWS - 1, width: 1, height: 1 };
    if area.height >= BOX_ROWS {
        canvas.text(stem, "┬", Tone::Rule);
    }
}

fn one_line(stage: &StageView, fact_width: usize) -> Vec<Cell> {
    let mut cells = vec![
        Cell::new(format!("{:<11}", stage.name.as_str()), Tone::Strong),
        Cell::mark(stage.health),
        Cell::text(" "),
    ];
    for fact in &stage.facts {
        cells.push(Cell::text(" "));
        // Two facts never touch.
        let wide = format!("{:<fact_width$} ", fact.text);
        cells.push(Cell::new(wide, fact.tone));
    }
    if let Some(last) = cells.last_mut() {
        last.text = last.text.trim_end().to_owned();
    }
    cells
}

/// Draws each stage in one line.
pub(super) fn one_line_each(canvas: &mut Canvas<'_>, area: Rect, stages: &[StageView]) {
    let all: Vec<_> = stages.iter().map(|stage| one_line(stage, FACT_WIDTH)).collect();
    lines(canvas, area, &all);
}
