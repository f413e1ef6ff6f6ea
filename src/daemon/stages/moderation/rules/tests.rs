use super::*;
use crate::daemon::base::config::RuleAction;
use crate::daemon::stages::moderation::samples::comment;
use crate::protocol::Role;
use crate::protocol::events::Decision;
use std::io::Write as _;

fn judge(stage: &RulesStage, comment: &Comment) -> (Decision, &'static str) {
    let finding = stage.judge(&Subject {
        comment,
        role: Some(Role::Viewer),
        lowered: 0.0,
        raised: 0.0,
        deadline: None,
    });
    (finding.decision, finding.reason)
}

fn strict() -> RulesConfig {
    RulesConfig {
        blocked_words: vec!["badword".into()],
        link_action: RuleAction::Flag,
        allowed_hosts: vec!["example.com".into()],
        repeat_action: RuleAction::ShadowBan,
        max_repeats: 1,
        flood_action: RuleAction::Reject,
        flood_comments: 8,
        max_character_run: 10,
        ..RulesConfig::default()
    }
}

#[test]
fn each_rule_has_its_reason_and_its_action() {
    let stage = RulesStage::new(&strict()).unwrap();
    let cases = [
        ("hello", Decision::Accept, ""),
        ("b.4.d.w.o.r.d", Decision::Reject, reason::BLOCKED_WORD),
        ("see evil.net", Decision::Flag, reason::LINK),
        ("see www.example.com", Decision::Accept, ""),
        ("noooooooooooooo", Decision::Reject, reason::CHARACTER_RUN),
        ("badword at evil.net", Decision::Reject, reason::BLOCKED_WORD),
        ("k1ll y0urself", Decision::Flag, reason::STARTER_LIST),
        ("cheap viewers on streamboo . com", Decision::Flag, reason::VIEWER_SELLER),
    ];
    for (user, (text, decision, reason)) in cases.into_iter().enumerate() {
        let comment = comment(1, user as u64 + 1, text);
        assert_eq!(judge(&stage, &comment), (decision, reason), "{text}");
    }
    for n in 0..3 {
        let again = judge(&stage, &comment(1, 50, ["Again", "AGAIN", "a g a i n"][n]));
        let repeated = (Decision::ShadowBan, reason::REPEAT);
        assert_eq!(again, if n == 2 { repeated } else { (Decision::Accept, "") });
    }
    for n in 0..9 {
        let text = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"][n];
        let flood = judge(&stage, &comment(1, 60, text));
        assert_eq!(flood.0 == Decision::Reject, n == 8, "{text}");
    }
}

#[test]
fn staff_is_exempt_from_all_rules() {
    let stage = RulesStage::new(&strict()).unwrap();
    let comment = comment(1, 2, "badword");
    for role in [Role::Moderator, Role::Broadcaster, Role::Admin] {
        let finding = stage.judge(&Subject {
            comment: &comment,
            role: Some(role),
            lowered: 0.0,
            raised: 0.0,
            deadline: None,
        });
        assert_eq!(finding.decision, Decision::Accept);
    }
    let unknown = stage.judge(&Subject {
        comment: &comment,
        role: None,
        lowered: 0.0,
        raised: 0.0,
        deadline: None,
    });
    assert_eq!(unknown.decision, Decision::Reject);
}

#[test]
fn the_defaults_accept_ordinary_and_excited_chat() {
    let stage = RulesStage::new(&RulesConfig::default()).unwrap();
    for n in 0..100 {
        let excited = comment(1, 2, if n % 2 == 0 { "GOAAAAAAAAL" } else { "https://x.com" });
        assert_eq!(judge(&stage, &excited), (Decision::Accept, ""));
    }
}

#[test]
fn words_are_also_read_from_a_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# words\n\nbadword # the worst\n  *spam*  \n").unwrap();
    let path = Some(file.path().to_owned());
    let config = RulesConfig { blocked_words_file: path, ..RulesConfig::default() };
    let stage = RulesStage::new(&config).unwrap();
    for text in ["badword", "antispammer"] {
        assert_eq!(judge(&stage, &comment(1, 2, text)).1, reason::BLOCKED_WORD);
    }
    assert_eq!(judge(&stage, &comment(1, 2, "the worst")).0, Decision::Accept);
}

