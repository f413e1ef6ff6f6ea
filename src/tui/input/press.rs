//! Handles key presses.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::acting::{request, take_back};
use super::palette;
use super::run::run_command;
use super::typing::edit_of_key;
use crate::tui::commands::Command;
use crate::tui::feed::Metric;
use crate::tui::state::{Console, Effect, Mode, Notice};

/// Lines that a page key scrolls.
const PAGE: usize = 10;
/// No text is scrolled further.
const MOST_LINES: usize = 500;

/// Applies a key to the state and returns its effect outside the state, if any.
pub(crate) fn press(console: &mut Console, key: KeyEvent) -> Option<Effect> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    console.lock.note_key(console.clock_ms);
    let command = console.keymap.command(key);
    // These work everywhere, also while text is typed.
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match command {
        Some(Command::Quit) if control => return Some(Effect::Quit),
        Some(Command::Suspend) if control => return Some(Effect::Suspend),
        Some(Command::Redraw) if control => return Some(Effect::Redraw),
        _ => {}
    }
    match &mut console.mode {
        Mode::Watching => run_command(console, command?),
        Mode::Filtering => press_in_filter(console, key),
        Mode::Palette(_) => palette::press(console, key),
        Mode::Form(_) => press_in_form(console, key),
        Mode::Confirm(_) => press_in_confirmation(console, key),
        Mode::Help { .. } => press_in_help(console, key),
        Mode::Reading(_) => press_in_reading(console, key.code),
        Mode::Columns(_) => press_in_columns(console, key.code),
        Mode::Enlarged(metric) => {
            let metric = *metric;
            press_in_chart(console, command, metric)
        }
    }
}

fn press_in_filter(console: &mut Console, key: KeyEvent) -> Option<Effect> {
    let panel = console.panel();
    match key.code {
        KeyCode::Enter | KeyCode::Down => {
            // The line stays open while it shows what is wrong.
            if console.table_mut(panel).filter.enter() {
                console.mode = Mode::Watching;
            }
        }
        KeyCode::Esc => {
            console.table_mut(panel).filter.replace(String::new(), panel.filtered());
            console.mode = Mode::Watching;
        }
        _ => {
            if let Some(edit) = edit_of_key(key) {
                let filter = &mut console.table_mut(panel).filter;
                let mut text = filter.text.clone();
                edit.apply(&mut text);
                filter.set(text, panel.filtered());
            }
        }
    }
    None
}

fn press_in_form(console: &mut Console, key: KeyEvent) -> Option<Effect> {
    let Mode::Form(form) = &mut console.mode else { return None };
    match key.code {
        KeyCode::Esc => console.mode = Mode::Watching,
        KeyCode::Enter if form.is_last() => {
            let actions = form.submit()?;
            console.mode = Mode::Watching;
            return request(console, actions);
        }
        KeyCode::Enter | KeyCode::Tab | KeyCode::Down => form.next(),
        KeyCode::BackTab | KeyCode::Up => form.previous(),
        _ => {
            if let Some(edit) = edit_of_key(key) {
                form.edit(edit);
            }
        }
    }
    None
}

fn press_in_confirmation(console: &mut Console, key: KeyEvent) -> Option<Effect> {
    let Mode::Confirm(question) = &mut console.mode else { return None };
    match key.code {
        KeyCode::Esc => {
            console.mode = Mode::Watching;
            console.notice = Some(Notice::Done("nothing was done".to_owned()));
        }
        KeyCode::Enter => match question.missing() {
            None => {
                let actions = std::mem::take(&mut question.actions);
                let takes_back = question.takes_back.take();
                console.mode = Mode::Watching;
                // A question may be left open for longer than acts stay unlocked.
                if let Some(why) = console.acts_off() {
                    console.notice = Some(Notice::Failed(format!("nothing was done: {why}")));
                    return None;
                }
                return Some(match takes_back {
                    Some(entry) => take_back(console, entry),
                    None => Effect::Run(actions),
                });
            }
            Some(missing) => {
                console.notice = Some(Notice::Failed(format!("nothing was done: {missing}")));
            }
        },
        _ => {
            if let Some(edit) = edit_of_key(key) {
                edit.apply(&mut question.typed);
            }
        }
    }
    None
}

fn press_in_help(console: &mut Console, key: KeyEvent) -> Option<Effect> {
    let Mode::Help { search, first } = &mut console.mode else { return None };
    match (key.code, edit_of_key(key)) {
        (KeyCode::Esc | KeyCode::Enter, _) => console.mode = Mode::Watching,
        (KeyCode::Char('?' | 'q'), _) if search.is_empty() => console.mode = Mode::Watching,
        (_, Some(edit)) => {
            edit.apply(search);
            *first = 0;
        }
        (code, None) => *first = scrolled(*first, code).unwrap_or(*first),
    }
    None
}

/// Scrolls the text; any other key closes it.
fn press_in_reading(console: &mut Console, code: KeyCode) -> Option<Effect> {
    let Mode::Reading(first) = &mut console.mode else { return None };
    let code = match code {
        KeyCode::Char('j') => KeyCode::Down,
        KeyCode::Char('k') => KeyCode::Up,
        other => other,
    };
    match scrolled(*first, code) {
        Some(to) => *first = to,
        None => console.mode = Mode::Watching,
    }
    None
}

/// Returns the first line to show after a key; `None` if the key does not scroll.
fn scrolled(first: usize, code: KeyCode) -> Option<usize> {
    let to = match code {
        KeyCode::Down => first + 1,
        KeyCode::Up => first.saturating_sub(1),
        KeyCode::PageDown => first + PAGE,
        KeyCode::PageUp => first.saturating_sub(PAGE),
        KeyCode::Home => 0,
        _ => return None,
    };
    Some(to.min(MOST_LINES))
}

fn press_in_columns(console: &mut Console, code: KeyCode) -> Option<Effect> {
    let panel = console.panel();
    let columns = panel.columns();
    let Mode::Columns(at) = &mut console.mode else { return None };
    match code {
        KeyCode::Down | KeyCode::Char('j') => *at = (*at + 1).min(columns.len() - 1),
        KeyCode::Up | KeyCode::Char('k') => *at = at.saturating_sub(1),
        KeyCode::Char(' ') | KeyCode::Enter => {
            let name = columns[*at].name;
            let hidden = &mut console.table_mut(panel).hidden;
            if !hidden.remove(name) && hidden.len() + 1 < columns.len() {
                hidden.insert(name);
            }
        }
        _ => console.mode = Mode::Watching,
    }
    None
}

/// The same keys go to other figures and back in time.
fn press_in_chart(
    console: &mut Console,
    command: Option<Command>,
    metric: Metric,
) -> Option<Effect> {
    let step = |by: usize| {
        let at = Metric::ALL.iter().position(|known| *known == metric).unwrap_or(0);
        Metric::ALL[(at + by) % Metric::ALL.len()]
    };
    match command? {
        Command::Down | Command::NextPanel => console.mode = Mode::Enlarged(step(1)),
        Command::Up | Command::PreviousPanel => {
            console.mode = Mode::Enlarged(step(Metric::ALL.len() - 1));
        }
        command @ (Command::Window
        | Command::Earlier
        | Command::Later
        | Command::MuchEarlier
        | Command::MuchLater
        | Command::Live
        | Command::Pause
        | Command::Theme
        | Command::Save) => return run_command(console, command),
        _ => console.mode = Mode::Watching,
    }
    None
}
