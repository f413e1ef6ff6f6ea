//! The life of one connection: dialled, upgraded, welcomed, watching, ended, and perhaps dialled again.

use std::io::ErrorKind;
use std::time::Duration;

use mio::event::Event;
use mio::{Interest, Token};

use super::Crowd;
use super::message::Word;
use super::seat::State;
use super::timers::Timer;
use crate::client::viewer::{ConnectError, Upgrade, ViewerError, Welcome, decode, read_rules};
use crate::loadgen::ledger::{Micros, Presence, Received};
use crate::net::Transport;
use crate::net::transport::Connect;
use crate::net::websocket::{Incoming, Message, Opcode, client_frame};

/// How often a viewer that never was connected tries again where the server says when to. One that is
/// only to wait for its turn waits for it.
const FIRST_ATTEMPTS: u32 = 5;
/// Small enough that a server soon notices that nobody reads.
const SLOW_WINDOW_BYTES: usize = 4096;

/// Whether a connection is still worth reading from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Ended,
}

impl<W: FnMut(Word) -> bool> Crowd<W> {
    /// Dials.
    pub(super) fn begin(&mut self, index: usize) {
        let seat = &mut self.seats[index];
        seat.attempt += 1;
        let deadline = self.clock.now() + micros(self.plan.audience.connect_timeout);
        self.timers.set(Timer { at: deadline, seat: index as u32, attempt: seat.attempt });
        if let Err(source) = self.dial(index) {
            self.unreachable(index, source);
        }
    }

    fn dial(&mut self, index: usize) -> std::io::Result<()> {
        let endpoint = self.plan.endpoint(index as u64);
        let seat = &mut self.seats[index];
        let address = self.plan.addresses[endpoint].get(usize::from(seat.address)).copied();
        let no_address = || std::io::Error::other("the host has no address");
        let connect = Connect {
            address: address.ok_or_else(no_address)?,
            source: self.plan.source(index as u64),
            receive_buffer_bytes: self.plan.is_slow(index as u64).then_some(SLOW_WINDOW_BYTES),
        };
        let mut socket = mio::net::TcpStream::from_std(connect.start()?);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.inbox.poll.registry().register(&mut socket, Token(index), interest)?;
        let endpoint = &self.plan.audience.endpoints[endpoint];
        let tls = self.tls.as_ref().filter(|_| endpoint.tls);
        seat.transport = Some(Transport::client(socket, tls, &endpoint.host)?);
        seat.state = State::Connecting;
        Ok(())
    }

    /// Something may be read or written.
    pub(super) fn on_event(&mut self, index: usize, event: &Event) {
        let seat = &mut self.seats[index];
        let Some(transport) = &mut seat.transport else { return };
        if matches!(seat.state, State::Connecting) {
            match transport.is_established() {
                Ok(true) => self.ask(index),
                Ok(false) => return,
                Err(source) => return self.unreachable(index, source),
            }
        } else if event.is_writable()
            && let Err(error) = transport.flush()
        {
            return self.broken(index, &error);
        }
        if event.is_readable() || event.is_read_closed() {
            self.read(index, event.is_read_closed() || event.is_error());
        }
    }

    /// Something is due: an end of patience, or a return.
    pub(super) fn on_timer(&mut self, index: usize) {
        if matches!(self.seats[index].state, State::Waiting) {
            self.begin(index);
        } else if self.seats[index].is_connecting() {
            let waited = self.plan.audience.connect_timeout;
            let error = ConnectError::TimedOut { url: self.upgrade(index).url(), waited };
            self.failed(index, &error);
        }
    }

    /// Sends the upgrade request.
    fn ask(&mut self, index: usize) {
        let request = match self.upgrade(index).request() {
            Ok(request) => request,
            Err(error) => return self.failed(index, &error),
        };
        let seat = &mut self.seats[index];
        seat.state = State::Upgrading(Vec::new());
        let Some(transport) = &mut seat.transport else { return };
        if let Err(error) = transport.write_short(&request) {
            self.broken(index, &error);
        }
    }

