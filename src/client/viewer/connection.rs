//! The connection: handshake, reading, writing.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::net::lookup_host;

use super::socket::Socket;
use super::{ConnectError, Upgrade, ViewerError, ViewerOptions, decode};
use crate::net::transport::Connect;
use crate::net::websocket::frame::put_client_frame;
use crate::net::websocket::{FrameReader, Incoming, Opcode, ReadRules};
use crate::protocol::message::{Encoding, json, msgpack};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{
    ClientMessage, Epoch, Identity, PinnedComment, PollState, Seq, ServerMessage,
};

/// permessage-deflate is not offered.
const RULES: ReadRules = super::read_rules(false);

/// A connected viewer.
#[derive(Debug)]
pub struct ViewerConnection {
    writer: ViewerWriter,
    reader: ViewerReader,
}

/// The reading half. Dropping both halves closes the connection without a close frame.
#[derive(Debug)]
pub struct ViewerReader {
    socket: Arc<Socket>,
    encoding: Encoding,
    frames: FrameReader,
    buffer: Box<[u8]>,
    /// The part of `buffer` that was read from the socket and not yet taken.
    unread: Range<usize>,
    /// A pong or close frame waits for the kernel.
    must_flush: bool,
}

/// The writing half.
#[derive(Debug)]
pub struct ViewerWriter {
    socket: Arc<Socket>,
    encoding: Encoding,
    buffer_bytes: usize,
}

/// The server's first message.
#[derive(Debug, Clone, PartialEq)]
pub struct Welcome {
    pub user: Option<Identity>,
    pub epoch: Epoch,
    pub seq: Seq,
    pub sample_rate: SampleRate,
    pub viewers: u64,
    /// The reactions that can be sent, in the order in which they are offered.
    pub reactions: Arc<[Arc<str>]>,
    /// The comment above the chat.
    pub pinned: Option<Arc<PinnedComment>>,
    /// The poll that is open.
    pub poll: Option<Arc<PollState>>,
}

impl Welcome {
    /// Returns the welcome if `message` is one, and `None` for a message that may come before it.
    ///
    /// # Errors
    /// The server refuses the viewer, or sent what must follow a welcome.
    pub fn from_message(message: ServerMessage) -> Result<Option<Self>, ViewerError> {
        match message {
            ServerMessage::Welcome {
                user,
                epoch,
                seq,
                sample_rate,
                viewers,
                reactions,
                pinned,
                poll,
                ..
            } => Ok(Some(Self { user, epoch, seq, sample_rate, viewers, reactions, pinned, poll })),
            ServerMessage::Error { code, message, retry_after_ms, .. } => {
                Err(ViewerError::Refused { code, message, retry_after_ms })
            }
            ServerMessage::Comments(_) | ServerMessage::Gap { .. } => {
                Err(ViewerError::BadMessage("comments before the welcome".to_owned()))
            }
            _ => Ok(None),
        }
    }
}

impl ViewerConnection {
    /// Connects and upgrades. The first message will be the welcome, or an error.
    pub async fn open(options: &ViewerOptions) -> Result<Self, ConnectError> {
        match tokio::time::timeout(options.connect_timeout, connect(options)).await {
            Ok(opened) => opened,
            Err(_) => Err(timed_out(options)),
        }
    }

    /// Connects and waits for the welcome.
    pub async fn join(options: &ViewerOptions) -> Result<(Self, Welcome), ConnectError> {
        let mut connection = Self::open(options).await?;
        match tokio::time::timeout(options.connect_timeout, connection.welcome()).await {
            Ok(Ok(welcome)) => Ok((connection, welcome)),
            Ok(Err(error)) => Err(ConnectError::NotWelcome { url: options.url(), error }),
            Err(_) => Err(timed_out(options)),
        }
    }

    async fn welcome(&mut self) -> Result<Welcome, ViewerError> {
        loop {
            if let Some(welcome) = Welcome::from_message(self.next().await?)? {
                return Ok(welcome);
            }
        }
    }

    /// Returns the next message. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<ServerMessage, ViewerError> {
        self.reader.next().await
    }

    /// Returns the next message undecoded; [`decode`] reads it. Cancelling it loses nothing.
    pub async fn next_payload(&mut self) -> Result<Bytes, ViewerError> {
        self.reader.next_payload().await
    }

    /// Writes a message and waits until the kernel has it.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), ViewerError> {
        self.writer.feed(message).await?;
        self.writer.flush().await
    }

    /// Sends a close frame, without waiting for the answer.
    pub async fn close(self) {
        let socket = &self.writer.socket;
        socket.enqueue(|outgoing| put_frame(outgoing, Opcode::Close, &[]));
        // If it fails, the connection is closed already.
        let _ = socket.flush().await;
    }

    /// Splits into halves that can be used at the same time.
    pub fn split(self) -> (ViewerWriter, ViewerReader) {
        (self.writer, self.reader)
    }
}

