//! All streams, and one of them opened: why viewers see what they see, what is said, and by whom.

use ratatui::layout::Rect;

use super::canvas::{Canvas, percent_of, row, split_left, split_top};
use super::table;
use super::table::{facts, wrapped};
use crate::protocol::StreamId;
use crate::protocol::admin::{AuditEntry, StreamStatus, short_actor};
use crate::protocol::quantity::{show_rate, show_share, show_time};
use crate::protocol::room::timeouts_text;
use crate::protocol::stream::ModerationMode;
use crate::tui::feed::throttle_reason;
use crate::tui::figures;
use crate::tui::state::{Console, Panel};
use crate::tui::tone::{Cell, Tone};

/// From this width on the list stays beside the opened stream.
const BOTH: u16 = 170;
/// Below this height, what is said takes the rows of the figures and of a longer reason.
const SHORT: u16 = 12;

pub(super) fn list(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let listing = console.streams(Panel::Streams);
    let sums = if area.height >= 8 { 1 } else { 0 };
    let (top, bottom) = split_top(area, area.height.saturating_sub(sums));
    table::draw(canvas, top, "streams", Panel::Streams, &listing, console);
    if sums > 0 {
        let viewers = listing.rows.iter().map(|row| row.status.viewers).sum();
        let rate = listing.rows.iter().map(|row| row.status.comments_per_second).sum();
        let shown = listing.rows.iter().map(|row| row.status.shown_per_second()).sum();
        let of = match listing.hidden {
            0 => "  all ".to_owned(),
            _ => format!("  {} of {} streams: ", listing.rows.len(), listing.total()),
        };
        let mut cells = vec![Cell::new(of, Tone::Strong)];
        cells.extend(facts(&[
            ("viewers", figures::count(viewers)),
            ("in", figures::per_second(Some(rate))),
            ("shown", figures::per_second(Some(shown))),
        ]));
        canvas.line(bottom, &cells);
    }
}

pub(super) fn opened(canvas: &mut Canvas<'_>, area: Rect, console: &Console, stream_id: StreamId) {
    if area.width >= BOTH {
        let (left, right) = split_left(area, percent_of(area.width, 40));
        list(canvas, left, console);
        one(canvas, right, console, stream_id);
    } else {
        one(canvas, area, console, stream_id);
    }
}

fn one(canvas: &mut Canvas<'_>, area: Rect, console: &Console, stream_id: StreamId) {
    let stream = console.moment().and_then(|moment| moment.stream(stream_id));
    let Some(stream) = stream else {
        let path = format!(" streams › {stream_id} ");
        canvas
            .line(area, &[Cell::new(path, Tone::Title), Cell::faint("is not known at this time")]);
        return;
    };
    let (path, rest) = split_top(area, 1);
    breadcrumb(canvas, path, stream, console.veiled);
    let is_short = area.height < SHORT;
    // The audit log is that of now.
    let log = if console.is_live() { &console.side.audit[..] } else { &[] };
    let reason = reason(stream, log, area.width, is_short);
    let (why, rest) = split_top(rest, 1 + reason.len() as u16);
    let seen = stream.shown_per_second();
    let title = format!(
        "why viewers see {} of {}/s",
        show_rate(seen),
        show_rate(stream.comments_per_second)
    );
    let why = canvas.open(why, &[Cell::new(title, Tone::Title)], &[]);
    table::lines(canvas, why, &reason);
    let room = room_rows(stream, area.width);
    let (room_rows, rest) = split_top(rest, if is_short { 0 } else { 1 + room.len() as u16 });
    if !is_short {
        let inside = canvas.open(room_rows, &[Cell::new("room", Tone::Title)], &[]);
        table::lines(canvas, inside, &room);
    }
    let (figures_rows, rest) = split_top(rest, if is_short { 0 } else { 2 });
    if !is_short {
        figures_of(canvas, figures_rows, stream, console);
    }
    talk(canvas, rest, console);
}

fn breadcrumb(canvas: &mut Canvas<'_>, area: Rect, stream: &StreamStatus, veiled: bool) {
    let audience = if stream.anonymous { "open to all" } else { "token holders only" };
    let moderation = match stream.moderation {
        ModerationMode::Async => "moderated after publishing",
        ModerationMode::Sync => "moderated before publishing",
        ModerationMode::Off => "not moderated",
    };
    let right = [Cell::faint(format!("{}   {audience}   {moderation} ", stream.state.as_str()))];
    let rest = canvas.line_right(area, &right);
    let title = if veiled { "▒▒▒▒▒▒▒▒" } else { &stream.title };
    canvas.line(
        rest,
        &[
            Cell::faint(" streams › "),
            Cell::new(format!("{} {title}", stream.stream_id), Tone::Strong),
        ],
    );
}

