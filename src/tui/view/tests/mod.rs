//! Screens of samples, at the sizes that the design is made for.

mod drawing;
mod moderation;
mod notices;
mod overlays;
mod past;
mod streams;
mod views;

use std::time::Duration;

use crossterm::event::KeyCode;

use super::*;
use crate::protocol::admin::{
    AdminRole, Alert, AuditEntry, ReviewItem, SameText, Session, TailItem, Talker, Talkers,
    TopSnapshot,
};
use crate::protocol::comment::SequencedComment;
use crate::protocol::{CommentId, StreamId, UserId};
use crate::tui::commands::Keymap;
use crate::tui::feed::samples;
use crate::tui::input::press;
use crate::tui::state::{Notice, Panel};
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
