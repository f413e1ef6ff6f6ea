//! What each key does.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::form::{Edit, Form, Purpose};
use super::state::{Console, Effect, Mode};

/// The keys, as the help shows them.
pub(super) const HELP: &[(&str, &str)] = &[
    ("j k ↓ ↑", "select a stream; PgUp, PgDn, Home, End go far"),
    ("/", "filter streams by title, id or state; Esc clears"),
    ("s", "sort by in/s, viewers, sampled out, id, title"),
    ("d Enter", "details of the selected stream"),
    ("t", "throttle the selected stream: auto, or a share"),
    ("b", "ban a user, for a time or for good"),
    ("m", "time a user out: may watch but not comment"),
    ("x", "kick a user: disconnect, may come back"),
    ("u", "lift a user's ban and timeout"),
    ("space", "pause the screen; counting goes on"),
    ("q", "quit"),
];

/// Rows a page key moves.
const PAGE: isize = 10;

/// Applies a key. `None`: the key means nothing here.
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
        Mode::Watching => watching(console, key.code),
        Mode::Filtering => filtering(console, key),
        Mode::Form(_) => in_form(console, key),
        Mode::Details | Mode::Help => overlay(console, key.code),
    }
}

fn watching(console: &mut Console, code: KeyCode) -> Option<Effect> {
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
        KeyCode::Char('b') => open(console, Purpose::Ban),
        KeyCode::Char('m') => open(console, Purpose::Timeout),
        KeyCode::Char('x') => open(console, Purpose::Kick),
        KeyCode::Char('u') => open(console, Purpose::Unban),
        KeyCode::Char('t') => {
            let (_, stream) = console.selection()?;
            let (stream_id, title) = (stream.stream_id, stream.title.clone());
            open(console, Purpose::Throttle { stream_id, title });
        }
        KeyCode::Esc => {
            console.notice = None;
            console.filter.clear();
        }
        _ => return None,
    }
    None
}

fn open(console: &mut Console, purpose: Purpose) {
    console.mode = Mode::Form(Form::new(purpose));
}

fn filtering(console: &mut Console, key: KeyEvent) -> Option<Effect> {
    match key.code {
        KeyCode::Enter | KeyCode::Down => console.mode = Mode::Watching,
        KeyCode::Esc => {
            console.filter.clear();
            console.mode = Mode::Watching;
        }
        _ => {
            if let Some(edit) = edit(key) {
                edit.apply(&mut console.filter);
            }
        }
    }
    None
}

fn in_form(console: &mut Console, key: KeyEvent) -> Option<Effect> {
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
            if let Some(edit) = edit(key) {
                form.edit(edit);
            }
        }
    }
    None
}

fn overlay(console: &mut Console, code: KeyCode) -> Option<Effect> {
    match (code, &console.mode) {
        (KeyCode::Char('j') | KeyCode::Down, Mode::Details) => console.select(1),
        (KeyCode::Char('k') | KeyCode::Up, Mode::Details) => console.select(-1),
        _ => console.mode = Mode::Watching,
    }
    None
}

fn edit(key: KeyEvent) -> Option<Edit> {
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
    use crate::tui::fabricated::busy;
    use crate::tui::form::Action;

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
    fn b_asks_whom_why_and_how_long_and_letters_are_text_there() {
        let mut console = busy();
        type_text(&mut console, "bqqq");
        press(&mut console, KeyCode::Enter.into());
        type_text(&mut console, "spam");
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
    fn a_filter_is_kept_by_enter_and_dropped_by_escape() {
        let mut console = busy();
        type_text(&mut console, "/grand");
        press(&mut console, KeyCode::Enter.into());
        assert_eq!((console.filter.as_str(), console.streams().len()), ("grand", 1));
        press(&mut console, KeyCode::Esc.into());
        assert_eq!(console.streams().len(), 12);
    }

    #[test]
    fn q_quits_only_where_it_is_no_text_and_control_c_everywhere() {
        let mut console = busy();
        type_text(&mut console, "/q");
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(press(&mut console, control_c), Some(Effect::Quit));
        press(&mut console, KeyCode::Esc.into());
        assert_eq!(press(&mut console, KeyCode::Char('q').into()), Some(Effect::Quit));
    }

    #[test]
    fn no_key_in_any_order_breaks_anything() {
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
