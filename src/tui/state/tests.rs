use super::*;
use crate::protocol::StreamId;
use crate::tui::feed::Metric;
use crate::tui::feed::samples::{self, healthy, idle};
use crate::tui::table::RowKey;

fn console(snapshots: impl IntoIterator<Item = TopSnapshot>) -> Console {
    let mut console = Console::new(Keymap::default(), ThemeName::Dark, false);
    snapshots.into_iter().for_each(|snapshot| console.add_snapshot(snapshot));
    console
}

fn busy() -> Console {
    console((0..=60).map(samples::throttled))
}

fn ids(console: &Console) -> Vec<u64> {
    console.streams(Panel::Streams).rows.iter().map(|row| row.status.stream_id.0).collect()
}

/// A console of a recording of a minute, on its middle.
fn replaying() -> Console {
    let live = busy();
    let last_ms = live.now_ms();
    let mut console = Console::new(Keymap::default(), ThemeName::Dark, false);
    let happened = live.feed().happenings().iter().cloned().collect();
    console.start_replay(last_ms - 60_000, last_ms, happened);
    let moment = live.feed().at(last_ms - 30_000).unwrap();
    console.show_recorded(Moment::clone(&moment), std::iter::empty());
    console
}

#[test]
fn a_recording_is_sought_and_never_acts() {
    let mut console = replaying();
    let now = console.now_ms();
    assert!(!console.is_live() && console.replay().is_some_and(|replay| replay.is_playing));
    assert!(console.acts_off().unwrap().contains("recording"));
    console.step_time(-10);
    assert_eq!(console.take_seek(), Some(Seek::By(-150_000)));
    assert_eq!(console.take_seek(), None, "once");
    assert!(console.go_to(now + 7_000));
    assert_eq!(console.take_seek(), Some(Seek::To(now + 7_000)));
    assert!(!console.go_to(now - 60_000), "before its beginning");
    assert_eq!(console.take_seek(), None);
    console.go_live();
    assert_eq!(console.take_seek(), Some(Seek::To(now + 30_000)), "its end");
    console.toggle_pause();
    assert!(console.replay().is_some_and(|replay| !replay.is_playing));
    assert_eq!(console.latest_ms(), now + 30_000);
    assert!(console.just_now().all(|happening| happening.at_ms <= now));
}

#[test]
fn any_time_of_a_recording_can_be_sought() {
    let mut console = Console::new(Keymap::default(), ThemeName::Dark, false);
    console.start_replay(5_000, u64::MAX, Vec::new());
    console.go_live();
    assert_eq!(console.take_seek(), Some(Seek::To(u64::MAX)));
}

#[test]
fn charts_of_a_recording_have_its_figures_and_gaps() {
    let mut console = replaying();
    let moment = Moment::clone(console.moment().unwrap());
    let end_ms = moment.at_ms;
    let figures = [[5.0; Metric::ALL.len()], [7.0; Metric::ALL.len()], [f32::NAN; 12]];
    let times = [end_ms - 200_000, end_ms - 2_000, end_ms];
    console.show_recorded(moment, times.into_iter().zip(&figures));
    let window =
        |span_ms, cells| console.feed().series().window(Metric::In, end_ms, span_ms, cells);
    assert_eq!(window(3_000, 3), [Some(7.0), None, None]);
    assert_eq!(console.feed().series().peak(Metric::In, end_ms, 3_600_000), Some(7.0));
    let peak = |span_ms| console.feed().series().peak(Metric::In, end_ms, span_ms);
    assert_eq!(peak(100_000), Some(7.0));
    assert_eq!(peak(300_000), Some(7.0));
}

#[test]
fn pausing_stops_the_screen_but_not_the_feed() {
    let mut console = busy();
    let shown = console.now_ms();
    console.toggle_pause();
    for second in 61..70 {
        console.add_snapshot(healthy(second));
    }
    assert_eq!(console.now_ms(), shown);
    assert!(console.is_paused() && console.acts_off().is_some());
    console.toggle_pause();
    assert_eq!(console.now_ms(), shown + 9_000);
}

#[test]
fn every_view_can_be_gone_back_to() {
    let mut console = busy();
    let now = console.now_ms();
    console.add_snapshot(healthy(61));
    console.step_time(-1);
    let ago = console.ago_ms().unwrap();
    assert!(ago >= 1_000, "{ago}");
    let main = console.moment().unwrap().stream(StreamId(7)).unwrap();
    assert_eq!(main.throttle_level, 2, "the stream as it was");
    assert!(console.acts_off().unwrap().contains("not live"));
    console.step_time(1_000);
    assert!(console.is_live());
    assert!(console.go_to(now - 30_000));
    assert_eq!(console.now_ms(), now - 30_000);
    console.go_live();
    assert_eq!(console.now_ms(), now + 1_000);
    assert!(!console.go_to(now - 100_000), "that was before the console");
}

#[test]
fn a_lost_connection_is_shown_until_the_next_snapshot() {
    let mut console = busy();
    console.connection_lost("the daemon ended the stream".into(), Duration::from_millis(250));
    assert!(matches!(console.connection, Connection::Lost { .. }));
    assert!(console.moment().is_some(), "the last known state stays on the screen");
    console.add_snapshot(idle(800));
    assert_eq!(console.connection, Connection::Live);
    assert_eq!(console.feed().restarts(), 1);
}

