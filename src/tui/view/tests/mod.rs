mod moderation;
mod notices;
mod overlays;
mod streams;

use std::time::Duration;

use crossterm::event::KeyCode;
use proptest::prelude::*;
use ratatui::style::{Color, Style};

use super::*;
use crate::protocol::admin::{
    AdminRole, Alert, AuditEntry, ClusterColour, ModerationDecision, Offender, Preview,
    ReviewEvidence, ReviewItem, SameText, Session, TailItem, Talker, Talkers, TopSnapshot,
};
use crate::protocol::comment::SequencedComment;
use crate::protocol::events::Decision;
use crate::protocol::{CommentId, StreamId, UserId};
use crate::tui::commands::Keymap;
use crate::tui::contexts::ContextEntry;
use crate::tui::feed::samples;
use crate::tui::input::{press, show_effect};
use crate::tui::state::{Effect, Notice, Panel};
use crate::tui::theme::ThemeName;

/// The sizes that the design is made for.
const SIZES: [(u16, u16); 4] = [(46, 12), (80, 24), (120, 36), (200, 55)];

fn console(snapshots: impl IntoIterator<Item = TopSnapshot>) -> Console {
    let mut console = Console::new(Keymap::default(), ThemeName::Dark, false);
    snapshots.into_iter().for_each(|snapshot| console.add_snapshot(snapshot));
    console
}

fn fed(feed: fn(u64) -> TopSnapshot) -> Console {
    console((0..=60).map(feed))
}

fn session() -> Session {
    Session {
        node: "edge-1".to_owned(),
        role: AdminRole::Operator,
        actor: "ann (uid 0)".into(),
        cluster: None,
        colour: None,
    }
}

/// Returns the first rows of the screens of all sizes, one below the other.
fn first_rows(console: &Console) -> String {
    let row = |size| screen(console, size).lines().next().unwrap_or_default().to_owned();
    SIZES.map(row).join("\n")
}

/// Returns the screen of a terminal of the given size.
fn screen(console: &Console, (width, height): (u16, u16)) -> String {
    let area = Rect::new(0, 0, width, height);
    let mut buffer = Buffer::empty(area);
    draw(area, &mut buffer, console, false);
    text(&buffer)
}

/// Returns the screens of all sizes, one below the other.
fn screens(console: &Console) -> String {
    SIZES.map(|size| format!("{}×{}\n{}", size.0, size.1, screen(console, size))).concat()
}

fn at(mut console: Console, place: Place) -> Console {
    console.go(place);
    console
}

fn comment(number: u64, name: &str, message: &str) -> SequencedComment {
    SequencedComment {
        comment_id: CommentId::from_unix_ticks(17_000_000_000_000_000 + number, 7, [1; 6]),
        user_id: UserId(4_700 + number % 5),
        name: name.into(),
        message: message.into(),
        created_at: 1_795_265_900_000 + number * 300,
        seq: number,
        badges: Default::default(),
        parent_id: None,
    }
}

/// The opened main stream with comments.
fn opened() -> Console {
    let mut console = at(fed(samples::throttled), Place::Stream(StreamId(7)));
    let tail = console.side.tail.as_mut().unwrap();
    for number in 0..40 {
        let text = if number % 3 == 0 { "cheap followers at …" } else { "GOOOOL 🥅" };
        tail.add(TailItem::Comment(comment(number, &format!("user_{number}"), text).into()));
    }
    tail.add(TailItem::Moderated {
        comment_id: comment(38, "", "").comment_id,
        user_id: UserId(1),
        decision: crate::protocol::events::Decision::Reject,
        reason: "link".into(),
        decided_by: "rules".into(),
        timestamp: 0,
    });
    tail.add(TailItem::Missed { items: 12 });
    console
}

fn by_models(number: u64) -> ReviewEvidence {
    let toxicity = 0.5 + number as f64 / 100.0;
    ReviewEvidence {
        stage: Some("models".to_owned()),
        score: Some(toxicity),
        scores: [("spam".to_owned(), 0.02), ("toxicity".to_owned(), toxicity)].into(),
        model: Some("3".to_owned()),
    }
}

