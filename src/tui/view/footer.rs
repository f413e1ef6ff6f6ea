//! The last two lines: the notice line and the keys of the current mode.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use crate::client::outcome_text::missing_nodes;
use crate::protocol::admin::NodeStatus;
use crate::protocol::quantity::show_duration;
use crate::tui::state::{Connection, Console, Mode, Notice};
use crate::tui::theme::Theme;

/// Draws the notice line. A lost connection takes precedence, because then the rest of the screen
/// is out of date.
pub(super) fn notice(area: Rect, buffer: &mut Buffer, console: &Console, theme: &Theme) {
    if area.is_empty() {
        return;
    }
    let line = match (&console.mode, &console.connection, &console.notice) {
        (Mode::Filtering, ..) => Line::from(vec![
            Span::styled("filter: ", theme.key),
            Span::styled(format!("{}▏", console.filter), theme.text),
        ]),
        (_, Connection::Lost { why, retry_in }, _) => {
            let wait = show_duration(u64::try_from(retry_in.as_millis()).unwrap_or(u64::MAX));
            Line::styled(format!(" RECONNECTING in {wait}: {why} "), theme.alarm)
        }
        (_, _, Some(Notice::Running(text))) => Line::styled(format!("… {text}"), theme.faint),
        (_, _, Some(Notice::Done(text))) => Line::styled(format!("✓ {text}"), theme.good),
        (_, _, Some(Notice::Failed(text))) => Line::styled(format!("✗ {text}"), theme.bad),
        _ => alerts(console, theme),
    };
    buffer.set_line(area.x, area.y, &line, area.width);
    if matches!(console.connection, Connection::Lost { .. }) && console.mode != Mode::Filtering {
        buffer.set_style(area, theme.alarm);
    }
}

/// Names the problems of all nodes, unreachable nodes, and nodes at their egress limit.
fn alerts(console: &Console, theme: &Theme) -> Line<'static> {
    let Some(snapshot) = console.shown().latest() else { return Line::default() };
    let missing = missing_nodes(&snapshot.unreachable);
    let limited = snapshot.nodes.iter().filter_map(NodeStatus::egress_warning);
    let problems = snapshot.problems.iter().cloned();
    let alerts: Vec<_> = problems.chain(missing).chain(limited).collect();
    Line::styled(alerts.join("; "), theme.warn)
}

/// Draws the keys, most important first, because a narrow screen cuts off the end.
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
            ("space", if console.is_paused() { "resume" } else { "pause" }),
        ],
        Mode::Filtering => &[("Enter", "keep"), ("Esc", "clear"), ("Ctrl-U", "empty")],
        Mode::Form(_) => &[("Enter", "next, then submit"), ("Tab", "next"), ("Esc", "cancel")],
        Mode::Details => &[("j k", "other streams"), ("Esc", "close")],
        Mode::Help => &[("any key", "close")],
    };
    let spans = keys.iter().flat_map(|(key, description)| {
        [Span::styled(*key, theme.key), Span::styled(format!(" {description}  "), theme.faint)]
    });
    buffer.set_line(area.x, area.y, &Line::from(spans.collect::<Vec<_>>()), area.width);
}
