//! Draws the screen. Each panel has a file of its own.
//!
//! In: a [`Console`], a [`Theme`], an area of any size. Out: cells. Always holds: the screen
//! depends only on these; nothing is drawn outside the area; panels that do not fit are left out,
//! from the bottom up.

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
use crate::protocol::printable::printable;
use layout::ScreenLayout;

/// Draws the whole screen.
pub(super) fn draw(area: Rect, buffer: &mut Buffer, console: &Console, theme: &Theme) {
    let layout = ScreenLayout::of(area);
    header::draw(layout.header, buffer, console, theme);
    rates::draw(layout.rates, buffer, console.shown(), theme);
    streams::draw(layout.streams, buffer, console, theme);
    footer::notice(layout.notice, buffer, console, theme);
    footer::keys(layout.keys, buffer, console, theme);
    if let Some(snapshot) = console.shown().latest() {
        connections::draw(layout.connections, buffer, console.shown(), snapshot, theme);
        breakers::draw(layout.breakers, buffer, &snapshot.breakers, theme);
        workers::draw(layout.workers, buffer, console.shown(), snapshot, theme);
        lag::draw(layout.lag, buffer, console.shown().groups(), theme);
        moderation::draw(layout.moderation, buffer, snapshot, theme);
        nodes::draw(layout.nodes, buffer, snapshot, theme);
    }
    match &console.mode {
        Mode::Form(filled) => form::draw(area, buffer, filled, theme),
        Mode::Help => help::draw(area, buffer, theme),
        Mode::Details => details::draw(area, buffer, console, theme),
        Mode::Watching | Mode::Filtering => {}
    }
    make_printable(buffer);
}

/// Replaces what could control the terminal in every cell, whichever panel drew it.
fn make_printable(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        let shown = printable(cell.symbol());
        if shown != cell.symbol() {
            cell.set_symbol(&shown);
        }
    }
}

/// Returns the screen as text, without trailing spaces.
pub(super) fn text(buffer: &Buffer) -> String {
    let area = buffer.area();
    let mut text = String::new();
    for y in area.top()..area.bottom() {
        let mut line = String::new();
        let mut x = area.left();
        while x < area.right() {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // A wide character also covers the cells after it.
            x += Line::raw(symbol).width().max(1) as u16;
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests;
