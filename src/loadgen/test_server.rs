//! A small server of the viewer protocol with faults on request.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};
use tokio_tungstenite::tungstenite::http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use crate::client::Endpoint;
use crate::protocol::comment::SequencedComment;
use crate::protocol::message::{CommentsBatch, Encoding, SUBPROTOCOL_MSGPACK};
use crate::protocol::throttle::SampleRate;
use crate::protocol::{
    ClientMessage, CloseCode, CommentId, Epoch, ErrorCode, Seq, ServerMessage, StreamId, UserId,
};

const EPOCH: Epoch = Epoch(3);

/// A fault at the comment of the given number (from 0). It affects the first viewer only, unless
/// noted otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Fault {
    None,
    /// Its batch does not contain it, for all viewers.
    LeaveOut(usize),
    /// Its batch is not sent.
    DropFrame(usize),
    /// Its batch is sent twice.
    Repeat(usize),
    /// Its batch is sent after the next one.
    Swap(usize),
    /// A gap is sent instead of its batch.
    Gap(usize),
    /// All comments are sampled at this rate.
    Sample(f64),
    /// The first viewer receives a bye and a close instead of its batch, and the rest when it
    /// reconnects.
    CutOff(usize, CloseCode),
    /// Every fourth comment is rejected.
    Refuse,
    /// The server stalls before it.
    Stall(usize, Duration),
    /// Its ack is lost with the sender's connection.
    LoseAck(usize),
    /// Comments are neither shown nor answered before so many reactions were, so that whoever has
    /// the last comment or ack has the reactions too.
    HoldUntilReactions(u64),
}

pub(crate) struct TestServer {
    pub endpoint: Endpoint,
    state: Shared,
    _tasks: JoinSet<()>,
}

struct State {
    fault: Fault,
    user: UserId,
    /// The encoding that every client must use, if any.
    encoding: Option<Encoding>,
    seq: Seq,
    comments: usize,
    by_ref: std::collections::HashMap<String, (CommentId, Seq)>,
    history: Vec<CommentsBatch>,
    held: Option<CommentsBatch>,
    viewers: Vec<mpsc::UnboundedSender<Outgoing>>,
    stalled_until: Option<Instant>,
    /// Comments of [`Fault::HoldUntilReactions`].
    waiting: Vec<WaitingComment>,
    reactions: u64,
    pongs: u64,
}

struct WaitingComment {
    message: String,
    client_ref: String,
    out: mpsc::UnboundedSender<Outgoing>,
}

enum Outgoing {
    Message(Box<ServerMessage>),
    Close(CloseCode),
}

impl Outgoing {
    fn message(message: ServerMessage) -> Self {
        Self::Message(Box::new(message))
    }
}

type Shared = Arc<Mutex<State>>;

impl TestServer {
    /// Starts a server whose comments are all sent by `user`.
    pub(crate) async fn start(
        fault: Fault,
        user: UserId,
        encoding: impl Into<Option<Encoding>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            fault,
            user,
            encoding: encoding.into(),
            seq: 100,
            comments: 0,
            by_ref: Default::default(),
            history: Vec::new(),
            held: None,
            viewers: Vec::new(),
            stalled_until: None,
            waiting: Vec::new(),
            reactions: 0,
            pongs: 0,
        }));
        let shared = state.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(serve(stream, state.clone()));
            }
        });
        Self { endpoint: Endpoint::plain("127.0.0.1", port), state: shared, _tasks: tasks }
    }

    /// Returns how many pings were answered.
    pub(crate) fn pongs(&self) -> u64 {
        self.state.lock().pongs
    }
}

/// An accepted connection.
struct Accepted {
    socket: WebSocketStream<TcpStream>,
    resume: Option<Seq>,
    encoding: Encoding,
}

async fn accept(stream: TcpStream) -> Accepted {
    let mut resume = None;
    let mut encoding = Encoding::Json;
    #[allow(clippy::result_large_err)]
    let callback = |request: &Request, mut response: Response| {
        let protocol = request.headers()[SEC_WEBSOCKET_PROTOCOL].clone();
        if protocol == SUBPROTOCOL_MSGPACK {
            encoding = Encoding::Msgpack;
        }
        response.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, protocol);
        let query = request.uri().query().unwrap_or_default();
        resume = query.split("seq=").nth(1).map(|seq| seq.parse().unwrap());
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, callback).await.unwrap();
    Accepted { socket, resume, encoding }
}

