//! Comments to review, and acts on the users that wrote them.

use super::*;
use crate::protocol::room::{RoomTerm, TermAction};
use crate::tui::state::ReadTerms;

fn flagged(number: u64) -> ReviewItem {
    let held = comment(number, 41 + number, "is this allowed?");
    ReviewItem {
        comment_id: held.comment_id,
        stream_id: StreamId(7),
        user_id: held.user_id,
        name: held.name.to_string(),
        message: held.message.to_string(),
        reason: "link".into(),
        flagged_at: held.created_at,
        held: true,
        shadowed: false,
        badges: Default::default(),
        parent_id: None,
        evidence: Default::default(),
        claimed_by: None,
        claim_expires_at: None,
        claimed_by_you: false,
        alike: 0,
    }
}

fn claimed_by(name: &str, console: &Console, item: ReviewItem) -> ReviewItem {
    ReviewItem {
        claimed_by: Some(format!("{name} (uid 1001)")),
        claim_expires_at: Some(console.now_ms() + 41_000),
        claimed_by_you: name == "ann",
        ..item
    }
}

/// Returns the requests that claim, with whether they release.
fn claims(effect: Option<Effect>) -> Vec<(CommentId, bool)> {
    let Some(Effect::Run(actions)) = effect else { panic!("{effect:?}") };
    let claim = |action: Action| match action {
        Action::Claim(claim) => (claim.comment_id, claim.release),
        other => panic!("{other:?}"),
    };
    actions.into_iter().map(claim).collect()
}

#[test]
fn opening_a_comment_to_review_claims_it() {
    let mut console = console();
    console.go(Place::View(View::Moderation));
    console.side.reviews = vec![flagged(1)];
    assert_eq!(enter(&mut console), None);
    assert_eq!(console.mode, Mode::Reading(0), "it is read all the same");
    let why = "not claimed: locked: ! unlocks acts";
    assert_eq!(console.notice, Some(Notice::Failed(why.into())));
    escape(&mut console);
    type_text(&mut console, "!");
    let opened = enter(&mut console);
    assert_eq!(console.mode, Mode::Reading(0));
    assert_eq!(claims(opened), [(flagged(1).comment_id, false)]);
    escape(&mut console);
    console.side.reviews = vec![claimed_by("bob", &console, flagged(1))];
    assert_eq!(enter(&mut console), None);
    let Some(Notice::Failed(text)) = &console.notice else { panic!() };
    assert!(text.contains("bob holds comment") && text.ends_with("another 0:41"), "{text}");
}

#[test]
fn what_others_hold_is_not_decided() {
    let mut console = unlocked();
    console.go(Place::View(View::Moderation));
    console.side.reviews = vec![claimed_by("bob", &console, flagged(1)), flagged(2)];
    for key in ["A", "R", "C"] {
        console.notice = None;
        assert_eq!(type_text(&mut console, key), None);
        let Some(Notice::Failed(text)) = &console.notice else { panic!("{key}") };
        assert!(text.contains("bob holds comment"), "{key}: {text}");
    }
    type_text(&mut console, "V");
    assert_eq!(type_text(&mut console, "R"), None);
    let Some(Notice::Failed(text)) = &console.notice else { panic!() };
    assert!(text.contains("bob holds comment"), "{text}");
    // Unmarked, only the free one is decided.
    press(&mut console, KeyCode::Home.into());
    type_text(&mut console, "v");
    let Some(Effect::Run(actions)) = type_text(&mut console, "R") else { panic!() };
    assert!(matches!(&actions[..], [Action::Reject(r)] if r.comment_id == flagged(2).comment_id));
}

#[test]
fn c_claims_and_releases_and_keeps_the_marks() {
    let mut console = unlocked();
    console.go(Place::View(View::Moderation));
    console.side.reviews = vec![flagged(1), claimed_by("ann", &console, flagged(2))];
    let [one, two] = [1, 2].map(|number| flagged(number).comment_id);
    assert_eq!(claims(type_text(&mut console, "C")), [(one, false)]);
    type_text(&mut console, "V");
    assert_eq!(claims(type_text(&mut console, "C")), [(one, false), (two, false)], "renewed");
    let action = Action::Claim(ClaimRequest { comment_id: one, release: false });
    undo_done(&mut console, &[(action, 0)], "claim".into());
    assert_eq!(console.table(Panel::Reviews).marked.len(), 2);
    escape(&mut console);
    press(&mut console, KeyCode::Down.into());
    assert_eq!(claims(type_text(&mut console, "C")), [(two, true)]);
}