fn reviewing() -> Console {
    let mut console = at(fed(samples::healthy), Place::View(View::Moderation));
    let now = console.now_ms();
    let item = |number: u64| {
        let held = comment(number, &format!("new_user{number}"), "is this allowed?");
        ReviewItem {
            comment_id: held.comment_id,
            stream_id: StreamId(7),
            user_id: held.user_id,
            name: held.name.to_string(),
            message: held.message.to_string(),
            reason: "toxicity".into(),
            flagged_at: now - number * 7_000,
            held: number.is_multiple_of(2),
            shadowed: number == 3,
            badges: Default::default(),
            parent_id: None,
            evidence: if number.is_multiple_of(4) {
                ReviewEvidence::default()
            } else {
                by_models(number)
            },
            // The claim on the fourth has run out.
            claimed_by: (2..=5).contains(&number).then(|| {
                let name = if number == 5 { "ann (uid 1000)" } else { "bob (uid 1001)" };
                name.to_owned()
            }),
            claim_expires_at: Some(if number == 4 { now } else { now + 41_000 }),
            claimed_by_you: number == 5,
            alike: 16,
        }
    };
    console.side.reviews = (1..=17).map(item).collect();
    let decided = |number: u64| ModerationDecision {
        comment_id: comment(100 + number, "", "").comment_id,
        stream_id: StreamId(7),
        user_id: UserId(4_700 + number),
        name: Some(format!("user_{number}")),
        message: Some("cheap followers at …".to_owned()),
        decision: if number == 2 { Decision::Accept } else { Decision::Reject },
        reason: "link".to_owned(),
        decided_by: if number.is_multiple_of(2) { "bob (uid 1001)" } else { "rules" }.to_owned(),
        by_person: number.is_multiple_of(2),
        in_bulk: false,
        decided_at: now - number * 5_000,
        stage: None,
        score: None,
        scores: Default::default(),
        model: None,
    };
    console.side.decisions = (1..=12).map(decided).collect();
    let offender = |number: u64| Offender {
        user_id: UserId(4_700 + number),
        name: Some(format!("user_{number}")),
        removed: 10 - number,
        reason: "link".to_owned(),
        last_at: now - number * 60_000,
    };
    console.side.offenders = (1..=3).map(offender).collect();
    console
}

#[test]
fn overview_of_a_healthy_cluster() {
    insta::assert_snapshot!(screens(&fed(samples::healthy)));
}

#[test]
fn overview_while_throttled() {
    insta::assert_snapshot!(screens(&fed(samples::throttled)));
}

#[test]
fn overview_at_the_egress_limit() {
    insta::assert_snapshot!(screens(&fed(samples::egress_limited)));
}

#[test]
fn overview_without_a_redis_node() {
    insta::assert_snapshot!(screens(&fed(samples::redis_down)));
}

#[test]
fn overview_while_lag_grows() {
    insta::assert_snapshot!(screens(&fed(samples::lag_growing)));
}

#[test]
fn overview_of_a_silent_node_and_after() {
    let silent = screen(&console((0..23).map(samples::silent_and_back)), SIZES[2]);
    let back = screen(&console((0..30).map(samples::silent_and_back)), SIZES[2]);
    insta::assert_snapshot!(format!("{silent}\n{back}"));
}

#[test]
fn overview_just_started() {
    insta::assert_snapshot!(screens(&console([samples::idle(900)])));
}

#[test]
fn the_cluster() {
    insta::assert_snapshot!(screens(&at(fed(samples::healthy), Place::View(View::Cluster))));
}

#[test]
fn a_node_opened() {
    let node = crate::protocol::NodeId::new("edge-1");
    insta::assert_snapshot!(screens(&at(fed(samples::egress_limited), Place::Node(node))));
}

#[test]
fn two_hundred_nodes_and_five_thousand_streams() {
    let console = console((0..3).map(samples::large));
    let cluster = screen(&at(console, Place::View(View::Cluster)), SIZES[1]);
    assert!(cluster.contains("nodes 200") && cluster.contains(" more"), "{cluster}");
    insta::assert_snapshot!(cluster);
}

#[test]
fn engines_with_and_without_a_redis_node() {
    let well = screens(&at(fed(samples::healthy), Place::View(View::Engines)));
    let down = screen(&at(fed(samples::redis_down), Place::View(View::Engines)), SIZES[2]);
    insta::assert_snapshot!(format!("{well}\n{down}"));
}

#[test]
fn events_of_a_minute() {
    let feed = (0..=30)
        .map(samples::silent_and_back)
        .chain((31..=40).map(samples::throttled))
        .chain((41..=50).map(samples::redis_down));
    insta::assert_snapshot!(screens(&at(console(feed), Place::View(View::Events))));
}

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

/// Returns the colours of the name of the cluster on the screen.
fn colours_of_name(console: &Console) -> [Color; 2] {
    let area = Rect::new(0, 0, 120, 36);
    let mut buffer = Buffer::empty(area);
    draw(area, &mut buffer, console, false);
    [buffer[(1, 0)].fg, buffer[(1, 0)].bg]
}

