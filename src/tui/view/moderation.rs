//! Comments to review, decisions about comments, and the users whose comments are removed most.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use ratatui::layout::Rect;

use super::canvas::{Canvas, row, split_left, split_top};
use super::table::{self, facts};
use crate::protocol::admin::{DecidedCount, RecentModeration, ReviewItem, short_actor};
use crate::tui::feed::Moment;
use crate::tui::figures;
use crate::tui::rows::ReviewRow;
use crate::tui::state::{Console, Panel};
use crate::tui::table::Record as _;
use crate::tui::tone::{Cell, Health, Tone};

/// With fewer rows only the panel that keys act on is drawn.
const ALL_PANELS: u16 = 20;
/// From this height on, reasons are counted too, in so many rows.
const WITH_REASONS: u16 = 40;
const REASON_ROWS: u16 = 8;
/// From this height on, what was decided since the start is told, and how far moderation is behind.
const WITH_START: u16 = 14;
/// From this width on hidden comments are counted too.
const WITH_HIDDEN: u16 = 90;
/// From this width on the queue has a column of all scores.
const WITH_SCORES: u16 = 170;
/// Moderators that are named in the title.
const SHOWN_HOLDERS: usize = 3;

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let Some(moment) = console.moment() else { return };
    let figures = figures_of(moment, area.width);
    let rows = match area.height {
        0..6 => 0,
        6..WITH_START => 1,
        _ => figures.len() as u16,
    };
    let (figures_rows, rest) = split_top(area, rows);
    table::lines(canvas, figures_rows, &figures);
    if area.height < ALL_PANELS {
        match console.panel() {
            Panel::Decisions => decisions(canvas, rest, console),
            Panel::Offenders => offenders(canvas, rest, console),
            _ => reviews(canvas, rest, console),
        }
        return;
    }
    let reasons = if area.height >= WITH_REASONS { REASON_ROWS } else { 0 };
    let below = rows_below(console, reasons, rest.height).min(area.height * 2 / 5);
    let (upper, lower) = split_top(rest, rest.height.saturating_sub(below));
    reviews(canvas, upper, console);
    let (decided, lowest) = split_top(lower, lower.height.saturating_sub(reasons));
    let (left, right) = split_left(decided, decided.width * 2 / 3);
    decisions(canvas, left, console);
    offenders(canvas, right, console);
    if reasons > 0 {
        let (left, right) = split_left(lowest, lowest.width / 2);
        decided_lately(canvas, left, moment);
        let refused = &moment.snapshot.counters.refused;
        by_count(canvas, right, "comments refused at ingest since start, by reason", refused);
    }
}

/// Returns the rows for what is below the queue: those that it needs, and those that the queue does
/// not need.
fn rows_below(console: &Console, reasons: u16, room: u16) -> u16 {
    let decided = table::height(&console.decisions()).max(table::height(&console.offenders()));
    // One more for the scores of the selected comment.
    let queue = table::height(&console.reviews()).saturating_add(1);
    decided.saturating_add(reasons).max(room.saturating_sub(queue))
}

fn reviews(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let listing = console.reviews();
    // Where the column of all scores is left out, the selected comment tells its own.
    let chosen = listing.selection().map(|row| chosen_scores(row.item));
    let room = area.width < WITH_SCORES && area.height >= 8;
    let (area, below) = split_top(area, area.height.saturating_sub(u16::from(room)));
    canvas.line(below, &chosen.unwrap_or_default());
    let mut title = table::title("to review", &listing, Panel::Reviews, console);
    let now_ms = console.now_ms();
    if let Some(oldest) = console.side.reviews.iter().map(|item| item.flagged_at).min() {
        let age = figures::age(now_ms.saturating_sub(oldest));
        let held = holders(&console.side.reviews, now_ms);
        title.push(Cell::faint(format!(" · oldest {age}{held}")));
    }
    table::draw_titled(canvas, area, &title, Panel::Reviews, &listing, console);
}

fn decisions(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let listing = console.decisions();
    table::draw(canvas, area, "decided", Panel::Decisions, &listing, console);
}

fn offenders(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let listing = console.offenders();
    table::draw(canvas, area, "offenders, 1 h:", Panel::Offenders, &listing, console);
}

