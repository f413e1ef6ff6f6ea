//! The socket: handshake, reading, writing.

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::{Closure, ConnectError, ViewerError, ViewerOptions, decode};
use crate::protocol::message::{Encoding, json, msgpack};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{ClientMessage, Epoch, Identity, Seq, ServerMessage};

/// A message of a server is never larger: a frame of a full batch has some 100 KiB.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connected viewer.
#[derive(Debug)]
pub struct ViewerConnection {
    socket: Socket,
    encoding: Encoding,
}

/// The reading half. Dropping both halves closes the connection without a close frame.
#[derive(Debug)]
pub struct ViewerReader {
    stream: SplitStream<Socket>,
    encoding: Encoding,
}

/// The writing half.
#[derive(Debug)]
pub struct ViewerWriter {
    sink: SplitSink<Socket, Message>,
    encoding: Encoding,
}

/// What the server said first.
#[derive(Debug, Clone, PartialEq)]
pub struct Welcome {
    pub user: Option<Identity>,
    pub epoch: Epoch,
    pub seq: Seq,
    pub sample_rate: SampleRate,
    pub viewers: u64,
}

impl ViewerConnection {
    /// Connects and upgrades; the first message read will be the welcome, or an error.
    pub async fn open(options: &ViewerOptions) -> Result<Self, ConnectError> {
        let url = options.endpoint.viewer_url(options.stream, options.resume);
        match tokio::time::timeout(options.connect_timeout, connect(&url, options)).await {
            Ok(Ok(socket)) => Ok(Self { socket, encoding: options.encoding }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(ConnectError::TimedOut { url, waited: options.connect_timeout }),
        }
    }

    /// Connects and waits for the welcome.
    pub async fn join(options: &ViewerOptions) -> Result<(Self, Welcome), ConnectError> {
        let mut connection = Self::open(options).await?;
        let url = || options.endpoint.viewer_url(options.stream, options.resume);
        match tokio::time::timeout(options.connect_timeout, connection.welcome()).await {
            Ok(Ok(welcome)) => Ok((connection, welcome)),
            Ok(Err(error)) => Err(ConnectError::NotWelcome { url: url(), error }),
            Err(_) => Err(ConnectError::TimedOut { url: url(), waited: options.connect_timeout }),
        }
    }

    async fn welcome(&mut self) -> Result<Welcome, ViewerError> {
        loop {
            match self.next().await? {
                ServerMessage::Welcome { user, epoch, seq, sample_rate, viewers, .. } => {
                    return Ok(Welcome { user, epoch, seq, sample_rate, viewers });
                }
                ServerMessage::Error { code, message, .. } => {
                    return Err(ViewerError::Refused { code, message });
                }
                ServerMessage::Comments(_) | ServerMessage::Gap { .. } => {
                    let text = "comments before the welcome".to_owned();
                    return Err(ViewerError::BadMessage(text));
                }
                _ => {}
            }
        }
    }

    /// The next message. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<ServerMessage, ViewerError> {
        let payload = self.next_payload().await?;
        decode(self.encoding, &payload)
    }

    /// The next message as it came; [`decode`] reads it. Cancelling it loses nothing.
    pub async fn next_payload(&mut self) -> Result<Bytes, ViewerError> {
        next_payload(&mut self.socket).await
    }

    /// Writes a message and waits until the kernel has it.
    pub async fn send(&mut self, message: &ClientMessage) -> Result<(), ViewerError> {
        let sent = self.socket.send(encode(self.encoding, message)).await;
        sent.map_err(|error| ViewerError::from_stream(&error))
    }

    /// Says goodbye, so that the server need not find out. Does not wait for the answer.
    pub async fn close(mut self) {
        // A connection that is gone already is closed well enough.
        let _ = self.socket.close(None).await;
    }

    /// Two halves, for who writes while reading.
    pub fn split(self) -> (ViewerWriter, ViewerReader) {
        let encoding = self.encoding;
        let (sink, stream) = self.socket.split();
        (ViewerWriter { sink, encoding }, ViewerReader { stream, encoding })
    }
}

impl ViewerReader {
    /// The next message. Cancelling it loses nothing.
    pub async fn next(&mut self) -> Result<ServerMessage, ViewerError> {
        let payload = self.next_payload().await?;
        decode(self.encoding, &payload)
    }