#[test]
fn streams_are_filtered_by_their_columns() {
    let mut console = busy();
    let mut filter = |text: &str| {
        let filtered = Panel::Streams.filtered();
        console.table_mut(Panel::Streams).filter.set(text.to_owned(), filtered);
        ids(&console)
    };
    assert_eq!(filter("").len(), 12);
    assert_eq!(filter("GRAND"), [7]);
    assert_eq!(filter("in>1k and state=live"), [7]);
    assert_eq!(filter("share<100%"), [7, 5]);
    assert!(filter("no such").is_empty());
    console.select(1);
    assert_eq!(console.selected_key(), None);
}

#[test]
fn the_selection_follows_its_stream() {
    let mut console = busy();
    console.go(Place::View(View::Streams));
    console.select(3);
    let chosen = console.selected_key();
    assert!(chosen.is_some());
    for _ in 0..5 {
        let columns = Panel::Streams.columns();
        console.table_mut(Panel::Streams).step_sort(columns, true);
        assert_eq!(console.selected_key(), chosen);
    }
    console.select(isize::MIN);
    let first = console.selected_key();
    console.select(isize::MAX);
    assert_ne!(console.selected_key(), first);
}

#[test]
fn silent_nodes_come_first() {
    let mut console = console((0..22).map(samples::silent_and_back));
    let listing = console.nodes(Panel::Nodes);
    assert_eq!(listing.rows[0].name.as_str(), "edge-2");
    assert_eq!((listing.rows.len(), listing.rows[0].status), (3, None));
    assert_eq!(listing.rows[0].state().text, "silent 0:05");
    console.go(Place::View(View::Cluster));
    let Some(RowKey::Node(node)) = console.selected_key() else { panic!() };
    assert_eq!(node.as_str(), "edge-2");
}

#[test]
fn a_view_fetches_only_what_it_shows() {
    let mut console = busy();
    assert_eq!(console.needs(), Needs::default());
    console.go(Place::View(View::Moderation));
    assert!(console.needs().reviews && console.needs().tail.is_none());
    console.go(Place::Stream(StreamId(7)));
    assert_eq!(console.needs().tail, Some(StreamId(7)));
    console.go_to_previous();
    assert_eq!(console.view(), View::Moderation);
}

#[test]
fn another_daemon_is_a_new_console() {
    let mut console = busy();
    let session = |cluster: &str, role| Session {
        node: "edge-1".to_owned(),
        role,
        actor: "ann (uid 0)".to_owned(),
        cluster: Some(cluster.to_owned()),
        colour: None,
    };
    console.set_session(Some(session("prod-eu", AdminRole::Operator)));
    console.lock.toggle(0);
    console.clock_ms = 5_000;
    console.theme = ThemeName::Light;
    console.veiled = true;
    console.own_alerts.add("late>1%").unwrap();
    console.go(Place::Stream(StreamId(7)));
    console.step_time(-5);
    let table = console.table_mut(Panel::Streams);
    table.sort = Some("title");
    table.marked.insert(RowKey::Stream(StreamId(7)));
    table.selected = Some(RowKey::Stream(StreamId(7)));
    let reversals = Vec::new();
    let equivalents = Vec::new();
    let text = "ban zed".to_owned();
    console.undo.push(UndoEntry { text, reversals, equivalents, at_ms: 0, window_ms: 10_000 });
    let staging = ContextEntry {
        name: "staging".to_owned(),
        place: "/run/staging.sock".to_owned(),
        colour: None,
        read_only: false,
    };
    console.set_contexts(Ok(vec![staging.clone()]));
    let refused = console.start_attaching(&staging).unwrap_err();
    assert_eq!(refused, "ban zed can still be taken back: U, or wait 5 s");
    assert_eq!(console.turned_away(), None);
    console.clock_ms = 10_000;
    console.start_attaching(&staging).unwrap();
    console.restart_for(staging.clone(), Some(session("staging-eu", AdminRole::Viewer)));
    // Nothing is left of the cluster before.
    assert!(console.moment().is_none() && console.is_live());
    assert_eq!(console.place(), &Place::View(View::Streams));
    assert!(console.undo.latest().is_none() && !console.lock.is_open(10_000));
    assert!(console.side.tail.is_none() && console.table(Panel::Streams).marked.is_empty());
    assert_eq!(console.table(Panel::Streams).selected, None);
    assert_eq!(console.who().as_deref(), Some("ann, viewer"));
    let label = console.cluster_label().unwrap();
    assert_eq!((label.name.as_str(), label.context.as_deref()), ("staging-eu", Some("staging")));
    let told = "attached to staging, /run/staging.sock; acts are locked";
    assert_eq!(console.notice, Some(Notice::Done(told.to_owned())));
    assert_eq!(console.turned_away(), None);
    // The operator's own choices are.
    assert_eq!((console.theme, console.veiled, console.clock_ms), (ThemeName::Light, true, 10_000));
    assert_eq!(console.table(Panel::Streams).sort, Some("title"));
    assert_eq!(console.own_alerts.numbered().count(), 1);
    assert_eq!(console.contexts(), std::slice::from_ref(&staging));
    // A read-only context locks, and the next one that is not does not stay locked for good.
    console.restart_for(ContextEntry { read_only: true, ..staging.clone() }, None);
    assert!(console.lock.is_read_only());
    console.restart_for(staging.clone(), None);
    assert!(!console.lock.is_read_only());
    let mut console = Console::new(Keymap::default(), ThemeName::Dark, true);
    console.restart_for(staging, None);
    assert!(console.lock.is_read_only(), "--read-only holds everywhere");
}
