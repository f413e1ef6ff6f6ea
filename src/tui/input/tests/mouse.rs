//! The mouse.

use super::*;

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
