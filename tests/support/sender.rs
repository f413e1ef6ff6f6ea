//! Senders that comment at a fixed rate, keep unacknowledged comments, and send them again with the
//! same `ref`, to another edge if their own is down.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use live_comments::client::Endpoint;
use live_comments::client::viewer::{ViewerConnection, ViewerOptions, ViewerReader, ViewerWriter};
use live_comments::protocol::{CommentId, Epoch, ServerMessage, StreamId, StreamPosition};
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

use super::comment;

/// Unacknowledged comments at which a sender stops sending new ones.
const MAX_PENDING: usize = 500;
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Pause between two attempts of a refused comment.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A comment that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Acked {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    /// With the epoch of the connection's `welcome`.
    pub position: StreamPosition,
    pub text: String,
    /// Time of the first attempt, from which the latency counts.
    pub sent_at: Instant,
    pub latency: Duration,
}

/// The results of all senders.
#[derive(Debug, Default)]
pub(crate) struct SenderResults {
    pub acked: Vec<Acked>,
    /// Comments sent for the first time, by text.
    pub sent: usize,
    /// Retriable refusals, by code.
    pub refused: BTreeMap<String, Refusals>,
    pub reconnects: u64,
}

#[derive(Debug)]
pub(crate) struct Refusals {
    pub count: u64,
    /// The texts, without repetitions.
    pub messages: BTreeSet<String>,
    pub first: Instant,
    pub last: Instant,
}

pub(crate) struct Sender {
    pub user_id: u64,
    pub stream_id: StreamId,
    pub token: Arc<str>,
    pub edges: Vec<SocketAddr>,
    pub per_second: u32,
    pub tally: Arc<Mutex<SenderResults>>,
    /// Stops new comments. Pending ones are still sent until they are acknowledged.
    pub stop_sending: CancellationToken,
}

struct Connection<'a> {
    writer: &'a mut ViewerWriter,
    reader: &'a mut ViewerReader,
    /// The position of its `welcome`.
    joined: StreamPosition,
}

struct PendingComment {
    text: String,
    sent_at: Instant,
    /// True if it is to be sent (again) now.
    due: bool,
}

impl Sender {
    /// Runs until it is stopped and every comment is acknowledged.
    pub(crate) async fn run(self) {
        let mut pending: BTreeMap<u64, PendingComment> = BTreeMap::new();
        let mut next_ref = 0;
        let mut edge = self.user_id as usize;
        loop {
            let address = self.edges[edge % self.edges.len()];
            if let Ok(Ok((connection, welcome))) =
                timeout(JOIN_TIMEOUT, ViewerConnection::join(&self.options(address))).await
            {
                pending.values_mut().for_each(|comment| comment.due = true);
                let (mut writer, mut reader) = connection.split();
                let mut connection = Connection {
                    writer: &mut writer,
                    reader: &mut reader,
                    joined: StreamPosition { epoch: welcome.epoch, seq: welcome.seq },
                };
                if self.run_connection(&mut connection, &mut pending, &mut next_ref).await {
                    return;
                }
            }
            self.tally.lock().reconnects += 1;
            edge += 1;
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    fn options(&self, address: SocketAddr) -> ViewerOptions {
        let endpoint = Endpoint::plain(&address.ip().to_string(), address.port());
        let token = Some(self.token.clone());
        ViewerOptions { token, ..ViewerOptions::new(endpoint, self.stream_id) }
    }

    /// Returns true when every comment is acknowledged, false when the connection breaks.
    async fn run_connection(
        &self,
        connection: &mut Connection<'_>,
        pending: &mut BTreeMap<u64, PendingComment>,
        next_ref: &mut u64,
    ) -> bool {
        let Connection { writer, reader, joined } = connection;
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut retries = tokio::time::interval(REFUSED_PAUSE);
        retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = self.stop_sending.is_cancelled();
            if done && pending.is_empty() {
                return true;
            }
            tokio::select! {
                message = reader.next() => match message {
                    Ok(message) => self.on_message(message, joined.epoch, pending),
                    Err(_) => return false,
                },
                _ = ticks.tick(), if !done && pending.len() < MAX_PENDING => {
                    let text = self.text(*next_ref);
                    let client_ref = format!("{}-{next_ref}", self.user_id);
                    let sent = writer.feed(&comment(&text, &client_ref)).await;
                    pending.insert(*next_ref, PendingComment { text, sent_at: Instant::now(), due: false });
                    *next_ref += 1;
                    self.tally.lock().sent += 1;
                    if sent.is_err() || writer.flush().await.is_err() {
                        return false;
                    }
                }
                // Refused comments wait before the next attempt.
                _ = retries.tick() => {
                    if self.send_due(writer, pending).await.is_err() {
                        return false;
                    }
                }
            }
        }
    }

    /// Every fiftieth comment has a word that the moderator deletes.
    fn text(&self, number: u64) -> String {
        let word = if number % 50 == 49 { "forbiddenword" } else { "hello" };
        format!("{word} {} from {}", number, self.user_id)
    }

    async fn send_due(
        &self,
        writer: &mut ViewerWriter,
        pending: &mut BTreeMap<u64, PendingComment>,
    ) -> Result<(), ()> {
        for (number, waiting) in pending.iter_mut().filter(|(_, waiting)| waiting.due) {
            let client_ref = format!("{}-{number}", self.user_id);
            writer.feed(&comment(&waiting.text, &client_ref)).await.map_err(drop)?;
            waiting.due = false;
        }
        timeout(JOIN_TIMEOUT, writer.flush()).await.map_err(drop)?.map_err(drop)
    }

    fn on_message(
        &self,
        message: ServerMessage,
        epoch: Epoch,
        pending: &mut BTreeMap<u64, PendingComment>,
    ) {
        let number = |client_ref: &str| -> Option<u64> {
            client_ref.rsplit_once('-').and_then(|(_, number)| number.parse().ok())
        };
        match message {
            ServerMessage::Ack { client_ref: Some(client_ref), comment_id, seq } => {
                let Some(waited) = number(&client_ref).and_then(|number| pending.remove(&number))
                else {
                    return;
                };
                self.tally.lock().acked.push(Acked {
                    stream_id: self.stream_id,
                    comment_id,
                    position: StreamPosition { epoch, seq },
                    text: waited.text,
                    sent_at: waited.sent_at,
                    latency: waited.sent_at.elapsed(),
                });
            }
            ServerMessage::Error { code, message, client_ref: Some(client_ref), .. } => {
                assert!(code.retry(), "{code}: {message}");
                let now = Instant::now();
                let mut tally = self.tally.lock();
                let refused = tally.refused.entry(code.to_string()).or_insert(Refusals {
                    count: 0,
                    messages: BTreeSet::new(),
                    first: now,
                    last: now,
                });
                refused.count += 1;
                refused.messages.insert(message);
                refused.last = now;
                if let Some(waiting) =
                    number(&client_ref).and_then(|number| pending.get_mut(&number))
                {
                    waiting.due = true;
                }
            }
            _ => {}
        }
    }
}
