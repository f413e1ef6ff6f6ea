//! The record layer of TLS 1.3 after the handshake, for connections that are idle most of the time.
//!
//! In: bytes of a socket, bytes for it, and the secrets of a finished handshake. Out: plaintext,
//! and records. rustls does the handshake, and the ciphers are those that it uses; this replaces
//! what it keeps per connection afterwards: a read buffer of 4 KiB, and the state of a handshake
//! that is over.
//!
//! Always holds: a connection owns no buffer while nothing is half-read or half-written. No
//! sequence number is used twice under one key; keys are renewed when the peer asks for it and when
//! a key has sealed as many records as it may (RFC 8446 §4.6.3, §5.5).
//! A peer that sends one record after another without text is an error, so that a read ends.
//! When full: what the socket does not take waits here, at most one write's worth. Until it is
//! gone, nothing more is taken.

mod alert;
mod keys;
mod tail;

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Read, Write};

use rustls::SupportedCipherSuite;
use rustls::server::ServerConnection;

pub use keys::TrafficSecrets;
pub use tail::RecordTail;

use self::alert::FatalAlert::{DecodeError, IllegalParameter, RecordOverflow, UnexpectedMessage};
use self::alert::{FatalAlert, broken};
use self::keys::DirectionKeys;
use super::blocking::{is_blocked, some_unless_blocked};

/// Type, version and length.
const HEADER_BYTES: usize = 5;
/// The largest plaintext of a record (§5.1).
const MAX_PLAIN_BYTES: usize = 16 * 1024;
/// The largest record: a plaintext with its type, padding and tag (§5.2).
const MAX_RECORD_BYTES: usize = HEADER_BYTES + MAX_PLAIN_BYTES + 256;
/// Plaintext that one write takes at most.
const MAX_WRITE_BYTES: usize = 64 * 1024;
/// Records in a row that bring no text: key updates, empty records, alerts that are ignored. A peer
/// has no use for as many, and each costs work. rustls has the same limit.
const MAX_RECORDS_WITHOUT_TEXT: u8 = 32;
/// Key updates of a peer in all. Each costs as much as opening hundreds of bytes. No key needs one
/// before its 2^24th record, so that none that is honest comes near.
const MAX_KEY_UPDATES: u16 = 1024;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

/// The alert `close_notify`, of level warning.
const CLOSE_NOTIFY: [u8; 2] = [1, 0];
/// The alert `user_canceled`, of level warning. `close_notify` follows if the peer means it (§6.1).
const USER_CANCELED: [u8; 2] = [1, 90];
/// The start of the message `key_update`: its type and length.
const KEY_UPDATE: [u8; 4] = [24, 0, 0, 1];
const UPDATE_NOT_REQUESTED: u8 = 0;
const UPDATE_REQUESTED: u8 = 1;

thread_local! {
    /// Where records are read and written. One per thread, so that no connection owns one.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Both directions of one connection.
pub struct RecordLayer {
    reading: DirectionKeys,
    writing: DirectionKeys,
    /// Plaintext that has arrived and was not asked for yet.
    early: Vec<u8>,
    /// The start of a record of which the rest has not arrived.
    partial: Vec<u8>,
    /// Records that the socket has not taken.
    unsent: Vec<u8>,
    /// The keys that seal must be renewed before anything else is sent.
    owes_key_update: bool,
    /// The peer has said that nothing follows.
    peer_closed: bool,
    /// The last record for the peer has been sealed: it was told that nothing follows.
    closed: bool,
    /// Records that brought no text since the last that did.
    without_text: u8,
    /// Key updates of the peer since the handshake.
    key_updates: u16,
    /// An error behind text that was read with it. The next read returns it.
    failure: Option<io::Error>,
}

impl std::fmt::Debug for RecordLayer {
    /// Leaves keys and texts out.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordLayer")
            .field("peer_closed", &self.peer_closed)
            .finish_non_exhaustive()
    }
}

/// A session whose handshake is over.
#[derive(Debug)]
pub enum TakeOver {
    Taken(Box<RecordLayer>),
    /// It goes on in rustls: an older version of TLS, or something is left to write.
    Kept(Box<ServerConnection>),
}

