//! A message to all viewers of a stream, encoded once per form that is in use.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use bytes::Bytes;

use super::audience::{Audience, ShownBefore};
use super::deflate::{self, StreamWindow, WindowFrame, WindowPosition};
use super::few_once::FewOnce;
use super::form::{Form, Wire, opcode};
use crate::daemon::base::handoff::Deflate;
use crate::daemon::engines::bus::HeldBack;
use crate::net::websocket::server_frame;
use crate::protocol::comment::SequencedComment;
use crate::protocol::events::{Removal, Told};
use crate::protocol::message::{CommentsBatch, Encoding, ServerMessage};
use crate::protocol::{CommentId, Seq, UserId};

/// Returns what follows the header of a complete server frame.
fn payload(frame: &[u8]) -> &[u8] {
    let header_bytes = match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    &frame[header_bytes..]
}

/// The ring that a frame goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Comments and other messages that a slow viewer may skip.
    Ordered,
    /// Deletions, announcements, rules of the room, changes of the event, the pinned comment and
    /// polls with their votes: never skipped, always written first.
    Control,
}

/// A message and its encodings, shared by all workers.
#[derive(Debug)]
pub(crate) struct Frame {
    message: ServerMessage,
    lane: Lane,
    /// Log offset of the deletion, if it is one.
    deleted_at: Option<Seq>,
    /// `None` if the frame is the same for all viewers, as nearly all are.
    personal: Option<Box<PersonalParts>>,
    json: Encoded,
    msgpack: Encoded,
    /// As a server-sent event.
    event: OnceLock<Bytes>,
    /// The window of its stream, for frames that may be compressed in the shared form.
    window: Option<Arc<StreamWindow>>,
    /// Its place in the order of the frames that enter the window; `None` if it does not.
    place: Option<u64>,
    /// `None` if it has no comments that are measured.
    times: Option<FrameTimes>,
    /// Rests of its batch, by their first position. After a gap many viewers are sent the same.
    rests: OnceLock<Box<FewOnce<(Seq, Form), EncodedRest, SHARED_RESTS>>>,
}

/// The rests of a frame that viewers share; they are kept as long as the frame.
const SHARED_RESTS: usize = 8;

/// The bytes of a part of a frame.
#[derive(Debug, Clone)]
struct EncodedRest {
    bytes: Bytes,
    is_compressed: bool,
}

/// Differences between what some users are sent and what all others are. The users must not be able
/// to tell, so theirs is a message as others are sent them, encoded for each of their connections,
/// and compressed as others are.
#[derive(Debug, Default)]
struct PersonalParts {
    /// The viewers that are sent the frame, if it is a deletion.
    told: Told,
    /// Comments that only their authors are shown, in order.
    own: Vec<SequencedComment>,
    /// Comments for the viewers that were not sent them in an earlier epoch, in order.
    shown_before: Vec<ShownBefore>,
    /// Only viewers with comments of their own in it are sent the frame, so nobody if there are
    /// none. It covers no range for anybody else.
    is_for_authors_only: bool,
}

/// Sent to the viewers that a frame is not for.
static NOTHING: Bytes = Bytes::new();

/// Times from which the delay of a frame's comments is measured.
#[derive(Debug)]
pub(crate) struct FrameTimes {
    /// When the frame was made on this node.
    pub(crate) arrived: Instant,
    /// Times from which comments were to be shown, in milliseconds since the Unix epoch, each with
    /// its number of comments: those of their creation, or after the message delay of the room.
    /// Comments that a review released are left out.
    pub(crate) wanted_at: Box<[(u64, u32)]>,
}

impl FrameTimes {
    fn of(message: &ServerMessage, held_back: &HeldBack) -> Option<Self> {
        let ServerMessage::Comments(batch) = message else { return None };
        let HeldBack { delay_ms, released } = held_back;
        let mut wanted: Vec<(u64, u32)> = Vec::new();
        let is_measured =
            |comment: &&SequencedComment| released.binary_search(&comment.seq).is_err();
        for comment in batch.comments.iter().filter(is_measured) {
            let comment_at = comment.created_at.saturating_add(*delay_ms);
            match wanted.last_mut() {
                Some((at, count)) if *at == comment_at => *count += 1,
                _ => wanted.push((comment_at, 1)),
            }
        }
        let arrived = Instant::now();
        (!wanted.is_empty()).then(|| Self { arrived, wanted_at: wanted.into() })
    }

