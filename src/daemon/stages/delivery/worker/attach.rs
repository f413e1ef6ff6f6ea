//! How a viewer enters: welcome, resume, catching up, authentication.

use mio::{Interest, Token};
use tracing::debug;

use super::Worker;
use crate::daemon::base::handoff::{Bearer, ConnectionId, NewViewer, Permit};
use crate::daemon::stages::delivery::catch_up::CatchUpRequest;
use crate::daemon::stages::delivery::deflate::InWindow;
use crate::daemon::stages::delivery::frame::Form;
use crate::daemon::stages::delivery::hub::HubRequest;
use crate::daemon::stages::delivery::mailbox::{CatchUpPage, StreamStart};
use crate::daemon::stages::delivery::stream::Stream;
use crate::daemon::stages::delivery::viewer::{Flags, NEVER_S, Viewer};
use crate::net::websocket::FrameReader;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::message::ServerMessage;
use crate::protocol::{CloseCode, Identity, StreamId};

/// Limits what the kernel holds for a viewer that does not read (Linux doubles the number); without
/// it each slow viewer could pin megabytes.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What the gateway holds for the connection, and for the user who logged in on it later.
#[derive(Debug)]
#[expect(dead_code, reason = "held until both are dropped")]
struct BothPermits(Box<dyn Permit>, Box<dyn Permit>);

impl Permit for BothPermits {}

impl Worker {
    pub(super) fn attach(&mut self, new: NewViewer) {
        let stream_key = self.stream_key(new.stream_id);
        self.next_generation = self.next_generation.wrapping_add(1);
        let mut flags = Flags::default();
        flags.set(Flags::JOINING);
        if new.must_authenticate {
            flags.set(Flags::MUST_AUTH);
        }
        let mut viewer = Viewer {
            transport: new.transport,
            generation: self.next_generation,
            stream: stream_key as u32,
            member: 0,
            cursor: 0,
            control_cursor: 0,
            seq: 0,
            window: InWindow::OUTSIDE,
            seen_s: self.now_s(),
            expires_s: NEVER_S,
            form: Form::new(new.encoding, new.deflate),
            flags,
            errors: 0,
            identity: None,
            permit: Some(new.permit),
            frames: FrameReader::default(),
            more: None,
        };
        if let Some(position) = new.resume_from {
            viewer.more().resume_from = Some(position);
        }
        viewer.transport.limit_send_buffer(SEND_BUFFER_BYTES);
        let slot = self.viewers.vacant_key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered =
            self.parts.poll.registry().register(viewer.transport.socket(), Token(slot), interest);
        if let Err(error) = registered {
            debug!(%error, "viewer's socket cannot be watched");
            self.timers.stream_emptied();
            return;
        }
        self.viewers.insert(viewer);
        self.viewers[slot].member = self.streams[stream_key].members.add(slot);
        self.metrics.connections_opened.inc();
        self.count_viewer(new.stream_id, 1);
        if new.must_authenticate {
            self.timers.await_auth(self.now, self.connection_id(slot));
        }
        if let Some(bearer) = new.bearer {
            self.set_bearer(slot, bearer);
        }
        self.viewers[slot].early_bytes(new.early_bytes);
        if new.must_authenticate {
            self.begin_reading(slot);
        } else if self.streams[stream_key].ready {
            self.join(slot);
        }
    }

    /// Takes in what came before the viewer could be listened to: with the handshake, in its socket,
    /// or, decrypted already, in its TLS session, of which no event tells.
    fn begin_reading(&mut self, slot: usize) {
        let mut bytes = self.viewers[slot].take_early_bytes();
        if !bytes.is_empty() {
            self.take_in(slot, &mut bytes);
        }
        self.unread.push(slot);
    }

    /// The stream's key; a stream nobody watched so far is asked for at the hub.
    fn stream_key(&mut self, stream_id: StreamId) -> usize {
        if let Some(&key) = self.stream_keys.get(&stream_id) {
            return key;
        }
        self.next_activation += 1;
        let activation = self.next_activation;
        let key = self.streams.insert(Stream::new(stream_id, activation, &self.parts.delivery));
        self.stream_keys.insert(stream_id, key);
        let worker = self.parts.index;
        // Fails only when the hub is gone, which ends the daemon.
        let _ = self.parts.hub.send(HubRequest::Watch { stream_id, worker, activation });
        key
    }

    pub(super) fn stream_ready(
        &mut self,
        stream_id: StreamId,
        activation: u64,
        start: StreamStart,
    ) {
        let Some(&key) = self.stream_keys.get(&stream_id) else { return };
        let stream = &mut self.streams[key];
        if stream.activation != activation || stream.ready {
            return;
        }
        stream.start(start);
        for slot in stream.members.slots().to_vec() {
            let flags = self.viewers[slot as usize].flags;
            if flags.has(Flags::JOINING) && !flags.has(Flags::MUST_AUTH) {
                self.join(slot as usize);
            }
        }
    }

