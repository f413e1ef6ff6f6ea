use std::time::Duration;

use crossterm::event::KeyCode;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::tui::keys::press;
use crate::tui::sample_data::{busy, idle};
use crate::tui::state::Notice;

/// Returns the screen of a terminal of the given size.
fn screen(console: &Console, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let theme = Theme::colour();
    terminal.draw(|frame| draw(frame.area(), frame.buffer_mut(), console, &theme)).unwrap();
    text(terminal.backend().buffer())
}

fn type_keys(console: &mut Console, keys: &str) {
    for key in keys.chars() {
        press(console, KeyCode::Char(key).into());
    }
}

#[test]
fn a_classic_terminal() {
    insta::assert_snapshot!(screen(&busy(), 80, 24));
}

#[test]
fn a_large_terminal() {
    let mut console = busy();
    console.select(2);
    insta::assert_snapshot!(screen(&console, 120, 40));
}

#[test]
fn a_small_terminal_keeps_the_main_panels() {
    insta::assert_snapshot!(screen(&busy(), 46, 12));
}

#[test]
fn an_idle_daemon_just_started() {
    let mut console = Console::default();
    console.add_snapshot(idle(900));
    insta::assert_snapshot!(screen(&console, 80, 24));
}

#[test]
fn a_lost_daemon_is_shown_over_its_last_state() {
    let mut console = busy();
    let why = "no daemon listens on /run/lcd/admin.sock (connection refused)";
    console.connection_lost(why.into(), Duration::from_secs(2));
    insta::assert_snapshot!(screen(&console, 80, 24));
}

#[test]
fn a_ban_form_with_an_error() {
    let mut console = busy();
    type_keys(&mut console, "btroll42");
    // Past the reason and the note.
    (0..3).for_each(|_| drop(press(&mut console, KeyCode::Enter.into())));
    type_keys(&mut console, "10 parsecs");
    press(&mut console, KeyCode::Enter.into());
    insta::assert_snapshot!(screen(&console, 80, 24));
}

#[test]
fn help_and_details_lie_over_the_screen() {
    let mut console = busy();
    type_keys(&mut console, "?");
    let help = screen(&console, 80, 24);
    type_keys(&mut console, "qd");
    insta::assert_snapshot!(format!("{help}\n{}", screen(&console, 80, 24)));
}

#[test]
fn the_notice_line_shows_filter_and_outcome() {
    let mut console = busy();
    console.notice = Some(Notice::Done("Banned troll42 (user 4711) for good.".into()));
    assert!(screen(&console, 80, 24).contains("✓ Banned troll42"));
    type_keys(&mut console, "/final");
    let shown = screen(&console, 80, 24);
    assert!(shown.contains("filter: final▏") && shown.contains("streams (4 of 12)"), "{shown}");
}

#[test]
fn drawing_never_panics() {
    let mut overlaid = [busy(), busy(), busy(), busy()];
    for (console, keys) in overlaid.iter_mut().zip(["b", "?", "d", "/no such stream"]) {
        type_keys(console, keys);
    }
    let mut lost = Console::default();
    lost.connection_lost("gone".into(), Duration::from_secs(1));
    let consoles: Vec<_> = overlaid.into_iter().chain([busy(), Console::default(), lost]).collect();
    let themes = [Theme::colour(), Theme::plain()];
    let sizes = (1..=200_u16).flat_map(|width| (1..=60_u16).map(move |height| (width, height)));
    for (at, (width, height)) in sizes.enumerate() {
        // Draws every size with the ordinary screen, and with one of the other states in turn.
        for console in [&consoles[4], &consoles[at % consoles.len()]] {
            let area = Rect::new(0, 0, width, height);
            let mut buffer = Buffer::empty(area);
            draw(area, &mut buffer, console, &themes[at % 2]);
        }
    }
}
