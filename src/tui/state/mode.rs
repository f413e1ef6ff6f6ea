//! The mode, which takes keys before the view: a line that is typed, a form, a question, an
//! overlay.

use crate::protocol::StreamId;
use crate::tui::act::{Confirmation, Form};
use crate::tui::feed::Metric;

/// The part of the screen that keys act on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Mode {
    Watching,
    /// The filter of the focused table is typed.
    Filtering,
    Palette(Palette),
    Form(Form),
    Confirm(Confirmation),
    Help {
        search: String,
        /// The first line that is shown.
        first: usize,
    },
    /// The selected row and the notice are read in full, from this line on.
    Reading(usize),
    /// Columns are chosen; the number is that of the column under the cursor.
    Columns(usize),
    Enlarged(Metric),
}

/// The command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Palette {
    pub(crate) text: String,
    pub(crate) error: Option<String>,
    /// The completion that Tab chose last, of those for what was typed.
    pub(crate) chosen: Option<usize>,
    /// The text that was typed before Tab completed it.
    pub(crate) typed: String,
}

impl Palette {
    /// Returns the stream whose blocked terms the line is about.
    pub(crate) fn stream_of_terms(&self) -> Option<StreamId> {
        let mut words = self.text.split_whitespace().skip_while(|word| *word == "lc");
        let room = words.next()?;
        let stream_id = words.next()?.parse().ok()?;
        (room == "room" && words.next() == Some("terms")).then_some(stream_id)
    }
}

/// The result of the latest action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notice {
    Running(String),
    Done(String),
    Failed(String),
}

impl Notice {
    pub(crate) fn text(&self) -> &str {
        let (Self::Running(text) | Self::Done(text) | Self::Failed(text)) = self;
        text
    }
}