    /// Welcomes a viewer and puts it where it belongs in the stream.
    fn join(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        viewer.flags.clear(Flags::JOINING);
        viewer.control_cursor = stream.control.end();
        viewer.cursor = stream.ordered.end();
        viewer.seq = stream.covered_to;
        let resume_from = viewer.more.as_mut().and_then(|more| more.resume_from.take());
        let resumed = resume_from.filter(|position| position.epoch == stream.epoch);
        if let Some(position) = resumed {
            viewer.seq = position.seq;
            // Always from the history, never from the ring: only the history leaves out what was
            // deleted meanwhile, and has the deletions of what the viewer was shown before.
            viewer.flags.set(Flags::CATCHING_UP);
        }
        self.welcome(slot);
        let viewer = &mut self.viewers[slot];
        for frame in self.streams[viewer.stream as usize].deletions_ahead() {
            let (bytes, _) = frame.bytes(viewer.form, viewer.window);
            viewer.enqueue(bytes.clone());
        }
        self.pump(slot);
        if self.viewers.contains(slot) {
            self.begin_reading(slot);
        }
    }

    fn welcome(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        let user = viewer.identity.as_ref().map(|identity| Identity::clone(identity));
        let welcome = ServerMessage::Welcome {
            stream_id: stream.stream_id,
            user,
            epoch: stream.epoch,
            seq: viewer.seq,
            sample_rate: stream.sample_rate,
            viewers: stream.viewers.max(stream.members.len() as u64),
        };
        let form = viewer.form;
        viewer.enqueue(form.encode_private(&welcome));
        if let Some(reactions) = stream.reactions_message() {
            viewer.enqueue(form.encode_private(&reactions));
        }
    }

    /// Whether the ring continues where the viewer stands.
    fn is_in_reach(&self, slot: usize) -> bool {
        let viewer = &self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        viewer.seq >= stream.covered_to
            || stream.oldest_seq().is_some_and(|oldest| oldest.saturating_sub(1) <= viewer.seq)
    }

    /// From here on the ring serves the viewer; frames it has had are passed over. What lies between
    /// it and the ring is told as a gap at once.
    fn follow_ring(&mut self, slot: usize) {
        let is_in_reach = self.is_in_reach(slot);
        let viewer = &mut self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        viewer.flags.clear(Flags::CATCHING_UP);
        viewer.cursor = stream.cursor_after(viewer.seq);
        if !is_in_reach {
            let oldest = stream.oldest_seq().unwrap_or(stream.covered_to + 1);
            viewer.tell_gap(oldest.saturating_sub(1));
        }
    }

    /// A position from a log that lost its end: the viewer begins anew, and is told where.
    fn begin_anew(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        viewer.seq = self.streams[viewer.stream as usize].covered_to;
        self.welcome(slot);
        self.follow_ring(slot);
    }

    /// Asks for the next page; a full queue is asked again at the next turn of the clock.
    pub(super) fn request_page(&mut self, slot: usize) {
        if self.viewers[slot].more().page_requested {
            return;
        }
        let connection = self.connection_id(slot);
        let viewer = &self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        let request = CatchUpRequest {
            connection,
            stream_id: stream.stream_id,
            after: viewer.seq,
            until: stream.covered_to,
            floor: stream.covered_to.saturating_sub(self.parts.delivery.resume_comments as u64),
            form: viewer.form,
        };
        match self.parts.history.try_send(request) {
            Ok(()) => self.viewers[slot].more().page_requested = true,
            Err(_) => self.timers.retry_page(connection),
        }
    }

    pub(super) fn on_caught_up(&mut self, connection: ConnectionId, page: &CatchUpPage) {
        let Some(slot) = self.slot_of(connection) else { return };
        let viewer = &mut self.viewers[slot];
        viewer.more().page_requested = false;
        if viewer.flags.has(Flags::CLOSING) {
            return;
        }
        let progress = page.covered_to > viewer.seq;
        viewer.seq = viewer.seq.max(page.covered_to);
        for frame in page.frames.iter() {
            viewer.enqueue_page(frame.clone());
        }
        // Up to where the stream stood when the viewer came, the history alone: the ring still holds
        // what was deleted before that, and those deletions are not sent again.
        let caught_up = viewer.seq >= page.until;
        self.tally_delivered(page.comments);
        if page.beyond_end {
            self.begin_anew(slot);
        } else if caught_up && self.is_in_reach(slot) || !progress {
            // Without progress the past is gone: the ring begins with a gap.
            self.follow_ring(slot);
        }
        self.pump(slot);
    }

    pub(super) fn on_authenticated(
        &mut self,
        connection: ConnectionId,
        outcome: Result<(Bearer, Box<dyn Permit>), ErrorBody>,
    ) {
        // Gone in the meantime: dropping the permit gives back what was taken.
        let Some(slot) = self.slot_of(connection) else { return };
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            return;
        }
        match outcome {
            Err(error) => self.refuse_and_close(slot, error, CloseCode::Unauthorized),
            Ok((bearer, permit)) => {
                let viewer = &mut self.viewers[slot];
                viewer.permit = match viewer.permit.take() {
                    Some(first) => Some(Box::new(BothPermits(first, permit))),
                    None => Some(permit),
                };
                self.set_bearer(slot, bearer);
                let viewer = &mut self.viewers[slot];
                viewer.flags.clear(Flags::MUST_AUTH);
                if !viewer.flags.has(Flags::JOINING) {
                    self.welcome(slot);
                    self.pump(slot);
                } else if self.streams[viewer.stream as usize].ready {
                    self.join(slot);
                }
            }
        }
    }
}
