//! The dependencies panel: circuit breakers, those that are not closed first.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::panel;
use crate::protocol::admin::{BreakerState, BreakerStatus};
use crate::protocol::quantity::show_duration;
use crate::tui::theme::Theme;

pub(super) fn draw(area: Rect, buffer: &mut Buffer, breakers: &[BreakerStatus], theme: &Theme) {
    let area = panel::open(area, buffer, "dependencies", theme);
    let mut sorted: Vec<_> = breakers.iter().collect();
    sorted.sort_by_key(|breaker| match breaker.state {
        BreakerState::Open => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Closed => 2,
    });
    let mut lines: Vec<_> = sorted.iter().map(|breaker| line(breaker, theme)).collect();
    let mut spare = usize::from(area.height).saturating_sub(lines.len());
    for at in (0..lines.len()).rev() {
        if lines[at].width() > area.width.into() && spare > 0 {
            spare -= 1;
            let error = lines[at].spans.split_off(4);
            lines.insert(at + 1, Line::from([vec![Span::raw(" ")], error].concat()));
        }
    }
    if lines.is_empty() {
        lines.push(Line::styled("no circuit breakers", theme.faint));
    }
    panel::lines(area, buffer, &lines, theme);
}

/// Returns four spans, and a fifth with the error if there is one.
fn line(breaker: &BreakerStatus, theme: &Theme) -> Line<'static> {
    let (state, style) = match breaker.state {
        BreakerState::Closed => ("works", theme.good),
        BreakerState::HalfOpen => ("BEING TRIED AGAIN", theme.warn),
        BreakerState::Open => ("FAILS", theme.bad),
    };
    let mut spans = vec![
        Span::styled("● ", style),
        Span::styled(format!("{} ", breaker.dependency), theme.text),
        Span::styled(state, style),
        Span::styled(format!(" {}", show_duration(breaker.since_ms)), theme.faint),
    ];
    if let (Some(error), false) = (&breaker.last_error, breaker.state == BreakerState::Closed) {
        spans.push(Span::styled(format!(" {error}"), theme.text));
    }
    Line::from(spans)
}
