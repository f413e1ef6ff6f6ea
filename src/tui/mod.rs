//! The console of `lc top`: one screen with the state of the system, and keys to act on it.
//!
//! In: snapshots from the admin socket as JSON lines, keys. Out: a screen, and requests to
//! the admin socket. Always holds: the terminal is restored however the console ends; the screen is
//! a function of [`state::Console`] and is drawn only after an event; a lost daemon is reported and
//! reconnected to. When full: a snapshot that arrives during drawing waits in the socket, and at
//! most eight actions run at a time.

mod action;
mod form;
mod history;
mod keys;
#[cfg(test)]
mod sample_data;
mod screen;
mod state;
mod terminal;
mod theme;
mod view;

use std::time::Duration;

use futures_util::StreamExt as _;
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::client::admin::{AdminClient, AdminError};
use crate::client::follow::Followed;
use crate::protocol::admin::TopSnapshot;

pub use screen::run;

/// Returns the admin path that serves one snapshot per `interval`.
pub fn snapshots_path(interval: Duration) -> String {
    format!("/v1/top?interval_ms={}", interval.as_millis())
}

/// Returns one frame as text. It waits for two snapshots, because rates are differences.
pub async fn frame(
    client: AdminClient,
    interval: Duration,
    (width, height): (u16, u16),
) -> Result<String, AdminError> {
    let mut console = state::Console::default();
    let mut lines = client.lines::<TopSnapshot>(&snapshots_path(interval)).await?;
    for _ in 0..2 {
        match lines.next().await {
            Some(snapshot) => console.add_snapshot(snapshot?),
            None => return Err(AdminError::Broken("the daemon ended the stream".to_owned())),
        }
    }
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    view::draw(buffer.area, &mut buffer, &console, &theme::Theme::plain());
    Ok(view::text(&buffer))
}

/// An event of the snapshot stream.
type SnapshotEvent = Followed<TopSnapshot>;
