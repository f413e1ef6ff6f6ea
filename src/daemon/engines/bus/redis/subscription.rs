//! The connection of one listener to one Redis node: made when something is wanted of the node, kept
//! alive, made again when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ProtocolVersion, PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::channels::Channels;
use super::mailbox::{Current, Mailbox};
use super::publisher;
use super::wishes::Wishes;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::bus::BusError;
use crate::protocol::StreamId;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A server that hangs is found this late, and `redis.timeout`.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Of one command, so that a server with many streams to subscribe to answers each within the timeout.
const CHANNELS_A_COMMAND: usize = 1000;

/// The task's own state.
pub(super) struct Subscription {
    index: usize,
    address: String,
    client: Client,
    timeout: Duration,
    channels: Channels,
    wishes: Arc<Wishes>,
    mailbox: Arc<Mailbox>,
}

/// A connection that is subscribed to everything wanted.
struct Session {
    connection: MultiplexedConnection,
    hearing: Arc<Hearing>,
}

/// What the connection's reader needs.
struct Hearing {
    channels: Channels,
    wishes: Arc<Wishes>,
    mailbox: Arc<Mailbox>,
    current: Current,
    lost: Notify,
    /// Grows with everything the server says.
    heard: AtomicU64,
}

impl Drop for Subscription {
    /// However the task ends, nobody waits for it any longer.
    fn drop(&mut self) {
        self.wishes.close();
        self.mailbox.close();
    }
}

impl Subscription {
    pub(super) fn new(
        nodes: &RedisNodes,
        index: usize,
        channels: &Channels,
        wishes: Arc<Wishes>,
        mailbox: Arc<Mailbox>,
    ) -> Result<Self, BusError> {
        let info = nodes.client(index).get_connection_info().clone();
        // Pub/Sub of RESP3: messages, confirmations and pings share one connection.
        let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        let address = nodes.address(index).to_owned();
        let client = Client::open(info.set_redis_settings(settings))
            .map_err(|error| BusError::Unavailable(format!("Redis node {address}: {error}")))?;
        let (timeout, channels) = (nodes.timeout(), channels.clone());
        Ok(Self { index, address, client, timeout, channels, wishes, mailbox })
    }

    /// Ends soon after `stop` is cancelled.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            self.await_wish().await;
            let error = match self.connect().await {
                Ok(mut session) => {
                    pause = FIRST_PAUSE;
                    let error = self.serve(&mut session).await;
                    self.mailbox.interrupted(self.index, Some(&session.hearing.current));
                    error
                }
                Err(error) => error,
            };
            warn!(address = self.address, error, "not subscribed on a Redis node");
            self.mailbox.interrupted(self.index, None);
            self.pause(pause, &self.unavailable(&error)).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn unavailable(&self, error: &str) -> BusError {
        let address = &self.address;
        BusError::Unavailable(format!("Redis node {address} of `redis.nodes`: {error}"))
    }

    /// A node of which nothing is wanted needs no connection, and its absence interrupts nothing.
    async fn await_wish(&self) {
        while self.wishes.settle_if_empty() {
            self.mailbox.restored(self.index);
            self.wishes.changed().await;
        }
    }

    /// Between two tries: who subscribes meanwhile is not kept waiting.
    async fn pause(&self, pause: Duration, error: &BusError) {
        let answering = async {
            loop {
                self.wishes.take_changes().answer_without_connection(error);
                self.wishes.changed().await;
            }
        };
        let _ = tokio::time::timeout(pause, answering).await;
    }

    async fn connect(&self) -> Result<Session, String> {
        let hearing = Arc::new(Hearing {
            channels: self.channels.clone(),
            wishes: self.wishes.clone(),
            mailbox: self.mailbox.clone(),
            current: Current::default(),
            lost: Notify::new(),
            heard: AtomicU64::new(0),
        });
        let reader = hearing.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
            .set_push_sender(move |push| {
                reader.hear(push);
                Ok::<(), std::convert::Infallible>(())
            });
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = connecting.await.map_err(|error| error.to_string())?;
        let mut session = Session { connection, hearing };
        let changes = self.wishes.take_all();
        let subscribed = self.subscribe(&mut session, &changes.subscribe).await;
        changes.answer(&subscribed.clone().map_err(|error| self.unavailable(&error)));
        subscribed?;
        info!(address = self.address, "subscribed on a Redis node");
        self.mailbox.restored(self.index);
        Ok(session)
    }

    /// Until the connection is lost; says how.
    async fn serve(&self, session: &mut Session) -> String {
        let mut pings = interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let done = tokio::select! {
                () = session.hearing.lost.notified() => Err("the connection was lost".to_owned()),
                () = self.wishes.changed() => self.carry_out(session).await,
                _ = pings.tick() => ping(session).await,
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    async fn carry_out(&self, session: &mut Session) -> Result<(), String> {
        let changes = self.wishes.take_changes();
        let mut done = self.unsubscribe(session, &changes.unsubscribe).await;
        if done.is_ok() {
            done = self.subscribe(session, &changes.subscribe).await;
        }
        changes.answer(&done.clone().map_err(|error| self.unavailable(&error)));
        done
    }

    fn names(&self, streams: &[StreamId]) -> Vec<String> {
        streams.iter().map(|stream_id| self.channels.name(*stream_id)).collect()
    }

    async fn subscribe(&self, session: &mut Session, streams: &[StreamId]) -> Result<(), String> {
        for part in streams.chunks(CHANNELS_A_COMMAND) {
            let subscribed = session.connection.subscribe(&self.names(part)).await;
            subscribed.map_err(|error| format!("cannot subscribe: {error}"))?;
        }
        Ok(())
    }

    async fn unsubscribe(&self, session: &mut Session, streams: &[StreamId]) -> Result<(), String> {
        for part in streams.chunks(CHANNELS_A_COMMAND) {
            let unsubscribed = session.connection.unsubscribe(&self.names(part)).await;
            unsubscribed.map_err(|error| format!("cannot unsubscribe: {error}"))?;
        }
        Ok(())
    }
}

/// A server whose answer comes late because it has much to tell does not hang.
async fn ping(session: &mut Session) -> Result<(), String> {
    let before = session.hearing.heard.load(Ordering::Relaxed);
    match redis::cmd("PING").query_async::<Value>(&mut session.connection).await {
        Err(error) if error.is_timeout() => {
            let talks = session.hearing.heard.load(Ordering::Relaxed) != before;
            if talks { Ok(()) } else { Err("the server hangs: no answer to a ping".to_owned()) }
        }
        answer => answer.map(drop).map_err(|error| format!("no answer to a ping: {error}")),
    }
}

impl Hearing {
    /// Called where the socket is read: what it does not take in is not read.
    fn hear(&self, push: PushInfo) {
        self.heard.fetch_add(1, Ordering::Relaxed);
        match (push.kind, push.data.as_slice()) {
            (PushKind::Disconnection, _) => self.lost.notify_one(),
            (PushKind::Message, [Value::BulkString(channel), Value::BulkString(payload)]) => {
                self.message(channel, payload);
            }
            _ => {}
        }
    }

    fn message(&self, channel: &[u8], payload: &[u8]) {
        let stream_id = self.channels.stream_of(channel);
        let Some(stream_id) = stream_id.filter(|stream_id| self.wishes.is_wanted(*stream_id))
        else {
            return;
        };
        match publisher::decode(payload) {
            Ok(messages) => self.mailbox.put(&self.current, stream_id, messages),
            Err(error) => {
                warn!(%stream_id, %error, bytes = payload.len(), "not a message of this bus");
                self.mailbox.count_lost();
            }
        }
    }
}
