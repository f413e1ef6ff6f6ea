//! Every screen: its signs, its colours, the work that it takes, and texts of others.

use proptest::prelude::*;
use ratatui::style::Style;

use super::*;

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
