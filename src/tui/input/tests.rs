use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::*;
use crate::protocol::admin::{
    AdminRole, ClaimRequest, DrainRequest, ModerationDecision, Offender, Preview, PreviewRequest,
    ReviewItem, SameText, SaveViewRequest, SavedView, Session, TableSettings, TailItem, Talker,
    Talkers, UserRef,
};
use crate::protocol::comment::SequencedComment;
use crate::protocol::events::Decision;
use crate::protocol::text::alike_key;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, NodeId, StreamId, UserId};
use crate::tui::act::{ActEffect, Action};
use crate::tui::commands::Keymap;
use crate::tui::contexts::ContextEntry;
use crate::tui::feed::{Metric, samples};
use crate::tui::hits::{Hits, Target};
use crate::tui::state::{Console, Effect, Mode, Notice, Panel, Place, Tail, View};
use crate::tui::table::RowKey;
use crate::tui::theme::ThemeName;
use crate::tui::view;

fn console() -> Console {
    let mut console = Console::new(Keymap::default(), ThemeName::Dark, false);
    (0..=60).for_each(|second| console.add_snapshot(samples::throttled(second)));
    console
}

fn unlocked() -> Console {
    let mut console = console();
    type_text(&mut console, "!");
    console
}

fn type_text(console: &mut Console, text: &str) -> Option<Effect> {
    text.chars().fold(None, |_, c| press(console, KeyCode::Char(c).into()))
}

fn enter(console: &mut Console) -> Option<Effect> {
    press(console, KeyCode::Enter.into())
}

/// Answers what the daemon is asked about the act, and returns that.
fn answer(console: &mut Console, effect: Result<&str, &str>) -> PreviewRequest {
    let Mode::Confirm(question) = &console.mode else { panic!("{:?}", console.mode) };
    let asked = question.asked().cloned().expect("the daemon is asked");
    let preview = |effect: &str| Preview { effect: effect.to_owned(), ..Preview::default() };
    show_effect(console, &asked, effect.map(preview).map_err(str::to_owned));
    asked
}

fn escape(console: &mut Console) {
    press(console, KeyCode::Esc.into());
}

fn comment(number: u64, user: u64, message: &str) -> SequencedComment {
    SequencedComment {
        comment_id: CommentId::from_unix_ticks(17_000_000_000_000_000 + number, 7, [1; 6]),
        user_id: UserId(user),
        name: format!("user_{user}").into(),
        message: message.into(),
        created_at: 1_795_254_408_000 + number,
        seq: number,
    }
}

/// A console on the opened main stream, with comments.
fn on_stream() -> Console {
    let mut console = unlocked();
    console.go(Place::Stream(StreamId(7)));
    let tail = console.side.tail.as_mut().unwrap();
    for number in 0..6 {
        let text = if number % 2 == 0 { "cheap followers" } else { "GOOOL" };
        tail.add(TailItem::Comment(comment(number, 40 + number, text).into()));
    }
    console
}

#[test]
fn it_starts_locked() {
    let mut console = console();
    assert_eq!(type_text(&mut console, "b"), None);
    assert_eq!(console.mode, Mode::Watching);
    assert_eq!(console.notice, Some(Notice::Failed("locked: ! unlocks acts".into())));
    type_text(&mut console, "!b");
    assert!(matches!(console.mode, Mode::Form(_)));
}

fn acting_for(role: AdminRole) -> Console {
    let mut console = on_stream();
    console.set_session(Some(Session {
        node: "edge-1".to_owned(),
        role,
        actor: "ann (token)".to_owned(),
        cluster: None,
        colour: None,
    }));
    console
}

#[test]
fn acts_beyond_the_role_are_refused_in_words() {
    let mut viewer = acting_for(AdminRole::Viewer);
    type_text(&mut viewer, "b");
    let why = "this needs the role moderator, and ann has the role viewer here";
    assert_eq!(viewer.notice, Some(Notice::Failed(why.to_owned())));
    assert_eq!(viewer.mode, Mode::Watching);
    type_text(&mut viewer, "!");
    assert_eq!(viewer.notice, Some(Notice::Failed(why.to_owned())));

    let mut moderator = acting_for(AdminRole::Moderator);
    let why = "this needs the role operator, and ann has the role moderator here";
    for line in ["t", "a", "d"] {
        moderator.notice = None;
        assert_eq!(type_text(&mut moderator, line), None);
        assert_eq!(moderator.notice, Some(Notice::Failed(why.to_owned())), "{line}");
        assert_eq!(moderator.mode, Mode::Watching, "{line}");
    }
    moderator.notice = None;
    type_text(&mut moderator, ":throttle 7 10%");
    assert_eq!(enter(&mut moderator), None);
    assert_eq!(moderator.notice, Some(Notice::Failed(why.to_owned())));
    type_text(&mut moderator, "b");
    assert!(matches!(moderator.mode, Mode::Form(_)), "{:?}", moderator.mode);
}