async fn serve(stream: TcpStream, state: Shared) {
    let Accepted { socket, resume, encoding } = accept(stream).await;
    let expected = state.lock().encoding.unwrap_or(encoding);
    assert_eq!(encoding, expected);
    let (mut sink, mut stream) = socket.split();
    if sink.send(Message::Ping("ping".into())).await.is_err() {
        return;
    }
    let (out, mut outgoing) = mpsc::unbounded_channel();
    state.lock().join(&out, resume);
    loop {
        let message = tokio::select! {
            out = outgoing.recv() => match out {
                Some(Outgoing::Message(message)) => {
                    let payload = encoding.encode(&message);
                    let message = match encoding {
                        Encoding::Json => Message::text(String::from_utf8(payload).unwrap()),
                        Encoding::Msgpack => Message::binary(payload),
                    };
                    if sink.send(message).await.is_err() { return }
                    continue;
                }
                Some(Outgoing::Close(code)) => {
                    let frame = CloseFrame { code: code.number().into(), reason: "".into() };
                    let _ = sink.send(Message::Close(Some(frame))).await;
                    return;
                }
                None => return,
            },
            message = stream.next() => message,
        };
        let Some(Ok(message)) = message else { return };
        if !(message.is_text() || message.is_binary()) {
            let answered = matches!(&message, Message::Pong(payload) if payload == "ping");
            state.lock().pongs += u64::from(answered);
            continue;
        }
        let decoded = encoding.decode_client(&message.into_data()).unwrap();
        let stall = state.lock().stall(&decoded);
        tokio::time::sleep(stall).await;
        if !state.lock().handle(decoded, &out) {
            return;
        }
    }
}

impl State {
    fn join(&mut self, out: &mpsc::UnboundedSender<Outgoing>, resume: Option<Seq>) {
        let seq = resume.unwrap_or(self.seq);
        let send = |message| drop(out.send(Outgoing::message(message)));
        send(ServerMessage::Welcome {
            stream_id: StreamId(1),
            user: None,
            epoch: EPOCH,
            seq,
            sample_rate: SampleRate::ALL,
            viewers: 1,
            room: Default::default(),
            reactions: Default::default(),
            state: Default::default(),
            starts_at: None,
            pinned: None,
            poll: None,
        });
        for batch in self.history.iter().filter(|batch| batch.from_seq > seq) {
            send(ServerMessage::Comments(batch.clone()));
        }
        self.viewers.push(out.clone());
    }

    /// Returns how long a connection that sends a comment must wait.
    fn stall(&mut self, message: &ClientMessage) -> Duration {
        match (self.fault, message) {
            (Fault::Stall(at, how_long), ClientMessage::Comment { .. }) if at <= self.comments => {
                let end = *self.stalled_until.get_or_insert(Instant::now() + how_long);
                end.saturating_duration_since(Instant::now())
            }
            _ => Duration::ZERO,
        }
    }

