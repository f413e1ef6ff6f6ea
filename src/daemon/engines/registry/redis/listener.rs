//! Hearing commands and answers on one Redis node, over a subscription that comes back by itself.
//!
//! The connection is asked for a sign of life every second: a server that hangs is left within two, so
//! that what it still holds when it goes on is not heard minutes late.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{PubSub, PubSubSink};
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::link::Link;
use super::{Core, obedience};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs until `stop`. `tried` becomes true when the first try is over.
pub(super) async fn listen(
    core: Arc<Core>,
    link: Arc<Link>,
    tried: watch::Sender<bool>,
    stop: CancellationToken,
) {
    tokio::select! {
        () = keep_listening(&core, &link, &tried) => {}
        () = stop.cancelled() => {}
    }
}

async fn keep_listening(core: &Arc<Core>, link: &Link, tried: &watch::Sender<bool>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let subscribed = timeout(core.nodes.timeout(), subscribe(core, link)).await;
        tried.send_replace(true);
        let ended = match subscribed {
            Ok(Ok(subscription)) => {
                pause = FIRST_PAUSE;
                hear(core, link, subscription).await
            }
            Ok(Err(error)) => error,
            Err(_) => timed_out(),
        };
        debug!(address = link.address(), error = %ended, "no commands are heard over this node");
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn subscribe(core: &Core, link: &Link) -> RedisResult<PubSub> {
    let mut subscription = core.nodes.client(link.index).get_async_pubsub().await?;
    let (commands, answers) =
        (core.keys.commands(&core.node), core.keys.answers(&core.node, core.life));
    subscription.subscribe(&[commands, answers]).await?;
    Ok(subscription)
}

/// Hands on what is heard until the subscription breaks; why it did.
async fn hear(core: &Arc<Core>, link: &Link, subscription: PubSub) -> RedisError {
    let answers = core.keys.answers(&core.node, core.life);
    let (sink, mut messages) = subscription.split();
    let hearing = async {
        // Nothing here waits, so messages do not pile up in the library's queue.
        while let Some(message) = messages.next().await {
            match message.get_channel_name() == answers {
                true => core.awaited.take_in(message.get_payload_bytes()),
                false => obedience::take_in(core, link.index, message.get_payload_bytes()),
            }
        }
        RedisError::from((ErrorKind::Io, "the connection was closed"))
    };
    tokio::select! {
        ended = hearing => ended,
        hung = watch_over(sink) => hung,
    }
}

/// Ends when the server gives no sign of life.
async fn watch_over(mut sink: PubSubSink) -> RedisError {
    loop {
        sleep(PING_INTERVAL).await;
        match timeout(PING_TIMEOUT, sink.ping::<redis::Value>()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error,
            Err(_) => return timed_out(),
        }
    }
}

fn timed_out() -> RedisError {
    RedisError::from((ErrorKind::Io, "no answer in time"))
}