#[test]
fn a_file_is_read_as_editors_write_it() {
    let text = "*spam*\r\nf#ck\r\n***\r\n🖕\r\nbadword\r\n";
    let wide: Vec<u8> =
        "\u{FEFF}".encode_utf16().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    for bytes in [text.as_bytes().to_vec(), format!("\u{FEFF}{text}").into_bytes(), wide] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&bytes).unwrap();
        let path = Some(file.path().to_owned());
        let config = RulesConfig { blocked_words_file: path, ..RulesConfig::default() };
        let stage = RulesStage::new(&config).unwrap();
        for text in ["antispammer", "f#ck", "hi 🖕🏽", "badword"] {
            assert_eq!(judge(&stage, &comment(1, 2, text)).1, reason::BLOCKED_WORD, "{text}");
        }
        for text in ["f", "fun", "***"] {
            assert_eq!(judge(&stage, &comment(1, 2, text)).0, Decision::Accept, "{text}");
        }
    }
}

#[test]
fn different_numbers_are_no_repeats() {
    let config =
        RulesConfig { repeat_action: RuleAction::Reject, max_repeats: 1, ..RulesConfig::default() };
    let stage = RulesStage::new(&config).unwrap();
    for text in ["10", "100", "1000", "I bid 500", "I bid 5000", "I bid 50000", "🎉", "😂"] {
        assert_eq!(judge(&stage, &comment(1, 2, text)).0, Decision::Accept, "{text}");
    }
}

#[test]
fn an_unusable_word_list_is_refused_with_a_reason() {
    let missing = RulesConfig {
        blocked_words_file: Some("/nowhere/words.txt".into()),
        ..RulesConfig::default()
    };
    let error = RulesStage::new(&missing).unwrap_err().to_string();
    assert!(error.contains("blocked_words_file") && error.contains("/nowhere"), "{error}");
    let empty = RulesConfig { blocked_words: vec!["***".into()], ..RulesConfig::default() };
    let error = RulesStage::new(&empty).unwrap_err().to_string();
    assert!(error.contains("`***`"), "{error}");
}

#[test]
fn the_starter_list_can_be_switched_off() {
    let says = |config: &RulesConfig| {
        judge(&RulesStage::new(config).unwrap(), &comment(1, 2, "kill yourself"))
    };
    let config = RulesConfig::default();
    assert_eq!(says(&config), (Decision::Flag, reason::STARTER_LIST));
    let strict = RulesConfig { starter_list_action: RuleAction::Reject, ..config.clone() };
    assert_eq!(says(&strict).0, Decision::Reject);
    let allowed = RulesConfig { allowed_words: vec!["kill yourself".into()], ..strict.clone() };
    assert_eq!(says(&allowed).0, Decision::Accept);
    let off = RulesConfig { starter_list: false, ..strict };
    assert_eq!(says(&off).0, Decision::Accept);
}

#[test]
fn a_seller_is_told_from_a_link() {
    let config = RulesConfig { link_action: RuleAction::Flag, ..RulesConfig::default() };
    let stage = RulesStage::new(&config).unwrap();
    let says = |text| judge(&stage, &comment(1, 2, text));
    let offer = "Best viewers on streamboo .com (remove the space)";
    assert_eq!(says(offer), (Decision::Flag, reason::VIEWER_SELLER));
    assert_eq!(says("see streamboo .com"), (Decision::Flag, reason::LINK));
    let config = RulesConfig { link_action: RuleAction::Reject, ..config };
    let stage = RulesStage::new(&config).unwrap();
    let strict = judge(&stage, &comment(1, 2, offer));
    assert_eq!(strict, (Decision::Reject, reason::LINK), "the more severe action decides");
}

#[test]
fn copies_by_many_users_are_a_flood() {
    let config = RulesConfig {
        flood_action: RuleAction::Reject,
        flood_users: 10,
        viewer_seller_action: RuleAction::Accept,
        ..RulesConfig::default()
    };
    let stage = RulesStage::new(&config).unwrap();
    let endings = ["", "!!", "1", " xd", " 4821", " lol", " 🎉", " kk", " ab", "?", " gg", " zz"];
    for (user, ending) in endings.into_iter().enumerate() {
        let text = format!("everybody write this into the chat of the other streamer{ending}");
        let found = judge(&stage, &comment(1, user as u64 + 1, &text));
        assert_eq!(found.0 == Decision::Reject, user >= 9, "{text}");
        let cheer = judge(&stage, &comment(1, user as u64 + 1, &format!("gg{ending}")));
        assert_eq!(cheer.0, Decision::Accept, "short texts differ");
    }
}

