//! The first row of every view: where, how it is, for how many, and who looks at it.

use std::time::Duration;

use ratatui::layout::Rect;

use super::canvas::{Canvas, cell_width};
use super::frame::fitting;
use crate::protocol::quantity::show_duration;
use crate::tui::feed::{Moment, Severity};
use crate::tui::figures;
use crate::tui::state::{ClusterLabel, Connection, Console};
use crate::tui::tone::{Cell, Health, Tone};

/// The width from which on the first row always says who the console acts for.
const WIDE: u16 = 100;

/// Draws the first row: where, how it is, for how many.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let label = console.cluster_label();
    let badge = label.as_ref().map_or(Cell::new("lc top", Tone::Title), badge);
    let Some(moment) = console.moment() else {
        canvas.line(area, &[badge, Cell::faint(" waits for a snapshot")]);
        return;
    };
    let snapshot = &moment.snapshot;
    let (health, word) =
        if console.is_out_of_date() { (Health::Unknown, "UNKNOWN") } else { state(moment) };
    let mut parts = vec![
        vec![badge.clone()],
        vec![Cell::new(format!("{} {word}", health.mark()), health.tone())],
    ];
    if !moment.alarms.is_empty() {
        let alerts = figures::counted(moment.alarms.len() as u64, "alert");
        parts[1].push(Cell::new(format!(" · {alerts}"), health.tone()));
    }
    parts.push(vec![Cell::text(figures::count(moment.viewers())), Cell::faint(" viewers")]);
    if let Some(served) = moment.served() {
        parts.push(vec![Cell::faint("served "), Cell::text(figures::percent(served))]);
    }
    if let Some(p99) = snapshot.end_to_end.quantile_ms(0.99) {
        let p99 = figures::latency(Some(p99));
        parts.push(vec![Cell::faint("end to end p99 "), Cell::text(p99)]);
    }
    if let Some(context) = label.as_ref().and_then(|label| label.context.as_ref()) {
        parts.push(vec![Cell::faint(format!("by ctx {context}"))]);
    }
    if snapshot.senders > 0 {
        parts.push(vec![Cell::text(figures::count(snapshot.senders)), Cell::faint(" senders")]);
    }
    if console.feed().restarts() > 0 {
        let times = console.feed().restarts();
        parts.push(vec![Cell::new(format!("restarted ×{times}"), Tone::Warn)]);
    }
    let mut clock = vec![Cell::faint(format!("{}Z", figures::clock(moment.at_ms)))];
    let away = !console.is_live() || console.connection != Connection::Live;
    match console.ago_ms() {
        _ if console.replay().is_some() => replay_clock(&mut clock, console),
        Some(ago) => {
            clock.push(Cell::new(format!(", {} ago", figures::age(ago)), Tone::Strong));
        }
        None if console.is_paused() => clock.insert(0, Cell::new("‖ PAUSED ", Tone::Warn)),
        None => {}
    }
    if let Some(since_ms) = console.no_contact_since_ms() {
        let since = figures::clock(since_ms);
        if console.is_live() {
            // The moment on the screen is the last one that came.
            clock = vec![Cell::new(format!("NO CONTACT since {since}Z"), Tone::Bad)];
        } else {
            clock.insert(0, Cell::new(format!("NO CONTACT since {since}Z   "), Tone::Bad));
        }
    }
    if let Some(pause) = console.slow_link {
        clock.insert(0, slow_link(pause, area.width));
    }
    match console.who() {
        Some(who) if area.width >= WIDE => clock.insert(0, Cell::faint(format!("{who}   "))),
        Some(who) => parts.push(vec![Cell::faint(who)]),
        None => {}
    }
    if let Some(node) = label.and_then(|label| label.node) {
        parts.push(vec![Cell::faint(format!("at {node}"))]);
    }
    let rest = canvas.line_right(area, &clock);
    let shown = fitting(&parts, rest.width.saturating_sub(1), 2);
    canvas.line(rest, &shown);
    if away {
        // The colour of the cluster stays: a look into the past is no reason to mistake it.
        let kept = if let Tone::Cluster(_) = badge.tone { cell_width(&badge) } else { 0 };
        let kept = u16::try_from(kept).unwrap_or(u16::MAX).min(area.width);
        let style = canvas.theme.selected();
        canvas.style(Rect { x: area.x + kept, width: area.width - kept, height: 1, ..area }, style);
    }
}

/// Returns the name of what the console is attached to, in its colour.
fn badge(label: &ClusterLabel) -> Cell {
    let tone = label.colour.map_or(Tone::Title, Tone::Cluster);
    Cell::new(format!("▌{}▐", label.name), tone)
}

/// Says that the terminal takes frames slowly, and how seldom they are drawn because of it.
fn slow_link(pause: Duration, width: u16) -> Cell {
    if width < WIDE {
        return Cell::new("SLOW LINK ", Tone::Warn);
    }
    let pause = show_duration(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX));
    Cell::new(format!("SLOW LINK: 1 frame per {pause}   "), Tone::Warn)
}

/// Says that it is a recording, whether it plays, and which part of it is on the screen.
fn replay_clock(clock: &mut Vec<Cell>, console: &Console) {
    let Some(replay) = console.replay() else { return };
    let mark = if replay.is_playing { "▶" } else { "‖" };
    clock.insert(0, Cell::new(format!("{mark} RECORDING "), Tone::Warn));
    let at = figures::age(console.now_ms().saturating_sub(replay.first_ms));
    let of = figures::age(replay.last_ms.saturating_sub(replay.first_ms));
    clock.push(Cell::new(format!(", {at} of {of}"), Tone::Strong));
}

/// Says in a word how the cluster is.
fn state(moment: &Moment) -> (Health, &'static str) {
    let counted = moment.alarms.iter().filter(|alarm| alarm.lowers_state());
    let worst = counted.map(|alarm| alarm.severity).max();
    match worst {
        Some(Severity::Unserved) => (Health::Bad, "FAILING"),
        Some(Severity::Broken) => (Health::Bad, "DEGRADED"),
        Some(Severity::Warning) => (Health::Warn, "DEGRADED"),
        None if moment.snapshot.draining => (Health::Idle, "DRAINING"),
        None => (Health::Good, "WELL"),
    }
}
