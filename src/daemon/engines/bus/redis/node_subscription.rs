//! The connection of one listener to one Redis node: opened when a stream of the node is
//! subscribed to, kept alive, and reopened when it is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, Value};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::channels::Channels;
use super::desired_subscriptions::DesiredSubscriptions;
use super::listener_queue::{ConnectionActive, ListenerQueue};
use super::publisher;
use crate::daemon::base::ticker::ticker_from_now;
use crate::daemon::engines::backends::redis_nodes::RedisNodes;
use crate::daemon::engines::bus::BusError;
use crate::daemon::engines::bus::load::{BusLoad, BusPath};
use crate::net::backoff::BackoffBounds;
use crate::protocol::StreamId;

const RECONNECT_BACKOFF: BackoffBounds =
    BackoffBounds { first: Duration::from_millis(50), longest: Duration::from_secs(1) };
/// A server that hangs is noticed after this time and `redis.timeout`.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// Channels per command, so that the server answers each command within the timeout.
const CHANNELS_PER_COMMAND: usize = 1000;

/// The task that holds the connection.
pub(super) struct NodeSubscription {
    index: usize,
    address: String,
    client: Client,
    timeout: Duration,
    channels: Channels,
    desired: Arc<DesiredSubscriptions>,
    queue: Arc<ListenerQueue>,
    load: Arc<BusLoad>,
}

/// A connection that has all desired subscriptions.
struct Session {
    connection: MultiplexedConnection,
    reader: Arc<PushReader>,
}

/// The state of the callback that reads the connection.
struct PushReader {
    channels: Channels,
    desired: Arc<DesiredSubscriptions>,
    queue: Arc<ListenerQueue>,
    active: ConnectionActive,
    lost: Notify,
    /// Number of pushes received.
    received: AtomicU64,
}

impl Drop for NodeSubscription {
    /// However the task ends, nobody waits for it afterwards.
    fn drop(&mut self) {
        self.desired.close();
        self.queue.close();
        self.load.set_outage(self.index, BusPath::Listening, None);
    }
}

impl NodeSubscription {
    pub(super) fn new(
        nodes: &RedisNodes,
        index: usize,
        channels: &Channels,
        desired: Arc<DesiredSubscriptions>,
        queue: Arc<ListenerQueue>,
        load: Arc<BusLoad>,
    ) -> Result<Self, BusError> {
        // Pub/Sub of RESP3: messages, confirmations and pings share one connection.
        let client = nodes.push_client(index);
        Ok(Self {
            index,
            address: nodes.address(index).to_owned(),
            client: client.map_err(|error| BusError::Unavailable(error.to_string()))?,
            timeout: nodes.timeout(),
            channels: channels.clone(),
            desired,
            queue,
            load,
        })
    }

