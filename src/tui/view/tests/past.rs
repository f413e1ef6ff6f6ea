//! Screens that do not show the present: paused, of the past, of a recording, without contact.

use super::*;

#[test]
fn paused_past_read_only_and_lost() {
    let mut paused = fed(samples::throttled);
    paused.toggle_pause();
    let mut past = fed(samples::throttled);
    past.step_time(-20);
    let mut read_only = Console::new(Keymap::default(), ThemeName::Dark, true);
    read_only.add_snapshot(samples::healthy(1));
    let mut lost = fed(samples::healthy);
    let why = "no daemon listens on /run/lcd/admin.sock (connection refused)";
    lost.connection_lost(why.into(), Duration::from_secs(2));
    let shown = [paused, past, read_only, lost].map(|console| screen(&console, SIZES[1]));
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn a_frozen_daemon_is_not_well() {
    let mut frozen = fed(samples::healthy);
    frozen.clock_ms += 2_999;
    frozen.check_contact();
    assert!(first_rows(&frozen).contains("✓ WELL"), "a late snapshot is no loss");
    frozen.clock_ms += 1;
    frozen.check_contact();
    for size in SIZES {
        let shown = screen(&frozen, size);
        assert!(shown.contains("NO CONTACT since 12:59:48Z"), "{shown}");
        assert!(!shown.contains("WELL") && !shown.contains("nothing is wrong"), "{shown}");
    }
    let overview = screen(&frozen, SIZES[2]);
    assert!(overview.contains("◌ UNKNOWN") && overview.contains("delivery ◌"), "{overview}");
    assert!(overview.contains("NO SNAPSHOT COMES"), "{overview}");
    let header = "▌edge-1▐  ◌ UNKNOWN  18k viewers  served 99.99 %      NO CONTACT since 12:59:48Z";
    assert_eq!(screen(&frozen, SIZES[1]).lines().next(), Some(header));
    frozen.add_snapshot(samples::healthy(65));
    assert!(first_rows(&frozen).contains("✓ WELL"), "it continues by itself");
}

#[test]
fn a_look_back_offers_only_keys_that_work() {
    let mut console = at(fed(samples::throttled), Place::View(View::Cluster));
    press(&mut console, KeyCode::Char('!').into());
    let rows = |console: &Console| {
        let shown = screen(console, SIZES[3]);
        let lines: Vec<_> = shown.lines().collect();
        [lines[1], lines[lines.len() - 1]].map(str::to_owned)
    };
    let [tabs, keys] = rows(&console);
    assert!(tabs.contains("UNLOCKED") && keys.contains("d drain"), "{tabs}\n{keys}");
    press(&mut console, KeyCode::Left.into());
    assert!(console.ago_ms().is_some());
    let [tabs, keys] = rows(&console);
    assert!(tabs.contains("acts are off") && !tabs.contains("UNLOCKED"), "{tabs}");
    assert!(keys.contains("End live") && keys.contains("Enter open"), "{keys}");
    assert!(
        !["d drain", "b ban", "u unban", "U undo"].iter().any(|it| keys.contains(it)),
        "{keys}"
    );
    press(&mut console, KeyCode::End.into());
    let [tabs, keys] = rows(&console);
    assert!(tabs.contains("UNLOCKED") && keys.contains("d drain"), "{tabs}\n{keys}");
}

#[test]
fn a_recording_says_what_it_is() {
    let live = fed(samples::throttled);
    let last_ms = live.now_ms();
    let mut console = Console::new(Keymap::default(), ThemeName::Dark, false);
    let happened = live.feed().happenings().iter().cloned().collect();
    console.start_replay(last_ms - 60_000, last_ms, happened);
    let moment = live.feed().at(last_ms - 30_000).unwrap();
    console.show_recorded(crate::tui::feed::Moment::clone(&moment), std::iter::empty());
    for size in SIZES {
        let shown = screen(&console, size);
        assert!(shown.contains("▶ RECORDING") && shown.contains(", 0:30 of 1:00"), "{shown}");
    }
    assert!(screen(&console, SIZES[2]).contains("acts are off"));
    press(&mut console, KeyCode::Char(' ').into());
    assert!(screen(&console, SIZES[2]).contains("‖ RECORDING"));
    press(&mut console, KeyCode::Char('!').into());
    assert!(screen(&console, SIZES[2]).contains("this is a recording: acts are off"));
    console.go(Place::View(View::Moderation));
    let shown = screen(&console, SIZES[2]);
    assert!(shown.contains("not recorded") && !shown.contains("to review 0"), "{shown}");
}
