//! One viewer's connection: connect, handshake, welcome, messages, end, and reconnect.

use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::time::Duration;

use mio::event::Event;
use mio::{Interest, Token};

use super::ViewerPool;
use super::messages::PoolEvent;
use super::timers::ViewerTimer;
use super::viewer::ViewerState;
use crate::client::viewer::{ConnectError, Upgrade, ViewerError, Welcome, decode, read_rules};
use crate::loadgen::clock::Micros;
use crate::loadgen::ledger::{ReceivedPayload, ViewerPresence};
use crate::net::Transport;
use crate::net::transport::Connect;
use crate::net::websocket::{Incoming, Message, Opcode, client_frame};
use crate::protocol::admin::TransportKind;

/// Attempts of a viewer that never had a welcome and is refused with a time to retry. A viewer that
/// is refused because too many connect at once is not limited: it gets its turn in the end.
const FIRST_ATTEMPTS: u32 = 5;
/// Small enough that a server soon notices that nobody reads.
const SLOW_WINDOW_BYTES: usize = 4096;

/// [`ControlFlow::Break`] when nothing more is read from the connection.
pub(super) type Flow = ControlFlow<()>;

impl<E: FnMut(PoolEvent) -> bool> ViewerPool<E> {
    /// Begins an attempt to connect.
    pub(super) fn begin_connect(&mut self, index: usize) {
        let viewer = &mut self.viewers[index];
        viewer.attempt += 1;
        let deadline = self.clock.now() + micros(self.plan.viewer_plan.connect_timeout);
        self.timers.add(ViewerTimer {
            at: deadline,
            viewer: index as u32,
            attempt: viewer.attempt,
        });
        if let Err(source) = self.start_connect(index) {
            self.on_unreachable(index, source);
        }
    }

    fn start_connect(&mut self, index: usize) -> std::io::Result<()> {
        let endpoint = self.plan.endpoint(index as u64);
        let viewer = &mut self.viewers[index];
        let address = self.plan.addresses[endpoint].get(usize::from(viewer.address)).copied();
        let no_address = || std::io::Error::other("the host has no address");
        let connect = Connect {
            address: address.ok_or_else(no_address)?,
            source: self.plan.source(index as u64),
            receive_buffer_bytes: self.plan.is_slow(index as u64).then_some(SLOW_WINDOW_BYTES),
        };
        let mut socket = mio::net::TcpStream::from_std(connect.start()?);
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.queue.poll.registry().register(&mut socket, Token(index), interest)?;
        let endpoint = &self.plan.viewer_plan.endpoints[endpoint];
        let tls = self.tls.as_ref().filter(|_| endpoint.tls);
        viewer.transport = Some(Transport::client(socket, tls, &endpoint.host)?);
        viewer.state = ViewerState::Connecting;
        Ok(())
    }

    /// Handles a readable or writable socket.
    pub(super) fn on_event(&mut self, index: usize, event: &Event) {
        let viewer = &mut self.viewers[index];
        let Some(transport) = &mut viewer.transport else { return };
        if matches!(viewer.state, ViewerState::Connecting) {
            match transport.is_established() {
                Ok(true) => self.begin_handshake(index),
                Ok(false) => return,
                Err(source) => return self.on_unreachable(index, source),
            }
        } else if event.is_writable()
            && let Err(error) = transport.flush()
        {
            return self.on_broken(index, &error);
        }
        if event.is_readable() || event.is_read_closed() {
            self.read(index, event.is_read_closed() || event.is_error());
        }
    }

    /// Handles a due timer: the deadline of a handshake, or the time to reconnect.
    pub(super) fn on_timer(&mut self, index: usize) {
        if matches!(self.viewers[index].state, ViewerState::Waiting) {
            self.begin_connect(index);
        } else if self.viewers[index].is_connecting() {
            let waited = self.plan.viewer_plan.connect_timeout;
            let error = ConnectError::TimedOut { url: self.url(index), waited };
            self.on_connect_failed(index, &error);
        }
    }

    /// Sends the first request of a connection.
    fn begin_handshake(&mut self, index: usize) {
        if self.plan.transport(index as u64) == TransportKind::Websocket {
            self.send_upgrade(index);
        } else {
            self.begin_fallback(index);
        }
    }

    /// Returns the URL that a viewer connects to.
    pub(super) fn url(&self, index: usize) -> String {
        if self.plan.transport(index as u64) == TransportKind::Websocket {
            self.upgrade(index).url()
        } else {
            self.fallback(index).url()
        }
    }

    fn send_upgrade(&mut self, index: usize) {
        let request = match self.upgrade(index).request() {
            Ok(request) => request,
            Err(error) => return self.on_connect_failed(index, &error),
        };
        let viewer = &mut self.viewers[index];
        viewer.state = ViewerState::Upgrading(Vec::new());
        let Some(transport) = &mut viewer.transport else { return };
        if let Err(error) = transport.write_short(&request) {
            self.on_broken(index, &error);
        }
    }

