//! The moderation panel: decisions and their reasons, and comments refused before moderation.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::panel;
use crate::protocol::admin::TopSnapshot;
use crate::protocol::quantity::show_count;
use crate::tui::theme::Theme;

/// Number of rows from which each decision has its own row.
const ROOMY: u16 = 8;

pub(super) fn draw(area: Rect, buffer: &mut Buffer, snapshot: &TopSnapshot, theme: &Theme) {
    let area = panel::open(area, buffer, "moderation", theme);
    if area.is_empty() {
        return;
    }
    let counts = &snapshot.moderation;
    let style = |count: u64, style: Style| if count > 0 { style } else { theme.faint };
    let decisions = [
        ("checked", counts.checked, theme.text),
        ("queued", counts.queued, style(counts.queued, theme.warn)),
        ("rejected", counts.rejected, style(counts.rejected, theme.bad)),
        ("flagged", counts.flagged, style(counts.flagged, theme.warn)),
        ("accepted", counts.accepted, theme.text),
        ("shadowed", counts.shadow_banned, style(counts.shadow_banned, theme.warn)),
    ];
    let width = area.width;
    let row = |(name, count, style): (&'static str, u64, Style), width| {
        panel::pair(width, Span::styled(name, theme.faint), Span::styled(show_count(count), style))
    };
    let mut lines: Vec<Line<'_>> = if area.height >= ROOMY {
        decisions.into_iter().map(|decision| row(decision, width)).collect()
    } else {
        let half = width / 2;
        let pairs = decisions[..4].chunks_exact(2);
        pairs
            .map(|pair| beside(row(pair[0], half), row(pair[1], width.saturating_sub(half + 1))))
            .collect()
    };
    let reasons = by_count(&counts.reasons);
    lines.extend(reasons.into_iter().map(|(reason, count)| {
        let name = Span::styled(format!(" {reason}"), theme.text);
        panel::pair(width, name, Span::styled(show_count(count), theme.text))
    }));
    let refused = by_count(&snapshot.counters.refused);
    lines.extend(refused.into_iter().map(|(code, count)| {
        let name = Span::styled(format!("refused {code}"), theme.faint);
        panel::pair(width, name, Span::styled(show_count(count), theme.text))
    }));
    panel::lines(area, buffer, &lines, theme);
}

fn beside<'a>(left: Line<'a>, right: Line<'a>) -> Line<'a> {
    let spans = left.spans.into_iter().chain([Span::raw(" ")]).chain(right.spans);
    Line::from(spans.collect::<Vec<_>>())
}

fn by_count(counts: &std::collections::BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut sorted: Vec<_> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    sorted.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    sorted
}
