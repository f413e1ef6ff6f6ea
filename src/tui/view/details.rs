//! The details overlay: everything known about the selected stream.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Widget as _};

use super::layout::clear_centered;
use super::panel;
use super::streams::throttle_state;
use crate::protocol::admin::StreamStatus;
use crate::protocol::quantity::{show_rate, show_share};
use crate::protocol::stream::ModerationMode;
use crate::tui::state::Console;
use crate::tui::theme::Theme;

pub(super) fn draw(area: Rect, buffer: &mut Buffer, console: &Console, theme: &Theme) {
    let selection = console.selection().map(|(_, stream)| stream);
    let area = clear_centered(
        area,
        56,
        16 + selection.map_or(0, |s| s.reactions.len().min(8) as u16),
        buffer,
    );
    let title = selection
        .map_or(" no stream ".to_owned(), |stream| format!(" stream {} ", stream.stream_id));
    let block = Block::bordered().border_style(theme.title).title(Line::styled(title, theme.title));
    let inner = block.inner(area);
    block.render(area, buffer);
    let Some(stream) = selection else { return };
    let lines: Vec<_> = rows(console, stream, theme)
        .into_iter()
        .map(|(name, value)| {
            Line::from(vec![
                Span::styled(format!(" {name:<13} "), theme.faint),
                Span::styled(value, theme.text),
            ])
        })
        .collect();
    panel::lines(inner, buffer, &lines, theme);
}

fn rows(console: &Console, stream: &StreamStatus, theme: &Theme) -> Vec<(String, String)> {
    let moderation = match stream.moderation {
        ModerationMode::Async => "after publishing (async)",
        ModerationMode::Sync => "before publishing (sync)",
        ModerationMode::Off => "off",
    };
    let sampled_out = console.shown().sampled_out(stream.stream_id);
    let audience = if stream.anonymous { "everyone" } else { "token holders only" };
    let mut rows = vec![
        ("title", stream.title.clone()),
        ("state", stream.state.as_str().to_owned()),
        ("watched by", audience.to_owned()),
        ("moderation", moderation.to_owned()),
        ("viewers", stream.viewers.to_string()),
        ("in", format!("{}/s", show_rate(stream.comments_per_second))),
        ("shown", show_share(stream.shown())),
        ("throttle", throttle_state(stream, theme).0),
        ("egress", egress(stream)),
        ("received", stream.received.to_string()),
        ("broadcast", stream.broadcast.to_string()),
        (
            "sampled out",
            format!("{} ({}/s)", stream.sampled_out, sampled_out.map_or("–".to_owned(), show_rate)),
        ),
        ("by egress", stream.egress_sampled_out.to_string()),
        ("deleted", stream.deleted.to_string()),
    ];
    let mut reactions: Vec<_> = stream.reactions.iter().collect();
    reactions.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut rows: Vec<_> = rows.drain(..).map(|(name, value)| (name.to_owned(), value)).collect();
    rows.extend(reactions.into_iter().map(|(name, count)| (name.clone(), count.to_string())));
    rows
}

/// Describes the effect of egress limits on the stream.
fn egress(stream: &StreamStatus) -> String {
    if stream.egress_share.is_all() {
        return "no limit".to_owned();
    }
    format!("{} of {}", show_share(stream.egress_share), show_share(stream.sample_rate))
}
