//! Comments to review, what moderation decided, and who acted.

use std::collections::BTreeMap;

use ratatui::layout::Rect;

use super::canvas::{Canvas, row, split_left, split_top};
use super::table::{self, facts};
use crate::tui::feed::Moment;
use crate::tui::figures;
use crate::tui::rows::ReviewRow;
use crate::tui::state::{Console, Panel};
use crate::tui::table::Record as _;
use crate::tui::tone::{Cell, Health, Tone};

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let Some(moment) = console.moment() else { return };
    let below = if area.height >= 20 { area.height * 2 / 5 } else { 0 };
    let (counts_row, rest) = split_top(area, u16::from(area.height >= 6));
    canvas.line(counts_row, &counts(moment));
    let (upper, lower) = split_top(rest, rest.height.saturating_sub(below));
    let listing = console.reviews();
    let title = match listing.rows.iter().map(|row| row.item.flagged_at).min() {
        Some(oldest) => {
            let age = figures::age(console.now_ms().saturating_sub(oldest));
            format!("to review, oldest {age},")
        }
        None => "to review".to_owned(),
    };
    table::draw(canvas, upper, &title, Panel::Reviews, &listing, console);
    if below > 0 {
        let (left, right) = split_left(lower, lower.width / 2);
        let reasons = &moment.snapshot.moderation.reasons;
        by_count(canvas, left, "not accepted, by reason", reasons);
        by_count(canvas, right, "refused before, by reason", &moment.snapshot.counters.refused);
    }
}

/// Draws the comments that have waited longest for review, in a row each.
pub(super) fn queue_head(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    if area.is_empty() {
        return;
    }
    let queued = console.moment().map_or(0, |moment| moment.snapshot.moderation.queued);
    let title = format!("to review {}", figures::count(queued));
    let area = canvas.open(area, &[Cell::new(title, Tone::Title)], &[]);
    if !console.is_live() {
        canvas.text(area, " only their number is remembered", Tone::Faint);
        return;
    }
    let reviews = &console.side.reviews;
    if reviews.is_empty() {
        let cells = if queued == 0 {
            vec![Cell::mark(Health::Good), Cell::text(" nothing waits for review")]
        } else {
            vec![Cell::faint(" …")]
        };
        canvas.line(area, &cells);
        return;
    }
    let rows = usize::from(area.height);
    let shown = if reviews.len() > rows { rows.saturating_sub(1) } else { reviews.len() };
    for (at, item) in reviews.iter().take(shown).enumerate() {
        let record = ReviewRow { item, now_ms: console.now_ms(), veiled: console.veiled };
        let cells = [
            Cell::faint(format!(" {:>7} ", record.cell("age").text)),
            record.cell("is"),
            Cell::text(format!(" {}  ", record.cell("reason").text)),
            record.cell("text"),
        ];
        canvas.line(row(area, at as u16), &cells);
    }
    if shown < reviews.len() {
        let more = format!("   … {} more", queued.max(reviews.len() as u64) - shown as u64);
        canvas.text(row(area, shown as u16), &more, Tone::Faint);
    }
}

/// Writes what moderation decided since the nodes started.
fn counts(moment: &Moment) -> Vec<Cell> {
    let counts = &moment.snapshot.moderation;
    let mut cells = vec![Cell::text(" ")];
    cells.extend(facts(&[
        ("checked", figures::count(counts.checked)),
        ("accepted", figures::count(counts.accepted)),
        ("rejected", figures::count(counts.rejected)),
        ("flagged", figures::count(counts.flagged)),
        ("shadowed", figures::count(counts.shadow_banned)),
    ]));
    cells.push(Cell::faint("since start"));
    cells
}

/// Draws counts with their names, the largest first.
fn by_count(canvas: &mut Canvas<'_>, area: Rect, title: &str, counts: &BTreeMap<String, u64>) {
    let area = canvas.open(area, &[Cell::new(title, Tone::Title)], &[]);
    let mut sorted: Vec<_> = counts.iter().collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let lines: Vec<_> = sorted
        .into_iter()
        .map(|(name, count)| {
            vec![Cell::text(format!(" {:>7}  ", figures::count(*count))), Cell::text(name.clone())]
        })
        .collect();
    if lines.is_empty() {
        canvas.text(row(area, 0), " none", Tone::Faint);
    }
    table::lines(canvas, area, &lines);
}
