//! The console: one screen with everything an operator watches, and keys to act on it.
//!
//! In: snapshots of the admin socket as JSON lines, keys, signals. Out: a screen, and requests on
//! the admin socket. Always holds: the terminal is given back however the console ends; the screen
//! is a function of [`state::Console`] and drawn only after an event; a daemon that goes away is
//! said so and waited for. When full: a snapshot that comes while one is being drawn waits in the
//! socket, and an action waits for nothing but its own answer.

mod action;
#[cfg(test)]
mod fabricated;
mod form;
mod history;
mod keys;
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

/// Where snapshots come from, one every `interval`.
pub fn snapshots_path(interval: Duration) -> String {
    format!("/v1/top?interval_ms={}", interval.as_millis())
}

/// One frame as text, from two snapshots: rates need a difference.
pub async fn frame(
    client: AdminClient,
    interval: Duration,
    (width, height): (u16, u16),
) -> Result<String, AdminError> {
    let mut console = state::Console::default();
    let mut lines = client.lines::<TopSnapshot>(&snapshots_path(interval)).await?;
    for _ in 0..2 {
        match lines.next().await {
            Some(snapshot) => console.snapshot(snapshot?),
            None => return Err(AdminError::Broken("the daemon ended the stream".to_owned())),
        }
    }
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    view::draw(buffer.area, &mut buffer, &console, &theme::Theme::plain());
    Ok(view::text(&buffer))
}

/// What a follower of snapshots sees.
type Snapshots = Followed<TopSnapshot>;
