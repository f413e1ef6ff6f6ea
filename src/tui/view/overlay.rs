//! The overlays of a view: forms, questions, the help, the columns, the command line.

use ratatui::layout::Rect;

use super::canvas::{Canvas, row};
use super::table::{lines, wrapped};
use crate::tui::act::{ActEffect, Confirmation, Consent, Form};
use crate::tui::commands::COMMANDS;
use crate::tui::input::completions;
use crate::tui::state::{Console, Mode, Palette};
use crate::tui::text;
use crate::tui::tone::{Cell, Tone};

const LABEL_WIDTH: usize = 8;
/// Lines of the effect of an act. Longer ones name many users that are not found.
const EFFECT_LINES: usize = 8;
/// Lines of each other sentence about an act.
const NOTE_LINES: usize = 6;

pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, console: &Console) {
    match &console.mode {
        Mode::Watching | Mode::Filtering | Mode::Enlarged(_) => {}
        Mode::Palette(line) => palette(canvas, area, console, line),
        Mode::Form(form) => fill_in(canvas, area, form),
        Mode::Confirm(question) => confirm(canvas, area, question),
        Mode::Help { search, first } => help(canvas, area, console, search, *first),
        Mode::Reading(first) => in_full(canvas, area, console, *first),
        Mode::Columns(at) => columns(canvas, area, console, *at),
    }
}

fn fill_in(canvas: &mut Canvas<'_>, area: Rect, form: &Form) {
    let rows = form.fields.len() as u16;
    let inside = canvas.overlay(area, (68, rows + 4), &form.title());
    let width = usize::from(inside.width);
    for (at, field) in form.fields.iter().enumerate() {
        let current = form.current == at;
        let label = Cell::new(
            format!("{:>LABEL_WIDTH$} ", field.label),
            if current { Tone::Key } else { Tone::Faint },
        );
        // Typing happens at the end of a long value, so its start is cut off.
        let room = width.saturating_sub(LABEL_WIDTH + 3);
        let mut cells = vec![label, Cell::text(text::cut_start(&field.value, room))];
        if current {
            cells.push(Cell::new("▏", Tone::Key));
        }
        if field.value.is_empty() {
            cells.push(Cell::faint(field.hint.clone()));
        }
        canvas.line(row(inside, at as u16), &cells);
    }
    if let Some(error) = &form.error {
        let below = Rect {
            y: inside.y + rows.min(inside.height),
            height: inside.height.saturating_sub(rows),
            ..inside
        };
        let told = wrapped(&[Cell::new(" ✗ ", Tone::Bad)], error, Tone::Bad, inside.width, 2);
        lines(canvas, below, &told);
    }
}

fn confirm(canvas: &mut Canvas<'_>, area: Rect, question: &Confirmation) {
    let width = 76.min(area.width);
    let room = width.saturating_sub(4);
    let mut shown = match &question.effect {
        ActEffect::Plain => Vec::new(),
        ActEffect::Computing(_) => vec![vec![Cell::faint(" computing…")]],
        ActEffect::Shown(effect) => {
            wrapped(&[Cell::text(" ")], effect, Tone::Text, room, EFFECT_LINES)
        }
        ActEffect::Unknown(why) => {
            let told = format!("its effect is not known: {why}");
            wrapped(&[Cell::new(" ✗ ", Tone::Bad)], &told, Tone::Bad, room, EFFECT_LINES)
        }
    };
    for line in &question.notes {
        shown.extend(wrapped(&[Cell::text(" ")], line, Tone::Text, room, NOTE_LINES));
    }
    shown.push(Vec::new());
    let escape = [Cell::new("Esc", Tone::Key), Cell::text(" does nothing")];
    match &question.consent {
        Consent::None | Consent::Enter => {
            let mut line = match &question.effect {
                ActEffect::Computing(_) => vec![Cell::text(" ")],
                ActEffect::Plain | ActEffect::Shown(_) => {
                    vec![Cell::new(" Enter", Tone::Key), Cell::text(" does it, ")]
                }
                ActEffect::Unknown(_) => {
                    vec![Cell::new(" Enter", Tone::Key), Cell::text(" does it all the same, ")]
                }
            };
            line.extend(escape);
            shown.push(line);
        }
        Consent::Typed(wanted) => {
            shown.push(vec![
                Cell::text(" This is large. Type "),
                Cell::new(wanted.clone(), Tone::Strong),
                Cell::text(" and Enter: "),
                Cell::text(text::cut_start(&question.typed, 20)),
                Cell::new("▏", Tone::Key),
            ]);
        }
    }
    let height = (shown.len() as u16 + 2).min(area.height);
    let inside = canvas.overlay(area, (width, height), &question.title);
    // The question itself is never what is cut.
    let (last, effect) = match shown.split_last() {
        Some((last, effect)) => (last.clone(), effect.to_vec()),
        None => return,
    };
    let upper = Rect { height: inside.height.saturating_sub(1), ..inside };
    lines(canvas, upper, &effect);
    if inside.height > 0 {
        canvas.line(row(inside, inside.height - 1), &last);
    }
}