    /// Handles a message. Returns false if the connection must be dropped.
    fn handle(&mut self, message: ClientMessage, out: &mpsc::UnboundedSender<Outgoing>) -> bool {
        match message {
            ClientMessage::Pause => {
                self.viewers.retain(|viewer| !viewer.same_channel(out));
                true
            }
            ClientMessage::Comment { message, client_ref, .. } => {
                let client_ref = client_ref.unwrap();
                if let Fault::HoldUntilReactions(reactions) = self.fault
                    && self.reactions < reactions
                {
                    self.waiting.push(WaitingComment { message, client_ref, out: out.clone() });
                    return true;
                }
                self.comment(&message, &client_ref, out)
            }
            // Every third reaction is refused.
            ClientMessage::Reaction { reaction } => {
                self.reactions += 1;
                self.react(&reaction, out);
                if self.fault == Fault::HoldUntilReactions(self.reactions) {
                    for WaitingComment { message, client_ref, out } in
                        std::mem::take(&mut self.waiting)
                    {
                        self.comment(&message, &client_ref, &out);
                    }
                }
                true
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    fn react(&self, reaction: &str, out: &mpsc::UnboundedSender<Outgoing>) {
        if self.reactions.is_multiple_of(3) {
            let refusal = ServerMessage::Error {
                code: ErrorCode::RateLimited,
                message: String::new(),
                retry_after_ms: None,
                client_ref: None,
            };
            drop(out.send(Outgoing::message(refusal)));
            return;
        }
        for viewer in &self.viewers {
            let reactions = [(Arc::from(reaction), self.reactions)].into();
            drop(viewer.send(Outgoing::message(ServerMessage::ReactionsUpdate { reactions })));
        }
    }

    fn comment(
        &mut self,
        message: &str,
        client_ref: &str,
        out: &mpsc::UnboundedSender<Outgoing>,
    ) -> bool {
        let send = |message| drop(out.send(Outgoing::message(message)));
        let ack = |(comment_id, seq)| ServerMessage::Ack {
            client_ref: Some(client_ref.into()),
            comment_id,
            seq,
        };
        if let Some(known) = self.by_ref.get(client_ref) {
            send(ack(*known));
            return true;
        }
        let number = self.comments;
        self.comments += 1;
        if self.fault == Fault::Refuse && number % 4 == 3 {
            send(ServerMessage::Error {
                code: ErrorCode::RateLimited,
                message: String::new(),
                retry_after_ms: Some(1),
                client_ref: Some(client_ref.into()),
            });
            return true;
        }
        let from_seq = self.seq + 1;
        // Other records lie between comments.
        self.seq += 1 + number as u64 % 3;
        let comment_id =
            CommentId::from_unix_ticks(17_000_000_000_000_000 + self.seq * 997, 7, [1; 6]);
        self.by_ref.insert(client_ref.to_owned(), (comment_id, self.seq));
        if self.fault != Fault::LoseAck(number) {
            send(ack((comment_id, self.seq)));
        }
        let comment = SequencedComment {
            comment_id,
            user_id: self.user,
            name: "load".into(),
            message: message.into(),
            created_at: 0,
            seq: self.seq,
            badges: Default::default(),
            parent_id: None,
        };
        self.broadcast(number, from_seq, comment);
        self.fault != Fault::LoseAck(number)
    }

    fn broadcast(&mut self, number: usize, from_seq: Seq, comment: SequencedComment) {
        let sample_rate = match self.fault {
            Fault::Sample(share) => SampleRate::from_share(share).unwrap(),
            _ => SampleRate::ALL,
        };
        let to_seq = comment.seq;
        let shown = sample_rate.keeps(comment.comment_id) && self.fault != Fault::LeaveOut(number);
        let comments = if shown { vec![comment] } else { Vec::new() };
        let batch =
            CommentsBatch { epoch: EPOCH, from_seq, to_seq, sample_rate, comments, echo: false };
        self.history.push(batch.clone());
        let frame = Outgoing::message(ServerMessage::Comments(batch.clone()));
        let again = || Outgoing::message(ServerMessage::Comments(batch.clone()));
        let first = match self.fault {
            Fault::DropFrame(at) if at == number => vec![],
            Fault::Repeat(at) if at == number => vec![frame, again()],
            Fault::Swap(at) if at == number => {
                self.held = Some(batch.clone());
                vec![]
            }
            Fault::Gap(at) if at == number => {
                vec![Outgoing::message(ServerMessage::Gap { from_seq, to_seq, history: None })]
            }
            Fault::CutOff(at, code) if at == number => {
                let wait = code.reconnect().then_some(20);
                let code_name = Arc::from(code.as_str());
                let bye = ServerMessage::Bye { code: code_name, reconnect_after_ms: wait };
                vec![Outgoing::message(bye), Outgoing::Close(code)]
            }
            _ => {
                let held =
                    self.held.take().map(|held| Outgoing::message(ServerMessage::Comments(held)));
                std::iter::once(frame).chain(held).collect()
            }
        };
        let cut_off = matches!(first.last(), Some(Outgoing::Close(_)));
        let Some((one, others)) = self.viewers.split_first() else { return };
        first.into_iter().for_each(|out| drop(one.send(out)));
        others.iter().for_each(|viewer| drop(viewer.send(again())));
        if cut_off {
            self.viewers.remove(0);
        }
    }
}