#[test]
fn read_only_cannot_be_unlocked() {
    let mut console = Console::new(Keymap::default(), ThemeName::Dark, true);
    console.add_snapshot(samples::healthy(1));
    type_text(&mut console, "!b");
    assert_eq!(console.mode, Mode::Watching);
    let Some(Notice::Failed(text)) = &console.notice else { panic!() };
    assert!(text.contains("read-only"));
}

#[test]
fn t_throttles_the_selected_stream_after_its_name() {
    let mut console = unlocked();
    type_text(&mut console, "2t5%");
    assert_eq!(enter(&mut console), None);
    type_text(&mut console, "10m");
    let sample_rate = SampleRate::from_share(0.05);
    let asked =
        PreviewRequest::Throttle { stream_id: StreamId(7), sample_rate, for_ms: Some(600_000) };
    assert_eq!(enter(&mut console), Some(Effect::Preview(asked)));
    answer(&mut console, Ok("17k viewers see less."));
    assert_eq!(enter(&mut console), None, "the name is not typed yet");
    let why = "nothing was done: type 7, then Enter";
    assert_eq!(console.notice, Some(Notice::Failed(why.into())));
    type_text(&mut console, "7");
    let Some(Effect::Run(actions)) = enter(&mut console) else { panic!() };
    let [Action::Throttle(request)] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!(
        (request.stream_id, request.sample_rate, request.for_ms),
        (StreamId(7), SampleRate::from_share(0.05), Some(600_000))
    );
    assert_eq!(console.mode, Mode::Watching);
}

#[test]
fn d_drains_the_node_that_is_selected_or_opened() {
    let node_of = |console: &Console| {
        let Mode::Confirm(question) = &console.mode else { panic!("{:?}", console.mode) };
        let [Action::Drain(request)] = &question.actions[..] else { panic!() };
        (request.node.clone().unwrap(), request.undo)
    };
    let node = NodeId::new;
    let mut console = unlocked();
    console.go(Place::Node(node("edge-2")));
    type_text(&mut console, "d");
    assert_eq!(node_of(&console), (node("edge-2"), false));
    escape(&mut console);
    console.go(Place::View(View::Cluster));
    type_text(&mut console, "d");
    let Some(RowKey::Node(selected)) = console.selected_key() else { panic!() };
    assert_eq!(node_of(&console), (selected, false));
    escape(&mut console);
    type_text(&mut console, ":drain edge-2 --undo");
    enter(&mut console);
    assert_eq!(node_of(&console), (node("edge-2"), true));
    escape(&mut console);
    type_text(&mut console, ":drain edge-7");
    enter(&mut console);
    let Mode::Palette(line) = &console.mode else { panic!("{:?}", console.mode) };
    assert_eq!(line.error.as_deref(), Some("there is no node edge-7"));
}

#[test]
fn a_silent_node_is_not_told_to_drain() {
    let mut console = Console::new(Keymap::default(), ThemeName::Dark, false);
    (0..22).for_each(|second| console.add_snapshot(samples::silent_and_back(second)));
    type_text(&mut console, "!");
    console.go(Place::Node(NodeId::new("edge-2")));
    type_text(&mut console, "d");
    let Some(Notice::Failed(text)) = &console.notice else { panic!("{:?}", console.notice) };
    assert!(text.starts_with("edge-2 does not report"), "{text}");
}

#[test]
fn a_ban_asks_with_its_effect() {
    let mut console = unlocked();
    type_text(&mut console, "bqqq");
    (0..3).for_each(|_| drop(enter(&mut console)));
    type_text(&mut console, "bad");
    assert_eq!(enter(&mut console), None);
    let Mode::Form(form) = &console.mode else { panic!("the form closed with an error in it") };
    assert!(form.error.is_some());
    press(&mut console, KeyEvent::new(KeyCode::Char('u'), KeyModifiers::CONTROL));
    type_text(&mut console, "1h");
    let asked = PreviewRequest::Ban {
        users: vec![UserRef("qqq".into())],
        duration_ms: Some(3_600_000),
        disconnect_after_ms: Some(10_000),
        include_moderators: false,
    };
    assert_eq!(enter(&mut console), Some(Effect::Preview(asked)));
    assert_eq!(enter(&mut console), None, "the effect is not shown yet");
    let why = "nothing was done: its effect is still being computed";
    assert_eq!(console.notice, Some(Notice::Failed(why.into())));
    answer(&mut console, Ok("Ban qqq (user 42) for 1h."));
    assert!(matches!(enter(&mut console), Some(Effect::Run(actions)) if actions.len() == 1));
}

#[test]
fn an_act_is_possible_when_no_effect_is_told() {
    let mut console = unlocked();
    type_line(&mut console, "kick zed");
    let asked = answer(&mut console, Err("the registry does not answer"));
    let Mode::Confirm(question) = &console.mode else { panic!("{:?}", console.mode) };
    let why = ActEffect::Unknown("the registry does not answer".to_owned());
    assert_eq!(question.effect, why);
    assert!(matches!(enter(&mut console), Some(Effect::Run(actions)) if actions.len() == 1));
    // The answer to a question that was closed does not open it again.
    show_effect(&mut console, &asked, Ok(Preview::default()));
    assert_eq!(console.mode, Mode::Watching);
}

