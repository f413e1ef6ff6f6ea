//! The command line.

use super::*;

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

#[test]
fn a_timeout_with_a_time_needs_no_room() {
    let mut console = unlocked();
    assert_eq!(type_line(&mut console, "timeout ann --stream 99"), None);
    assert_eq!(palette_error(&console), "there is no stream 99");
    escape(&mut console);
    let asked = type_line(&mut console, "timeout ann --stream 99 --for 1m");
    assert!(matches!(asked, Some(Effect::Preview(_))), "{asked:?}");
    let mut console = Console::new(Keymap::default(), ThemeName::Dark, false);
    for line in ["timeout ann --stream 5", "stream 5", "node edge-1"] {
        assert_eq!(type_line(&mut console, line), None);
        assert_eq!(palette_error(&console), "there is no snapshot yet", "{line}");
        escape(&mut console);
    }
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
