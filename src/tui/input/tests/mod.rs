mod acting;
mod moderating;
mod mouse;
mod palette;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use super::*;
use crate::protocol::admin::{
    AdminRole, ClaimRequest, DrainRequest, ModerationDecision, Offender, Preview, PreviewRequest,
    ReviewItem, SameText, SaveViewRequest, SavedView, Session, Shadow, TableSettings, TailItem,
    Talker, Talkers, UserRef,
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
        badges: Default::default(),
        parent_id: None,
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

fn any_key() -> impl Strategy<Value = KeyEvent> {
    let code = prop_oneof![
        6 => any::<char>().prop_map(KeyCode::Char),
        20 => proptest::sample::select(
            "123456jkgG/:<>Iwec vVyoiPTUtabmxusSARCdz?!-[]q0%.=\"é".chars().collect::<Vec<_>>()
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