/// Writes what a comment was flagged by: `models: toxicity 0.61 · toxicity 0.61, spam 0.02`.
fn chosen_scores(item: &ReviewItem) -> Vec<Cell> {
    let evidence = &item.evidence;
    let mut cells = vec![
        Cell::faint(" ▸ "),
        Cell::text(evidence.stage.clone().unwrap_or_else(|| "–".to_owned())),
        Cell::text(format!(" {}", item.reason)),
    ];
    cells.extend(evidence.score.map(|score| Cell::text(format!(" {score:.2}"))));
    let scores = evidence.scores_text();
    if !scores.is_empty() {
        cells.push(Cell::faint(format!("  all scores: {scores}")));
    }
    cells.extend(evidence.model.as_ref().map(|model| Cell::faint(format!("  model {model}"))));
    cells
}

/// Writes ` · you hold 3, bob 2`, or nothing while nobody holds a comment.
fn holders(items: &[ReviewItem], now_ms: u64) -> String {
    let mut others: BTreeMap<&str, usize> = BTreeMap::new();
    let mut yours = 0;
    for item in items {
        match item.holder(now_ms) {
            Some(_) if item.claimed_by_you => yours += 1,
            Some(by) => *others.entry(short_actor(by)).or_default() += 1,
            None => {}
        }
    }
    let mut shown = String::new();
    if yours > 0 {
        let _ = write!(shown, " · you hold {yours}");
    }
    for (by, count) in others.iter().take(SHOWN_HOLDERS) {
        let _ = if shown.is_empty() {
            write!(shown, " · {by} holds {count}")
        } else {
            write!(shown, ", {by} {count}")
        };
    }
    if others.len() > SHOWN_HOLDERS {
        shown.push_str(", …");
    }
    shown
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

/// Writes what moderation does now against the hour before, how far it is behind, and what it
/// decided since the nodes started.
fn figures_of(moment: &Moment, width: u16) -> Vec<Vec<Cell>> {
    let counts = &moment.snapshot.moderation;
    let recent = &counts.recent;
    let RecentModeration { minute, hour, .. } = recent;
    let mut now = vec![Cell::text(" ")];
    now.extend(facts(&[
        ("checked", format!("{}/min", figures::count(minute.checked))),
        ("flagged", against(minute.flagged_share(), hour.flagged_share())),
        ("rejected", against(minute.rejected_share(), hour.rejected_share())),
    ]));
    let mut start = vec![Cell::text(" ")];
    start.extend(behind(moment));
    start.extend(facts(&[
        ("since start: checked", figures::count(counts.checked)),
        ("rejected", figures::count(counts.rejected)),
        ("flagged", figures::count(counts.flagged)),
    ]));
    if width >= WITH_HIDDEN {
        start.extend(facts(&[("hidden", figures::count(counts.shadow_banned))]));
    }
    vec![now, start]
}

/// Writes a share with that of the hour before: `6% (1% before)`.
fn against(now: Option<f64>, before: Option<f64>) -> String {
    let now = now.map_or_else(|| figures::UNKNOWN.to_owned(), figures::percent);
    match before {
        Some(before) => format!("{now} ({} before)", figures::percent(before)),
        None => now,
    }
}

/// Writes how many comments moderation has still to check, and how old the oldest is.
fn behind(moment: &Moment) -> Vec<Cell> {
    let Some(group) = moment.groups.iter().find(|group| group.group == "moderator") else {
        return facts(&[("behind", "–".to_owned())]);
    };
    let age = group.oldest_ms.filter(|_| group.lag > 0).map(figures::age);
    let age = age.map_or(String::new(), |age| format!(" ({age})"));
    facts(&[("behind", format!("{}{age}", figures::counted(group.lag, "comment")))])
}

/// Draws what moderation did not accept in the last minute, by stage and reason.
fn decided_lately(canvas: &mut Canvas<'_>, area: Rect, moment: &Moment) {
    let title = [Cell::new("not accepted, per minute by stage and reason", Tone::Title)];
    let area = canvas.open(area, &title, &[]);
    let decided = &moment.snapshot.moderation.recent.decided;
    let line = |one: &DecidedCount| {
        vec![
            Cell::text(format!(" {:>6}/min  ", figures::count(one.count))),
            Cell::text(format!("{:<10} ", one.stage)),
            Cell::text(format!("{:<16} ", one.reason)),
            Cell::faint(one.decision.as_str()),
        ]
    };
    let lines: Vec<_> = decided.iter().map(line).collect();
    if lines.is_empty() {
        canvas.text(row(area, 0), " none", Tone::Faint);
    }
    table::lines(canvas, area, &lines);
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
