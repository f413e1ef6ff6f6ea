//! One viewer of a pool: about 100 bytes, and a buffer only while a message is incomplete.

use super::inflate_cache::WindowId;
use crate::client::viewer::{FallbackReader, Reconnect};
use crate::net::Transport;
use crate::net::websocket::FrameReader;

/// Marks a viewer that is not part of any storm.
pub(super) const NO_STORM: u8 = 0;

#[derive(Debug)]
pub(super) enum ViewerState {
    /// Waits for its time to connect or to reconnect.
    Waiting,
    /// Waits for the kernel to connect.
    Connecting,
    /// Waits for the rest of the server's handshake response, of which these bytes have arrived.
    Upgrading(Vec<u8>),
    /// Waits for the welcome.
    Joining,
    Watching,
    /// Connected, but never reads.
    Slow,
    /// Does not reconnect.
    Gone,
}

#[derive(Debug)]
pub(super) struct PoolViewer {
    pub transport: Option<Transport>,
    pub frames: FrameReader,
    /// Reads in place of `frames` what comes to a viewer without a WebSocket.
    pub fallback: Option<Box<FallbackReader>>,
    /// The deflate window that compressed messages refer to.
    pub window: WindowId,
    pub state: ViewerState,
    pub reconnect: Reconnect,
    /// Number of the current attempt to connect or wait for one. Timers of earlier attempts are
    /// void.
    pub attempt: u32,
    /// Index of the endpoint's address that is tried.
    pub address: u8,
    pub was_welcomed: bool,
    /// The storm after which the viewer reconnects, counted from 1.
    pub storm: u8,
}

impl PoolViewer {
    pub(super) fn new() -> Self {
        Self {
            transport: None,
            frames: FrameReader::default(),
            fallback: None,
            window: WindowId::EMPTY,
            state: ViewerState::Waiting,
            reconnect: Reconnect::default(),
            attempt: 0,
            address: 0,
            was_welcomed: false,
            storm: NO_STORM,
        }
    }

    /// Drops the connection and everything that belongs to it.
    pub(super) fn disconnect(&mut self, next: ViewerState) {
        self.transport = None;
        self.frames = FrameReader::default();
        self.fallback = None;
        self.window = WindowId::EMPTY;
        self.state = next;
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, ViewerState::Watching | ViewerState::Slow)
    }

    pub(super) fn is_connecting(&self) -> bool {
        use ViewerState::{Connecting, Joining, Upgrading};
        matches!(self.state, Connecting | Upgrading(_) | Joining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_is_small() {
        assert!(size_of::<PoolViewer>() <= 128, "{}", size_of::<PoolViewer>());
    }
}
