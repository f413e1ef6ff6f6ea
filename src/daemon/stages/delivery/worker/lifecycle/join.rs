//! Join: a viewer is attached to its stream, authenticated if it must be, and welcomed.

use std::net::IpAddr;

use bytes::Bytes;
use mio::Token;
use tracing::debug;

use crate::daemon::base::handoff::{Bearer, ConnectionId, Deflate, NewViewer, Permit, ViewerLink};
use crate::daemon::stages::delivery::deflate::WindowPosition;
use crate::daemon::stages::delivery::form::Form;
use crate::daemon::stages::delivery::hub::HubRequest;
use crate::daemon::stages::delivery::mailbox::{Command, StreamStart};
use crate::daemon::stages::delivery::worker::Worker;
use crate::daemon::stages::delivery::worker::outlet::Outlet;
use crate::daemon::stages::delivery::worker::stream::Stream;
use crate::daemon::stages::delivery::worker::viewer::{Flags, NEVER_S, Viewer};
use crate::net::websocket::FrameReader;
use crate::protocol::error_code::ErrorBody;
use crate::protocol::message::ServerMessage;
use crate::protocol::{CloseCode, Identity, StreamId};

/// The permit of the connection, and that of the user who authenticated on it later.
#[derive(Debug)]
struct BothPermits {
    connection: Box<dyn Permit>,
    /// Held until both are dropped.
    _user: Box<dyn Permit>,
}

impl Permit for BothPermits {
    fn address(&self) -> Option<IpAddr> {
        self.connection.address()
    }
}

/// A viewer's link, as a worker uses it.
struct OpenedLink {
    outlet: Outlet,
    form: Form,
    may_compress: bool,
    early_bytes: Vec<u8>,
    /// Written before anything else.
    head: Bytes,
}

impl OpenedLink {
    fn new(link: ViewerLink) -> Self {
        let events = |outlet, head| Self {
            outlet,
            form: Form::Events,
            may_compress: false,
            early_bytes: Vec::new(),
            head,
        };
        match link {
            ViewerLink::WebSocket { transport, early_bytes, encoding, deflate } => Self {
                outlet: Outlet::Socket(transport),
                form: Form::new(encoding, deflate),
                may_compress: deflate != Deflate::Off,
                early_bytes,
                head: Bytes::new(),
            },
            ViewerLink::EventSocket { transport, head } => events(Outlet::Socket(transport), head),
            ViewerLink::EventPipe(pipe) | ViewerLink::Poll(pipe) => {
                events(Outlet::Pipe(pipe), Bytes::new())
            }
        }
    }
}

impl Worker {
    /// Registers a new viewer. It is welcomed once its stream is ready and it has authenticated.
    pub(crate) fn attach(&mut self, new: NewViewer) {
        let stream_key = self.stream_key(new.stream_id);
        self.next_generation = self.next_generation.wrapping_add(1);
        let mut flags = Flags::default();
        flags.set(Flags::JOINING);
        if new.must_authenticate {
            flags.set(Flags::MUST_AUTH);
        }
        let kind = new.link.kind();
        let link = OpenedLink::new(new.link);
        let mut viewer = Viewer {
            outlet: link.outlet,
            generation: self.next_generation,
            stream: stream_key as u32,
            list_position: 0,
            cursor: 0,
            control_cursor: 0,
            seq: 0,
            window: WindowPosition::OUTSIDE,
            seen_s: self.now_s(),
            expires_s: NEVER_S,
            issuer_key: None,
            form: link.form,
            kind,
            flags,
            may_compress: link.may_compress,
            errors: 0,
            identity: None,
            permit: Some(new.permit),
            frames: FrameReader::default(),
            extras: None,
        };
        if let Some(position) = new.resume_from {
            viewer.extras().resume_from = Some(position);
        }
        let slot = self.viewers.vacant_key();
        if let Err(error) = viewer.outlet.register(self.parts.poll.registry(), Token(slot)) {
            debug!(%error, "cannot watch the socket of a viewer");
            self.timers.stream_emptied();
            return;
        }
        if !link.head.is_empty() {
            viewer.enqueue(link.head);
        }
        let is_pipe = viewer.outlet.is_pipe();
        self.viewers.insert(viewer);
        self.viewers_by_kind[kind as usize] += 1;
        self.viewers[slot].list_position = self.streams[stream_key].viewers.add(slot, is_pipe);
        self.metrics.connections_opened.inc();
        self.count_viewer(new.stream_id, 1);
        if new.must_authenticate {
            self.timers.await_auth(self.now, self.connection_id(slot));
        }
        if let Some(bearer) = new.bearer {
            self.set_bearer(slot, bearer);
        }
        self.viewers[slot].keep_early_bytes(link.early_bytes);
        self.follow_pipe(slot);
        if new.must_authenticate {
            self.begin_reading(slot);
        } else if self.streams[stream_key].ready {
            self.join(slot);
        } else {
            self.write_pending(slot);
        }
    }

