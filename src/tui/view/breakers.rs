//! The circuit breakers, those that are not closed first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::super::theme::Theme;
use super::panel;
use crate::protocol::admin::{BreakerState, BreakerStatus};
use crate::protocol::quantity::show_duration;

pub(super) fn draw(area: Rect, buffer: &mut Buffer, breakers: &[BreakerStatus], theme: &Theme) {
    let area = panel::open(area, buffer, "dependencies", theme);
    let mut sorted: Vec<_> = breakers.iter().collect();
    sorted.sort_by_key(|breaker| match breaker.state {
        BreakerState::Open => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Closed => 2,
    });
    let mut lines: Vec<_> = sorted.into_iter().map(|breaker| line(breaker, theme)).collect();
    if lines.is_empty() {
        lines.push(Line::styled("all embedded, none to lose", theme.faint));
    }
    panel::lines(area, buffer, &lines, theme);
}

fn line(breaker: &BreakerStatus, theme: &Theme) -> Line<'static> {
    let (word, style) = match breaker.state {
        BreakerState::Closed => ("closed", theme.good),
        BreakerState::HalfOpen => ("HALF OPEN", theme.warn),
        BreakerState::Open => ("OPEN", theme.bad),
    };
    let mut spans = vec![
        Span::styled("● ", style),
        Span::styled(format!("{} ", breaker.dependency), theme.text),
        Span::styled(word, style),
        Span::styled(format!(" {}", show_duration(breaker.since_ms)), theme.faint),
    ];
    if let (Some(error), false) = (&breaker.last_error, breaker.state == BreakerState::Closed) {
        spans.push(Span::styled(format!(": {error}"), theme.text));
    }
    Line::from(spans)
}