#[test]
fn every_view_names_the_cluster_in_its_colour() {
    let mut console = fed(samples::throttled);
    let of_titles = colours_of_name(&console);
    let cluster = Some("prod-eu".to_owned());
    let colour = Some(ClusterColour::Red);
    console.set_session(Some(Session { cluster, colour, ..session() }));
    let places = View::ALL.map(Place::View).into_iter().chain([Place::Stream(StreamId(7))]);
    for place in places {
        console.go(place);
        assert!(screen(&console, SIZES[0]).starts_with("▌prod-eu▐  "));
    }
    let themes = ThemeName::ALL.map(|theme| {
        console.theme = theme;
        colours_of_name(&console)
    });
    assert!(themes[..4].iter().all(|[fg, bg]| fg != bg && *fg != of_titles[0]), "{themes:?}");
    assert_eq!(themes[4], [Color::Reset; 2], "no colour without colours");
    console.theme = ThemeName::Dark;
    console.step_time(-20);
    assert_eq!(colours_of_name(&console), themes[0], "a look into the past keeps it");
    console.go_live();
    // The operator's own colour wins, but the daemon knows its name.
    console.set_context(ContextEntry {
        name: "staging".to_owned(),
        place: "lcd://edge-1:7443".to_owned(),
        colour: Some(ClusterColour::Green),
        read_only: false,
    });
    assert_ne!(colours_of_name(&console), themes[0]);
    let both = first_rows(&console);
    console.set_session(Some(session()));
    let of_context = first_rows(&console);
    insta::assert_snapshot!(format!("{both}\n\n{of_context}"));
}

