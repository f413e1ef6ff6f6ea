//! How a viewer enters: welcome, resume, catching up, authentication.

use mio::{Interest, Token};
use tracing::debug;

use super::super::frame::Form;
use super::super::history::CatchUpRequest;
use super::super::hub::HubRequest;
use super::super::mailbox::{CatchUpPage, StreamStart};
use super::super::stream::Stream;
use super::super::transport::Transport;
use super::super::viewer::{Flags, NEVER_S, Viewer};
use super::Worker;
use crate::daemon::handoff::{Bearer, ConnectionId, NewViewer, Permit};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::message::ServerMessage;
use crate::protocol::{CloseCode, Identity, StreamId};

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
            transport: Transport::new(new.socket),
            generation: self.next_generation,
            stream: stream_key as u32,
            member: self.streams[stream_key].members.len() as u32,
            cursor: 0,
            control_cursor: 0,
            seq: 0,
            seen_s: self.now_s(),
            expires_s: NEVER_S,
            form: Form::new(new.encoding, new.deflate),
            flags,
            errors: 0,
            identity: None,
            permit: Some(new.permit),
            partial: None,
            more: None,
        };
        if let Some(position) = new.resume_from {
            viewer.more().resume_from = Some(position);
        }
        let slot = self.viewers.vacant_key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered =
            self.parts.poll.registry().register(viewer.transport.socket(), Token(slot), interest);
        if let Err(error) = registered {
            debug!(%error, "viewer's socket cannot be watched");
            return;
        }
        self.viewers.insert(viewer);
        self.streams[stream_key].members.push(slot as u32);
        self.metrics.connections_opened.inc();
        self.count_viewer(new.stream_id, 1);
        if new.must_authenticate {
            self.timers.await_auth(self.now, self.connection_id(slot));
        }
        if let Some(bearer) = new.bearer {
            self.set_bearer(slot, bearer);
        }
        if self.streams[stream_key].ready && !new.must_authenticate {
            self.join(slot);
        }
        if !new.early_bytes.is_empty() && self.viewers.contains(slot) {
            let mut bytes = new.early_bytes;
            self.take_in(slot, &mut bytes);
        }
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
        for slot in stream.members.clone() {
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
        }
        self.welcome(slot);
        if resumed.is_some() && self.viewers.contains(slot) {
            self.begin_catch_up(slot);
        }
        if self.viewers.contains(slot) {
            self.pump(slot);
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

    /// Puts a returning viewer into the ring where it left off, or begins to fetch what it missed.
    fn begin_catch_up(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        let max = self.parts.delivery.resume_comments as u64;
        let too_old = stream.covered_to.saturating_sub(max);
        if viewer.seq < too_old {
            let gap = ServerMessage::Gap { from_seq: viewer.seq + 1, to_seq: too_old };
            let gap = viewer.form.encode_private(&gap);
            viewer.enqueue(gap);
            viewer.seq = too_old;
        }
        if self.is_in_reach(slot) {
            self.follow_ring(slot);
        } else {
            self.viewers[slot].flags.set(Flags::CATCHING_UP);
        }
    }

    /// Whether the ring continues where the viewer stands. It does not if a comment was deleted since:
    /// the ring still has it, and who comes after a deletion must never see what it deleted.
    fn is_in_reach(&self, slot: usize) -> bool {
        let viewer = &self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        let comments = viewer.seq >= stream.covered_to
            || stream.oldest_seq().is_some_and(|oldest| oldest <= viewer.seq + 1);
        comments && viewer.seq >= stream.deleted_to
    }

    /// From here on the rings serve the viewer. Comments it has had are passed over; deletions that
    /// came before it did, and are ahead of history, are told now.
    fn follow_ring(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        viewer.flags.clear(Flags::CATCHING_UP);
        viewer.cursor = stream.ordered.first();
        for deletion in stream.deletions_after(viewer.seq, viewer.control_cursor) {
            viewer.enqueue(deletion.bytes(viewer.form).clone());
        }
    }

    /// Asks for the next page; a full queue is asked again at the next turn of the clock.
    pub(super) fn request_page(&mut self, slot: usize) {
        if self.viewers[slot].more().page_requested {
            return;
        }
        let connection = self.connection_id(slot);
        let viewer = &self.viewers[slot];
        let stream_id = self.streams[viewer.stream as usize].stream_id;
        let request =
            CatchUpRequest { connection, stream_id, after: viewer.seq, form: viewer.form };
        match self.parts.history.try_send(request) {
            Ok(()) => self.viewers[slot].more().page_requested = true,
            Err(_) => self.timers.retry_page(connection),
        }
    }

    pub(super) fn on_caught_up(&mut self, connection: ConnectionId, page: CatchUpPage) {
        let Some(slot) = self.slot_of(connection) else { return };
        let viewer = &mut self.viewers[slot];
        viewer.more().page_requested = false;
        if viewer.flags.has(Flags::CLOSING) {
            return;
        }
        let progress = page.covered_to > viewer.seq;
        viewer.seq = viewer.seq.max(page.covered_to);
        for frame in page.frames {
            viewer.enqueue(frame);
        }
        self.tally_delivered(page.comments);
        if self.is_in_reach(slot) || !progress {
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
