//! Acts on streams, nodes and users: what they ask, and what takes them back.

use super::*;

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
        stream_id: None,
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
