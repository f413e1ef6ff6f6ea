//! The streams, and one of them opened.

use super::*;

#[test]
fn streams_one_twelve_and_three_hundred() {
    let with = |count| {
        let feed = (0..=20).map(|second| samples::streams(second, count));
        at(console(feed), Place::View(View::Streams))
    };
    let one = screen(&with(1), SIZES[1]);
    let twelve = screen(&with(12), SIZES[1]);
    insta::assert_snapshot!(format!("{one}\n{twelve}\n{}", screens(&with(300))));
}

#[test]
fn streams_throttled_and_filtered() {
    let mut console = at(fed(samples::throttled), Place::View(View::Streams));
    for key in "/in>1 state=live".chars() {
        press(&mut console, KeyCode::Char(key).into());
    }
    let typing = screen(&console, SIZES[1]);
    for key in [KeyCode::Enter, KeyCode::Char('/'), KeyCode::Char(' '), KeyCode::Char('(')] {
        press(&mut console, key.into());
    }
    let wrong = screen(&console, SIZES[1]);
    assert!(typing.contains("filter: in>1 state=live▏"), "{typing}");
    assert!(typing.contains("5 of 12 streams: viewers 19k"), "a sum of some says so: {typing}");
    assert!(wrong.contains("✗"), "{wrong}");
    insta::assert_snapshot!(format!("{typing}\n{wrong}"));
}

#[test]
fn a_stream_opened() {
    insta::assert_snapshot!(screens(&opened()));
}

#[test]
fn a_share_fixed_by_hand_has_a_name_and_a_time() {
    let mut console = fed(samples::throttled);
    let mut streams = console.moment().unwrap().snapshot.streams.iter();
    let stream_id = streams.find(|it| it.throttle_override.is_some()).unwrap().stream_id;
    console.go(Place::Stream(stream_id));
    assert!(console.needs().audit, "the audit log knows it");
    let entry = |actor: &str, target: String| AuditEntry {
        audit_id: 26,
        at: 1_795_254_408_000,
        actor: actor.to_owned(),
        action: "throttle".to_owned(),
        target,
        detail: serde_json::Value::Null,
        undoes: None,
        undone_by: None,
    };
    let fixed = entry("ann (uid 1000)", format!("stream {stream_id}"));
    console.side.audit = vec![entry("bob", "stream 1234".to_owned()), fixed];
    let shown = screen(&console, SIZES[2]);
    let why =
        "Fixed at 2.5% by hand. ann set it at 2026-11-21 09:46:48. It stays until t sets auto.";
    assert!(shown.contains(why), "{shown}");
}

#[test]
fn the_smallest_screen_has_rows_of_talkers() {
    let mut console = opened();
    console.focus_on(Panel::Talkers);
    let shown = screen(&console, SIZES[0]);
    assert!(shown.contains("4700") && shown.contains("4701"), "{shown}");
}

#[test]
fn who_says_how_much_on_a_stream() {
    let mut console = opened();
    let talker = |user_id, name: &str, said, refused, removed| Talker {
        user_id: UserId(user_id),
        name: name.to_owned(),
        said,
        error: 0,
        refused,
        removed,
        text: 1,
    };
    let text = "cheap followers at …".to_owned();
    console.side.talkers = Some(Talkers {
        window_ms: 420_000,
        said: 9_000,
        talkers: vec![talker(4_711, "zed_k", 60, 212, 9), talker(4_712, "ines_p", 12, 0, 0)],
        texts: vec![SameText { id: 1, text, users: 38, said: 214, error: 0, new: 31 }],
        ..Talkers::none_of(StreamId(7))
    });
    let wide = screen(&console, SIZES[2]);
    assert!(wide.contains("×38") && wide.contains("same text: "), "{wide}");
    console.focus_on(Panel::Talkers);
    let narrow = screen(&console, SIZES[1]);
    assert!(narrow.contains("same text: cheap followers at …"), "{narrow}");
    insta::assert_snapshot!(format!("{narrow}\n{wide}"));
}

#[test]
fn long_ids_and_names_can_be_told_apart() {
    let mut console = opened();
    let id = 9_665_865_681_234_562_943;
    let talker = Talker {
        user_id: UserId(id),
        name: format!("load{id}"),
        said: 9,
        error: 0,
        refused: 0,
        removed: 0,
        text: 1,
    };
    let talkers =
        Talkers { window_ms: 60_000, talkers: vec![talker], ..Talkers::none_of(StreamId(7)) };
    console.side.talkers = Some(talkers);
    let narrow = screen(&console, SIZES[2]);
    assert!(narrow.contains("96658…2943"), "{narrow}");
    assert!(narrow.contains("…2943 ") && !narrow.contains("9665865…"), "{narrow}");
    console.focus_on(Panel::Talkers);
    let alone = screen(&console, SIZES[1]);
    assert!(alone.contains(&format!(" {id} ")), "{alone}");
}

#[test]
fn an_opened_stream_tells_the_rules_of_its_room() {
    let console = opened();
    for size in [SIZES[1], SIZES[2], SIZES[3]] {
        let shown = screen(&console, size);
        assert!(shown.contains("In force: slow mode 5s."), "{shown}");
        assert!(shown.contains("Timeouts: 1m, 10m, 1d."), "{shown}");
    }
    let open = at(fed(samples::healthy), Place::Stream(StreamId(1)));
    assert!(screen(&open, SIZES[1]).contains("Everybody may comment."));
}
