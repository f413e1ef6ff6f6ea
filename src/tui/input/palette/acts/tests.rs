use super::*;

fn act(line: &str) -> Result<Action, LineError> {
    let words = words(line)?;
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    parse_act(&words, |stream_id| Ok(stream_id.0 * 1_000))
}

#[test]
fn lc_commands_become_their_requests() {
    let Ok(Action::Ban(ban)) = act("ban zed_k --for 7d --reason \"see ticket 7\"") else {
        panic!()
    };
    assert_eq!((ban.user.0.as_str(), ban.duration_ms), ("zed_k", Some(604_800_000)));
    assert_eq!(ban.reason.as_deref(), Some("see ticket 7"));
    assert_eq!(ban.stream_id, None);
    let seven = Some(StreamId(7));
    assert!(matches!(act("ban zed --stream 7"), Ok(Action::Ban(b)) if b.stream_id == seven));
    assert!(matches!(act("unban zed --stream 7"), Ok(Action::Unban(u)) if u.stream_id == seven));
    assert!(act("ban zed --stream seven").is_err());
    assert!(matches!(act("timeout ann"), Ok(Action::Timeout(t)) if t.duration_ms == Some(600_000)));
    let lasting = |line: &str| match act(line) {
        Ok(Action::Timeout(timeout)) => timeout.duration_ms,
        other => panic!("{other:?}"),
    };
    assert_eq!(lasting("timeout ann --stream 7"), Some(7_000), "as in its room");
    assert_eq!(lasting("timeout ann --stream 7 --for 1m"), Some(60_000));
    assert!(matches!(act("throttle 7 auto"), Ok(Action::Throttle(t)) if t.sample_rate.is_none()));
    assert!(matches!(act("throttle 7 2%"), Ok(Action::Throttle(t)) if t.sample_rate.is_some()));
    let Ok(Action::Shadow(shadow)) = act("shadow zed --stream 7 --for 1h") else { panic!() };
    assert_eq!((shadow.user.0.as_str(), shadow.stream_id), ("zed", Some(StreamId(7))));
    assert_eq!(shadow.duration_ms, Some(3_600_000));
    assert!(matches!(act("unshadow zed"), Ok(Action::Unshadow(u)) if u.user.0 == "zed"));
    assert!(matches!(act("drain --undo"), Ok(Action::Drain(d)) if d.undo && d.node.is_none()));
    let Ok(Action::Drain(drain)) = act("drain edge-12") else { panic!() };
    assert_eq!((drain.node, drain.undo), (Some(NodeId::new("edge-12")), false));
    assert!(matches!(act("undo 17"), Ok(Action::Undo(u)) if u.audit_id == 17));
    let comment = "78353400-e590-11f1-8007-010101010101";
    let restore = act(&format!("mod restore {comment} --note sorry"));
    assert!(matches!(restore, Ok(Action::Restore(r)) if r.note.as_deref() == Some("sorry")));
    let claim = act(&format!("mod claim {comment} --release"));
    assert!(matches!(claim, Ok(Action::Claim(claim)) if claim.release));
    assert!(matches!(act("alerts ack lag_high/a"), Ok(Action::Acknowledge(a)) if a.note.is_none()));
    for loss in ProblemCode::LOSSES.map(ProblemCode::as_str) {
        let Ok(Action::AcknowledgeLoss(ended)) = act(&format!("acknowledge {loss}")) else {
            panic!("{loss}")
        };
        assert_eq!(ended.problem, loss);
    }
    let Ok(Action::Direct(told)) = act("dm zed stop it") else { panic!() };
    assert_eq!((told.user.0.as_str(), told.message.as_str()), ("zed", "stop it"));
    let Ok(Action::DeleteOfUser(gone)) = act("delete --user zed --last 10m --stream 7") else {
        panic!()
    };
    assert_eq!((gone.user.0.as_str(), gone.last_ms), ("zed", 600_000));
    assert_eq!(gone.stream_id, Some(StreamId(7)));
    assert!(act("delete").unwrap_err().contains("delete COMMENT, or delete --user USER"));
    assert!(act("delete --user zed").unwrap_err().contains("--last 10m"));
    assert!(act(&format!("delete {comment} --user zed")).is_err());
    for ignored in ["kick zed --reason spam", "ban zed --last 1h", "undo 17 --undo"] {
        assert!(act(ignored).unwrap_err().contains("is not known here"), "{ignored}");
    }
    let Ok(Action::Announce(told)) = act("announce 7 back at 9") else { panic!() };
    assert_eq!(told.message, "back at 9");
}

