//! A listener's connection to one Redis node.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::mailbox::Mailbox;
use crate::daemon::bus::{BusError, BusMessage};
use crate::daemon::redis_nodes::RedisNodes;
use crate::protocol::StreamId;

/// A connection that does not answer for this long plus `redis.timeout` is given up.
const PING_INTERVAL: Duration = Duration::from_secs(1);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Requests that may wait for the connection; whoever asks waits for room.
const MAX_REQUESTS: usize = 256;
/// Channels of one SUBSCRIBE when all are subscribed to again.
const CHANNELS_AT_ONCE: usize = 1000;

/// Asks the connection's task.
#[derive(Debug)]
pub(super) struct Link {
    wanted: Arc<Wanted>,
    requests: mpsc::Sender<Request>,
}

/// The channels to be subscribed to, whether the node answers or not.
#[derive(Debug, Default)]
struct Wanted(Mutex<BTreeSet<String>>);

#[derive(Debug)]
struct Request {
    channel: String,
    subscribe: bool,
    done: oneshot::Sender<Result<(), BusError>>,
}

impl Link {
    pub(super) fn start(
        nodes: &RedisNodes,
        node: usize,
        mailbox: Arc<Mailbox>,
        stop: CancellationToken,
    ) -> Self {
        let (requests, receiver) = mpsc::channel(MAX_REQUESTS);
        let wanted = Arc::new(Wanted::default());
        let task = LinkTask {
            nodes: nodes.clone(),
            node,
            wanted: wanted.clone(),
            requests: receiver,
            mailbox,
        };
        tokio::spawn(async move {
            tokio::select! {
                () = task.run() => {}
                () = stop.cancelled() => {}
            }
        });
        Self { wanted, requests }
    }

    pub(super) async fn subscribe(&self, channel: String) -> Result<(), BusError> {
        self.wanted.lock().insert(channel.clone());
        self.ask(channel, true).await
    }

    pub(super) async fn unsubscribe(&self, channel: String) -> Result<(), BusError> {
        if !self.wanted.lock().remove(&channel) {
            return Ok(());
        }
        self.ask(channel, false).await
    }

    async fn ask(&self, channel: String, subscribe: bool) -> Result<(), BusError> {
        let (done, outcome) = oneshot::channel();
        let request = Request { channel, subscribe, done };
        self.requests.send(request).await.map_err(|_| BusError::Closed)?;
        outcome.await.map_err(|_| BusError::Closed)?
    }
}

impl Wanted {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        // Each critical section is one call on the set, so a poisoned lock holds a whole one.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct LinkTask {
    nodes: RedisNodes,
    node: usize,
    wanted: Arc<Wanted>,
    requests: mpsc::Receiver<Request>,
    mailbox: Arc<Mailbox>,
}

impl LinkTask {
    /// Until the listener is gone.
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        let mut was_up = true;
        loop {
            let error = match self.connect().await {
                Ok((mut sink, mut stream)) => {
                    if !was_up {
                        info!(address = self.nodes.address(self.node), "listening to Redis again");
                    }
                    (was_up, pause) = (true, FIRST_PAUSE);
                    self.mailbox.set_cut(self.node, false);
                    self.serve(&mut sink, &mut stream).await
                }
                Err(error) => error,
            };
            if was_up {
                warn!(address = self.nodes.address(self.node), error, "not listening to Redis");
                was_up = false;
            }
            self.refuse_for(pause, &error).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// A connection on which everything wanted is subscribed to.
    async fn connect(&self) -> Result<(PubSubSink, PubSubStream), String> {
        let client = self.nodes.client(self.node);
        let connected = timeout(self.nodes.timeout(), client.get_async_pubsub()).await;
        let connection = connected.map_err(|_| "no answer".to_owned())?.map_err(text)?;
        let (mut sink, stream) = connection.split();
        let channels: Vec<_> = self.wanted.lock().iter().cloned().collect();
        for channels in channels.chunks(CHANNELS_AT_ONCE) {
            self.in_time(sink.subscribe(channels)).await?;
        }
        Ok((sink, stream))
    }

    /// Passes messages on until the connection breaks or hangs; says which.
    async fn serve(&mut self, sink: &mut PubSubSink, stream: &mut PubSubStream) -> String {
        let mut pings = tokio::time::interval(PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = stream.next() => match message {
                    Some(message) => self.take_in(message.get_payload_bytes()),
                    None => return "the connection is closed".to_owned(),
                },
                request = self.requests.recv() => {
                    let Some(request) = request else { return std::future::pending().await };
                    if let Err(error) = self.obey(sink, request).await {
                        return error;
                    }
                }
                _ = pings.tick() => {
                    if let Err(error) = self.in_time(sink.ping::<redis::Value>()).await {
                        return error;
                    }
                }
            }
        }
    }

    fn take_in(&self, payload: &[u8]) {
        match rmp_serde::from_slice::<(StreamId, Vec<BusMessage>)>(payload) {
            Ok((stream_id, messages)) => self.mailbox.put(stream_id, messages),
            Err(error) => warn!(%error, "what came on the bus is no message of this version"),
        }
    }

    async fn obey(&self, sink: &mut PubSubSink, request: Request) -> Result<(), String> {
        let Request { channel, subscribe, done } = request;
        let outcome = match subscribe {
            true => self.in_time(sink.subscribe(&channel)).await,
            false => self.in_time(sink.unsubscribe(&channel)).await,
        };
        // Who asked may have given up.
        let _ = done.send(outcome.clone().map_err(BusError::Unavailable));
        outcome
    }

    /// While there is no connection: what is asked for is only noted.
    async fn refuse_for(&mut self, pause: Duration, error: &str) {
        let until = Instant::now() + pause;
        loop {
            let cut = !self.wanted.lock().is_empty();
            self.mailbox.set_cut(self.node, cut);
            let request = tokio::time::timeout_at(until, self.requests.recv()).await;
            let Ok(Some(request)) = request else { break };
            debug!(channel = request.channel, "noted while Redis is away");
            let _ = request.done.send(Err(BusError::Unavailable(error.to_owned())));
        }
        // All senders are gone with the listener, which ends this task.
        tokio::time::sleep_until(until).await;
    }

    async fn in_time<T>(
        &self,
        call: impl Future<Output = redis::RedisResult<T>>,
    ) -> Result<T, String> {
        match timeout(self.nodes.timeout(), call).await {
            Ok(answer) => answer.map_err(text),
            Err(_) => Err("Redis is slow".to_owned()),
        }
    }
}

fn text(error: redis::RedisError) -> String {
    error.to_string()
}