/// Draws the notice and the selected row with all their texts, which their rows may cut.
fn in_full(canvas: &mut Canvas<'_>, area: Rect, console: &Console, first: usize) {
    let width = 100.min(area.width);
    let room = width.saturating_sub(3);
    let mut shown = Vec::new();
    if let Some(notice) = &console.notice {
        for line in notice.text().lines() {
            shown.extend(wrapped(&[Cell::text(" ")], line, Tone::Strong, room, usize::MAX));
        }
        shown.push(Vec::new());
    }
    for (name, text) in console.selected_in_full() {
        let label = vec![Cell::faint(format!(" {name:<12} "))];
        shown.extend(wrapped(&label, &text, Tone::Text, room, usize::MAX));
    }
    if shown.is_empty() {
        shown.push(vec![Cell::faint(" no row is selected")]);
    }
    let height = shown.len().saturating_add(2).min(area.height.into()) as u16;
    let inside = canvas.overlay(area, (width, height), "in full");
    scrolled(canvas, inside, &shown, first);
}

/// Draws lines from one on, as far as there are more than fit.
fn scrolled(canvas: &mut Canvas<'_>, area: Rect, shown: &[Vec<Cell>], first: usize) {
    let last = shown.len().saturating_sub(area.height.into());
    lines(canvas, area, &shown[first.min(last)..]);
}

/// Draws the keys, those that match the search, from one on.
fn help(canvas: &mut Canvas<'_>, area: Rect, console: &Console, search: &str, first: usize) {
    let wanted = search.to_lowercase();
    let found: Vec<_> = COMMANDS
        .iter()
        .filter(|entry| {
            wanted.is_empty()
                || entry.name.contains(&wanted)
                || entry.help.to_lowercase().contains(&wanted)
        })
        .map(|entry| {
            vec![
                Cell::new(format!(" {:<10}", console.keymap.shown(entry.command)), Tone::Key),
                Cell::text(format!("{:<14} ", entry.name)),
                Cell::faint(entry.help),
            ]
        })
        .collect();
    let title = if search.is_empty() {
        "keys · type to search".to_owned()
    } else {
        format!("keys · {search}▏")
    };
    let columns = area.width.min(92);
    let height = (found.len() as u16 + 2).min(area.height);
    let inside = canvas.overlay(area, (columns, height.max(3)), &title);
    if found.is_empty() {
        canvas.text(inside, " nothing is called so", Tone::Faint);
    }
    scrolled(canvas, inside, &found, first);
}

/// Draws the columns of the focused table with what they mean.
fn columns(canvas: &mut Canvas<'_>, area: Rect, console: &Console, at: usize) {
    let panel = console.panel();
    let columns = panel.columns();
    let hidden = &console.table(panel).hidden;
    let height = (columns.len() as u16 + 2).min(area.height);
    let inside = canvas.overlay(area, (86.min(area.width), height), "columns");
    let first = (at + 1).saturating_sub(inside.height.into());
    for (offset, column) in columns.iter().skip(first).take(inside.height.into()).enumerate() {
        let chosen = first + offset == at;
        let mark = if hidden.contains(column.name) { "   " } else { " ✓ " };
        let name = if column.name.is_empty() { "mark" } else { column.name };
        let line = row(inside, offset as u16);
        canvas.line(
            line,
            &[
                Cell::new(mark, Tone::Good),
                Cell::text(format!("{name:<14} ")),
                Cell::faint(column.meaning),
            ],
        );
        if chosen {
            let style = canvas.theme.selected();
            canvas.style(line, style);
        }
    }
}

/// Draws the command line above the last row, with what it may become.
fn palette(canvas: &mut Canvas<'_>, area: Rect, console: &Console, line: &Palette) {
    let choices = completions(console, &line.typed);
    let rows = (choices.len() as u16 + 1 + u16::from(line.error.is_some())).min(area.height);
    let place = Rect { y: area.bottom() - rows, height: rows, ..area };
    canvas.clear(place);
    canvas.hits.cover(place);
    canvas.line(
        place,
        &[
            Cell::new(":", Tone::Key),
            Cell::text(text::cut_start(&line.text, usize::from(place.width).saturating_sub(2))),
            Cell::new("▏", Tone::Key),
        ],
    );
    let mut at = 1;
    if let Some(error) = &line.error {
        canvas.text(row(place, at), &format!(" ✗ {error}"), Tone::Bad);
        at += 1;
    }
    for (index, (text, about)) in choices.iter().enumerate() {
        let chosen = line.chosen == Some(index);
        let shown = row(place, at + index as u16);
        canvas.line(shown, &[Cell::text(format!(" {text:<24} ")), Cell::faint(about.clone())]);
        if chosen {
            let style = canvas.theme.selected();
            canvas.style(shown, style);
        }
    }
}