#[test]
fn a_question_left_open_is_not_given_once_locked() {
    let mut console = unlocked();
    type_line(&mut console, "kick zed");
    answer(&mut console, Ok("Kick zed (user 42): 2 connections on edge-1."));
    console.clock_ms += 3_600_000;
    assert_eq!(enter(&mut console), None);
    let why = "nothing was done: locked: ! unlocks acts";
    assert_eq!(console.notice, Some(Notice::Failed(why.into())));
    assert_eq!(console.mode, Mode::Watching);
}

#[test]
fn an_act_on_too_many_users_is_refused() {
    let mut console = on_stream();
    let mut tail = Tail::new(StreamId(7));
    (1..=101).for_each(|user| tail.add(TailItem::Comment(comment(user, user, "spam").into())));
    console.side.tail = Some(tail);
    console.focus_on(Panel::Comments);
    type_text(&mut console, "Vm");
    (0..2).for_each(|_| drop(enter(&mut console)));
    assert_eq!(enter(&mut console), None);
    let why = "an act takes at most 100 users, not 101";
    assert_eq!(console.notice, Some(Notice::Failed(why.into())));
    assert_eq!(console.mode, Mode::Watching);
}

#[test]
fn a_text_row_acts_on_all_users_that_say_it() {
    let mut console = on_stream();
    let text = alike_key("cheap followers");
    let talker = |user_id, text| Talker {
        user_id: UserId(user_id),
        name: format!("user_{user_id}"),
        said: 9,
        error: 0,
        refused: 0,
        removed: 0,
        text,
    };
    let same = "Cheap followers!".to_owned();
    let texts = vec![SameText { id: text, text: same, users: 38, said: 214, error: 0, new: 31 }];
    let talkers = vec![talker(40, text), talker(77, text), talker(41, 5)];
    let opened = StreamId(7);
    let counted = Talkers { window_ms: 60_000, talkers, texts, ..Talkers::none_of(opened) };
    console.side.talkers = Some(counted);
    console.focus_on(Panel::Talkers);
    press(&mut console, KeyCode::Home.into());
    assert_eq!(console.selected_key(), Some(RowKey::Text(text)), "it was said most");
    // Three users of the comments on the screen, and one that the daemon has counted.
    let users = ["id:40", "id:42", "id:44", "id:77"].map(|user| UserRef(user.to_owned()));
    assert_eq!(console.acted_users(), users);
    type_text(&mut console, "V");
    assert_eq!(console.table(Panel::Talkers).marked.len(), 4);
    assert_eq!(console.acted_users(), users);
    console.go(Place::Stream(StreamId(8)));
    assert!(console.side.talkers.is_none() && console.acted_users().is_empty());
}

#[test]
fn older_comments_of_a_talker_are_pointed_at() {
    let mut console = on_stream();
    let talker = |user_id| Talker {
        user_id: UserId(user_id),
        name: format!("user_{user_id}"),
        said: 9,
        error: 0,
        refused: 0,
        removed: 0,
        text: 0,
    };
    for (user_id, rows) in [(40, 1), (77, 0)] {
        let talkers = vec![talker(user_id)];
        let counted = Talkers { window_ms: 60_000, talkers, ..Talkers::none_of(StreamId(7)) };
        console.side.talkers = Some(counted);
        console.focus_on(Panel::Talkers);
        console.notice = None;
        enter(&mut console);
        assert_eq!(console.panel(), Panel::Comments);
        assert_eq!(console.comments().rows.len(), rows);
        assert_eq!(console.notice.is_some(), rows == 0, "{:?}", console.notice);
    }
    let text = console.notice.as_ref().map_or("", Notice::text);
    assert!(text.ends_with("lc user 77 has older ones"), "{text}");
}

#[test]
fn users_without_a_text_are_not_alike() {
    let mut console = on_stream();
    let refused = |user_id| Talker {
        user_id: UserId(user_id),
        name: format!("user_{user_id}"),
        said: 0,
        error: 0,
        refused: 9,
        removed: 0,
        text: 0,
    };
    let talkers = vec![refused(40), refused(77)];
    let counted = Talkers { window_ms: 60_000, talkers, ..Talkers::none_of(StreamId(7)) };
    console.side.talkers = Some(counted);
    console.focus_on(Panel::Talkers);
    press(&mut console, KeyCode::Home.into());
    type_text(&mut console, "V");
    assert!(console.table(Panel::Talkers).marked.is_empty(), "their texts are not known");
}