    fn upgrade(&self, index: usize) -> Upgrade<'_> {
        let viewer = &self.viewers[index];
        let number = index as u64;
        let half = |half: u8| self.nonces.hash_one((number, viewer.attempt, half)).to_le_bytes();
        let mut nonce = [0; 16];
        nonce[..8].copy_from_slice(&half(0));
        nonce[8..].copy_from_slice(&half(1));
        Upgrade {
            endpoint: &self.plan.viewer_plan.endpoints[self.plan.endpoint(number)],
            stream: self.plan.viewer_plan.stream,
            encoding: self.plan.form(number).encoding,
            deflate: self.plan.form(number).deflate,
            token: self.plan.token(number),
            resume: self.ledger.lock().position(index),
            nonce,
        }
    }

    /// Reads until the socket is drained.
    fn read(&mut self, index: usize, to_the_end: bool) {
        let mut buffer = std::mem::take(&mut self.buffer);
        while let Some(transport) = &mut self.viewers[index].transport {
            match transport.read(&mut buffer) {
                Ok(Some(0)) => {
                    self.on_end_of_stream(index);
                    break;
                }
                Ok(Some(bytes)) => {
                    let drained = transport.short_read_means_empty() && bytes < buffer.len();
                    let flow = self.on_bytes(index, &buffer[..bytes]);
                    if flow.is_break() || drained && !to_the_end {
                        break;
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    self.on_broken(index, &error);
                    break;
                }
            }
        }
        self.buffer = buffer;
    }

    /// Handles the end of the stream.
    fn on_end_of_stream(&mut self, index: usize) {
        if let ViewerState::Upgrading(response) = &mut self.viewers[index].state {
            let response = std::mem::take(response);
            if let Err(error) = self.upgrade(index).read_response(&response, true) {
                return self.on_connect_failed(index, &error);
            }
        }
        self.on_lost(index, ViewerError::Broken("the stream ended".to_owned()));
    }

    pub(super) fn on_broken(&mut self, index: usize, error: &std::io::Error) {
        self.on_lost(index, ViewerError::Broken(error.to_string()));
    }

    fn on_bytes(&mut self, index: usize, bytes: &[u8]) -> Flow {
        if let Some(reader) = self.viewers[index].fallback.take() {
            return self.on_answer(index, reader, bytes);
        }
        let ViewerState::Upgrading(before) = &mut self.viewers[index].state else {
            return self.on_frames(index, bytes);
        };
        let mut response = std::mem::take(before);
        response.extend_from_slice(bytes);
        match self.upgrade(index).read_response(&response, false) {
            Ok(None) => {
                self.viewers[index].state = ViewerState::Upgrading(response);
                Flow::Continue(())
            }
            Ok(Some(end)) => {
                self.viewers[index].state = ViewerState::Joining;
                self.on_frames(index, &response[end..])
            }
            Err(error) => {
                self.on_connect_failed(index, &error);
                Flow::Break(())
            }
        }
    }

    fn on_frames(&mut self, index: usize, mut bytes: &[u8]) -> Flow {
        let now = self.clock.now();
        let rules = read_rules(self.plan.form(index as u64).deflate);
        loop {
            let incoming = match self.viewers[index].frames.next(&rules, &mut bytes) {
                Ok(Some(incoming)) => incoming,
                Ok(None) => return Flow::Continue(()),
                Err(error) => {
                    self.on_lost(index, error.into());
                    return Flow::Break(());
                }
            };
            let flow = match incoming {
                Incoming::Message(Message { compressed: true, payload, .. }) => {
                    self.on_compressed(index, &payload, now)
                }
                Incoming::Message(Message { payload, .. }) => self.on_message(index, &payload, now),
                Incoming::Pong => Flow::Continue(()),
                Incoming::Ping(payload) => self.send_control(index, Opcode::Pong, &payload),
                Incoming::Close(status) => {
                    let code = status.answer().to_be_bytes();
                    // A courtesy: the server closes the connection in any case.
                    let _ = self.send_control(index, Opcode::Close, &code);
                    self.on_lost(index, ViewerError::Closed(status));
                    Flow::Break(())
                }
            };
            if flow.is_break() {
                return flow;
            }
        }
    }

    /// Sends a control frame. A pong for which the socket has no room is dropped; the server pings
    /// again.
    fn send_control(&mut self, index: usize, opcode: Opcode, payload: &[u8]) -> Flow {
        let mask = (self.nonces.hash_one((index, payload)) as u32).to_le_bytes();
        let frame = client_frame(opcode, payload, mask);
        match self.viewers[index].transport.as_mut().map(|transport| transport.write_short(&frame))
        {
            Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => {
                if opcode == Opcode::Pong {
                    self.on_broken(index, &error);
                }
                Flow::Break(())
            }
            _ => Flow::Continue(()),
        }
    }

    fn on_compressed(&mut self, index: usize, payload: &[u8], now: Micros) -> Flow {
        match self.inflate_cache.inflate(&mut self.viewers[index].window, payload) {
            Ok(message) => self.on_message(index, &message, now),
            Err(error) => {
                self.on_lost(index, error);
                Flow::Break(())
            }
        }
    }

    pub(super) fn on_message(&mut self, index: usize, payload: &[u8], now: Micros) -> Flow {
        let encoding = self.plan.form(index as u64).encoding;
        if !matches!(self.viewers[index].state, ViewerState::Watching) {
            let welcome = decode(encoding, payload)
                .and_then(|message| message.map_or(Ok(None), Welcome::from_message));
            return match welcome {
                Ok(Some(welcome)) => self.on_welcome(index, &welcome, now),
                Ok(None) => Flow::Continue(()),
                Err(error) => {
                    self.on_lost(index, error);
                    Flow::Break(())
                }
            };
        }
        match self.ledger.receive(index, encoding, payload, now) {
            ReceivedPayload::Bye(wait_ms) => self.viewers[index].reconnect.bye(wait_ms),
            // The ledger counts it. The connection itself is intact.
            ReceivedPayload::Recorded | ReceivedPayload::Malformed(_) => {}
        }
        Flow::Continue(())
    }

    fn on_welcome(&mut self, index: usize, welcome: &Welcome, now: Micros) -> Flow {
        let slow = self.plan.is_slow(index as u64);
        if !slow {
            self.ledger.lock().record_welcome(index, welcome, now);
        }
        let viewer = &mut self.viewers[index];
        viewer.reconnect.succeeded();
        viewer.state = if slow { ViewerState::Slow } else { ViewerState::Watching };
        if std::mem::replace(&mut viewer.was_welcomed, true) {
            self.record_reconnect(index, now);
        } else {
            let due = self.connect_from.unwrap_or(now) + self.plan.connect_after(index as u64);
            self.stats.record_first_welcome(now.saturating_sub(due));
        }
        if !slow {
            return Flow::Continue(());
        }
        // The socket stays open and is never read again.
        let registry = self.queue.poll.registry();
        if let Some(transport) = &mut self.viewers[index].transport {
            let _ = registry.deregister(transport.socket());
        }
        Flow::Break(())
    }

    /// Tries the next address of the host, or fails the attempt after the last one.
    fn on_unreachable(&mut self, index: usize, source: std::io::Error) {
        let addresses = self.plan.addresses[self.plan.endpoint(index as u64)].len();
        let viewer = &mut self.viewers[index];
        if usize::from(viewer.address) + 1 < addresses && viewer.address < u8::MAX {
            viewer.address += 1;
            return self.reconnect_now(index);
        }
        viewer.address = 0;
        let url = self.url(index);
        self.on_connect_failed(index, &ConnectError::Unreachable { url, source });
    }

    /// Handles the end of a connection, before or after the welcome.
    pub(super) fn on_lost(&mut self, index: usize, error: ViewerError) {
        let viewer = &mut self.viewers[index];
        if !viewer.is_connected() {
            let url = self.url(index);
            return self.on_connect_failed(index, &ConnectError::NotWelcome { url, error });
        }
        self.stats.record_close(&error);
        let wait = viewer.reconnect.after_end(&error);
        self.stats.away += 1;
        match wait {
            Some(wait) => {
                self.ledger.lock().record_disconnect(index, ViewerPresence::Returning);
                self.reconnect_after(index, wait);
            }
            None => self.give_up(index),
        }
    }

    /// Handles a failed attempt to connect.
    pub(super) fn on_connect_failed(&mut self, index: usize, error: &ConnectError) {
        self.stats.record_refusal(error);
        let viewer = &mut self.viewers[index];
        let names_retry_time = matches!(error, ConnectError::Refused { body: Some(body), .. }
            if body.retry_after_ms.is_some());
        // An attempt and the wait after it count as two.
        let retry = viewer.was_welcomed
            || error.requested_pause().is_some()
            || names_retry_time && viewer.attempt < 2 * FIRST_ATTEMPTS;
        match viewer.reconnect.after_failure(error).filter(|_| retry) {
            Some(wait) => self.reconnect_after(index, wait),
            None if viewer.was_welcomed => self.give_up(index),
            None => {
                viewer.disconnect(ViewerState::Gone);
                self.stats.record_connect_failure(error);
            }
        }
    }

    fn reconnect_after(&mut self, index: usize, wait: Duration) {
        let viewer = &mut self.viewers[index];
        viewer.disconnect(ViewerState::Waiting);
        // Voids the timer of the last attempt.
        viewer.attempt += 1;
        let at = self.clock.now() + micros(wait);
        self.timers.add(ViewerTimer { at, viewer: index as u32, attempt: viewer.attempt });
    }

    fn give_up(&mut self, index: usize) {
        self.viewers[index].disconnect(ViewerState::Gone);
        self.ledger.lock().record_disconnect(index, ViewerPresence::Gone);
        self.stats.away -= 1;
        self.stats.disconnected += 1;
    }
}

fn micros(duration: Duration) -> Micros {
    duration.as_micros() as Micros
}
