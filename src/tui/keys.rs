//! Handles key presses.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::form::{Edit, Form, FormKind};
use super::state::{Console, Effect, Mode};

/// The keys and their descriptions, as shown by the help.
pub(super) const HELP: &[(&str, &str)] = &[
    ("j k ↓ ↑", "select a stream; also PgUp, PgDn, Home, End"),
    ("/", "filter streams by title, id or state; Esc clears"),
    ("s", "sort by in/s, viewers, sampled out, id, title"),
    ("d Enter", "details of the selected stream"),
    ("t", "throttle the selected stream: auto, or a share"),
    ("b", "ban a user, for a time or permanently"),
    ("m", "time a user out: may watch but not comment"),
    ("x", "kick a user: disconnect, may reconnect"),
    ("u", "lift a user's ban and timeout"),
    ("space", "pause the screen; data is still collected"),
    ("q", "quit"),
];

/// Number of rows that a page key moves.
const PAGE: isize = 10;

/// Applies a key to the state and returns its effect outside the state, if any.
pub(super) fn press(console: &mut Console, key: KeyEvent) -> Option<Effect> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Char('c') if control => return Some(Effect::Quit),
        KeyCode::Char('z') if control => return Some(Effect::Suspend),
        KeyCode::Char('l') if control => return Some(Effect::Redraw),
        _ => {}
    }
    match &mut console.mode {
        Mode::Watching => press_while_watching(console, key.code),
        Mode::Filtering => press_in_filter(console, key),
        Mode::Form(_) => press_in_form(console, key),
        Mode::Details | Mode::Help => press_in_overlay(console, key.code),
    }
}

fn press_while_watching(console: &mut Console, code: KeyCode) -> Option<Effect> {
    match code {
        KeyCode::Char('q') => return Some(Effect::Quit),
        KeyCode::Char('?' | 'h') | KeyCode::F(1) => console.mode = Mode::Help,
        KeyCode::Char('j') | KeyCode::Down => console.select(1),
        KeyCode::Char('k') | KeyCode::Up => console.select(-1),
        KeyCode::PageDown => console.select(PAGE),
        KeyCode::PageUp => console.select(-PAGE),
        KeyCode::Char('g') | KeyCode::Home => console.select(isize::MIN),
        KeyCode::Char('G') | KeyCode::End => console.select(isize::MAX),
        KeyCode::Char('/') => console.mode = Mode::Filtering,
        KeyCode::Char('s') => console.sort = console.sort.next(),
        KeyCode::Char(' ') => console.toggle_pause(),
        KeyCode::Char('d') | KeyCode::Enter => console.mode = Mode::Details,
        KeyCode::Char('b') => open_form(console, FormKind::Ban),
        KeyCode::Char('m') => open_form(console, FormKind::Timeout),
        KeyCode::Char('x') => open_form(console, FormKind::Kick),
        KeyCode::Char('u') => open_form(console, FormKind::Unban),
        KeyCode::Char('t') => {
            let (_, stream) = console.selection()?;
            let stream_id = stream.stream_id;
            let title = stream.title.clone();
            open_form(console, FormKind::Throttle { stream_id, title });
        }
        KeyCode::Esc => {
            console.notice = None;
            console.filter.clear();
        }
        _ => return None,
    }
    None
}

fn open_form(console: &mut Console, kind: FormKind) {
    console.mode = Mode::Form(Form::new(kind));
}

fn press_in_filter(console: &mut Console, key: KeyEvent) -> Option<Effect> {
    match key.code {
        KeyCode::Enter | KeyCode::Down => console.mode = Mode::Watching,
        KeyCode::Esc => {
            console.filter.clear();
            console.mode = Mode::Watching;
        }
        _ => {
            if let Some(edit) = edit_of_key(key) {
                edit.apply(&mut console.filter);
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
            let action = form.submit()?;
            console.mode = Mode::Watching;
            return Some(Effect::Run(action));
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

fn press_in_overlay(console: &mut Console, code: KeyCode) -> Option<Effect> {
    match (code, &console.mode) {
        (KeyCode::Char('j') | KeyCode::Down, Mode::Details) => console.select(1),
        (KeyCode::Char('k') | KeyCode::Up, Mode::Details) => console.select(-1),
        _ => console.mode = Mode::Watching,
    }
    None
}

fn edit_of_key(key: KeyEvent) -> Option<Edit> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::admin::ThrottleRequest;
    use crate::protocol::throttle::SampleRate;
    use crate::tui::form::Action;
    use crate::tui::sample_data::busy;

    fn type_text(console: &mut Console, text: &str) {
        for c in text.chars() {
            assert_eq!(press(console, KeyCode::Char(c).into()), None);
        }
    }

    #[test]
    fn t_throttles_the_selected_stream() {
        let mut console = busy();
        let (_, stream) = console.selection().unwrap();
        let stream_id = stream.stream_id;
        type_text(&mut console, "t5%");
        let effect = press(&mut console, KeyCode::Enter.into());
        let sample_rate = SampleRate::from_share(0.05);
        let request = ThrottleRequest { stream_id, sample_rate };
        assert_eq!(effect, Some(Effect::Run(Action::Throttle(request))));
        assert_eq!(console.mode, Mode::Watching);
    }

    #[test]
    fn b_opens_a_ban_form_in_which_letters_are_text() {
        let mut console = busy();
        type_text(&mut console, "bqqq");
        press(&mut console, KeyCode::Enter.into());
        type_text(&mut console, "spam");
        // Past the note.
        press(&mut console, KeyCode::Tab.into());
        press(&mut console, KeyCode::Tab.into());
        type_text(&mut console, "bad");
        assert_eq!(press(&mut console, KeyCode::Enter.into()), None);
        let Mode::Form(form) = &console.mode else { panic!("the form closed with an error in it") };
        assert!(form.error.is_some());
        press(&mut console, KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
        type_text(&mut console, "1h");
        let Some(Effect::Run(Action::Ban(request))) = press(&mut console, KeyCode::Enter.into())
        else {
            panic!("no ban")
        };
        assert_eq!((request.user.0.as_str(), request.duration_ms), ("qqq", Some(3_600_000)));
        assert_eq!(request.reason.as_deref(), Some("spam"));
    }

    #[test]
    fn enter_keeps_a_filter_and_escape_clears_it() {
        let mut console = busy();
        type_text(&mut console, "/grand");
        press(&mut console, KeyCode::Enter.into());
        assert_eq!((console.filter.as_str(), console.streams().len()), ("grand", 1));
        press(&mut console, KeyCode::Esc.into());
        assert_eq!(console.streams().len(), 12);
    }

    #[test]
    fn q_is_text_in_the_filter_and_control_c_quits_there() {
        let mut console = busy();
        type_text(&mut console, "/q");
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(press(&mut console, control_c), Some(Effect::Quit));
        press(&mut console, KeyCode::Esc.into());
        assert_eq!(press(&mut console, KeyCode::Char('q').into()), Some(Effect::Quit));
    }

    #[test]
    fn random_keys_never_panic() {
        let keys = "jkqhbmxuts /dgG?0é".chars().map(KeyCode::Char).chain([
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Tab,
            KeyCode::BackTab,
            KeyCode::Backspace,
            KeyCode::Up,
            KeyCode::PageDown,
            KeyCode::End,
        ]);
        let keys: Vec<_> = keys.collect();
        for mut console in [busy(), Console::default()] {
            for step in 0_usize..20_000 {
                press(&mut console, keys[step * step * 31 / 7 % keys.len()].into());
                let _ = console.selection();
            }
        }
    }
}