    fn upgrade(&self, index: usize) -> Upgrade<'_> {
        let (seat, number) = (&self.seats[index], index as u64);
        let half = |half: u8| self.nonces.hash_one((number, seat.attempt, half)).to_le_bytes();
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&half(0));
        nonce[8..].copy_from_slice(&half(1));
        Upgrade {
            endpoint: &self.plan.audience.endpoints[self.plan.endpoint(number)],
            stream: self.plan.audience.stream,
            encoding: self.plan.form(number).encoding,
            deflate: self.plan.form(number).deflate,
            token: self.plan.token(number),
            resume: self.ledger.lock().position(index),
            nonce,
        }
    }

    /// Reads all that is there.
    fn read(&mut self, index: usize, to_the_end: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(transport) = &mut self.seats[index].transport {
            match transport.read(&mut buffer) {
                Ok(Some(0)) => {
                    self.ended(index);
                    break;
                }
                Ok(Some(bytes)) => {
                    let drained = transport.short_read_means_empty() && bytes < buffer.len();
                    let flow = self.take(index, &buffer[..bytes]);
                    if flow == Flow::Ended || drained && !to_the_end {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.broken(index, &error);
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    /// The server sends no more.
    fn ended(&mut self, index: usize) {
        if let State::Upgrading(answer) = &mut self.seats[index].state {
            let answer = std::mem::take(answer);
            if let Err(error) = self.upgrade(index).read_response(&answer, true) {
                return self.failed(index, &error);
            }
        }
        self.lost(index, ViewerError::Broken("the stream ended".to_owned()));
    }

    fn broken(&mut self, index: usize, error: &std::io::Error) {
        self.lost(index, ViewerError::Broken(error.to_string()));
    }

    fn take(&mut self, index: usize, bytes: &[u8]) -> Flow {
        let State::Upgrading(before) = &mut self.seats[index].state else {
            return self.take_frames(index, bytes);
        };
        let mut answer = std::mem::take(before);
        answer.extend_from_slice(bytes);
        match self.upgrade(index).read_response(&answer, false) {
            Ok(None) => {
                self.seats[index].state = State::Upgrading(answer);
                Flow::On
            }
            Ok(Some(end)) => {
                self.seats[index].state = State::Joining;
                self.take_frames(index, &answer[end..])
            }
            Err(error) => {
                self.failed(index, &error);
                Flow::Ended
            }
        }
    }

    fn take_frames(&mut self, index: usize, mut bytes: &[u8]) -> Flow {
        let now = self.clock.now();
        let rules = read_rules(self.plan.form(index as u64).deflate);
        loop {
            let incoming = match self.seats[index].frames.next(&rules, &mut bytes) {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return Flow::On,
                Err(error) => {
                    self.lost(index, error.into());
                    return Flow::Ended;
                }
            };
            let flow = match incoming {
                Incoming::Message(Message { compressed: true, payload, .. }) => {
                    self.take_compressed(index, &payload, now)
                }
                Incoming::Message(Message { payload, .. }) => {
                    self.take_message(index, &payload, now)
                }
                Incoming::Pong => Flow::On,
                Incoming::Ping(payload) => self.answer(index, Opcode::Pong, &payload),
                Incoming::Close(status) => {
                    // A courtesy: the server closes in any case.
                    let _ = self.answer(index, Opcode::Close, &status.answer().to_be_bytes());
                    self.lost(index, ViewerError::Closed(status));
                    Flow::Ended
                }
            };
            if flow == Flow::Ended {
                return flow;
            }
        }
    }

    /// A pong for which there is no room is left out; the server will ask again.
    fn answer(&mut self, index: usize, opcode: Opcode, payload: &[u8]) -> Flow {
        let mask = (self.nonces.hash_one((index, payload)) as u32).to_le_bytes();
        let frame = client_frame(opcode, payload, mask);
        match self.seats[index].transport.as_mut().map(|transport| transport.write_short(&frame)) {
            Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => {
                if opcode == Opcode::Pong {
                    self.broken(index, &error);
                }
                Flow::Ended
            }
            _ => Flow::On,
        }
    }

    fn take_compressed(&mut self, index: usize, payload: &[u8], now: Micros) -> Flow {
        match self.windows.read(&mut self.seats[index].window, payload) {
            Ok(message) => self.take_message(index, &message, now),
            Err(error) => {
                self.lost(index, error);
                Flow::Ended
            }
        }
    }

    fn take_message(&mut self, index: usize, payload: &[u8], now: Micros) -> Flow {
        let encoding = self.plan.form(index as u64).encoding;
        if !matches!(self.seats[index].state, State::Watching) {
            return match decode(encoding, payload).and_then(Welcome::from_message) {
                Ok(Some(welcome)) => self.welcomed(index, &welcome, now),
                Ok(None) => Flow::On,
                Err(error) => {
                    self.lost(index, error);
                    Flow::Ended
                }
            };
        }
        match self.ledger.receive(index, encoding, payload, now) {
            Received::Bye(wait_ms) => self.seats[index].reconnect.bye(wait_ms),
            // Counted by the ledger; the connection itself is sound.
            Received::Entered | Received::Malformed(_) => {}
        }
        Flow::On
    }

    fn welcomed(&mut self, index: usize, welcome: &Welcome, now: Micros) -> Flow {
        let slow = self.plan.is_slow(index as u64);
        if !slow {
            self.ledger.lock().joined(index, welcome, now);
        }
        let seat = &mut self.seats[index];
        seat.reconnect.succeeded();
        seat.state = if slow { State::Holding } else { State::Watching };
        if std::mem::replace(&mut seat.known, true) {
            self.back(index, now);
        } else {
            let due = self.connect_from.unwrap_or(now) + self.plan.due(index as u64);
            self.log.first_welcome(now.saturating_sub(due));
        }
        if !slow {
            return Flow::On;
        }
        // Its socket stays open, and nobody looks at it any more.
        let registry = self.inbox.poll.registry();
        if let Some(transport) = &mut self.seats[index].transport {
            let _ = registry.deregister(transport.socket());
        }
        Flow::Ended
    }

    /// No connection was made: the next address of the host, if there is one.
    fn unreachable(&mut self, index: usize, source: std::io::Error) {
        let addresses = self.plan.addresses[self.plan.endpoint(index as u64)].len();
        let seat = &mut self.seats[index];
        if usize::from(seat.address) + 1 < addresses && seat.address < u8::MAX {
            seat.address += 1;
            return self.hurry(index);
        }
        seat.address = 0;
        let url = self.upgrade(index).url();
        self.failed(index, &ConnectError::Unreachable { url, source });
    }

    /// A connection ended, welcomed or not.
    fn lost(&mut self, index: usize, error: ViewerError) {
        let seat = &mut self.seats[index];
        if !seat.is_connected() {
            let url = self.upgrade(index).url();
            return self.failed(index, &ConnectError::NotWelcome { url, error });
        }
        self.log.closed(&error);
        let wait = seat.reconnect.after_end(&error);
        self.log.away += 1;
        match wait {
            Some(wait) => {
                self.ledger.lock().left(index, Presence::Returning);
                self.come_back(index, wait);
            }
            None => self.give_up(index),
        }
    }

    /// An attempt to connect, the first or a later one, came to nothing.
    fn failed(&mut self, index: usize, error: &ConnectError) {
        self.log.refused(error);
        let seat = &mut self.seats[index];
        let told = matches!(error, ConnectError::Refused { body: Some(body), .. }
            if body.retry_after_ms.is_some());
        // Each attempt and each wait has its number.
        let again = seat.known
            || error.requested_pause().is_some()
            || told && seat.attempt < 2 * FIRST_ATTEMPTS;
        match seat.reconnect.after_failure(error).filter(|_| again) {
            Some(wait) => self.come_back(index, wait),
            None if seat.known => self.give_up(index),
            None => {
                seat.disconnect(State::Gone);
                self.log.first_failed(error);
            }
        }
    }

    fn come_back(&mut self, index: usize, wait: Duration) {
        let seat = &mut self.seats[index];
        seat.disconnect(State::Waiting);
        // As in `hurry`.
        seat.attempt += 1;
        let at = self.clock.now() + micros(wait);
        self.timers.set(Timer { at, seat: index as u32, attempt: seat.attempt });
    }

    fn give_up(&mut self, index: usize) {
        self.seats[index].disconnect(State::Gone);
        self.ledger.lock().left(index, Presence::Gone);
        self.log.away -= 1;
        self.log.disconnected += 1;
    }
}

fn micros(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}