    /// Returns the number of comments that are measured.
    pub(crate) fn comments(&self) -> u64 {
        self.wanted_at.iter().map(|(_, count)| u64::from(*count)).sum()
    }
}

/// The bytes of a frame in one encoding. Each is made when it is first needed.
#[derive(Debug, Default)]
struct Encoded {
    plain: OnceLock<Bytes>,
    single: OnceLock<Bytes>,
    /// For viewers outside the shared window: compressed by itself, even if that makes it larger.
    alone: OnceLock<Bytes>,
    /// `None` if the frame did not enter the window.
    shared: OnceLock<Option<(WindowFrame, Bytes)>>,
}

impl EncodedRest {
    /// Returns the bytes for a viewer at a position in the shared window, and its position after
    /// them.
    fn sent_at(self, window: WindowPosition) -> (Bytes, WindowPosition) {
        let after = if self.is_compressed { WindowPosition::OUTSIDE } else { window };
        (self.bytes, after)
    }
}

impl Frame {
    pub(crate) fn new(lane: Lane, message: ServerMessage) -> Self {
        Self {
            times: FrameTimes::of(&message, &HeldBack::default()),
            message,
            lane,
            deleted_at: None,
            personal: None,
            json: Encoded::default(),
            msgpack: Encoded::default(),
            event: OnceLock::new(),
            window: None,
            place: None,
            rests: OnceLock::new(),
        }
    }

    /// Measures the delay of its comments without the time for which they were held back on
    /// purpose.
    pub(crate) fn measured_without(self, held_back: &HeldBack) -> Self {
        if held_back.is_nothing() {
            return self;
        }
        Self { times: FrameTimes::of(&self.message, held_back), ..self }
    }

    /// Makes this the next frame of a stream with a shared window. Only frames that all viewers
    /// are sent in the same order can enter the window. Deletions and announcements overtake
    /// others and stay outside, and so do frames that only some are sent. An author that is shown
    /// a comment of its own leaves the window until the next key frame.
    pub(crate) fn with_window(self, stream: &Arc<StreamWindow>) -> Self {
        match self.lane {
            Lane::Ordered => {
                let place = (!self.is_for_authors_only()).then(|| stream.next_place());
                Self { window: Some(stream.clone()), place, ..self }
            }
            Lane::Control => self,
        }
    }

    /// Returns the frame of a deletion at a log offset.
    pub(crate) fn deletion(seq: Seq, deletion: &Removal) -> Self {
        let frame = Self::new(Lane::Control, ServerMessage::CommentDeleted(deletion.deletion()));
        let told = deletion.told;
        let parts = |_| Box::new(PersonalParts { told, ..PersonalParts::default() });
        let personal = told.exception().map(parts);
        Self { deleted_at: Some(seq), personal, ..frame }
    }

    /// Returns a frame that nobody is sent, for the place of this one, if it deletes the comment.
    pub(crate) fn taken_back(&self, comment_id: CommentId) -> Option<Self> {
        match &self.message {
            ServerMessage::CommentDeleted(deletion) if deletion.comment_id == comment_id => {
                let parts = PersonalParts { is_for_authors_only: true, ..PersonalParts::default() };
                let frame = Self::new(self.lane, self.message.clone());
                Some(Self { personal: Some(Box::new(parts)), ..frame })
            }
            _ => None,
        }
    }

    /// Returns the frame of a batch, and of comments in its range that only their authors are
    /// shown.
    pub(crate) fn with_own(batch: CommentsBatch, own: Vec<SequencedComment>) -> Self {
        let frame = Self::new(Lane::Ordered, ServerMessage::Comments(batch));
        let parts = |own| PersonalParts { own, ..PersonalParts::default() };
        let personal = (!own.is_empty()).then(|| Box::new(parts(own)));
        Self { personal, ..frame }
    }

    /// Returns a frame that only the authors of `own` are sent. The range of `batch`, which has no
    /// other comments, must be covered again by the next frame.
    pub(crate) fn for_authors_only(batch: CommentsBatch, own: Vec<SequencedComment>) -> Self {
        let frame = Self::new(Lane::Ordered, ServerMessage::Comments(batch));
        let parts = PersonalParts { own, is_for_authors_only: true, ..PersonalParts::default() };
        Self { personal: Some(Box::new(parts)), ..frame }
    }