#[test]
fn rules_of_rooms_are_written_as_for_lc_room() {
    let changed = |line: &str| match act(line) {
        Ok(Action::Room { stream_id, patch }) => (stream_id, patch),
        other => panic!("{line}: {other:?}"),
    };
    let slow = RoomPatch { slow_ms: Some(Some(30_000)), ..RoomPatch::default() };
    assert_eq!(changed("room 7 slow 30s"), (StreamId(7), slow));
    let shield = RoomPatch { shield: Some(true), ..RoomPatch::default() };
    assert_eq!(changed("room 7 shield on"), (StreamId(7), shield));
    let presets = RoomPatch { timeouts_ms: Some(vec![60_000, 600_000]), ..RoomPatch::default() };
    assert_eq!(changed("room 7 timeouts 1m 10m").1, presets);
    let late = ChecksPatch::of_words("late", "refuse").unwrap();
    let both = ChecksPatch { deadline_ms: Some(Some(900)), ..late };
    let checks = RoomPatch { checks: Some(both), ..RoomPatch::default() };
    assert_eq!(changed("room 7 checks --late refuse --deadline 900ms").1, checks);
    let languages = changed("room 7 languages de en --action reject").1.languages;
    assert_eq!(languages.flatten().unwrap().action, LanguageAction::Reject);
    let Ok(Action::ClearRoom { stream_id, request }) = act("room 7 clear --last 10m") else {
        panic!()
    };
    assert_eq!((stream_id, request.last_ms), (StreamId(7), 600_000));
}

#[test]
fn terms_of_rooms_are_written_as_for_lc_room() {
    let changed = |line: &str| match act(line) {
        Ok(Action::RoomTerms { stream_id: StreamId(7), patch }) => patch,
        other => panic!("{line}: {other:?}"),
    };
    let term = |term: &str, action| RoomTerm { term: term.to_owned(), action };
    let add = changed("room 7 terms add Spam \"buy  now\" --action shadow-ban");
    let hidden = TermAction::ShadowBan;
    let both = vec![term("spam", hidden), term("buy now", hidden)];
    assert_eq!(add, TermsPatch { add: both, remove: vec![] });
    let add = changed("room 7 terms add *scam*").add;
    assert_eq!(add, [term("*scam*", TermAction::Reject)]);
    let remove = changed("room 7 terms remove 'buy now' spam").remove;
    assert_eq!(remove, ["buy now", "spam"]);
}

#[test]
fn wrong_lines_say_what_is_right() {
    for (line, part) in [
        ("room 7", "write: room STREAM RULE"),
        ("room 7 slow", "write: slow TIME|off"),
        ("room 7 clear", "--last 10m"),
        ("room 7 checks", "--down hold"),
        ("room 7 checks --down refuse", "not one of pass, hold"),
        ("room 7 checks hold --down hold", "hold is not known here"),
        ("room 7 checks --note why", "--note is not known here"),
        ("room 7 languages off --action reject", "--action is not known here"),
        ("room 7 slow 30s --action flag", "--action is not known here"),
        ("room 7 terms add", "write terms add WORD"),
        ("room 7 terms block word", "write terms add WORD"),
        ("room 7 terms add word --action hide", "not one of reject, shadow-ban, flag"),
        ("room 7 terms add word --note why", "--note is not known here"),
        ("room 7 terms remove word --action flag", "--action is not known here"),
        ("room 7 terms add Word word", "names `word` twice"),
        ("room seven slow 30s", "seven"),
        ("room 7 fast on", "write one of slow"),
        ("room 7 bogus 3", "delay, terms, checks, clear"),
        ("room 7 slow 30s --last 1h", "--last is not known here"),
        ("ban", "write: ban USER"),
        ("ban zed --for", "--for needs a value"),
        ("ban zed --hard", "--hard is not known"),
        ("unshadow zed --stream 7", "ends all shadow bans of the user: leave out --stream"),
        ("throttle 7 lots", "is not a share"),
        ("throttle seven 1%", "seven"),
        ("dance", "there is no command dance"),
        ("acknowledge", "write: acknowledge PROBLEM"),
        ("acknowledge places_low", "write log_replaced, history_incomplete"),
        ("ban \"zed", "quotation mark"),
    ] {
        let error = act(line).unwrap_err();
        assert!(error.contains(part), "{line}: {error}");
    }
}