impl RecordLayer {
    /// Takes a session over from rustls. `tail` has seen every byte that the session was given, and
    /// `secrets` are those of its handshake: without them, a later renewal of keys ends the
    /// connection.
    ///
    /// # Errors
    /// The session has failed, or its configuration does not let secrets out.
    pub fn take_over(
        mut session: ServerConnection,
        secrets: &TrafficSecrets,
        tail: RecordTail,
    ) -> io::Result<TakeOver> {
        if !session.is_handshaking() {
            // rustls keeps its answer to a key update until the next write. An empty one moves it
            // to what `wants_write` counts.
            let _nothing = session.writer().write(&[])?;
        }
        let suite = match session.negotiated_cipher_suite() {
            Some(SupportedCipherSuite::Tls13(suite))
                if !session.is_handshaking() && !session.wants_write() =>
            {
                suite
            }
            _ => return Ok(TakeOver::Kept(Box::new(session))),
        };
        let mut early = Vec::new();
        // A session that may receive more says `WouldBlock` after what it has.
        let peer_closed = session.reader().read_to_end(&mut early).is_ok();
        let extracted = session.dangerous_extract_secrets().map_err(io::Error::other)?;
        Ok(TakeOver::Taken(Box::new(Self {
            reading: DirectionKeys::new(suite, extracted.rx, secrets.of_client())?,
            writing: DirectionKeys::new(suite, extracted.tx, secrets.of_server())?,
            early,
            partial: tail.into_bytes(),
            unsent: Vec::new(),
            owes_key_update: false,
            peer_closed,
            closed: false,
            without_text: 0,
            key_updates: 0,
            failure: None,
        })))
    }

    /// Reads into `buffer`. Returns `None` if there is nothing now, and `Some(0)` at the end.
    ///
    /// # Errors
    /// The socket's, or `InvalidData` if the peer breaks a rule of TLS, which it is told; the
    /// connection must be closed.
    pub(super) fn read<S: Read + Write>(
        &mut self,
        socket: &mut S,
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        self.read_text(socket, buffer).inspect_err(|error| self.tell(socket, error))
    }

    /// Tells the peer of an error that it or this end has made.
    fn tell<S: Write>(&mut self, socket: &mut S, error: &io::Error) {
        if let Some(alert) = FatalAlert::of(error) {
            self.send_alert(socket, alert.message());
        }
    }

    fn read_text<S: Read + Write>(
        &mut self,
        socket: &mut S,
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        loop {
            if !self.early.is_empty() {
                return Ok(Some(self.take_early(buffer)));
            }
            if let Some(error) = self.failure.take() {
                return Err(error);
            }
            if self.peer_closed {
                return Ok(Some(0));
            }
            let filled = SCRATCH.with_borrow_mut(|scratch| {
                scratch.resize(MAX_RECORD_BYTES.max(scratch.len()), 0);
                self.read_records(socket, &mut scratch[..MAX_RECORD_BYTES], buffer)
            })?;
            match filled {
                // Only records without text for the reader have come.
                Some(0) if !self.peer_closed => {
                    // New keys are confirmed at once.
                    self.flush(socket)?;
                }
                other => return Ok(other),
            }
        }
    }