impl ViewerReader {
    /// Returns the next message of a kind that is known. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<ServerMessage, ViewerError> {
        loop {
            let payload = self.next_payload().await?;
            if let Some(message) = decode(self.encoding, &payload)? {
                return Ok(message);
            }
        }
    }

    /// Returns the next message undecoded. Cancelling it loses nothing.
    pub async fn next_payload(&mut self) -> Result<Bytes, ViewerError> {
        loop {
            if let Some(payload) = self.next_buffered()? {
                return Ok(payload);
            }
            self.fill().await?;
        }
    }

    /// Takes the next message from what was read, and answers control frames before it.
    fn next_buffered(&mut self) -> Result<Option<Bytes>, ViewerError> {
        let mut input = &self.buffer[self.unread.clone()];
        while let Some(incoming) = self.frames.next(&RULES, &mut input)? {
            self.unread.start = self.unread.end - input.len();
            match incoming {
                Incoming::Message(message) => {
                    return Ok(Some(message.payload.into_owned().into()));
                }
                Incoming::Ping(payload) => {
                    self.must_flush |= !answer(&self.socket, Opcode::Pong, &payload)?;
                }
                Incoming::Pong => {}
                Incoming::Close(status) => {
                    // A courtesy: the server closes in any case.
                    let number = status.answer().to_be_bytes();
                    let _ = answer(&self.socket, Opcode::Close, &number);
                    return Err(ViewerError::Closed(status));
                }
            }
        }
        self.unread = 0..0;
        Ok(None)
    }

    async fn fill(&mut self) -> Result<(), ViewerError> {
        tokio::select! {
            read = self.socket.read(&mut self.buffer) => {
                let bytes = read?;
                if bytes == 0 {
                    return Err(ViewerError::Broken("the stream ended".to_owned()));
                }
                self.unread = 0..bytes;
            }
            flushed = self.socket.flush(), if self.must_flush => {
                flushed?;
                self.must_flush = false;
            }
        }
        Ok(())
    }
}

impl ViewerWriter {
    /// Puts a message into the write buffer, and writes when that is full.
    pub async fn feed(&mut self, message: &ClientMessage) -> Result<(), ViewerError> {
        let (opcode, payload) = match self.encoding {
            Encoding::Json => (Opcode::Text, json::encode_client(message)),
            Encoding::Msgpack => (Opcode::Binary, msgpack::encode_client(message)),
        };
        let waiting = self.socket.enqueue(|outgoing| put_frame(outgoing, opcode, &payload));
        if waiting >= self.buffer_bytes {
            self.flush().await?;
        }
        Ok(())
    }

    /// Waits until the kernel has every message that was fed.
    pub async fn flush(&mut self) -> Result<(), ViewerError> {
        Ok(self.socket.flush().await?)
    }
}

fn put_frame(outgoing: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    put_client_frame(outgoing, opcode, payload, rand::random());
}

/// Writes a control frame as far as the kernel takes it now. Returns false if something is left.
fn answer(socket: &Socket, opcode: Opcode, payload: &[u8]) -> std::io::Result<bool> {
    socket.enqueue(|outgoing| put_frame(outgoing, opcode, payload));
    socket.try_flush()
}

fn timed_out(options: &ViewerOptions) -> ConnectError {
    ConnectError::TimedOut { url: options.url(), waited: options.connect_timeout }
}

async fn connect(options: &ViewerOptions) -> Result<ViewerConnection, ConnectError> {
    let upgrade = Upgrade {
        endpoint: &options.endpoint,
        stream: options.stream,
        encoding: options.encoding,
        deflate: RULES.deflate,
        token: options.token.as_deref(),
        resume: options.resume,
        nonce: rand::random(),
    };
    let request = upgrade.request()?;
    let unreachable = |source| ConnectError::Unreachable { url: options.url(), source };
    let socket = open_socket(options).await.map_err(unreachable)?;
    socket.enqueue(|outgoing| outgoing.extend_from_slice(&request));
    socket.flush().await.map_err(unreachable)?;
    let mut buffer = vec![0; options.buffer_bytes].into_boxed_slice();
    let mut response = Vec::new();
    loop {
        let bytes = socket.read(&mut buffer).await.map_err(unreachable)?;
        response.extend_from_slice(&buffer[..bytes]);
        if let Some(end) = upgrade.read_response(&response, bytes == 0)? {
            let early_bytes = response.len() - end;
            let unread = bytes - early_bytes..bytes;
            let socket = Arc::new(socket);
            let encoding = options.encoding;
            let writer = ViewerWriter {
                socket: socket.clone(),
                encoding,
                buffer_bytes: options.buffer_bytes,
            };
            let frames = FrameReader::default();
            let reader =
                ViewerReader { socket, encoding, frames, buffer, unread, must_flush: false };
            return Ok(ViewerConnection { writer, reader });
        }
    }
}

/// Tries the host's addresses in turn.
async fn open_socket(options: &ViewerOptions) -> std::io::Result<Socket> {
    let endpoint = &options.endpoint;
    let tls = endpoint.tls.then(|| options.trust.config());
    let mut failure = None;
    for address in lookup_host((endpoint.host.as_str(), endpoint.port)).await? {
        let connect =
            Connect { address, source: None, receive_buffer_bytes: options.receive_window_bytes };
        match Socket::connect(connect, tls.as_ref(), &endpoint.host).await {
            Ok(socket) => return Ok(socket),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| std::io::Error::other("the host has no address")))
}
