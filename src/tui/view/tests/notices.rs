//! The first row, notices and alerts: who acts, what was done, what is wrong.

use ratatui::style::Color;

use super::*;
use crate::protocol::admin::ClusterColour;
use crate::tui::contexts::ContextEntry;

/// Returns the colours of the name of the cluster on the screen.
fn colours_of_name(console: &Console) -> [Color; 2] {
    let area = Rect::new(0, 0, 120, 36);
    let mut buffer = Buffer::empty(area);
    draw(area, &mut buffer, console, false);
    [buffer[(1, 0)].fg, buffer[(1, 0)].bg]
}

#[test]
fn every_view_names_the_cluster_in_its_colour() {
    let mut console = fed(samples::throttled);
    let of_titles = colours_of_name(&console);
    let cluster = Some("prod-eu".to_owned());
    let colour = Some(ClusterColour::Red);
    console.set_session(Some(Session { cluster, colour, ..session() }));
    let places = View::ALL.map(Place::View).into_iter().chain([Place::Stream(StreamId(7))]);
    for place in places {
        console.go(place);
        assert!(screen(&console, SIZES[0]).starts_with("▌prod-eu▐  "));
    }
    let themes = ThemeName::ALL.map(|theme| {
        console.theme = theme;
        colours_of_name(&console)
    });
    assert!(themes[..4].iter().all(|[fg, bg]| fg != bg && *fg != of_titles[0]), "{themes:?}");
    assert_eq!(themes[4], [Color::Reset; 2], "no colour without colours");
    console.theme = ThemeName::Dark;
    console.step_time(-20);
    assert_eq!(colours_of_name(&console), themes[0], "a look into the past keeps it");
    console.go_live();
    // The operator's own colour wins, but the daemon knows its name.
    console.set_context(ContextEntry {
        name: "staging".to_owned(),
        place: "lcd://edge-1:7443".to_owned(),
        colour: Some(ClusterColour::Green),
        read_only: false,
    });
    assert_ne!(colours_of_name(&console), themes[0]);
    let both = first_rows(&console);
    console.set_session(Some(session()));
    let of_context = first_rows(&console);
    insta::assert_snapshot!(format!("{both}\n\n{of_context}"));
}

#[test]
fn the_first_row_says_that_the_link_is_slow() {
    let mut console = fed(samples::throttled);
    console.set_session(Some(session()));
    let full = first_rows(&console);
    console.slow_link = Some(Duration::from_secs(2));
    insta::assert_snapshot!(format!("{}\n\n{full}", first_rows(&console)));
}

#[test]
fn the_first_row_says_who_acts_with_which_role() {
    let mut console = fed(samples::healthy);
    let session = |role| Session { role, ..session() };
    console.set_session(Some(session(AdminRole::Operator)));
    let wide = screen(&console, (120, 36));
    assert!(wide.lines().next().unwrap().contains("ann, operator   "), "{wide}");
    assert!(!wide.contains("read-only by role"));
    console.set_session(Some(session(AdminRole::Viewer)));
    console.set_session(None);
    let wide = screen(&console, (120, 36));
    assert!(wide.lines().next().unwrap().contains("ann, viewer"), "{wide}");
    assert!(wide.contains("read-only by role"), "{wide}");
}

#[test]
fn notices_say_what_was_done_and_how_to_undo_it() {
    let mut console = fed(samples::healthy);
    console.notice = Some(Notice::Done("Banned troll42 (user 4711) for good.".into()));
    console.undo.push(crate::tui::act::UndoEntry {
        text: "ban troll42".into(),
        reversals: Vec::new(),
        equivalents: Vec::new(),
        at_ms: 0,
        window_ms: 10_000,
    });
    console.clock_ms = 3_000;
    let shown = screen(&console, SIZES[1]);
    assert!(
        shown.contains("✓ Banned troll42") && shown.contains("U takes it back, 7 s"),
        "{shown}"
    );
}

/// A loss whose sentence is longer than the screen of a small terminal.
fn with_a_long_loss() -> Console {
    let mut console = fed(samples::healthy);
    let lost: String = (0..150).map(|number| format!("part {number} is lost, ")).collect();
    let loss = Alert {
        effect: format!("{lost}and this is the end"),
        next: "when it is dealt with: lc acknowledge history_incomplete".to_owned(),
        ..samples::alert("history_incomplete", "archiver", &["edge-1"])
    };
    let low = samples::alert("places_low", "", &["edge-2"]);
    console.set_alerts(Some(vec![loss, low]));
    console.add_snapshot(samples::healthy(61));
    console
}

#[test]
fn a_cut_warning_can_be_read_to_its_end() {
    for size in SIZES {
        let mut console = with_a_long_loss();
        let shown = screen(&console, size);
        assert!(shown.contains('…') && shown.contains("i read all"), "{shown}");
        press(&mut console, KeyCode::Char('i').into());
        let shown = screen(&console, size);
        assert!(shown.contains("part 0 is lost") && shown.contains("in full"), "{shown}");
        for _ in 0..40 {
            press(&mut console, KeyCode::PageDown.into());
        }
        let shown = screen(&console, size);
        assert!(shown.contains("acknowledge") && shown.contains("history_incomplete"), "{shown}");
        press(&mut console, KeyCode::Esc.into());
        assert_eq!(console.mode, Mode::Watching);
    }
}

#[test]
fn a_cut_notice_can_be_read_to_its_end() {
    let mut console = fed(samples::healthy);
    let lines: String = (0..9).map(|number| format!("Acknowledged: loss {number}\n")).collect();
    console.notice = Some(Notice::Done(format!("{lines}Done in 3.1 ms.")));
    let shown = screen(&console, SIZES[1]);
    assert!(shown.contains("✓ Acknowledged: loss 0 Acknowledged: loss 1"), "{shown}");
    assert!(shown.contains("i read all"), "{shown}");
    press(&mut console, KeyCode::Char('i').into());
    let shown = screen(&console, SIZES[1]);
    assert!(shown.contains("loss 8") && shown.contains("Done in 3.1 ms."), "{shown}");
}

#[test]
fn the_selected_alert_is_always_seen() {
    let mut console = fed(samples::healthy);
    let alerts = (0..7).map(|number| {
        let effect = format!("setting {number} differs: {}", "on other nodes ".repeat(9));
        let subject = format!("setting_{number}");
        Alert { effect, ..samples::alert("settings_differ", &subject, &[]) }
    });
    console.set_alerts(Some(alerts.collect()));
    console.add_snapshot(samples::healthy(61));
    for number in 0..7 {
        for size in SIZES {
            let shown = screen(&console, size);
            let wanted = format!("setting {number} differs");
            let chosen = shown.lines().find(|line| line.starts_with('▶'));
            assert!(chosen.is_some_and(|line| line.contains(&wanted)), "{wanted}:\n{shown}");
        }
        press(&mut console, KeyCode::Down.into());
    }
}
