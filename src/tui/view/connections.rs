//! The connections panel: viewers of this node, and why connections were refused or closed.

use std::collections::BTreeMap;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::panel;
use crate::protocol::admin::TopSnapshot;
use crate::protocol::quantity::{show_count, show_rate};
use crate::tui::history::SnapshotHistory;
use crate::tui::theme::Theme;

pub(super) fn draw(
    area: Rect,
    buffer: &mut Buffer,
    history: &SnapshotHistory,
    snapshot: &TopSnapshot,
    theme: &Theme,
) {
    let area = panel::open(area, buffer, "connections", theme);
    if area.is_empty() {
        return;
    }
    let mut lines = vec![open_line(snapshot, theme), churn_line(history, theme)];
    // Refusals come first, because they mean that a limit is in effect.
    lines.extend(lines_by_code(
        area.width,
        "refused",
        &snapshot.counters.connections_refused,
        theme.warn,
        theme,
    ));
    lines.extend(lines_by_code(
        area.width,
        "closed",
        &snapshot.counters.connections_closed,
        theme.text,
        theme,
    ));
    // The codes are additional, so those that do not fit are cut off silently.
    lines.truncate(area.height.into());
    panel::lines(area, buffer, &lines, theme);
}

/// Returns one line per code, the most frequent first.
fn lines_by_code(
    width: u16,
    verb: &str,
    by_code: &BTreeMap<String, u64>,
    style: Style,
    theme: &Theme,
) -> Vec<Line<'static>> {
    let mut codes: Vec<_> = by_code.iter().collect();
    codes.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let line = |(code, count): (&String, &u64)| {
        let name = Span::styled(format!("{verb} {code}"), theme.faint);
        panel::pair(width, name, Span::styled(show_count(*count), style))
    };
    codes.into_iter().map(line).collect()
}

fn open_line(snapshot: &TopSnapshot, theme: &Theme) -> Line<'static> {
    let own = snapshot.nodes.iter().find(|node| node.node == snapshot.node);
    let most =
        own.map_or(String::new(), |node| format!(" of {}", show_count(node.max_connections)));
    let nearly_full = own.is_some_and(|node| {
        node.max_connections > 0 && snapshot.connections >= node.max_connections / 10 * 9
    });
    let slow = if snapshot.slow_viewers > 0 { theme.warn } else { theme.faint };
    Line::from(vec![
        Span::styled(
            show_count(snapshot.connections),
            if nearly_full { theme.bad } else { theme.text },
        ),
        Span::styled(format!("{most} open, "), theme.faint),
        Span::styled(format!("{} slow", show_count(snapshot.slow_viewers)), slow),
    ])
}

fn churn_line(history: &SnapshotHistory, theme: &Theme) -> Line<'static> {
    let text = match history.churn() {
        (Some(opened), Some(closed)) => {
            format!("+{}/s new, -{}/s gone", show_rate(opened), show_rate(closed))
        }
        _ => "– new, – gone".to_owned(),
    };
    Line::styled(text, theme.faint)
}