    /// Adds comments in its range that only the viewers are sent that were not before. Most have
    /// come from the earlier epoch, so they are the exceptions.
    pub(crate) fn with_shown_before(mut self, shown_before: Vec<ShownBefore>) -> Self {
        if !shown_before.is_empty() {
            self.personal.get_or_insert_default().shown_before = shown_before;
        }
        self
    }

    /// Reports whether viewers without a name, too, may be sent something else than others.
    pub(crate) fn has_shown_before(&self) -> bool {
        self.personal.as_ref().is_some_and(|parts| !parts.shown_before.is_empty())
    }

    fn is_for_authors_only(&self) -> bool {
        self.personal
            .as_ref()
            .is_some_and(|parts| parts.is_for_authors_only || matches!(parts.told, Told::Only(_)))
    }

    /// Reports whether it has a comment at `seq` that only its author is shown.
    pub(crate) fn has_own(&self, seq: Seq) -> bool {
        let own = self.personal.as_ref().map_or(&[][..], |parts| &parts.own);
        own.iter().any(|comment| comment.seq == seq)
    }

    /// Returns the users that are sent something else than all others, some perhaps repeatedly.
    pub(crate) fn users(&self) -> impl Iterator<Item = UserId> {
        self.personal.iter().flat_map(|parts| {
            let authors = parts.own.iter().map(|comment| comment.user_id);
            parts.told.exception().into_iter().chain(authors)
        })
    }

    /// Reports whether this viewer is sent something else than all others.
    pub(crate) fn is_personal_for(&self, audience: Audience) -> bool {
        let Some(parts) = &self.personal else { return false };
        self.users().any(|other| Some(other) == audience.user)
            || parts.shown_before.iter().any(|shown| shown.is_for(audience))
    }

    /// Reports whether this user is not sent the frame.
    pub(crate) fn is_kept_from(&self, user: Option<UserId>) -> bool {
        self.personal.as_ref().is_some_and(|parts| !parts.told.includes(user))
    }

