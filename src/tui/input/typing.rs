//! Keys that edit a line.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::tui::act::Edit;

pub(super) fn edit_of_key(key: KeyEvent) -> Option<Edit> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Backspace => Some(Edit::Backspace),
        KeyCode::Char('h') if control => Some(Edit::Backspace),
        KeyCode::Char('w') if control => Some(Edit::DeleteWord),
        KeyCode::Char('u') if control => Some(Edit::Clear),
        KeyCode::Char(c) if !control => Some(Edit::Push(c)),
        _ => None,
    }
}
