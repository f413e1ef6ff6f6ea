//! One viewer of a crowd: about a hundred bytes, and a buffer only while a message is incomplete.

use super::windows::WindowId;
use crate::client::viewer::Reconnect;
use crate::net::Transport;
use crate::net::websocket::FrameReader;

/// Not a viewer of any storm.
pub(super) const NO_STORM: u8 = 0;

#[derive(Debug)]
pub(super) enum State {
    /// For its time to connect, or to come back.
    Waiting,
    /// For the kernel.
    Connecting,
    /// For the server's answer, of which this much came.
    Upgrading(Vec<u8>),
    /// For the welcome.
    Joining,
    Watching,
    /// Connected and never reading.
    Holding,
    /// Will not come back.
    Gone,
}

#[derive(Debug)]
pub(super) struct Seat {
    pub transport: Option<Transport>,
    pub frames: FrameReader,
    /// What compressed messages refer to.
    pub window: WindowId,
    pub state: State,
    pub reconnect: Reconnect,
    /// Counts connections begun; numbers timers and nonces.
    pub attempt: u32,
    /// Which of the endpoint's addresses is tried.
    pub address: u8,
    /// It had a welcome before.
    pub known: bool,
    /// The storm it has to come back from, counted from 1.
    pub storm: u8,
}

impl Seat {
    pub(super) fn new() -> Self {
        Self {
            transport: None,
            frames: FrameReader::default(),
            window: WindowId::EMPTY,
            state: State::Waiting,
            reconnect: Reconnect::default(),
            attempt: 0,
            address: 0,
            known: false,
            storm: NO_STORM,
        }
    }

    /// Gives the connection up and remembers nothing of it.
    pub(super) fn disconnect(&mut self, next: State) {
        self.transport = None;
        self.frames = FrameReader::default();
        self.window = WindowId::EMPTY;
        self.state = next;
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.state, State::Watching | State::Holding)
    }

    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting | State::Upgrading(_) | State::Joining)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_is_small() {
        assert!(size_of::<Seat>() <= 128, "{}", size_of::<Seat>());
    }
}
