//! The screen, drawn from the state alone.
//!
//! In: a [`Console`], a [`Theme`], an area of any size. Out: cells. Always holds: nothing is drawn
//! outside the area, and what does not fit is left out, panels from the bottom up.

mod breakers;
mod connections;
mod details;
mod footer;
mod form;
mod grid;
mod header;
mod help;
mod lag;
mod layout;
mod moderation;
mod nodes;
mod panel;
mod rates;
mod streams;
mod workers;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::state::{Console, Mode};
use super::theme::Theme;
use layout::Plan;

/// Draws everything.
pub(super) fn draw(area: Rect, buffer: &mut Buffer, console: &Console, theme: &Theme) {
    let plan = Plan::of(area);
    header::draw(plan.header, buffer, console, theme);
    rates::draw(plan.rates, buffer, console.shown(), theme);
    streams::draw(plan.streams, buffer, console, theme);
    footer::notice(plan.notice, buffer, console, theme);
    footer::keys(plan.keys, buffer, console, theme);
    if let Some(snapshot) = console.shown().latest() {
        connections::draw(plan.connections, buffer, console.shown(), snapshot, theme);
        breakers::draw(plan.breakers, buffer, &snapshot.breakers, theme);
        workers::draw(plan.workers, buffer, console.shown(), snapshot, theme);
        lag::draw(plan.lag, buffer, console.shown().groups(), theme);
        moderation::draw(plan.moderation, buffer, snapshot, theme);
        nodes::draw(plan.nodes, buffer, snapshot, theme);
    }
    match &console.mode {
        Mode::Form(filled) => form::draw(area, buffer, filled, theme),
        Mode::Help => help::draw(area, buffer, theme),
        Mode::Details => details::draw(area, buffer, console, theme),
        Mode::Watching | Mode::Filtering => {}
    }
}

/// The screen as text, without spaces at line ends.
pub(super) fn text(buffer: &Buffer) -> String {
    let area = buffer.area();
    let mut text = String::new();
    for y in area.top()..area.bottom() {
        let (mut line, mut x) = (String::new(), area.left());
        while x < area.right() {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // A wide character covers the cells after it.
            x += Line::raw(symbol).width().max(1) as u16;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
