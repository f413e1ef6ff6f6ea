//! The transports of viewers' connections.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The transport of a viewer's connection.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize,
)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum TransportKind {
    /// A WebSocket.
    #[default]
    Websocket,
    /// Server-sent events.
    Sse,
    /// Long polling.
    Poll,
}

impl TransportKind {
    pub const ALL: [Self; 3] = [Self::Websocket, Self::Sse, Self::Poll];
    /// The number of transports; each is its own index below it.
    pub const COUNT: usize = Self::ALL.len();

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Websocket => "websocket",
            Self::Sse => "sse",
            Self::Poll => "poll",
        }
    }
}

impl fmt::Display for TransportKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Connections of each transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TransportCounts {
    pub websocket: u64,
    pub sse: u64,
    pub poll: u64,
}

impl TransportCounts {
    pub fn of(&self, kind: TransportKind) -> u64 {
        match kind {
            TransportKind::Websocket => self.websocket,
            TransportKind::Sse => self.sse,
            TransportKind::Poll => self.poll,
        }
    }

    /// Adds connections of one transport.
    pub fn add(&mut self, kind: TransportKind, connections: u64) {
        match kind {
            TransportKind::Websocket => self.websocket += connections,
            TransportKind::Sse => self.sse += connections,
            TransportKind::Poll => self.poll += connections,
        }
    }

    /// Writes the transports that are used, such as `websocket 12, sse 3`.
    pub fn text(&self) -> String {
        let used = TransportKind::ALL.into_iter().filter(|kind| self.of(*kind) > 0);
        let parts: Vec<_> = used.map(|kind| format!("{kind} {}", self.of(kind))).collect();
        parts.join(", ")
    }
}

/// The text is the name of no transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected websocket, sse or poll")]
pub struct UnknownTransport;

impl FromStr for TransportKind {
    type Err = UnknownTransport;

    fn from_str(text: &str) -> Result<Self, UnknownTransport> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownTransport)
    }
}