    /// Returns the batch of comments as this viewer is sent it, owned if others are sent another
    /// one. `None` if it is no batch, or not for this viewer.
    pub(crate) fn batch_for(&self, audience: Audience) -> Option<Cow<'_, CommentsBatch>> {
        if !self.is_personal_for(audience) {
            return self.batch().map(Cow::Borrowed);
        }
        let (ServerMessage::Comments(batch), Some(parts)) = (&self.message, &self.personal) else {
            return None;
        };
        let mut batch = batch.clone();
        let own = parts.own.iter().filter(|comment| Some(comment.user_id) == audience.user);
        batch.comments.extend(own.cloned());
        let again = parts.shown_before.iter().filter(|shown| shown.is_for(audience));
        batch.comments.extend(again.map(|shown| shown.comment.clone()));
        batch.comments.sort_by_key(|comment| comment.seq);
        Some(Cow::Owned(batch))
    }

    /// Reports whether it is a deletion whose log offset lies after `seq`.
    pub(crate) fn deletes_after(&self, seq: Seq) -> bool {
        self.deleted_at.is_some_and(|place| place > seq)
    }

    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }

    /// Reports whether it is written at once rather than together with later frames. Votes of a
    /// poll are sent every second and may wait.
    pub(crate) fn is_urgent(&self) -> bool {
        self.lane == Lane::Control && !matches!(self.message, ServerMessage::PollVotes { .. })
    }

    pub(crate) fn message(&self) -> &ServerMessage {
        &self.message
    }

    /// Returns the batch of comments that everybody is sent, if it is one.
    pub(crate) fn batch(&self) -> Option<&CommentsBatch> {
        match &self.message {
            ServerMessage::Comments(batch) if !self.is_for_authors_only() => Some(batch),
            _ => None,
        }
    }

    /// Returns the times of its comments, if any are measured.
    pub(crate) fn times(&self) -> Option<&FrameTimes> {
        self.times.as_ref()
    }

    /// Returns the number of comments in it.
    pub(crate) fn comments(&self) -> u64 {
        self.batch().map_or(0, |batch| batch.comments.len() as u64)
    }

    /// Returns the bytes for a viewer that nothing is personal for, of a form and at a position in
    /// the shared window, and its position after them. A viewer that cannot read the compressed
    /// frame gets it compressed by itself, and a key frame is requested for it.
    pub(crate) fn bytes(&self, form: Form, window: WindowPosition) -> (&Bytes, WindowPosition) {
        if self.is_for_authors_only() {
            return (&NOTHING, window);
        }
        let encoding = form.encoding();
        match form.deflate() {
            Deflate::Off | Deflate::ReceiveOnly => (self.plain(form.wire()), window),
            Deflate::Single => (self.single(encoding), window),
            Deflate::Shared => match self.shared(encoding) {
                Some((frame, bytes)) if window.can_read(*frame) => (bytes, frame.position_after()),
                Some(_) => {
                    if let Some(stream) = &self.window {
                        stream.request_key_frame(encoding);
                    }
                    (self.alone(encoding), WindowPosition::OUTSIDE)
                }
                None => (self.plain(form.wire()), window),
            },
        }
    }

    /// Returns the bytes of a deletion for a viewer that is told of it, even if most are not.
    pub(crate) fn deletion_bytes(&self, form: Form) -> &Bytes {
        match form.deflate() {
            Deflate::Off | Deflate::ReceiveOnly | Deflate::Shared => self.plain(form.wire()),
            Deflate::Single => self.single(form.encoding()),
        }
    }

    /// Encodes a batch that one viewer is sent in place of the frame, and returns the viewer's
    /// position in the shared window after it. It is compressed if the same batch for all viewers
    /// were: an author that only sees its comments itself must not be able to tell by the RSV1 bit.
    pub(crate) fn encode_instead(
        &self,
        batch: CommentsBatch,
        form: Form,
        window: WindowPosition,
    ) -> (Bytes, WindowPosition) {
        self.encode_part(batch, form).sent_at(window)
    }

    /// Encodes the rest of the batch that all viewers are sent, for one that has the part before
    /// `from_seq`, as [`Self::encode_instead`] does. Viewers at the same position share it.
    pub(crate) fn encode_rest(
        &self,
        batch: &CommentsBatch,
        from_seq: Seq,
        form: Form,
        window: WindowPosition,
    ) -> (Bytes, WindowPosition) {
        let encode = || self.encode_part(batch.rest_from(from_seq), form);
        let rests = self.rests.get_or_init(Box::default);
        rests.get_or_make(&(from_seq, form), encode).sent_at(window)
    }

    fn encode_part(&self, batch: CommentsBatch, form: Form) -> EncodedRest {
        let encoding = form.encoding();
        let plain = form.encode_private(&ServerMessage::Comments(batch));
        let compressed = match form.deflate() {
            Deflate::Off | Deflate::ReceiveOnly => None,
            Deflate::Single => deflate::compress(payload(&plain)),
            Deflate::Shared => {
                self.window.as_ref().and_then(|s| s.compress_alone(encoding, payload(&plain)))
            }
        };
        match compressed {
            Some(compressed) => {
                let bytes = server_frame(opcode(encoding), true, &compressed).into();
                EncodedRest { bytes, is_compressed: true }
            }
            None => EncodedRest { bytes: plain, is_compressed: false },
        }
    }

    /// Identifies the frame in the shared window. `None` if no viewer of this form is sent it in
    /// the window.
    pub(crate) fn window_frame(&self, form: Form) -> Option<WindowFrame> {
        match form.deflate() {
            Deflate::Off | Deflate::ReceiveOnly | Deflate::Single => None,
            Deflate::Shared => self.shared(form.encoding()).map(|(frame, _)| *frame),
        }
    }

    fn encoded(&self, encoding: Encoding) -> &Encoded {
        match encoding {
            Encoding::Json => &self.json,
            Encoding::Msgpack => &self.msgpack,
        }
    }

    fn plain(&self, wire: Wire) -> &Bytes {
        let plain = match wire {
            Wire::Frame(encoding) => &self.encoded(encoding).plain,
            Wire::Event => &self.event,
        };
        plain.get_or_init(|| wire.encode(&self.message))
    }

    fn single(&self, encoding: Encoding) -> &Bytes {
        self.encoded(encoding).single.get_or_init(|| {
            let plain = self.plain(Wire::Frame(encoding));
            match deflate::compress(payload(plain)) {
                Some(compressed) => server_frame(opcode(encoding), true, &compressed).into(),
                None => plain.clone(),
            }
        })
    }

    fn alone(&self, encoding: Encoding) -> &Bytes {
        self.encoded(encoding).alone.get_or_init(|| {
            let plain = self.plain(Wire::Frame(encoding));
            match deflate::compress_always(payload(plain)) {
                Some(compressed) => server_frame(opcode(encoding), true, &compressed).into(),
                None => plain.clone(),
            }
        })
    }

    fn shared(&self, encoding: Encoding) -> Option<&(WindowFrame, Bytes)> {
        let stream = self.window.as_ref()?;
        let place = self.place?;
        let make = || {
            let plain = payload(self.plain(Wire::Frame(encoding)));
            let (frame, compressed) = stream.compress(encoding, place, plain)?;
            Some((frame, server_frame(opcode(encoding), true, &compressed).into()))
        };
        self.encoded(encoding).shared.get_or_init(make).as_ref()
    }

    /// Estimates its memory in one form, for the bound of the ring.
    pub(crate) fn weight_bytes(&self) -> usize {
        let text = |comments: &[SequencedComment]| -> usize {
            comments.iter().map(|comment| 160 + comment.message.len()).sum()
        };
        let own = self.personal.as_ref().map_or(0, |parts| text(&parts.own));
        let again = self.personal.iter().flat_map(|parts| &parts.shown_before);
        let again: usize = again.map(|shown| text(std::slice::from_ref(&shown.comment))).sum();
        256 + own + again + self.batch().map_or(0, |batch| text(&batch.comments))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::DeliveryConfig;
    use crate::daemon::stages::delivery::deflate::Compressors;
    use crate::daemon::testing::comments::sample_comment;
    use crate::protocol::Epoch;
    use crate::protocol::throttle::SampleRate;

    fn bytes(frame: &Frame, form: Form) -> &Bytes {
        frame.bytes(form, WindowPosition::OUTSIDE).0
    }

    #[test]
    fn form_is_encoded_once() {
        let stream = Compressors::new(&DeliveryConfig::default()).stream();
        let message = ServerMessage::Announcement { message: "again ".repeat(20).into() };
        let frame = Frame::new(Lane::Ordered, message).with_window(&stream);
        let forms = [
            Form::Json,
            Form::Msgpack,
            Form::JsonDeflate,
            Form::MsgpackDeflate,
            Form::JsonShared,
            Form::MsgpackShared,
        ];
        for form in forms {
            assert_eq!(bytes(&frame, form).as_ptr(), bytes(&frame, form).as_ptr());
            assert_eq!(form, Form::new(form.encoding(), form.deflate()));
            let rsv1 = bytes(&frame, form)[0] & 0x40 != 0;
            assert_eq!(rsv1, form.deflate() != Deflate::Off, "{form:?}");
        }
        let text = br#"{"type":"announcement","message":"again again"#;
        assert!(payload(bytes(&frame, Form::Json)).starts_with(text));
        let event = bytes(&frame, Form::Events);
        assert!(event.starts_with(&[b"data: ", &text[..]].concat()));
        assert_eq!(event.as_ptr(), bytes(&frame, Form::Events).as_ptr());
    }

    #[test]
    fn viewers_at_one_position_share_the_rest_of_a_batch() {
        let stream = Compressors::new(&DeliveryConfig::default()).stream();
        let comments = (1..=40).map(|seq| sample_comment(seq).sequenced(seq)).collect();
        let sample_rate = SampleRate::ALL;
        let epoch = Epoch(7);
        let batch =
            CommentsBatch { epoch, from_seq: 1, to_seq: 40, sample_rate, comments, echo: false };
        let frame = Frame::new(Lane::Ordered, ServerMessage::Comments(batch.clone()));
        let frame = frame.with_window(&stream);
        let rest =
            |from_seq, form| frame.encode_rest(&batch, from_seq, form, WindowPosition::default()).0;
        for form in [Form::Json, Form::MsgpackDeflate, Form::JsonShared, Form::Events] {
            let first = rest(20, form);
            assert_eq!(first.as_ptr(), rest(20, form).as_ptr(), "{form:?}");
            assert_ne!(first, rest(21, form), "{form:?}");
        }
        for from_seq in 2..=40 {
            let message = ServerMessage::Comments(batch.rest_from(from_seq));
            assert_eq!(rest(from_seq, Form::Json), Form::Json.encode_private(&message));
        }
    }

    #[test]
    fn control_frames_stay_out_of_the_window() {
        let stream = Compressors::new(&DeliveryConfig::default()).stream();
        let message = ServerMessage::Announcement { message: "again ".repeat(20).into() };
        let frame = Frame::new(Lane::Control, message).with_window(&stream);
        assert_eq!(bytes(&frame, Form::JsonShared), bytes(&frame, Form::Json));
        assert_eq!(frame.window_frame(Form::JsonShared), None);
    }
}
