//! Receives commands and replies from one Redis node, over a subscription that reconnects by
//! itself.
//!
//! The connection is pinged every second. A server that hangs is left within two seconds, so that
//! the commands it holds back are not received minutes late.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use redis::aio::{PubSub, PubSubSink};
use redis::{ErrorKind, RedisError, RedisResult};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::Core;
use super::command_handler::accept_command;
use super::node_link::NodeLink;
use crate::net::backoff::BackoffBounds;

const RECONNECT_BACKOFF: BackoffBounds =
    BackoffBounds { first: Duration::from_millis(50), longest: Duration::from_secs(1) };
const PING_INTERVAL: Duration = Duration::from_secs(1);
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs until `stop`. `attempted` becomes true after the first attempt to subscribe.
pub(super) async fn run(
    core: Arc<Core>,
    link: Arc<NodeLink>,
    attempted: watch::Sender<bool>,
    stop: CancellationToken,
) {
    tokio::select! {
        () = receive_messages(&core, &link, &attempted) => {}
        () = stop.cancelled() => {}
    }
}

async fn receive_messages(core: &Arc<Core>, link: &NodeLink, attempted: &watch::Sender<bool>) {
    let mut backoff = RECONNECT_BACKOFF.start();
    loop {
        let subscribed = timeout(core.nodes.timeout(), subscribe(core, link)).await;
        attempted.send_replace(true);
        let ended = match subscribed {
            Ok(Ok(subscription)) => {
                backoff.reset();
                link.subscribed();
                dispatch(core, link, subscription).await
            }
            Ok(Err(error)) => error,
            Err(_) => timed_out(),
        };
        link.not_subscribed(&ended);
        debug!(address = link.address(), error = %ended, "not subscribed on this Redis node");
        sleep(backoff.next_pause()).await;
    }
}

async fn subscribe(core: &Core, link: &NodeLink) -> RedisResult<PubSub> {
    let mut subscription = core.nodes.client(link.index).get_async_pubsub().await?;
    let commands = core.keys.command_channel(&core.node);
    let replies = core.keys.reply_channel(&core.node, core.run);
    subscription.subscribe(&[commands, replies]).await?;
    Ok(subscription)
}

/// Dispatches messages until the subscription breaks. Returns the reason.
async fn dispatch(core: &Arc<Core>, link: &NodeLink, subscription: PubSub) -> RedisError {
    let replies = core.keys.reply_channel(&core.node, core.run);
    let (sink, mut messages) = subscription.split();
    let receiving = async {
        // Nothing here waits, so messages do not pile up in the queue of the library.
        while let Some(message) = messages.next().await {
            if message.get_channel_name() == replies {
                core.pending_commands.deliver_reply(message.get_payload_bytes());
            } else {
                accept_command(core, link.index, message.get_payload_bytes());
            }
        }
        RedisError::from((ErrorKind::Io, "the connection was closed"))
    };
    tokio::select! {
        ended = receiving => ended,
        hung = ping_until_silent(sink) => hung,
    }
}

/// Ends when the server does not answer a ping.
async fn ping_until_silent(mut sink: PubSubSink) -> RedisError {
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