    /// Ends soon after `stop` is cancelled.
    pub(super) async fn run(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            () = self.keep() => {}
        }
    }

    async fn keep(&self) {
        let mut backoff = RECONNECT_BACKOFF.start();
        loop {
            self.wait_until_needed().await;
            let error = match self.connect().await {
                Ok(mut session) => {
                    backoff.reset();
                    let error = self.serve(&mut session).await;
                    self.mark_interrupted(Some(&session.reader.active), &error);
                    error
                }
                Err(error) => error,
            };
            warn!(address = self.address, error, "not subscribed on this Redis node");
            self.mark_interrupted(None, &error);
            self.wait_before_retry(backoff.next_pause(), &self.unavailable(&error)).await;
        }
    }

    fn mark_interrupted(&self, active: Option<&ConnectionActive>, error: &str) {
        self.queue.mark_interrupted(self.index, active, &self.unavailable(error).to_string());
        self.load.set_outage(self.index, BusPath::Listening, Some(error));
    }

    fn mark_restored(&self) {
        self.queue.mark_restored(self.index);
        self.load.set_outage(self.index, BusPath::Listening, None);
    }

    fn unavailable(&self, error: &str) -> BusError {
        let address = &self.address;
        BusError::Unavailable(format!("Redis node {address} of `redis.nodes`: {error}"))
    }

    /// A node without desired streams needs no connection, and its outage interrupts nothing.
    async fn wait_until_needed(&self) {
        while self.desired.confirm_if_empty() {
            self.mark_restored();
            self.desired.changed().await;
        }
    }

    /// Waits between two attempts. Subscribers do not wait meanwhile; they receive the error.
    async fn wait_before_retry(&self, pause: Duration, error: &BusError) {
        let completing = async {
            loop {
                self.desired.take_changes().complete_without_connection(error);
                self.desired.changed().await;
            }
        };
        let _ = tokio::time::timeout(pause, completing).await;
    }

    async fn connect(&self) -> Result<Session, String> {
        let reader = Arc::new(PushReader {
            channels: self.channels.clone(),
            desired: self.desired.clone(),
            queue: self.queue.clone(),
            active: ConnectionActive::default(),
            lost: Notify::new(),
            received: AtomicU64::new(0),
        });
        let callback = reader.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.timeout))
            .set_response_timeout(Some(self.timeout))
            .set_push_sender(move |push| {
                callback.on_push(push);
                Ok::<(), std::convert::Infallible>(())
            });
        let connecting = self.client.get_multiplexed_async_connection_with_config(&config);
        let connection = connecting.await.map_err(|error| error.to_string())?;
        let mut session = Session { connection, reader };
        let changes = self.desired.take_all();
        let subscribed = self.subscribe(&mut session, &changes.subscribe).await;
        changes.complete(&subscribed.clone().map_err(|error| self.unavailable(&error)));
        subscribed?;
        info!(address = self.address, "subscribed on this Redis node");
        self.mark_restored();
        Ok(session)
    }

    /// Serves the connection until it is lost. Returns the reason.
    async fn serve(&self, session: &mut Session) -> String {
        let mut pings = ticker_from_now(PING_INTERVAL);
        loop {
            let done = tokio::select! {
                () = session.reader.lost.notified() => Err("the connection was lost".to_owned()),
                () = self.desired.changed() => self.apply_changes(session).await,
                _ = pings.tick() => ping(session).await,
            };
            if let Err(error) = done {
                return error;
            }
        }
    }

    async fn apply_changes(&self, session: &mut Session) -> Result<(), String> {
        let changes = self.desired.take_changes();
        let mut done = self.unsubscribe(session, &changes.unsubscribe).await;
        if done.is_ok() {
            done = self.subscribe(session, &changes.subscribe).await;
        }
        changes.complete(&done.clone().map_err(|error| self.unavailable(&error)));
        done
    }

    fn names(&self, streams: &[StreamId]) -> Vec<String> {
        streams.iter().map(|stream_id| self.channels.name(*stream_id)).collect()
    }

    async fn subscribe(&self, session: &mut Session, streams: &[StreamId]) -> Result<(), String> {
        for part in streams.chunks(CHANNELS_PER_COMMAND) {
            let subscribed = session.connection.subscribe(&self.names(part)).await;
            subscribed.map_err(|error| format!("cannot subscribe: {error}"))?;
        }
        Ok(())
    }

    async fn unsubscribe(&self, session: &mut Session, streams: &[StreamId]) -> Result<(), String> {
        for part in streams.chunks(CHANNELS_PER_COMMAND) {
            let unsubscribed = session.connection.unsubscribe(&self.names(part)).await;
            unsubscribed.map_err(|error| format!("cannot unsubscribe: {error}"))?;
        }
        Ok(())
    }
}

/// A server that answers late but keeps sending messages does not hang.
async fn ping(session: &mut Session) -> Result<(), String> {
    let before = session.reader.received.load(Ordering::Relaxed);
    match redis::cmd("PING").query_async::<Value>(&mut session.connection).await {
        Err(error) if error.is_timeout() => {
            let is_sending = session.reader.received.load(Ordering::Relaxed) != before;
            if is_sending {
                Ok(())
            } else {
                Err("the server hangs: no answer to a ping".to_owned())
            }
        }
        answer => answer.map(drop).map_err(|error| format!("no answer to a ping: {error}")),
    }
}

impl PushReader {
    /// Called where the socket is read, so that no queue builds up before this one.
    fn on_push(&self, push: PushInfo) {
        self.received.fetch_add(1, Ordering::Relaxed);
        match (push.kind, push.data.as_slice()) {
            (PushKind::Disconnection, _) => self.lost.notify_one(),
            (PushKind::Message, [Value::BulkString(channel), Value::BulkString(payload)]) => {
                self.on_message(channel, payload);
            }
            _ => {}
        }
    }

    fn on_message(&self, channel: &[u8], payload: &[u8]) {
        let stream_id = self.channels.stream_of(channel);
        let Some(stream_id) = stream_id.filter(|stream_id| self.desired.is_desired(*stream_id))
        else {
            return;
        };
        match publisher::decode(payload) {
            Ok(messages) => self.queue.push(&self.active, stream_id, messages),
            Err(error) => {
                warn!(%stream_id, %error, bytes = payload.len(), "message of the bus not understood");
                self.queue.count_lost();
            }
        }
    }
}