/// Says what sets the share of the stream, in words; in one row if it must be short.
fn reason(stream: &StreamStatus, log: &[AuditEntry], width: u16, is_short: bool) -> Vec<Vec<Cell>> {
    let mut text = format!("{}.", sentence(&throttle_reason(stream)));
    if is_short {
        return wrapped(&[Cell::text(" ")], &text, Tone::Text, width, 1);
    }
    if !stream.egress_share.is_all() {
        text.push_str(" A node lets more through when its egress stays under its limit.");
    }
    let fixed = stream.throttle_override.and_then(|_| {
        // The latest comes first.
        log.iter().find(|entry| entry.sets_share_of(stream.stream_id))
    });
    if let Some(entry) = fixed {
        let by = short_actor(&entry.actor);
        text.push_str(&format!(" {by} set it at {}.", show_time(entry.at)));
    }
    text.push_str(match (stream.throttle_override, stream.throttle_until_ms) {
        (None, _) => " No share is fixed by hand; t fixes one.",
        (Some(_), None) => " It stays until t sets auto.",
        (Some(_), Some(_)) => " It reverts by itself; t sets auto before.",
    });
    wrapped(&[Cell::text(" ")], &text, Tone::Text, width, 3)
}

/// Says which rules of the room are in force, whether by shield mode, and which timeouts moderators
/// choose from.
fn room_rows(stream: &StreamStatus, width: u16) -> Vec<Vec<Cell>> {
    let room = &stream.room;
    let mut text = match room.in_force().texts() {
        texts if texts.is_empty() => "Everybody may comment.".to_owned(),
        texts => format!("In force: {}.", texts.join(", ")),
    };
    if room.shield {
        text.push_str(" Shield mode is on.");
    }
    if !room.timeouts_ms.is_empty() {
        text.push_str(&format!(" Timeouts: {}.", timeouts_text(&room.timeouts_ms)));
    }
    let id = stream.stream_id;
    text.push_str(&if room.shield {
        format!(" :room {id} shield off ends it.")
    } else {
        format!(" :room {id} shield on is for a raid.")
    });
    let tone = if room.shield { Tone::Warn } else { Tone::Text };
    wrapped(&[Cell::text(" ")], &text, tone, width, 2)
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map_or(String::new(), |first| format!("{}{}", first.to_uppercase(), chars.as_str()))
}

fn figures_of(canvas: &mut Canvas<'_>, area: Rect, stream: &StreamStatus, console: &Console) {
    let series = console.feed().series();
    let spark = series.stream(stream.stream_id, console.now_ms(), 20);
    let area = canvas.open(area, &[Cell::new("figures", Tone::Title)], &[]);
    let mut cells = vec![Cell::text(" ")];
    cells.extend(facts(&[
        ("viewers", figures::count(stream.viewers)),
        ("in", figures::per_second(Some(stream.comments_per_second))),
    ]));
    cells.push(Cell::new(figures::spark(&spark), Tone::Chart));
    cells.push(Cell::text("  "));
    cells.extend(facts(&[
        ("share", show_share(stream.shown())),
        ("received", figures::count(stream.received)),
        ("left out", figures::count(stream.sampled_out + stream.egress_sampled_out)),
        ("deleted", figures::count(stream.deleted)),
    ]));
    let mut reactions: Vec<_> = stream.reactions.iter().collect();
    reactions.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    for (name, count) in reactions {
        cells.push(Cell::faint(format!("{name} ")));
        cells.push(Cell::text(format!("{}  ", figures::count(*count))));
    }
    canvas.line(row(area, 0), &cells);
}

/// Draws the live comments and who says them; one of both on a small screen.
fn talk(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let comments = console.comments();
    let talkers = console.talkers();
    let both = area.width >= 100;
    let (left, right) = if both { split_left(area, 40) } else { (area, area) };
    if both || console.panel() == Panel::Talkers {
        let title = if console.side.counted().is_some() { "who says how much" } else { "who" };
        table::draw(canvas, left, title, Panel::Talkers, &talkers, console);
    }
    if both || console.panel() != Panel::Talkers {
        let (upper, lower) = split_top(right, right.height.saturating_sub(1));
        let missed = console.side.tail.as_ref().map_or(0, |tail| tail.missed);
        let below = if missed > 0 && lower.height > 0 { upper } else { right };
        table::draw(canvas, below, "comments as they come", Panel::Comments, &comments, console);
        if missed > 0 {
            let text =
                format!("  {} came too fast to be listed", figures::counted(missed, "comment"));
            canvas.text(lower, &text, Tone::Faint);
        }
    }
}
