//! The last two lines: what came of an action, and what the keys do now.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::client::wording::missing_nodes;
use crate::protocol::admin::NodeStatus;
use crate::protocol::quantity::show_duration;
use crate::tui::state::{Console, Link, Mode, Notice};
use crate::tui::theme::Theme;

/// A lost connection first, because then nothing else on the screen is true.
pub(super) fn notice(area: Rect, buffer: &mut Buffer, console: &Console, theme: &Theme) {
    if area.is_empty() {
        return;
    }
    let line = match (&console.mode, &console.link, &console.notice) {
        (Mode::Filtering, ..) => Line::from(vec![
            Span::styled("filter: ", theme.key),
            Span::styled(format!("{}▏", console.filter), theme.text),
        ]),
        (_, Link::Lost { why, retry_in }, _) => {
            let wait = show_duration(u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX));
            Line::styled(format!(" RECONNECTING in {wait}: {why} "), theme.alarm)
        }
        (_, _, Some(Notice::Running(text))) => Line::styled(format!("… {text}"), theme.faint),
        (_, _, Some(Notice::Done(text))) => Line::styled(format!("✓ {text}"), theme.good),
        (_, _, Some(Notice::Failed(text))) => Line::styled(format!("✗ {text}"), theme.bad),
        _ => alerts(console, theme),
    };
    buffer.set_line(area.x, area.y, &line, area.width);
    if matches!(console.link, Link::Lost { .. }) && console.mode != Mode::Filtering {
        buffer.set_style(area, theme.alarm);
    }
}

/// Nodes that are silent, and nodes at their egress limit.
fn alerts(console: &Console, theme: &Theme) -> Line<'static> {
    let Some(snapshot) = console.shown().latest() else { return Line::default() };
    let missing = missing_nodes(&snapshot.unreachable);
    let limited = snapshot.nodes.iter().filter_map(NodeStatus::egress_warning);
    let alerts: Vec<_> = missing.into_iter().chain(limited).collect();
    Line::styled(alerts.join("; "), theme.warn)
}

/// The keys, most needed first: a narrow screen cuts the end.
pub(super) fn keys(area: Rect, buffer: &mut Buffer, console: &Console, theme: &Theme) {
    if area.is_empty() {
        return;
    }
    let keys: &[(&str, &str)] = match &console.mode {
        Mode::Watching => &[
            ("q", "quit"),
            ("?", "help"),
            ("/", "filter"),
            ("s", "sort"),
            ("t", "throttle"),
            ("b", "ban"),
            ("m", "timeout"),
            ("x", "kick"),
            ("u", "unban"),
            ("d", "details"),
            ("space", if console.is_paused() { "go on" } else { "pause" }),
        ],
        Mode::Filtering => &[("Enter", "keep"), ("Esc", "clear"), ("Ctrl-U", "empty")],
        Mode::Form(_) => &[("Enter", "next, then do it"), ("Tab", "next"), ("Esc", "cancel")],
        Mode::Details => &[("j k", "other streams"), ("Esc", "close")],
        Mode::Help => &[("any key", "close")],
    };
    let spans = keys.iter().flat_map(|(key, what)| {
        [Span::styled(*key, theme.key), Span::styled(format!(" {what}  "), theme.faint)]
    });
    buffer.set_line(area.x, area.y, &Line::from(spans.collect::<Vec<_>>()), area.width);
}
