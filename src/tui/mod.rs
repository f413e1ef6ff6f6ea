//! The console of `lc top`: the state of the system on one screen, and keys to act on it.
//!
//! In: snapshots from the admin socket as JSON lines, keys, the mouse. Out: a screen, and requests
//! to the admin socket. Always holds: the terminal is restored however the console ends; the
//! screen is a function of [`state::Console`] and is drawn only after an event; acts are off until
//! they are unlocked, and large ones ask first; a lost daemon is reported and reconnected to. When
//! full: a snapshot that arrives during drawing waits in the socket, and at most eight requests run
//! at a time.
//!
//! Layers, each using those before it: texts, figures and themes; [`feed`], what the console was
//! told; [`rows`] and tables; [`act`]; [`commands`]; [`state`]; [`input`]; [`view`]; [`screen`].

mod act;
mod attachment;
mod background;
mod commands;
mod console_screen;
mod contexts;
mod feed;
mod fetch;
mod figures;
mod hits;
mod input;
mod own_alerts;
mod pace;
mod picture;
mod recording;
mod replay;
mod rows;
mod screen;
mod state;
mod table;
mod terminal;
mod text;
mod theme;
mod tone;
mod view;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::client::follow::Followed;
use crate::protocol::admin::TopSnapshot;
use commands::Keymap;
use state::{Console, Place, View};
use theme::ThemeName;

pub use commands::{BindingError, KeyBinding};
pub use contexts::{ContextEntry, ContextSource, OpenedContext, no_such_context};
pub use recording::FeedRecordingError;
#[cfg(any(test, fuzzing))]
pub use recording::fuzzing::feed_recording;
pub use replay::replay;
pub use screen::{ConsoleError, frame, run};

/// The names of the themes.
pub const THEMES: [&str; 5] = ["dark", "light", "high-contrast", "blue-orange", "mono"];
/// The names of the views.
pub const VIEWS: [&str; 6] = ["overview", "streams", "cluster", "engines", "moderation", "events"];

/// How a console is started.
#[derive(Debug, Clone)]
pub struct ConsoleOptions {
    /// Time between two snapshots.
    pub interval: Duration,
    /// The context that names the daemon, if one does.
    pub context: Option<ContextEntry>,
    /// The contexts that the console can attach to instead.
    pub contexts: Arc<dyn ContextSource>,
    /// Acts cannot be unlocked, whatever the context says.
    pub read_only: bool,
    pub mouse: bool,
    /// Draw with ASCII characters only.
    pub ascii: bool,
    /// A frame is an SVG picture instead of text.
    pub svg: bool,
    /// One of [`THEMES`]; chosen by the terminal if absent.
    pub theme: Option<String>,
    /// One of [`VIEWS`], or a saved one: `@NAME`.
    pub view: Option<String>,
    /// Lists of bindings; for a command that several bind, the last one counts.
    pub keys: Vec<Vec<KeyBinding>>,
    /// A new file that keeps the feed.
    pub record: Option<PathBuf>,
}

impl ConsoleOptions {
    /// Refuses wrong bindings before the terminal is taken.
    fn check(&self) -> Result<(), BindingError> {
        Keymap::with(&self.keys).map(|_| ())
    }

    fn console(&self, detected: ThemeName) -> Result<Console, BindingError> {
        let keymap = Keymap::with(&self.keys)?;
        let theme = self.theme.as_deref().and_then(ThemeName::named).unwrap_or(detected);
        let mut console = Console::new(keymap, theme, self.read_only);
        console.set_interval(self.interval);
        if let Some(context) = &self.context {
            console.set_context(context.clone());
        }
        let view =
            self.view.as_deref().and_then(|name| VIEWS.iter().position(|known| *known == name));
        if let Some(view) = view {
            console.go(Place::View(View::ALL[view]));
        }
        Ok(console)
    }
}

/// Returns the admin path that serves one snapshot per `interval`.
pub fn snapshots_path(interval: Duration) -> String {
    format!("/v1/top?interval_ms={}", interval.as_millis())
}

/// An event of the snapshot stream.
type SnapshotEvent = Followed<TopSnapshot>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_those_of_themes_and_views() {
        assert_eq!(THEMES, ThemeName::ALL.map(ThemeName::as_str));
        assert_eq!(VIEWS, View::ALL.map(|view| view.command().entry().name));
    }
}
