use std::time::Duration;

use crossterm::event::KeyCode;
use ratatui::Terminal;
use ratatui::backend::TestBackend;

use super::*;
use crate::tui::fabricated::{busy, idle};
use crate::tui::keys::press;
use crate::tui::state::Notice;

/// The screen as a terminal of that size would show it.
fn screen(console: &Console, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let theme = Theme::colour();
    terminal.draw(|frame| draw(frame.area(), frame.buffer_mut(), console, &theme)).unwrap();
    text(terminal.backend().buffer())
}

fn typed(console: &mut Console, keys: &str) {
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
fn a_small_terminal_keeps_what_matters() {
    insta::assert_snapshot!(screen(&busy(), 46, 12));
}

#[test]
fn an_idle_daemon_just_started() {
    let mut console = Console::default();
    console.snapshot(idle(900));
    insta::assert_snapshot!(screen(&console, 80, 24));
}

#[test]
fn a_lost_daemon_is_said_so_over_its_last_state() {
    let mut console = busy();
    let why = "no daemon listens on /run/lcd/admin.sock (nobody accepts there)";
    console.lost(why.into(), Duration::from_secs(2));
    insta::assert_snapshot!(screen(&console, 80, 24));
}

#[test]
fn a_ban_being_typed_with_what_is_wrong_with_it() {
    let mut console = busy();
    typed(&mut console, "btroll42");
    press(&mut console, KeyCode::Enter.into());
    press(&mut console, KeyCode::Enter.into());
    typed(&mut console, "10 parsecs");
    press(&mut console, KeyCode::Enter.into());
    insta::assert_snapshot!(screen(&console, 80, 24));
}

#[test]
fn help_and_details_lie_over_the_screen() {
    let mut console = busy();
    typed(&mut console, "?");
    let help = screen(&console, 80, 24);
    typed(&mut console, "qd");
    insta::assert_snapshot!(format!("{help}\n{}", screen(&console, 80, 24)));
}

#[test]
fn the_filter_and_the_outcome_of_an_action_are_on_the_notice_line() {
    let mut console = busy();
    console.notice = Some(Notice::Done("Banned troll42 (user 4711) for good.".into()));
    assert!(screen(&console, 80, 24).contains("✓ Banned troll42"));
    typed(&mut console, "/final");
    let shown = screen(&console, 80, 24);
    assert!(shown.contains("filter: final▏") && shown.contains("streams (4 of 12)"), "{shown}");
}

#[test]
fn no_size_and_no_state_panics() {
    let mut overlaid = [busy(), busy(), busy(), busy()];
    for (console, keys) in overlaid.iter_mut().zip(["b", "?", "d", "/no such stream"]) {
        typed(console, keys);
    }
    let mut lost = Console::default();
    lost.lost("gone".into(), Duration::from_secs(1));
    let consoles: Vec<_> = overlaid.into_iter().chain([busy(), Console::default(), lost]).collect();
    let themes = [Theme::colour(), Theme::plain()];
    let sizes = (1..=200_u16).flat_map(|width| (1..=60_u16).map(move |height| (width, height)));
    for (at, (width, height)) in sizes.enumerate() {
        // Every size with the ordinary screen, and with another state in turn.
        for console in [&consoles[4], &consoles[at % consoles.len()]] {
            let area = Rect::new(0, 0, width, height);
            let mut buffer = Buffer::empty(area);
            draw(area, &mut buffer, console, &themes[at % 2]);
        }
    }
}
