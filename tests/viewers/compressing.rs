//! permessage-deflate on a real daemon, in both modes and encodings: viewers join in the middle,
//! resume, and get private messages in between.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use live_comments::client::Endpoint;
use live_comments::client::viewer::{MAX_MESSAGE_BYTES, Upgrade, decode, read_rules};
use live_comments::net::websocket::{
    FrameReader, Incoming, Inflater, Message, Opcode, apply_mask, put_header, window_after,
};
use live_comments::protocol::message::Encoding;
use live_comments::protocol::{
    ClientMessage, Epoch, SequencedComment, ServerMessage, StreamPosition,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::{Daemon, PATIENCE, STREAM};

/// No comments are sampled out, and key frames come by number only.
const CONFIG: &str = "broadcast.throttle = [{ from_per_second = 0.0, sample_rate = 1.0 }]
delivery.deflate_key_frames = 4
delivery.deflate_key_interval = \"1h\"";
const COMMENTS: usize = 24;
/// Long enough to be compressed by itself.
const TEXT: &str = "the crowd goes wild for comment number";

/// A viewer that inflates and records for every message whether it was compressed.
struct Viewer {
    socket: TcpStream,
    encoding: Encoding,
    frames: FrameReader,
    inflater: Inflater,
    window: Vec<u8>,
    position: StreamPosition,
    comments: Vec<SequencedComment>,
    compressed: usize,
    pongs: usize,
}

impl Viewer {
    async fn join(daemon: &Daemon, encoding: Encoding, resume: Option<StreamPosition>) -> Self {
        let endpoint = Endpoint::plain(&daemon.address.ip().to_string(), daemon.address.port());
        let upgrade = Upgrade {
            endpoint: &endpoint,
            stream: STREAM,
            encoding,
            deflate: true,
            token: None,
            resume,
            nonce: *b"a nonce of bytes",
        };
        let mut socket = TcpStream::connect(daemon.address).await.unwrap();
        socket.write_all(&upgrade.request().unwrap()).await.unwrap();
        let mut answer = Vec::new();
        while upgrade.read_response(&answer, false).unwrap().is_none() {
            // Reads byte by byte: frames follow directly after the response.
            answer.push(socket.read_u8().await.unwrap());
        }
        let position = resume.unwrap_or(StreamPosition { epoch: Epoch(0), seq: 0 });
        let mut viewer = Self {
            socket,
            encoding,
            frames: FrameReader::default(),
            inflater: Inflater::default(),
            window: Vec::new(),
            position,
            comments: Vec::new(),
            compressed: 0,
            pongs: 0,
        };
        while viewer.position.epoch == Epoch(0) || viewer.position.seq == 0 {
            viewer.read().await;
        }
        viewer
    }

    /// Reads the next bytes.
    async fn read(&mut self) {
        let mut buffer = [0; 4096];
        let bytes = timeout(PATIENCE, self.socket.read(&mut buffer)).await.unwrap().unwrap();
        assert!(bytes > 0, "the connection stays");
        let mut input = &buffer[..bytes];
        while let Some(incoming) = self.frames.next(&read_rules(true), &mut input).unwrap() {
            match incoming {
                Incoming::Message(Message { compressed: false, payload, .. }) => {
                    let payload = payload.into_owned();
                    self.take(&payload, false);
                }
                Incoming::Message(Message { payload, .. }) => {
                    let message = self
                        .inflater
                        .inflate_after(&self.window, &payload, MAX_MESSAGE_BYTES)
                        .unwrap();
                    self.window = window_after(&self.window, &message);
                    self.take(&message, true);
                }
                Incoming::Ping(_) | Incoming::Pong => {}
                Incoming::Close(closure) => panic!("closed: {closure:?}"),
            }
        }
    }

    fn take(&mut self, payload: &[u8], compressed: bool) {
        match decode(self.encoding, payload).unwrap().unwrap() {
            ServerMessage::Welcome { epoch, seq, .. } => {
                self.position = StreamPosition { epoch, seq };
            }
            ServerMessage::Comments(batch) => {
                assert_eq!(batch.from_seq, self.position.seq + 1, "ranges must join");
                self.position.seq = batch.to_seq;
                self.comments.extend(batch.comments);
                self.compressed += usize::from(compressed);
            }
            ServerMessage::Pong => {
                assert!(!compressed, "it is private");
                self.pongs += 1;
            }
            _ => {}
        }
    }

    /// Makes the server send something to this viewer only.
    async fn ping(&mut self) {
        let payload = match self.encoding {
            Encoding::Json => {
                live_comments::protocol::message::json::encode_client(&ClientMessage::Ping)
            }
            Encoding::Msgpack => {
                live_comments::protocol::message::msgpack::encode_client(&ClientMessage::Ping)
            }
        };
        let opcode = match self.encoding {
            Encoding::Json => Opcode::Text,
            Encoding::Msgpack => Opcode::Binary,
        };
        let mask = [7, 1, 9, 3];
        let mut frame = Vec::new();
        put_header(&mut frame, opcode, false, Some(mask), payload.len());
        let head = frame.len();
        frame.extend_from_slice(&payload);
        apply_mask(&mut frame[head..], mask, 0);
        self.socket.write_all(&frame).await.unwrap();
        let wanted = self.pongs + 1;
        while self.pongs < wanted {
            self.read().await;
        }
    }

    async fn until_seq(&mut self, seq: u64) {
        while self.position.seq < seq {
            self.read().await;
        }
    }
}

async fn viewers_of_every_comment_read_the_same(config: &str) -> Vec<Viewer> {
    let daemon = Daemon::start(config);
    let mut sender = daemon.join(1, "ann").await;
    let mut texts = vec!["the first".to_owned()];
    let (_, mut seq) = sender.comment(&texts[0]).await;
    let mut viewers = Vec::new();
    for n in 0..COMMENTS {
        sender.until_seq(seq).await;
        for encoding in [Encoding::Json, Encoding::Msgpack] {
            viewers.push(Viewer::join(&daemon, encoding, None).await);
        }
        texts.push(format!("{TEXT} {n}"));
        (_, seq) = sender.comment(&texts[n + 1]).await;
        for viewer in &mut viewers {
            viewer.until_seq(seq).await;
            viewer.ping().await;
        }
    }
    for (n, viewer) in viewers.iter().enumerate() {
        let seen: Vec<_> = viewer.comments.iter().map(|comment| &*comment.message).collect();
        assert_eq!(seen, texts[1 + n / 2..], "joined before comment {}", n / 2);
    }
    // Two viewers resume, so the history comes first.
    for (away, viewer) in viewers.drain(..2).collect::<Vec<_>>().into_iter().enumerate() {
        let position = viewer.position;
        let encoding = viewer.encoding;
        drop(viewer);
        texts.push(format!("{TEXT} {COMMENTS} + {away}"));
        (_, seq) = sender.comment(texts.last().unwrap()).await;
        let mut back = Viewer::join(&daemon, encoding, Some(position)).await;
        back.until_seq(seq).await;
        let seen: Vec<_> = back.comments.iter().map(|comment| &*comment.message).collect();
        assert_eq!(seen, texts[1 + COMMENTS..]);
    }
    viewers
}

#[tokio::test(flavor = "multi_thread")]
async fn joiner_enters_at_the_next_key_frame() {
    let viewers = viewers_of_every_comment_read_the_same(CONFIG).await;
    for (n, viewer) in viewers.iter().enumerate() {
        let joined = 1 + n / 2;
        assert!(viewer.compressed + 5 + joined >= COMMENTS, "{joined}: {}", viewer.compressed);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_without_context_are_read_by_themselves() {
    let config = format!("{CONFIG}\ndelivery.deflate = \"single\"");
    let viewers = viewers_of_every_comment_read_the_same(&config).await;
    for (n, viewer) in viewers.iter().enumerate() {
        if viewer.encoding == Encoding::Json {
            assert_eq!(viewer.compressed, COMMENTS - 1 - n / 2);
        }
    }
}