#[test]
fn the_first_row_says_that_the_link_is_slow() {
    let mut console = fed(samples::throttled);
    console.set_session(Some(session()));
    let full = first_rows(&console);
    console.slow_link = Some(Duration::from_secs(2));
    insta::assert_snapshot!(format!("{}\n\n{full}", first_rows(&console)));
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

/// Returns the effect of the last key.
fn type_keys(console: &mut Console, keys: &str) -> Option<Effect> {
    keys.chars().fold(None, |_, key| {
        let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
        press(console, code.into())
    })
}

#[test]
fn no_limit_is_cut_on_a_classic_terminal() {
    let mut snapshot = samples::healthy(1);
    snapshot.nodes.iter_mut().for_each(|node| node.connections = node.max_connections);
    let mut console = console([snapshot]);
    console.go(Place::View(View::Cluster));
    let shown = screen(&console, SIZES[1]);
    assert!(shown.contains("if one is lost: too few places"), "{shown}");
    console.go(Place::Node(crate::protocol::NodeId::new("edge-1")));
    let shown = screen(&console, SIZES[1]);
    let [from, to] = ["─ limits", "─ delivery"].map(|title| shown.find(title).unwrap());
    assert!(shown.contains("clock +1 ms") && shown.contains("20k of 20k"), "{shown}");
    assert!(from < to && !shown[from..to].contains('…'), "{shown}");
    console.go(Place::View(View::Moderation));
    assert!(screen(&console, SIZES[1]).contains("since start"));
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

#[test]
fn a_wide_screen_has_the_queue_beside_every_view() {
    let mut snapshot = samples::healthy(60);
    snapshot.moderation.queued = 30;
    let mut console = console([samples::healthy(59), snapshot]);
    console.set_size(200, 55);
    for view in [View::Streams, View::Cluster, View::Engines, View::Events] {
        console.go(Place::View(view));
        assert!(console.needs().reviews);
        assert!(screen(&console, SIZES[3]).contains("to review 30"), "{view:?}");
        assert!(!screen(&console, SIZES[2]).contains("to review 30"), "{view:?}");
    }
    let item = |number| {
        let comment = comment(number, "new_user7", "is this allowed?");
        ReviewItem {
            comment_id: comment.comment_id,
            stream_id: StreamId(7),
            user_id: comment.user_id,
            name: comment.name.to_string(),
            message: comment.message.to_string(),
            reason: "link".into(),
            flagged_at: comment.created_at,
            held: number == 0,
            shadowed: false,
            badges: Default::default(),
            parent_id: None,
            evidence: Default::default(),
            claimed_by: None,
            claim_expires_at: None,
            claimed_by_you: false,
            alike: 0,
        }
    };
    console.side.reviews = (0..30).map(item).collect();
    let shown = screen(&console, SIZES[3]);
    assert!(shown.contains("held link  is this allowed?"), "{shown}");
    assert!(shown.contains("more"), "{shown}");
    console.set_size(120, 36);
    assert!(!console.needs().reviews, "a small screen does not ask for it");
}

#[test]
fn the_help_can_be_scrolled() {
    let mut console = fed(samples::healthy);
    press(&mut console, KeyCode::Char('?').into());
    assert!(screen(&console, SIZES[1]).contains(" more"));
    for _ in 0..10 {
        press(&mut console, KeyCode::PageDown.into());
    }
    let shown = screen(&console, SIZES[1]);
    assert!(shown.contains("back to the shell"), "{shown}");
    press(&mut console, KeyCode::Home.into());
    assert!(screen(&console, SIZES[1]).contains("what is wrong, and the pipeline"));
}

#[test]
fn viewers_and_limits_are_of_the_same_nodes() {
    let shown = screen(&fed(samples::healthy), SIZES[2]);
    // The sum of the connections stands against the sum of the places, and who sends is no viewer.
    assert!(shown.contains("18k of 40k"), "{shown}");
    assert!(shown.contains("36 senders"), "{shown}");
}

#[test]
fn names_are_hidden_on_a_projector() {
    let mut console = opened();
    console.veiled = true;
    let shown = screen(&console, SIZES[3]);
    for secret in ["user_1", "cheap followers", "Grand final"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
}

#[test]
fn ascii_screens_have_no_other_signs() {
    let console = fed(samples::redis_down);
    let area = Rect::new(0, 0, 120, 36);
    let mut buffer = Buffer::empty(area);
    draw(area, &mut buffer, &console, true);
    let shown = text(&buffer);
    // A wide sign of a title is the only one that has no ASCII sign of its width.
    let strange: String =
        shown.chars().filter(|c| !c.is_ascii() && !"决赛直播间".contains(*c)).collect();
    assert!(strange.is_empty(), "{strange}");
}

#[test]
fn without_colours_no_cell_has_one() {
    let mut console = fed(samples::redis_down);
    console.theme = ThemeName::Mono;
    let area = Rect::new(0, 0, 120, 36);
    let mut buffer = Buffer::empty(area);
    draw(area, &mut buffer, &console, false);
    let plain = Style::reset();
    assert!(
        buffer
            .content
            .iter()
            .all(|cell| { cell.style().fg == plain.fg && cell.style().bg == plain.bg })
    );
}

/// Frames at the bounds are counted, not timed: a frame looks at each row of one snapshot a few
/// times, and asks for the cells of the visible rows only.
#[test]
fn the_work_of_a_frame_is_bounded() {
    let console = console((0..3).map(samples::large));
    let console = at(console, Place::View(View::Streams));
    let area = Rect::new(0, 0, 200, 55);
    let mut buffer = Buffer::empty(area);
    let hits = draw(area, &mut buffer, &console, false);
    let targets = hits.areas().count();
    assert!(targets < 200, "{targets} targets for 55 rows");
    let listing = console.streams(Panel::Streams);
    assert_eq!(listing.rows.len(), 5_000);
}

fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        proptest::collection::vec(
            proptest::sample::select(vec![
                "\u{202e}",
                "\u{2066}",
                "\u{200d}",
                "👨\u{200d}👩\u{200d}👧",
                "🇩🇪",
                "決",
                "é",
                "e\u{301}\u{302}\u{303}\u{304}",
                "\u{1b}[2J",
                "\u{7}",
                "\t",
                "\n",
                "a",
                " ",
                "\u{fe0f}",
                "ﷺ",
                "क्षि",
                "\u{115f}",
            ]),
            0..40
        )
        .prop_map(|parts| parts.concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_text_at_any_size_stays_inside(
        texts in proptest::collection::vec(hostile(), 4),
        width in 1_u16..250,
        height in 1_u16..80,
        view in 0_usize..8,
        ascii in any::<bool>(),
    ) {
        let mut snapshot = samples::redis_down(3);
        snapshot.streams[6].title.clone_from(&texts[0]);
        snapshot.problems.push(texts[1].clone());
        snapshot.breakers[2].last_error = Some(texts[2].clone());
        snapshot.nodes[1].node = crate::protocol::NodeId::new(&texts[3]);
        let mut console = console([samples::healthy(2), snapshot]);
        console.go(match view {
            6 => Place::Stream(StreamId(7)),
            7 => Place::Node(crate::protocol::NodeId::new("edge-1")),
            view => Place::View(View::ALL[view]),
        });
        if let Some(tail) = &mut console.side.tail {
            tail.add(TailItem::Comment(comment(1, &texts[1], &texts[2]).into()));
        }
        // The screen is a part of a larger buffer, whose other cells must stay as they are.
        let whole = Rect::new(0, 0, width + 6, height + 4);
        let area = Rect::new(3, 2, width, height);
        let mut buffer = Buffer::filled(whole, ratatui::buffer::Cell::new("#"));
        let hits = draw(area, &mut buffer, &console, false);
        for y in 0..whole.height {
            for x in 0..whole.width {
                let inside = area.contains(ratatui::layout::Position { x, y });
                let symbol = buffer[(x, y)].symbol();
                prop_assert!(inside || symbol == "#", "{x},{y} is {symbol:?}");
                let clean = !symbol.chars().any(char::is_control);
                prop_assert!(clean, "{x},{y} is {symbol:?}");
            }
        }
        for hit in hits.areas() {
            prop_assert_eq!(hit.intersection(area), hit);
        }
        if ascii {
            draw(area, &mut buffer, &console, true);
        }
    }
}