    /// The next message as it came. Cancelling it loses nothing.
    pub async fn next_payload(&mut self) -> Result<Bytes, ViewerError> {
        next_payload(&mut self.stream).await
    }
}

impl ViewerWriter {
    /// Puts a message into the write buffer, writing when that is full.
    pub async fn feed(&mut self, message: &ClientMessage) -> Result<(), ViewerError> {
        let fed = self.sink.feed(encode(self.encoding, message)).await;
        fed.map_err(|error| ViewerError::from_stream(&error))
    }

    /// Waits until the kernel has all that was fed.
    pub async fn flush(&mut self) -> Result<(), ViewerError> {
        self.sink.flush().await.map_err(|error| ViewerError::from_stream(&error))
    }
}

async fn connect(url: &str, options: &ViewerOptions) -> Result<Socket, ConnectError> {
    let request = request(url, options)?;
    let unreachable = |source| ConnectError::Unreachable { url: url.to_owned(), source };
    let stream = open_stream(options).await.map_err(unreachable)?;
    let config = WebSocketConfig::default()
        .read_buffer_size(options.buffer_bytes)
        .write_buffer_size(options.buffer_bytes)
        .max_message_size(Some(MAX_MESSAGE_BYTES))
        .max_frame_size(Some(MAX_MESSAGE_BYTES));
    let connector = options.endpoint.tls.then(|| Connector::Rustls(options.trust.config()));
    // Boxed: its state is some KiB, needed only here, and would stay a part of the caller's.
    let handshake =
        Box::pin(client_async_tls_with_config(request, stream, Some(config), connector));
    match handshake.await {
        Ok((socket, _)) => Ok(socket),
        Err(error) => Err(ConnectError::from_handshake(url, error)),
    }
}

fn request(url: &str, options: &ViewerOptions) -> Result<Request, ConnectError> {
    let problem = |problem: String| ConnectError::Handshake { url: url.to_owned(), problem };
    let mut request = url.into_client_request().map_err(|error| problem(error.to_string()))?;
    let headers = request.headers_mut();
    let protocol = tungstenite::http::HeaderValue::from_static(options.encoding.subprotocol());
    headers.insert(SEC_WEBSOCKET_PROTOCOL, protocol);
    if let Some(token) = &options.token {
        let bearer = format!("Bearer {token}").parse();
        let bearer = bearer.map_err(|_| problem("the token has characters no header takes".into()));
        headers.insert(AUTHORIZATION, bearer?);
    }
    Ok(request)
}

async fn open_stream(options: &ViewerOptions) -> std::io::Result<TcpStream> {
    let endpoint = &options.endpoint;
    let mut failure = None;
    for address in lookup_host((endpoint.host.as_str(), endpoint.port)).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(bytes) = options.receive_window_bytes {
            socket.set_recv_buffer_size(bytes.min(u32::MAX as usize) as u32)?;
        }
        match socket.connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| std::io::Error::other("the host has no address")))
}

fn encode(encoding: Encoding, message: &ClientMessage) -> Message {
    match encoding {
        Encoding::Json => {
            let text = Utf8Bytes::try_from(Bytes::from(json::encode_client(message)));
            Message::Text(text.expect("serde_json writes UTF-8"))
        }
        Encoding::Msgpack => Message::Binary(msgpack::encode_client(message).into()),
    }
}

async fn next_payload<S>(stream: &mut S) -> Result<Bytes, ViewerError>
where
    S: futures_util::Stream<Item = Result<Message, tungstenite::Error>> + Unpin,
{
    loop {
        match stream.next().await {
            Some(Ok(Message::Text(text))) => return Ok(text.into()),
            Some(Ok(Message::Binary(bytes))) => return Ok(bytes),
            Some(Ok(Message::Close(frame))) => {
                return Err(ViewerError::Closed(match frame {
                    Some(frame) => {
                        Closure { number: frame.code.into(), reason: frame.reason.to_string() }
                    }
                    None => Closure { number: 1005, reason: String::new() },
                }));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Err(error)) => return Err(ViewerError::from_stream(&error)),
            None => return Err(ViewerError::Broken("the stream ended".to_owned())),
        }
    }
}
