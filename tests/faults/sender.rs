//! People who comment: each sends at its rate, keeps what was not acknowledged, and sends it again
//! under the same `ref`, to another edge if its own is gone.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use live_comments::client::Endpoint;
use live_comments::client::viewer::{ViewerConnection, ViewerOptions, ViewerReader, ViewerWriter};
use live_comments::protocol::{CommentId, ServerMessage, StreamId};
use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

use crate::support::comment;

/// Comments that may be under way; at more a sender waits, as people do.
const MAX_PENDING: usize = 500;
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// Between two tries of what was refused.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// A comment that was acknowledged.
#[derive(Debug, Clone)]
pub(crate) struct Acked {
    pub stream_id: StreamId,
    pub comment_id: CommentId,
    pub text: String,
    /// When it was sent first, and how long it took from then on.
    pub sent_at: Instant,
    pub latency: Duration,
}

/// What all senders have to show.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub acked: Vec<Acked>,
    /// Comments sent for the first time, by text.
    pub sent: usize,
    /// Refusals that may be retried, by code, with the first and the last time.
    pub refused: BTreeMap<String, (u64, Instant, Instant)>,
    pub reconnects: u64,
}

pub(crate) struct Sender {
    pub user_id: u64,
    pub stream_id: StreamId,
    pub token: Arc<str>,
    pub edges: Vec<SocketAddr>,
    pub per_second: u32,
    pub tally: Arc<Mutex<Tally>>,
    /// No new comments; what is pending is still brought home.
    pub enough: CancellationToken,
}

struct Pending {
    text: String,
    sent_at: Instant,
    /// To be sent (again) now.
    due: bool,
}

impl Sender {
    /// Ends when everything it sent is acknowledged.
    pub(crate) async fn run(self) {
        let mut pending: BTreeMap<u64, Pending> = BTreeMap::new();
        let mut next_ref = 0;
        let mut edge = self.user_id as usize;
        loop {
            let address = self.edges[edge % self.edges.len()];
            if let Ok(Ok((connection, _))) =
                timeout(JOIN_TIMEOUT, ViewerConnection::join(&self.options(address))).await
            {
                pending.values_mut().for_each(|comment| comment.due = true);
                let (mut writer, mut reader) = connection.split();
                if self.talk(&mut writer, &mut reader, &mut pending, &mut next_ref).await {
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

    /// Until the connection breaks (false) or all is done (true).
    async fn talk(
        &self,
        writer: &mut ViewerWriter,
        reader: &mut ViewerReader,
        pending: &mut BTreeMap<u64, Pending>,
        next_ref: &mut u64,
    ) -> bool {
        let mut ticks = tokio::time::interval(Duration::from_secs(1) / self.per_second);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut retries = tokio::time::interval(REFUSED_PAUSE);
        retries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = self.enough.is_cancelled();
            if done && pending.is_empty() {
                return true;
            }
            tokio::select! {
                message = reader.next() => match message {
                    Ok(message) => self.on_message(message, pending),
                    Err(_) => return false,
                },
                _ = ticks.tick(), if !done && pending.len() < MAX_PENDING => {
                    let text = self.text(*next_ref);
                    let client_ref = format!("{}-{next_ref}", self.user_id);
                    let sent = writer.feed(&comment(&text, &client_ref)).await;
                    pending.insert(*next_ref, Pending { text, sent_at: Instant::now(), due: false });
                    *next_ref += 1;
                    self.tally.lock().sent += 1;
                    if sent.is_err() || writer.flush().await.is_err() {
                        return false;
                    }
                }
                // Not at once: who was refused waits a little.
                _ = retries.tick() => {
                    if self.send_due(writer, pending).await.is_err() {
                        return false;
                    }
                }
            }
        }
    }

    /// One in fifty is for the moderator to delete.
    fn text(&self, number: u64) -> String {
        let word = if number % 50 == 49 { "forbiddenword" } else { "hello" };
        format!("{word} {} from {}", number, self.user_id)
    }

    async fn send_due(
        &self,
        writer: &mut ViewerWriter,
        pending: &mut BTreeMap<u64, Pending>,
    ) -> Result<(), ()> {
        for (number, waiting) in pending.iter_mut().filter(|(_, waiting)| waiting.due) {
            let client_ref = format!("{}-{number}", self.user_id);
            writer.feed(&comment(&waiting.text, &client_ref)).await.map_err(drop)?;
            waiting.due = false;
        }
        timeout(JOIN_TIMEOUT, writer.flush()).await.map_err(drop)?.map_err(drop)
    }

    fn on_message(&self, message: ServerMessage, pending: &mut BTreeMap<u64, Pending>) {
        let number = |client_ref: &str| -> Option<u64> {
            client_ref.rsplit_once('-').and_then(|(_, number)| number.parse().ok())
        };
        match message {
            ServerMessage::Ack { client_ref: Some(client_ref), comment_id, .. } => {
                let Some(waited) = number(&client_ref).and_then(|number| pending.remove(&number))
                else {
                    return;
                };
                self.tally.lock().acked.push(Acked {
                    stream_id: self.stream_id,
                    comment_id,
                    text: waited.text,
                    sent_at: waited.sent_at,
                    latency: waited.sent_at.elapsed(),
                });
            }
            ServerMessage::Error { code, message, client_ref: Some(client_ref), .. } => {
                assert!(code.retry(), "{code}: {message}");
                let now = Instant::now();
                let mut tally = self.tally.lock();
                let refused =
                    tally.refused.entry(code.to_string()).or_insert_with(|| (0, now, now));
                refused.0 += 1;
                refused.2 = now;
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
