//! How things are: a mark and a word for each state, so that no state is told by colour only.

use serde::{Deserialize, Serialize};

use crate::protocol::admin::{ClusterColour, LagState};

/// The state of a part of the system, from well to broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub(crate) enum Health {
    #[default]
    Good,
    /// Nothing is wrong, and nothing is done: draining, ended, switched off.
    Idle,
    /// Nothing is known.
    Unknown,
    Warn,
    Bad,
}

impl Health {
    pub(crate) fn mark(self) -> &'static str {
        match self {
            Self::Good => "✓",
            Self::Idle => "‖",
            Self::Unknown => "◌",
            Self::Warn => "▲",
            Self::Bad => "✗",
        }
    }

    pub(crate) fn tone(self) -> Tone {
        match self {
            Self::Good => Tone::Good,
            Self::Idle | Self::Unknown => Tone::Faint,
            Self::Warn => Tone::Warn,
            Self::Bad => Tone::Bad,
        }
    }
}

/// One that falls back is an alert, which is a warning.
impl From<LagState> for Health {
    fn from(state: LagState) -> Self {
        match state {
            LagState::InTime => Self::Good,
            LagState::Behind | LagState::FallsBack => Self::Warn,
        }
    }
}

/// The meaning of a text. A theme gives each its style.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tone {
    #[default]
    Text,
    /// Labels, and figures of little interest.
    Faint,
    Strong,
    Title,
    Good,
    Warn,
    Bad,
    Chart,
    Key,
    Rule,
    /// The name of the cluster, in its own colour.
    Cluster(ClusterColour),
}

/// A text with its meaning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Cell {
    pub(crate) text: String,
    pub(crate) tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone }
    }

    pub(crate) fn text(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Text)
    }

    pub(crate) fn faint(text: impl Into<String>) -> Self {
        Self::new(text, Tone::Faint)
    }

    /// A figure that is faint while it is nothing.
    pub(crate) fn figure(text: impl Into<String>, zero: bool) -> Self {
        Self::new(text, if zero { Tone::Faint } else { Tone::Text })
    }

    /// The mark of a state.
    pub(crate) fn mark(health: Health) -> Self {
        Self::new(health.mark(), health.tone())
    }

    pub(crate) fn unknown() -> Self {
        Self::faint("–")
    }
}