#[test]
fn users_of_decisions_and_offenders_are_acted_on() {
    let mut console = unlocked();
    console.go(Place::View(View::Moderation));
    let decided = |number| ModerationDecision {
        comment_id: flagged(number).comment_id,
        stream_id: StreamId(7),
        user_id: UserId(40 + number),
        name: None,
        message: None,
        decision: Decision::Reject,
        reason: "link".into(),
        decided_by: "rules".into(),
        by_person: false,
        in_bulk: false,
        decided_at: console.now_ms(),
        stage: None,
        score: None,
        scores: Default::default(),
        model: None,
    };
    // The same comment twice: it was removed after it had been approved.
    console.side.decisions = vec![decided(1), decided(1), decided(2)];
    console.side.offenders = vec![Offender {
        user_id: UserId(77),
        name: Some("zed".into()),
        removed: 9,
        reason: "link".into(),
        last_at: console.now_ms(),
    }];
    press(&mut console, KeyCode::Tab.into());
    assert_eq!(console.decisions().rows.len(), 2);
    press(&mut console, KeyCode::Down.into());
    assert_eq!(console.acted_users(), [UserRef("id:42".into())]);
    assert_eq!(type_text(&mut console, "A"), None, "what was removed is shown again: it asks");
    let Some(Effect::Run(actions)) = press(&mut console, KeyCode::Enter.into()) else { panic!() };
    let [Action::Restore(request)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(request.comment_id, flagged(2).comment_id);
    console.mode = Mode::Watching;
    press(&mut console, KeyCode::Tab.into());
    assert_eq!(console.acted_users(), [UserRef("id:77".into())]);
}

#[test]
fn comments_to_review_stand_or_go() {
    let mut console = unlocked();
    console.go(Place::View(View::Moderation));
    let held = comment(1, 42, "is this allowed?");
    console.side.reviews = vec![flagged(1)];
    let Some(Effect::Run(actions)) = type_text(&mut console, "A") else { panic!() };
    assert!(matches!(&actions[..], [Action::Approve(r)] if r.comment_id == held.comment_id));
    let Some(Effect::Run(actions)) = type_text(&mut console, "R") else { panic!() };
    assert!(matches!(&actions[..], [Action::Reject(_)]));
}

#[test]
fn s_shadow_bans_after_its_effect_is_shown() {
    let mut console = on_stream();
    type_text(&mut console, "s");
    let Mode::Form(form) = &console.mode else { panic!("{:?}", console.mode) };
    assert!(form.title().starts_with("shadow ban"), "{}", form.title());
    press(&mut console, KeyCode::Down.into());
    type_text(&mut console, "7");
    (0..2).for_each(|_| drop(enter(&mut console)));
    let Mode::Confirm(question) = &console.mode else { panic!("{:?}", console.mode) };
    assert!(question.title.ends_with("on stream 7"), "{}", question.title);
    let asked = answer(&mut console, Ok("Shadow-ban user_45 (user 45) on stream 7."));
    let users = vec![UserRef("id:45".into())];
    let stream_id = Some(StreamId(7));
    assert_eq!(asked, PreviewRequest::Shadow { users, stream_id, duration_ms: None });
    let Some(Effect::Run(actions)) = enter(&mut console) else { panic!("{:?}", console.notice) };
    assert!(matches!(&actions[..], [Action::Shadow(request)] if request.stream_id == stream_id));
}

#[test]
fn a_shadow_ban_of_marked_users_is_one_question() {
    let mut console = on_stream();
    type_text(&mut console, "V:");
    escape(&mut console);
    type_text(&mut console, "s");
    (0..3).for_each(|_| drop(enter(&mut console)));
    answer(&mut console, Ok("Shadow-ban 3 users."));
    let Some(Effect::Run(actions)) = enter(&mut console) else { panic!("{:?}", console.mode) };
    assert!(actions.iter().all(|action| matches!(action, Action::Shadow(_))), "{actions:?}");
    assert_eq!(actions.len(), 3);
    let done: Vec<_> = actions.into_iter().zip(17..).collect();
    undo_done(&mut console, &done, "shadow-banned".to_owned());
    let Some(Effect::TakeBack(entry)) = type_text(&mut console, "U") else {
        panic!("{:?}", console.notice)
    };
    let undone = entry.reversals.iter().map(|action| match action {
        Action::Undo(request) => request.audit_id,
        other => panic!("{other:?}"),
    });
    assert_eq!(undone.collect::<Vec<_>>(), [19, 18, 17]);
}

#[test]
fn a_timeout_offers_the_presets_of_the_room() {
    let presets = |console: &mut Console| {
        type_text(console, "m");
        let Mode::Form(form) = &console.mode else { panic!("{:?}", console.mode) };
        let hint = form.fields[3].hint.to_string();
        escape(console);
        hint
    };
    let mut console = on_stream();
    assert_eq!(presets(&mut console), "1 1m, 2 10m, 3 1d; or any time; empty is 1m");
    console.go(Place::View(View::Moderation));
    assert_eq!(presets(&mut console), "1s to 30d; empty is 10m", "no stream is meant");
    console.side.reviews = vec![flagged(1)];
    assert!(presets(&mut console).starts_with("1 1m, "), "that of the comment");
}

#[test]
fn the_rules_of_a_room_are_set_by_a_line() {
    let mut console = on_stream();
    assert_eq!(type_line(&mut console, "room 7 slow 30s"), None);
    let Mode::Confirm(question) = &console.mode else { panic!("{:?}", console.mode) };
    assert_eq!(question.title, "stream 7: slow mode is 30s");
    let Some(Effect::Run(actions)) = enter(&mut console) else { panic!("{:?}", console.notice) };
    assert!(matches!(&actions[..], [Action::Room { stream_id: StreamId(7), .. }]));
    type_line(&mut console, "room 7 slow fast");
    let Mode::Palette(line) = &console.mode else { panic!("{:?}", console.mode) };
    assert!(line.error.as_ref().unwrap().contains("or off"), "{line:?}");
    let rules: Vec<_> =
        completions(&console, "room 7 s").into_iter().map(|(text, _)| text).collect();
    assert_eq!(rules, ["room 7 slow ", "room 7 subscribers ", "room 7 shield "]);
}

#[test]
fn a_row_of_a_user_tells_the_shadow_bans() {
    let mut console = on_stream();
    console.side.shadows = vec![Shadow {
        user_id: UserId(45),
        stream_id: None,
        name: None,
        created_by: "ann (uid 1000)".to_owned(),
        created_at: 0,
        expires_at: None,
    }];
    let told = console.selected_in_full();
    let expected = "the shadow on all streams without an end, set by ann".to_owned();
    assert_eq!(told.last(), Some(&("shadow ban", expected)));
}

#[test]
fn the_palette_lists_and_completes_terms_of_a_room() {
    let mut console = on_stream();
    let term = |term: &str, action| RoomTerm { term: term.to_owned(), action };
    type_line(&mut console, "room 7 terms");
    let Mode::Palette(line) = &console.mode else { panic!("{:?}", console.mode) };
    assert!(line.error.as_ref().unwrap().contains("press Enter again"), "{line:?}");
    assert_eq!(console.needs().terms, Some(StreamId(7)), "read while the line is typed");
    let terms = vec![term("buy now", TermAction::ShadowBan), term("spam", TermAction::Reject)];
    console.side.terms = Some(ReadTerms { stream_id: StreamId(7), terms: Ok(terms) });
    enter(&mut console);
    let listed = "stream 7 has 2 blocked terms: buy now (shadow-ban), spam (reject)";
    assert_eq!(console.notice, Some(Notice::Done(listed.to_owned())));
    assert_eq!(console.needs().terms, None);
    let texts = |typed: &str| -> Vec<String> {
        completions(&console, typed).into_iter().map(|(text, _)| text).collect()
    };
    let remove = "room 7 terms remove ";
    assert_eq!(
        texts(remove),
        [remove.to_owned(), format!("{remove}\"buy now\""), format!("{remove}spam")]
    );
    assert_eq!(texts(&format!("{remove}\"b")), [format!("{remove}\"buy now\"")]);
    assert_eq!(texts(&format!("{remove}x s")), [format!("{remove}x spam")]);
    assert_eq!(texts("room 7 terms l"), ["room 7 terms list"]);
    let actions = texts("room 7 terms add x --action f");
    assert_eq!(actions, ["room 7 terms add x --action flag"]);
    console.veiled = true;
    type_line(&mut console, "room 7 terms list");
    let counted = "stream 7 has 2 blocked terms".to_owned();
    assert_eq!(console.notice, Some(Notice::Done(counted)), "a projector shows no terms");
}
