//! A service on a real socket that answers as a test tells it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// A connection, with or without TLS.
trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Socket for S {}

/// The behaviour of a service towards each request.
#[derive(Debug, Clone)]
pub(super) enum Behaviour {
    /// Answers with status 200 and this JSON.
    Json(String),
    /// Rejects comments with this text and accepts the others, after the number of milliseconds in
    /// the text.
    RejectAfterMs(&'static str),
    /// Sends these bytes.
    Raw(Vec<u8>),
    /// Sends a head, then a byte per interval.
    Drip(Duration),
    /// Never answers.
    Hang,
    /// Ends the connection after the request.
    HangUp,
}

/// A request that arrived.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// In lower case.
    pub(super) head: String,
    pub(super) body: Vec<u8>,
}

impl Asked {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

#[derive(Debug)]
struct State {
    behaviour: Mutex<Behaviour>,
    asked: Mutex<Vec<Asked>>,
    connections: AtomicUsize,
    under_way: AtomicUsize,
    most_under_way: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct TestService {
    pub(super) address: SocketAddr,
    state: Arc<State>,
    _task: AbortOnDropHandle<()>,
}

impl TestService {
    pub(super) async fn start(behaviour: Behaviour) -> Self {
        Self::start_with(behaviour, None).await
    }

    /// Starts a service that speaks TLS only.
    pub(super) async fn start_secure(behaviour: Behaviour, tls: TlsAcceptor) -> Self {
        Self::start_with(behaviour, Some(tls)).await
    }

    async fn start_with(behaviour: Behaviour, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            behaviour: Mutex::new(behaviour),
            asked: Mutex::default(),
            connections: AtomicUsize::new(0),
            under_way: AtomicUsize::new(0),
            most_under_way: AtomicUsize::new(0),
        });
        let accepting = state.clone();
        let task = tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                accepting.connections.fetch_add(1, Ordering::SeqCst);
                let state = accepting.clone();
                let tls = tls.clone();
                // A client that goes away ends its connection.
                tokio::spawn(async move {
                    drop(match tls {
                        Some(tls) => match tls.accept(socket).await {
                            Ok(mut socket) => serve(&mut socket, &state).await,
                            Err(refused) => Err(refused),
                        },
                        None => serve(&mut { socket }, &state).await,
                    });
                });
            }
        });
        Self { address, state, _task: AbortOnDropHandle::new(task) }
    }

    pub(super) async fn answering(json: &str) -> Self {
        Self::start(Behaviour::Json(json.to_owned())).await
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/check?key=1", self.address)
    }

    pub(super) fn behave(&self, behaviour: Behaviour) {
        *self.state.behaviour.lock() = behaviour;
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.state.asked.lock().clone()
    }

    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    pub(super) fn most_under_way(&self) -> usize {
        self.state.most_under_way.load(Ordering::SeqCst)
    }
}

async fn serve(socket: &mut dyn Socket, state: &State) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let asked = read_request(socket, &mut buffer).await?;
        let now = state.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        state.most_under_way.fetch_max(now, Ordering::SeqCst);
        state.asked.lock().push(asked.clone());
        let behaviour = state.behaviour.lock().clone();
        let done = behaviour.act(socket, &asked).await;
        state.under_way.fetch_sub(1, Ordering::SeqCst);
        done?;
    }
}

async fn read_request(socket: &mut dyn Socket, buffer: &mut Vec<u8>) -> io::Result<Asked> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some(end) = text.find("\r\n\r\n") {
            let head = text[..end].to_lowercase();
            let length = head.split("content-length: ").nth(1).unwrap();
            let length: usize = length.lines().next().unwrap().trim().parse().unwrap();
            let body = end + 4;
            if buffer.len() >= body + length {
                let rest = buffer.split_off(body + length);
                let body = std::mem::replace(buffer, rest).split_off(body);
                return Ok(Asked { head, body });
            }
        }
        if socket.read_buf(buffer).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Returns an answer with any status.
pub(super) fn response(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{headers}\r\n{body}").into_bytes()
}

pub(super) const JSON: &str = "Content-Type: application/json; charset=utf-8\r\n";

impl Behaviour {
    async fn act(&self, socket: &mut dyn Socket, asked: &Asked) -> io::Result<()> {
        match self {
            Self::Json(body) => socket.write_all(&response("200 OK", JSON, body)).await,
            Self::RejectAfterMs(word) => {
                let message = asked.json()["message"].as_str().unwrap().to_owned();
                let ms = message.split(' ').find_map(|word| word.parse().ok()).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                let decision = if message.contains(word) { "reject" } else { "accept" };
                let body = format!("{{\"decision\":\"{decision}\",\"reason\":\"rude\"}}");
                socket.write_all(&response("200 OK", JSON, &body)).await
            }
            Self::Raw(bytes) => socket.write_all(bytes).await,
            Self::Drip(interval) => {
                socket.write_all(&response("200 OK", JSON, "")[..15]).await?;
                socket
                    .write_all(format!("\r\n{JSON}Content-Length: 99\r\n\r\n").as_bytes())
                    .await?;
                for _ in 0..99 {
                    socket.write_all(b" ").await?;
                    tokio::time::sleep(*interval).await;
                }
                Ok(())
            }
            Self::Hang => std::future::pending().await,
            Self::HangUp => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}