#[test]
fn marked_comments_act_on_all_their_users() {
    let mut console = on_stream();
    press(&mut console, KeyCode::Home.into());
    // The selected comment says GOOOL, as two others do.
    type_text(&mut console, "V");
    assert_eq!(console.table(Panel::Comments).marked.len(), 3);
    type_text(&mut console, "m");
    let mut effect = None;
    while effect.is_none() && matches!(console.mode, Mode::Form(_)) {
        effect = enter(&mut console);
    }
    let Some(Effect::Run(actions)) = effect else { panic!("{:?}", console.mode) };
    let users: Vec<_> = actions
        .iter()
        .map(|action| match action {
            Action::Timeout(request) => request.user.0.clone(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(users, ["id:41", "id:43", "id:45"]);
    let done: Vec<_> = actions.into_iter().zip(17..).collect();
    undo_done(&mut console, &done, "time out".into());
    assert!(console.table(Panel::Comments).marked.is_empty());
    let Some(Effect::TakeBack(entry)) = type_text(&mut console, "U") else { panic!() };
    assert_eq!(entry.reversals.len(), 3);
    let entries: Vec<_> = entry
        .reversals
        .iter()
        .map(|action| match action {
            Action::Undo(request) => request.audit_id,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(entries, [19, 18, 17], "the latest first");
    assert_eq!(type_text(&mut console, "U"), None, "nothing is left to take back");
    let Some(Notice::Failed(text)) = &console.notice else { panic!("{:?}", console.notice) };
    assert!(text.contains("lc undo N"), "{text}");
    console.undo.put_back(entry.clone());
    assert_eq!(type_text(&mut console, "U"), Some(Effect::TakeBack(entry)), "it did not succeed");
}

#[test]
fn an_undo_that_drains_asks_as_a_drain_does() {
    let mut console = unlocked();
    let node = NodeId::new("edge-1");
    let drain = |undo| Action::Drain(DrainRequest { node: Some(node.clone()), undo });
    undo_done(&mut console, &[(drain(true), 26)], "accept viewers on edge-1 again".into());
    let asked = PreviewRequest::Drain { node: Some(node.clone()) };
    assert_eq!(type_text(&mut console, "U"), Some(Effect::Preview(asked)));
    escape(&mut console);
    assert_eq!(console.mode, Mode::Watching);
    type_text(&mut console, "U");
    answer(&mut console, Ok("9k connections are closed."));
    assert_eq!(enter(&mut console), None, "the node is not typed yet");
    type_text(&mut console, "edge-1");
    let Some(Effect::TakeBack(entry)) = enter(&mut console) else { panic!("{console:?}") };
    assert_eq!(entry.audit_id(), Some(26));
    assert_eq!(type_text(&mut console, "U"), None, "an undo is not undone");
    undo_done(&mut console, &[(drain(false), 27)], "drain edge-1".into());
    let back = type_text(&mut console, "U");
    assert!(matches!(back, Some(Effect::TakeBack(_))), "it only lets viewers in: {back:?}");
}

#[test]
fn an_act_after_its_time_is_left_to_lc_undo() {
    let mut console = unlocked();
    let drain = DrainRequest { node: Some(NodeId::new("edge-1")), undo: false };
    undo_done(&mut console, &[(Action::Drain(drain), 26)], "drain edge-1".into());
    console.clock_ms += 10_000;
    assert_eq!(type_text(&mut console, "U"), None);
    let why = "nothing to take back; lc undo 26 takes back older acts";
    assert_eq!(console.notice, Some(Notice::Failed(why.into())));
}

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
fn enter_keeps_a_filter_and_escape_clears_it() {
    let mut console = console();
    type_text(&mut console, "2/grand");
    enter(&mut console);
    assert_eq!(console.streams(Panel::Streams).rows.len(), 1);
    escape(&mut console);
    assert_eq!(console.streams(Panel::Streams).rows.len(), 12);
}

#[test]
fn enter_refuses_a_wrong_filter() {
    let mut console = console();
    type_text(&mut console, "2/in>>3");
    enter(&mut console);
    assert_eq!(console.mode, Mode::Filtering);
    assert!(console.table(Panel::Streams).filter.error.is_some());
    assert_eq!(console.streams(Panel::Streams).rows.len(), 12, "nothing was entered before");
    escape(&mut console);
    assert_eq!(console.mode, Mode::Watching);
}

#[test]
fn q_is_text_in_a_line_and_control_c_quits_there() {
    let mut console = console();
    type_text(&mut console, "/q");
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(press(&mut console, control_c), Some(Effect::Quit));
    escape(&mut console);
    assert_eq!(type_text(&mut console, "q"), Some(Effect::Quit));
}

#[test]
fn enter_opens_and_escape_goes_back() {
    let mut console = console();
    type_text(&mut console, "2");
    enter(&mut console);
    assert_eq!(*console.place(), Place::Stream(StreamId(7)));
    escape(&mut console);
    assert_eq!(*console.place(), Place::View(View::Streams));
    type_text(&mut console, "3-");
    assert_eq!(console.view(), View::Streams);
}

#[test]
fn an_event_is_opened_in_its_time() {
    let mut console = console();
    (61..=70).for_each(|second| console.add_snapshot(samples::healthy(second)));
    type_text(&mut console, "6");
    enter(&mut console);
    assert!(!console.is_live());
    assert_eq!(console.ago_ms(), Some(9_000));
    press(&mut console, KeyCode::End.into());
    assert!(console.is_live());
}

#[test]
fn the_palette_goes_and_acts() {
    let mut console = unlocked();
    type_text(&mut console, ":stream 5");
    enter(&mut console);
    assert_eq!(*console.place(), Place::Stream(StreamId(5)));
    type_text(&mut console, ":theme light");
    enter(&mut console);
    assert_eq!(console.theme, ThemeName::Light);
    type_text(&mut console, ":lc kick zed");
    let users = vec![UserRef("zed".into())];
    let asked = PreviewRequest::Kick { users, include_moderators: false };
    assert_eq!(enter(&mut console), Some(Effect::Preview(asked)));
    escape(&mut console);
    type_text(&mut console, ":strea");
    press(&mut console, KeyCode::Tab.into());
    let Mode::Palette(line) = &console.mode else { panic!() };
    assert_eq!(line.text, "stream ");
    type_text(&mut console, "99");
    enter(&mut console);
    let Mode::Palette(line) = &console.mode else { panic!() };
    assert_eq!(line.error.as_deref(), Some("there is no stream 99"));
}

fn context(name: &str) -> ContextEntry {
    let place = format!("/run/{name}.sock");
    ContextEntry { name: name.to_owned(), place, colour: None, read_only: name == "prod" }
}

#[test]
fn ctx_attaches_to_a_context_that_is_known() {
    let mut console = unlocked();
    console.set_contexts(Ok(Vec::new()));
    assert_eq!(type_line(&mut console, "ctx prod"), None);
    let error = "there is no context `prod`; lc ctx add prod SOCKET makes it";
    assert_eq!(palette_error(&console), error);
    escape(&mut console);
    console.set_contexts(Ok(["dev", "prod", "staging"].map(context).into()));
    let attach = |name: &str| Some(Effect::Attach(name.to_owned()));
    assert_eq!(type_line(&mut console, "ctx staging"), attach("staging"));
    assert_eq!(type_line(&mut console, "lc ctx dev"), attach("dev"));
    assert_eq!(type_line(&mut console, "ctx prd"), None);
    assert_eq!(palette_error(&console), "there is no context `prd`; there are dev, prod, staging");
    escape(&mut console);
    assert_eq!(type_line(&mut console, "ctx dev prod"), None);
    assert!(palette_error(&console).starts_with("write: ctx NAME"));
    escape(&mut console);
    console.set_contexts(Err("contexts.json is damaged".to_owned()));
    assert_eq!(type_line(&mut console, "ctx dev"), None);
    assert_eq!(palette_error(&console), "contexts.json is damaged");
}

#[test]
fn ctx_completes_the_contexts_and_lists_them() {
    let mut console = console();
    console.set_contexts(Ok(["dev", "prod", "staging"].map(context).into()));
    type_text(&mut console, ":ctx p");
    press(&mut console, KeyCode::Tab.into());
    let Mode::Palette(line) = &console.mode else { panic!() };
    assert_eq!(line.text, "ctx prod");
    let about: Vec<_> = completions(&console, "ctx ").into_iter().map(|(_, about)| about).collect();
    assert_eq!(about[..3], ["/run/dev.sock", "/run/prod.sock, read-only", "/run/staging.sock"]);
    escape(&mut console);
    let told = |console: &mut Console| {
        assert_eq!(type_line(console, "ctx"), None);
        console.notice.take().unwrap()
    };
    let text = "attached to a daemon without a context; others: dev, prod, staging";
    assert_eq!(told(&mut console), Notice::Done(text.to_owned()));
    console.set_context(context("dev"));
    let text = "attached to dev, /run/dev.sock; others: prod, staging";
    assert_eq!(told(&mut console), Notice::Done(text.to_owned()));
    console.set_contexts(Ok(vec![context("dev")]));
    assert!(told(&mut console).text().contains("there are no others: lc ctx add NAME SOCKET"));
}

#[test]
fn nothing_acts_while_the_console_attaches() {
    let mut console = unlocked();
    console.set_contexts(Ok(["dev", "staging"].map(context).into()));
    console.start_attaching(&context("staging")).unwrap();
    let told = "attaching to staging …; Esc cancels";
    assert_eq!(console.notice, Some(Notice::Running(told.into())));
    for keys in ["b", "!", "!b", "U"] {
        assert_eq!(type_text(&mut console, keys), None);
        assert_eq!(console.mode, Mode::Watching, "{keys}");
    }
    let why = "acts are off while the console attaches to staging; Esc cancels";
    assert_eq!(console.notice, Some(Notice::Failed(why.into())));
    assert_eq!(type_line(&mut console, "ctx dev"), None);
    assert_eq!(palette_error(&console), "the console attaches to staging; wait until it has");
    escape(&mut console);
    console.attaching_failed(&context("staging"), "no daemon listens");
    let why = "cannot attach to staging: no daemon listens; nothing has changed";
    assert_eq!(console.notice, Some(Notice::Failed(why.into())));
    type_text(&mut console, "b");
    assert!(matches!(console.mode, Mode::Form(_)), "{:?}", console.mode);
}

#[test]
fn escape_cancels_attaching() {
    let mut console = unlocked();
    console.start_attaching(&context("staging")).unwrap();
    type_text(&mut console, ":");
    escape(&mut console);
    assert!(console.is_attaching_to("staging"), "the line was closed");
    assert_eq!(press(&mut console, KeyCode::Esc.into()), Some(Effect::CancelAttaching));
    let told = "not attached to staging: cancelled; nothing has changed";
    assert_eq!(console.notice, Some(Notice::Done(told.into())));
    assert_eq!(console.turned_away(), None);
    assert_eq!(press(&mut console, KeyCode::Esc.into()), None);
}

#[test]
fn typed_text_stays_text_at_another_daemon() {
    let mut console = console();
    console.start_attaching(&context("staging")).unwrap();
    type_text(&mut console, ":str");
    console.restart_for(context("staging"), None);
    assert_eq!(type_text(&mut console, "eam 7q"), None, "it does not quit");
    assert_eq!(console.command_line(), Some("stream 7q"));
    escape(&mut console);
    for keys in ["/", "?"] {
        type_text(&mut console, keys);
        console.restart_for(context("dev"), None);
        assert_eq!(type_text(&mut console, "aq"), None, "{keys}");
        escape(&mut console);
    }
}

#[test]
fn a_line_about_contexts_is_known_as_one() {
    let mut console = console();
    for (line, expected) in [("ctx", true), (" lc ctx dev", true), ("ctxs", false), ("", false)] {
        type_text(&mut console, ":");
        type_text(&mut console, line);
        assert_eq!(console.has_ctx_line(), expected, "{line}");
        escape(&mut console);
    }
    assert!(!console.has_ctx_line());
}

fn palette_error(console: &Console) -> &str {
    let Mode::Palette(line) = &console.mode else { panic!("{:?}", console.mode) };
    line.error.as_deref().expect("an error")
}

#[test]
fn warnings_of_losses_are_ended_after_a_question() {
    let mut console = unlocked();
    type_text(&mut console, ":lc acknowledge history_incomplete");
    assert_eq!(enter(&mut console), None);
    assert!(matches!(console.mode, Mode::Confirm(_)), "{:?}", console.mode);
    let Some(Effect::Run(actions)) = enter(&mut console) else { panic!() };
    assert!(matches!(&actions[..], [Action::AcknowledgeLoss(_)]), "{actions:?}");
    type_text(&mut console, ":acknowledge s");
    press(&mut console, KeyCode::Tab.into());
    let Mode::Palette(line) = &console.mode else { panic!() };
    assert_eq!(line.text, "acknowledge store_missing");
}

#[test]
fn rows_are_copied_as_json() {
    let mut console = console();
    assert_eq!(type_text(&mut console, "2y"), Some(Effect::Copy("7".into())));
    let Some(Effect::Copy(json)) = type_text(&mut console, "Y") else { panic!() };
    let stream: crate::protocol::admin::StreamStatus = serde_json::from_str(&json).unwrap();
    assert_eq!(stream.stream_id, StreamId(7));
}

fn type_line(console: &mut Console, line: &str) -> Option<Effect> {
    type_text(console, ":");
    type_text(console, line);
    enter(console)
}

fn saved(request: &SaveViewRequest) -> SavedView {
    SavedView {
        name: request.name.clone(),
        settings: request.settings.clone(),
        saved_by: "ann".into(),
        saved_at: 1_795_254_408_000,
    }
}

fn save(console: &mut Console, name: &str) -> SaveViewRequest {
    match type_line(console, &format!("save {name}")) {
        Some(Effect::Run(actions)) => match &actions[..] {
            [Action::SaveView(request)] => request.clone(),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_saved_view_is_shown_as_it_was() {
    let mut ann = console();
    type_text(&mut ann, "2/in>100");
    enter(&mut ann);
    type_text(&mut ann, ">Iwc");
    press(&mut ann, KeyCode::Down.into());
    type_text(&mut ann, " ");
    escape(&mut ann);
    let request = save(&mut ann, "@final");
    assert_eq!(request.name, "final");
    assert_eq!(
        (request.settings.view.as_str(), request.settings.window_ms),
        ("streams", 3_600_000)
    );
    assert_eq!(request.settings.tables[0].filter, "in>100");
    let mut bob = console();
    bob.side.views = vec![saved(&request)];
    type_text(&mut bob, ":@");
    press(&mut bob, KeyCode::Tab.into());
    enter(&mut bob);
    assert_eq!(bob.view(), View::Streams);
    assert_eq!(bob.view_settings(), request.settings);
    assert_eq!(bob.streams(Panel::Streams).rows.len(), ann.streams(Panel::Streams).rows.len());
    let forget = type_line(&mut bob, "forget final");
    assert!(matches!(forget, Some(Effect::Run(actions)) if
        matches!(&actions[..], [Action::ForgetView(request)] if request.name == "final")));
    type_line(&mut bob, "@other");
    let Mode::Palette(line) = &bob.mode else { panic!() };
    assert!(line.error.as_deref().unwrap().contains("no view @other"));
}

#[test]
fn a_view_of_another_version_shows_what_is_known() {
    let mut console = console();
    let mut view = saved(&save(&mut console, "x"));
    view.settings.tables = vec![TableSettings {
        table: "alerts".into(),
        filter: "moon=full".into(),
        sort: Some("tide".into()),
        inverted: true,
        hidden: vec!["tide".into()],
    }];
    console.show_saved(&view).unwrap();
    assert_eq!(console.table(Panel::Alarms).sort, None);
    assert!(!console.table(Panel::Alarms).inverted, "the order of another column");
    assert!(console.table(Panel::Alarms).filter.error.is_some());
    view.settings.view = "tides".into();
    assert!(console.show_saved(&view).unwrap_err().contains("tides"));
}

#[test]
fn a_read_only_console_saves_no_view() {
    let mut console = Console::new(Keymap::default(), ThemeName::Dark, true);
    console.add_snapshot(samples::healthy(1));
    assert_eq!(type_line(&mut console, "save final"), None);
    assert!(matches!(&console.notice, Some(Notice::Failed(text)) if text.contains("read-only")));
}

#[test]
fn an_own_alert_is_set_told_and_removed() {
    let mut console = console();
    console.go_live();
    type_line(&mut console, "alert queued>2 for 3s");
    assert!(matches!(&console.notice, Some(Notice::Done(text)) if text.contains("alert 1")));
    for second in 61..=64 {
        assert_eq!(console.take_raised(), None);
        let mut snapshot = samples::healthy(second);
        snapshot.moderation.queued = 5;
        console.add_snapshot(snapshot);
    }
    assert_eq!(console.take_raised().as_deref(), Some("queued>2 for 3s"));
    assert_eq!(console.take_raised(), None, "once");
    assert!(matches!(&console.notice, Some(Notice::Failed(text)) if text.contains("queued>2")));
    type_line(&mut console, "alert");
    assert!(matches!(&console.notice, Some(Notice::Done(text)) if text.contains("(true for")));
    type_line(&mut console, "alert off");
    assert!(matches!(&console.mode, Mode::Palette(line) if line.error.is_some()), "it has no N");
    escape(&mut console);
    type_line(&mut console, "alert off 1");
    type_line(&mut console, "alert");
    assert!(matches!(&console.notice, Some(Notice::Done(text)) if text.contains("no alerts")));
    type_line(&mut console, "alert weather=good");
    assert!(matches!(&console.mode, Mode::Palette(line) if line.error.is_some()));
}

fn click(x: u16, y: u16) -> MouseEvent {
    let kind = MouseEventKind::Down(MouseButton::Left);
    MouseEvent { kind, column: x, row: y, modifiers: KeyModifiers::NONE }
}

#[test]
fn the_mouse_goes_sorts_and_opens_but_never_acts() {
    let mut console = unlocked();
    console.go(Place::View(View::Streams));
    let area = Rect::new(0, 0, 120, 36);
    let mut buffer = Buffer::empty(area);
    let hits = view::draw(area, &mut buffer, &console, false);
    let mut clicks = Clicks::default();
    let mut at_all = |console: &mut Console, wanted: fn(&Target) -> bool| {
        let cells = (0..120_u16).flat_map(|x| (0..36_u16).map(move |y| (x, y)));
        let mut found = cells.filter(|(x, y)| hits.at(*x, *y).is_some_and(wanted));
        let cell = found.next_back();
        let (x, y) = cell.expect("there is such a target");
        mouse(console, &mut clicks, &hits, click(x, y))
    };
    let last_row: fn(&Target) -> bool = |target| matches!(target, Target::Row(Panel::Streams, _));
    at_all(&mut console, last_row);
    let chosen = console.selected_key();
    at_all(&mut console, last_row);
    assert!(matches!(console.place(), Place::Stream(_)), "a double click opens {chosen:?}");
    console.go(Place::View(View::Streams));
    at_all(&mut console, |target| matches!(target, Target::Header(_, "title")));
    assert_eq!(console.table(Panel::Streams).sort, Some("title"));
    for y in 0..36 {
        for x in 0..120 {
            let effect = mouse(&mut console, &mut Clicks::default(), &hits, click(x, y));
            assert!(!matches!(effect, Some(Effect::Run(_) | Effect::Quit)), "{x} {y}");
            assert!(!matches!(console.mode, Mode::Form(_)), "{x} {y}");
            escape(&mut console);
        }
    }
    at_all(&mut console, |target| matches!(target, Target::View(View::Events)));
    assert_eq!(console.view(), View::Events);
}

/// Presses the left button at a column, moves to another and lets go.
fn drag(console: &mut Console, hits: &Hits, y: u16, from: u16, to: u16) {
    let mut clicks = Clicks::default();
    let event = |kind, column| MouseEvent { kind, ..click(column, y) };
    mouse(console, &mut clicks, hits, click(from, y));
    mouse(console, &mut clicks, hits, event(MouseEventKind::Drag(MouseButton::Left), to));
    mouse(console, &mut clicks, hits, event(MouseEventKind::Up(MouseButton::Left), to));
}

#[test]
fn dragging_over_a_chart_goes_back_in_time() {
    let mut console = unlocked();
    let area = Rect::new(0, 0, 120, 36);
    for enlarged in [false, true] {
        console.go_live();
        console.mode = if enlarged { Mode::Enlarged(Metric::In) } else { Mode::Watching };
        let hits = view::draw(area, &mut Buffer::empty(area), &console, false);
        let is_chart = |x, y| matches!(hits.at(x, y), Some(Target::Chart(_)));
        let y = (0..36).find(|y| (0..120).any(|x| is_chart(x, *y))).unwrap();
        let left = (0..120).find(|x| is_chart(*x, y)).unwrap();
        let right = (left..120).take_while(|x| is_chart(*x, y)).last().unwrap();
        drag(&mut console, &hits, y, right, right);
        assert!(console.is_live(), "the right end is now");
        let back = if enlarged { 4 } else { 2 };
        drag(&mut console, &hits, y, right, right - back);
        let ago = console.ago_ms().expect("it went back");
        assert!((10_000..=60_000).contains(&ago), "{ago}");
        assert!(console.acts_off().unwrap().contains("not live"));
        assert_eq!(console.notice, None);
        drag(&mut console, &hits, y, right, 0);
        assert!(matches!(console.notice, Some(Notice::Failed(_))), "{:?}", console.notice);
    }
    // A key that opens something during a drag ends it.
    console.go_live();
    console.mode = Mode::Watching;
    let hits = view::draw(area, &mut Buffer::empty(area), &console, false);
    let mut cells = (0..36_u16).flat_map(|y| (0..120_u16).map(move |x| (x, y)));
    let is_chart = |place: &(u16, u16)| matches!(hits.at(place.0, place.1), Some(Target::Chart(_)));
    let (right, y) = cells.rfind(is_chart).unwrap();
    let mut clicks = Clicks::default();
    mouse(&mut console, &mut clicks, &hits, click(right, y));
    console.mode = Mode::Reading(0);
    for kind in [MouseEventKind::Drag(MouseButton::Left), MouseEventKind::Up(MouseButton::Left)] {
        mouse(&mut console, &mut clicks, &hits, MouseEvent { kind, ..click(right - 2, y) });
    }
    assert!(console.is_live(), "the time does not change behind what is read");
    // A click without a drag, and a drag that begins elsewhere, change nothing.
    console.go_live();
    console.mode = Mode::Watching;
    let hits = view::draw(area, &mut Buffer::empty(area), &console, false);
    drag(&mut console, &hits, 35, 0, 60);
    assert!(console.is_live());
}

fn any_key() -> impl Strategy<Value = KeyEvent> {
    let code = prop_oneof![
        6 => any::<char>().prop_map(KeyCode::Char),
        20 => proptest::sample::select(
            "123456jkgG/:<>Iwec vVyoiPTUtabmxuARCdz?!-[]q0%.=\"é".chars().collect::<Vec<_>>()
        )
        .prop_map(KeyCode::Char),
        12 => proptest::sample::select(vec![
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Tab,
            KeyCode::BackTab,
            KeyCode::Backspace,
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::Left,
            KeyCode::Right,
            KeyCode::PageDown,
            KeyCode::End,
            KeyCode::Home,
            KeyCode::F(1),
        ]),
    ];
    (code, any::<bool>()).prop_map(|(code, control)| {
        let rare = control && matches!(code, KeyCode::Char('l' | 'u' | 'w'));
        let modifiers = if rare { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        KeyEvent::new(code, modifiers)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_of_keys_panics(
        keys in proptest::collection::vec(any_key(), 1..120),
        width in 1_u16..250,
        height in 1_u16..80,
    ) {
        let mut console = on_stream();
        let area = Rect::new(0, 0, width, height);
        for (step, key) in keys.into_iter().enumerate() {
            press(&mut console, key);
            if step % 10 == 0 {
                let mut buffer = Buffer::empty(area);
                let hits = view::draw(area, &mut buffer, &console, false);
                for hit in hits.areas() {
                    prop_assert_eq!(hit.intersection(area), hit);
                }
            }
        }
        let settings = console.view_settings();
        let request = SaveViewRequest { name: "x".into(), settings: settings.clone() };
        let mut other = on_stream();
        prop_assert_eq!(other.show_saved(&saved(&request)), Ok(()));
        prop_assert_eq!(other.view_settings(), settings);
    }
}
