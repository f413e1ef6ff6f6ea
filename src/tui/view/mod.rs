//! Draws the screen. Each view has a file of its own.
//!
//! In: a [`Console`], an area of any size. Out: cells, and what can be clicked. Always holds: the
//! screen depends only on these; nothing is drawn outside the area; what does not fit says how much
//! more there is; the work is bounded by the size of the screen and of one snapshot.

mod canvas;
mod chart;
mod cluster;
mod engines;
mod frame;
mod header;
mod moderation;
mod overlay;
mod overview;
mod pipeline;
mod streams;
mod table;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::hits::Hits;
use super::state::{Console, Mode, Panel, Place, RAIL_FROM, View};
use super::text;
use super::theme::Theme;
use canvas::{Canvas, split_left, split_top};
use frame::Parts;

/// Below this size only the alarms and four rates are shown.
const BRIEF: (u16, u16) = (60, 15);
const RAIL_WIDTH: u16 = 56;

/// Draws the whole screen, and returns what can be clicked on it.
pub(super) fn draw(area: Rect, buffer: &mut Buffer, console: &Console, ascii: bool) -> Hits {
    let mut canvas = Canvas::new(area, buffer, Theme::new(console.theme));
    let parts = Parts::of(area);
    header::draw(&mut canvas, parts.header, console);
    frame::tabs(&mut canvas, parts.tabs, console);
    let mut body = parts.body;
    let is_large = area.width >= RAIL_FROM.0 && area.height >= RAIL_FROM.1;
    // The overview has the same in its own places.
    if is_large && console.view() != View::Overview {
        let (left, right) = split_left(body, area.width - RAIL_WIDTH - 1);
        rail(&mut canvas, right, console);
        body = left;
    }
    match &console.mode {
        Mode::Enlarged(metric) => chart::enlarged(&mut canvas, body, console, *metric),
        _ if console.moment().is_some() => view(&mut canvas, body, console, area),
        _ => {}
    }
    if console.is_out_of_date() {
        let style = canvas.theme.stale();
        canvas.style(parts.body, style);
    }
    frame::notice(&mut canvas, parts.notice, console);
    frame::keys(&mut canvas, parts.keys, console);
    overlay::draw(&mut canvas, parts.body, console);
    if ascii {
        canvas.make_ascii();
    }
    canvas.hits
}

fn view(canvas: &mut Canvas<'_>, body: Rect, console: &Console, screen: Rect) {
    match console.place() {
        Place::View(View::Overview) if screen.width < BRIEF.0 || screen.height < BRIEF.1 => {
            overview::brief(canvas, body, console);
        }
        Place::View(View::Overview) => overview::draw(canvas, body, console),
        Place::View(View::Streams) => streams::list(canvas, body, console),
        Place::Stream(stream_id) => streams::opened(canvas, body, console, *stream_id),
        Place::View(View::Cluster) => cluster::list(canvas, body, console),
        Place::Node(node) => cluster::opened(canvas, body, console, node),
        Place::View(View::Engines) => engines::draw(canvas, body, console),
        Place::View(View::Moderation) => moderation::draw(canvas, body, console),
        Place::View(View::Events) => {
            let listing = console.events();
            table::draw(canvas, body, "events", Panel::Events, &listing, console);
        }
    }
}

/// Draws what is wrong, what waits for review and what happened, beside a view.
fn rail(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    let (alarms, rest) = split_top(area, area.height * 2 / 5);
    overview::alarms(canvas, alarms, console);
    // The moderation view has the queue itself.
    let rows = if console.view() == View::Moderation { 0 } else { area.height / 5 };
    let (queue, happened) = split_top(rest, rows);
    moderation::queue_head(canvas, queue, console);
    overview::just_now(canvas, happened, console);
}

/// Returns the screen as text, without trailing spaces.
pub(super) fn text(buffer: &Buffer) -> String {
    let area = buffer.area();
    let mut shown = String::new();
    for y in area.top()..area.bottom() {
        let mut line = String::new();
        let mut x = area.left();
        while x < area.right() {
            let symbol = buffer[(x, y)].symbol();
            line.push_str(symbol);
            // A wide character also covers the cells after it.
            x += text::width(symbol).max(1) as u16;
        }
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    shown
}

#[cfg(test)]
mod tests;