    /// Asks the reader of a pipe for a command when there is room, and when it is gone.
    fn follow_pipe(&self, slot: usize) {
        let Outlet::Pipe(pipe) = &self.viewers[slot].outlet else { return };
        let mailbox = self.parts.mailbox.clone();
        let connection = self.connection_id(slot);
        pipe.notify_with(move || mailbox.send(Command::PipeReady { connection }));
    }

    /// Handles bytes that arrived before the viewer was read: with the handshake, in its socket,
    /// or in its TLS session. Bytes that TLS has decrypted raise no event.
    fn begin_reading(&mut self, slot: usize) {
        let mut bytes = self.viewers[slot].take_early_bytes();
        if !bytes.is_empty() {
            self.receive_bytes(slot, &mut bytes);
        }
        self.unfinished_reads.push(slot);
    }

    /// Returns the key of a stream. A stream without viewers so far is requested from the hub.
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

    /// Starts a stream at the position that the hub has sent, and welcomes the viewers that waited.
    pub(crate) fn stream_ready(
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
        for slot in stream.viewers.slots().collect::<Vec<_>>() {
            let flags = self.viewers[slot as usize].flags;
            if flags.has(Flags::JOINING) && !flags.has(Flags::MUST_AUTH) {
                self.join(slot as usize);
            }
        }
    }

    /// Welcomes a viewer at the head of the stream, or at the position where it wants to resume.
    fn join(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        viewer.flags.clear(Flags::JOINING);
        viewer.control_cursor = stream.control.end();
        viewer.cursor = stream.ordered.end();
        viewer.seq = stream.covered_to;
        let resume_from = viewer.extras.as_mut().and_then(|more| more.resume_from.take());
        match resume_from {
            Some(position) if position.epoch == stream.epoch => {
                viewer.seq = position.seq;
                // The history serves it, not the ring: only the history omits comments deleted
                // meanwhile, and has the deletions of comments that the viewer was shown before.
                viewer.flags.set(Flags::CATCHING_UP);
            }
            Some(earlier) => {
                let generation = viewer.generation;
                let key = viewer.stream as usize;
                self.streams[key].rejoined.add(generation, earlier, self.now);
            }
            None => {}
        }
        self.welcome(slot);
        let viewer = &mut self.viewers[slot];
        let user = viewer.user_id();
        for frame in self.streams[viewer.stream as usize].deletions_ahead() {
            if frame.is_kept_from(user) {
                continue;
            }
            viewer.enqueue(frame.deletion_bytes(viewer.form).clone());
        }
        self.write_pending(slot);
        if self.viewers.contains(slot) {
            self.begin_reading(slot);
        }
    }

    /// Queues `welcome` and the current reaction totals.
    pub(super) fn welcome(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        let user = viewer.identity.as_ref().map(|identity| Identity::clone(identity));
        let welcome = ServerMessage::Welcome {
            stream_id: stream.stream_id,
            user,
            epoch: stream.epoch,
            seq: viewer.seq,
            sample_rate: stream.sample_rate,
            viewers: stream.viewer_count.max(stream.viewers.len() as u64),
            room: stream.room,
            reactions: self.parts.reaction_names.clone(),
            state: stream.schedule.state,
            starts_at: stream.schedule.starts_at,
            pinned: stream.pinned.clone(),
            poll: stream.poll.clone(),
        };
        let form = viewer.form;
        viewer.enqueue(form.encode_private(&welcome));
        if let Some(reactions) = stream.reactions_message() {
            viewer.enqueue(form.encode_private(&reactions));
        }
    }

    /// Applies the outcome of an `auth` message.
    pub(crate) fn finish_auth(
        &mut self,
        connection: ConnectionId,
        outcome: Result<(Bearer, Box<dyn Permit>), ErrorBody>,
    ) {
        // The viewer has left; dropping the permit releases what was taken.
        let Some(slot) = self.slot_of(connection) else { return };
        if self.viewers[slot].flags.has(Flags::CLOSING) {
            return;
        }
        match outcome {
            Err(error) => self.send_error_and_close(slot, error, CloseCode::Unauthorized),
            Ok((bearer, permit)) => {
                let viewer = &mut self.viewers[slot];
                viewer.permit = match viewer.permit.take() {
                    Some(connection) => Some(Box::new(BothPermits { connection, _user: permit })),
                    None => Some(permit),
                };
                self.set_bearer(slot, bearer);
                let viewer = &mut self.viewers[slot];
                viewer.flags.clear(Flags::MUST_AUTH);
                if !viewer.flags.has(Flags::JOINING) {
                    self.welcome(slot);
                    self.write_pending(slot);
                } else if self.streams[viewer.stream as usize].ready {
                    self.join(slot);
                }
            }
        }
    }
}