#[test]
fn an_explanation_names_rules_and_settings() {
    let stage = RulesStage::new(&strict()).unwrap();
    let explain = |text: &str, role| {
        let comment = comment(1, 2, text);
        let subject =
            Subject { comment: &comment, role, lowered: 0.0, raised: 0.0, deadline: None };
        let explained = stage.explain_text(&subject);
        let found = stage.judge(&subject);
        assert_eq!(explained.finding, found, "{text}: the explanation is true");
        explained
    };
    let explained = explain("b4dword, see evil . ru", None);
    let rules: Vec<_> = explained
        .rules
        .iter()
        .map(|broken| (&*broken.setting, broken.matched.as_deref().unwrap()))
        .collect();
    let expected = [
        ("moderation.rules.blocked_word_action", "badword"),
        ("moderation.rules.link_action", "evil.ru"),
    ];
    assert_eq!(rules, expected);
    explain("again", None);
    explain("Again", None);
    let explained = explain("AGAIN!", None);
    assert_eq!(explained.rules[0].rule, reason::REPEAT);
    assert_eq!(explained.rules[0].matched.as_deref(), Some("3 equal comments within 30s"));
    let staff = explain("badword", Some(Role::Moderator));
    assert!(staff.rules.is_empty() && staff.note.unwrap().contains("exempt"));
}

#[test]
fn an_explanation_is_counted_nowhere() {
    let config = RulesConfig { flood_users: 3, ..strict() };
    let stage = RulesStage::new(&config).unwrap();
    for user in 1..20 {
        let comment = comment(1, user, "a text that nobody has said in this chat so far");
        let subject =
            Subject { comment: &comment, role: None, lowered: 0.0, raised: 0.0, deadline: None };
        for _ in 0..20 {
            assert_eq!(stage.explain_text(&subject).rules, []);
        }
    }
}

#[test]
fn a_reload_reads_the_words_or_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("words.txt");
    std::fs::write(&path, "badword\n").unwrap();
    let config = RulesConfig {
        blocked_words: vec!["fixedword".into()],
        blocked_words_file: Some(path.clone()),
        repeat_action: RuleAction::Flag,
        max_repeats: 1,
        ..RulesConfig::default()
    };
    let stage = RulesStage::new(&config).unwrap();
    let is_blocked = |text: &str| judge(&stage, &comment(1, 2, text)).1 == reason::BLOCKED_WORD;
    for text in ["Said before the reload", "SAID before the reload"] {
        judge(&stage, &comment(1, 7, text));
    }
    std::fs::write(&path, "newword\nother\n***\n").unwrap();
    assert!(is_blocked("badword") && !is_blocked("newword"), "not before it is asked for");
    let done = stage.reload().unwrap().unwrap();
    assert!(done.starts_with("2 words of ") && done.ends_with("words.txt are in force"), "{done}");
    assert!(!is_blocked("badword") && is_blocked("newword") && is_blocked("fixedword"));
    let again = judge(&stage, &comment(1, 7, "said before the reload"));
    assert_eq!(again.1, reason::REPEAT, "the history stays");

    let huge = vec![b'a'; 17 << 20];
    for (broken, why) in [(&b"***\n\xFF\xFE\xFD\n"[..], "nothing in"), (&huge[..], "at most")] {
        std::fs::write(&path, broken).unwrap();
        let error = stage.reload().unwrap_err();
        assert!(error.contains("blocked_words_file") && error.contains(why), "{error}");
        assert!(is_blocked("newword") && is_blocked("fixedword"), "the old words stay");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(stage.reload().unwrap_err().contains("cannot read"));
    assert!(is_blocked("newword"));
    for empty in ["", "\n", "# no words any more\n"] {
        std::fs::write(&path, empty).unwrap();
        let error = stage.reload().unwrap_err();
        assert!(error.contains("has no words any more"), "{empty:?}: {error}");
        assert!(is_blocked("newword") && is_blocked("fixedword"), "{empty:?}");
    }
    let begun_empty = RulesStage::new(&config).unwrap();
    assert!(begun_empty.reload().unwrap().unwrap().starts_with("0 words"), "none are lost");
    let without = RulesStage::new(&RulesConfig::default()).unwrap();
    assert_eq!(without.reload(), Ok(None));
}