    fn take_early(&mut self, buffer: &mut [u8]) -> usize {
        let bytes = self.early.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&self.early[..bytes]);
        self.early.drain(..bytes);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
        bytes
    }

    /// Reads once from the socket. Returns the number of plaintext bytes in `buffer`, or `None` if
    /// nothing has come. More plaintext than the buffer takes is kept.
    fn read_records<S: Read>(
        &mut self,
        socket: &mut S,
        scratch: &mut [u8],
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        let Some(more) = some_unless_blocked(socket.read(scratch))? else { return Ok(None) };
        if more == 0 {
            // Without `close_notify`, as most peers leave.
            self.peer_closed = true;
            return Ok(Some(0));
        }
        let fresh = &mut scratch[..more];
        if self.partial.is_empty() {
            return self.open_records(fresh, buffer).map(Some);
        }
        // Appended, so that a record that comes byte by byte is not copied with each.
        self.partial.extend_from_slice(fresh);
        if record_bytes(&self.partial)?.is_none_or(|bytes| bytes > self.partial.len()) {
            return Ok(Some(0));
        }
        let mut begun = std::mem::take(&mut self.partial);
        self.open_records(&mut begun, buffer).map(Some)
    }

    /// Opens all records that are whole, and keeps the start of one that is not. Returns the number
    /// of plaintext bytes in `buffer`. An error behind them waits for the next read.
    fn open_records(&mut self, mut rest: &mut [u8], buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while !self.peer_closed {
            let opened = match record_bytes(rest) {
                Ok(Some(bytes)) if bytes <= rest.len() => {
                    let (record, after) = std::mem::take(&mut rest).split_at_mut(bytes);
                    rest = after;
                    self.open_record(record, &mut buffer[filled..])
                }
                Ok(_) => break,
                Err(error) => Err(error),
            };
            match opened {
                Ok(bytes) => filled += bytes,
                Err(error) if filled == 0 && self.early.is_empty() => return Err(error),
                Err(error) => {
                    self.failure = Some(error);
                    return Ok(filled);
                }
            }
        }
        self.partial = if self.peer_closed { Vec::new() } else { rest.to_vec() };
        Ok(filled)
    }

    /// Opens one record. Returns the number of plaintext bytes put into `buffer`.
    fn open_record(&mut self, record: &mut [u8], buffer: &mut [u8]) -> io::Result<usize> {
        let (kind, plain) = self.reading.open(record)?;
        if kind == APPLICATION_DATA && !plain.is_empty() {
            self.without_text = 0;
        } else if self.without_text == MAX_RECORDS_WITHOUT_TEXT {
            return Err(broken(UnexpectedMessage, "too many records without text"));
        } else {
            self.without_text += 1;
        }
        match kind {
            APPLICATION_DATA => {
                // Bytes that were kept come first.
                let room = if self.early.is_empty() { buffer.len() } else { 0 };
                let (now, later) = plain.split_at(plain.len().min(room));
                buffer[..now.len()].copy_from_slice(now);
                self.early.extend_from_slice(later);
                Ok(now.len())
            }
            ALERT if plain == CLOSE_NOTIFY || plain == [2, 0] => {
                self.peer_closed = true;
                Ok(0)
            }
            ALERT if plain == USER_CANCELED => Ok(0),
            ALERT if plain.is_empty() => Err(broken(UnexpectedMessage, "an empty alert")),
            ALERT if plain.len() != 2 => Err(broken(DecodeError, "an alert of an odd length")),
            ALERT => Err(io::Error::new(ErrorKind::ConnectionAborted, "the peer sent an alert")),
            HANDSHAKE => self.take_key_update(plain.try_into().ok()).map(|()| 0),
            _ => Err(broken(UnexpectedMessage, "a record of an unexpected type")),
        }
    }

    /// The only message of a client after the handshake. The RFC lets it be divided over records
    /// (§5.1); no implementation divides five bytes, so that this is refused, and nothing of a
    /// message needs to be kept.
    fn take_key_update(&mut self, message: Option<[u8; 5]>) -> io::Result<()> {
        let no_key_update =
            || broken(UnexpectedMessage, "a handshake message that is no key update");
        let [start @ .., request] = message.ok_or_else(no_key_update)?;
        if start != KEY_UPDATE {
            return Err(no_key_update());
        }
        if request > UPDATE_REQUESTED {
            return Err(broken(IllegalParameter, "a key update of an unknown kind"));
        }
        if self.key_updates == MAX_KEY_UPDATES {
            return Err(broken(UnexpectedMessage, "too many key updates"));
        }
        self.key_updates += 1;
        self.reading = self.reading.renewed()?;
        // Several requests before the next record are answered by one renewal.
        self.owes_key_update |= request == UPDATE_REQUESTED;
        Ok(())
    }

    /// Seals the front of the slices and writes it. Returns the number of plaintext bytes taken, 0
    /// while the socket has not taken all that was sealed before.
    pub(super) fn write<S: Write>(
        &mut self,
        socket: &mut S,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        self.write_text(socket, slices).inspect_err(|error| self.tell(socket, error))
    }

    fn write_text<S: Write>(
        &mut self,
        socket: &mut S,
        slices: &[IoSlice<'_>],
    ) -> io::Result<usize> {
        if !self.flush(socket)? {
            return Ok(0);
        }
        let mut taken = 0;
        SCRATCH.with_borrow_mut(|sealed| {
            sealed.clear();
            let mut slices = slices.iter().map(|slice| &**slice).filter(|slice| !slice.is_empty());
            let mut slice: &[u8] = slices.next().unwrap_or_default();
            while !slice.is_empty() && taken < MAX_WRITE_BYTES && !self.writing.is_used_up() {
                let mut room = MAX_PLAIN_BYTES.min(MAX_WRITE_BYTES - taken);
                let at = begin_record(sealed);
                while room > 0 && !slice.is_empty() {
                    let (now, later) = slice.split_at(slice.len().min(room));
                    sealed.extend_from_slice(now);
                    room -= now.len();
                    taken += now.len();
                    slice =
                        if later.is_empty() { slices.next().unwrap_or_default() } else { later };
                }
                self.seal(APPLICATION_DATA, sealed, at)?;
            }
            self.write_sealed(socket, sealed)
        })?;
        Ok(taken)
    }

    /// Hands what is left to the socket. Returns false while some is left.
    pub(super) fn flush<S: Write>(&mut self, socket: &mut S) -> io::Result<bool> {
        let is_due = self.owes_key_update || self.writing.is_used_up();
        if self.flush_unsent(socket)? && is_due && !self.closed {
            // Before anything is sealed: it fails if the secret is not known.
            let renewed = self.writing.renewed()?;
            let mut sealed = Vec::new();
            let at = begin_record(&mut sealed);
            sealed.extend_from_slice(&KEY_UPDATE);
            sealed.push(UPDATE_NOT_REQUESTED);
            self.seal(HANDSHAKE, &mut sealed, at)?;
            self.writing = renewed;
            self.owes_key_update = false;
            self.write_sealed(socket, &sealed)?;
        }
        Ok(self.unsent.is_empty())
    }

    fn flush_unsent<S: Write>(&mut self, socket: &mut S) -> io::Result<bool> {
        let sent = write_now(socket, &self.unsent)?;
        if sent == self.unsent.len() {
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..sent);
        }
        Ok(self.unsent.is_empty())
    }

    /// Tells the peer that nothing follows, unless it was told. It may be gone already.
    pub(super) fn say_close<S: Write>(&mut self, socket: &mut S) {
        self.send_alert(socket, CLOSE_NOTIFY);
    }

    /// Sends the last record, if the socket takes it. Nothing is sent after it.
    fn send_alert<S: Write>(&mut self, socket: &mut S, alert: [u8; 2]) {
        if self.closed {
            return;
        }
        let closing = self.flush_unsent(socket).and_then(|flushed| {
            if !flushed {
                return Ok(());
            }
            self.closed = true;
            let mut sealed = Vec::new();
            let at = begin_record(&mut sealed);
            sealed.extend_from_slice(&alert);
            self.seal(ALERT, &mut sealed, at)?;
            self.write_sealed(socket, &sealed)
        });
        // The socket is closed either way.
        let _ = closing;
    }

    fn seal(&mut self, kind: u8, sealed: &mut Vec<u8>, at: usize) -> io::Result<()> {
        self.writing.seal(kind, sealed, at)
    }

    /// Writes records, and keeps what the socket does not take. Nothing is kept from before.
    fn write_sealed<S: Write>(&mut self, socket: &mut S, sealed: &[u8]) -> io::Result<()> {
        let sent = write_now(socket, sealed)?;
        self.unsent = sealed[sent..].to_vec();
        Ok(())
    }
}

/// Returns the number of bytes that the socket has taken now.
fn write_now<S: Write>(socket: &mut S, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(more) => sent += more,
            Err(error) if is_blocked(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}

/// Appends room for the header of a record. Returns where the record begins.
fn begin_record(sealed: &mut Vec<u8>) -> usize {
    let at = sealed.len();
    sealed.extend_from_slice(&[0; HEADER_BYTES]);
    at
}

/// Returns the length of the record at the front, with its header; `None` while the header is
/// incomplete.
fn record_bytes(bytes: &[u8]) -> io::Result<Option<usize>> {
    let [kind, _, _, high, low, ..] = *bytes else { return Ok(None) };
    let total = HEADER_BYTES + usize::from(u16::from_be_bytes([high, low]));
    // Everything but application data is inside records of that type now.
    if kind != APPLICATION_DATA {
        return Err(broken(UnexpectedMessage, "a record of another type"));
    }
    if total > MAX_RECORD_BYTES {
        return Err(broken(RecordOverflow, "a record that is too long"));
    }
    Ok(Some(total))
}

// Certificates are made by a dependency of the daemon.
#[cfg(test)]
#[cfg(feature = "daemon")]
mod tests;
