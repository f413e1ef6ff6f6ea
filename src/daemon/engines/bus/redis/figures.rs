//! The figures that Redis nodes tell about themselves: memory, clients, clients cut off.
//!
//! One of all `lcd` asks a Redis node in [`INTERVAL`]; the others find that it was asked.

use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use redis::{ExistenceCheck, SetExpiry, SetOptions, Value};
use tokio::time::Instant;

use crate::daemon::engines::backends::redis_nodes::{GuardedConnection, RedisNodes};
use crate::daemon::engines::bus::load::{BusLoad, ServerFigures};

/// Time between two questions to the same Redis node.
const INTERVAL: Duration = Duration::from_secs(5);
/// Somewhat less, so that one node at a time finds that nobody has asked.
const CLAIM: Duration = Duration::from_millis(4_900);
/// The key that says that a Redis node was asked.
const CLAIM_KEY: &str = "bus:figures";

#[derive(Debug, Default)]
pub(super) struct Figures {
    asked_at: Mutex<Option<Instant>>,
}

impl Figures {
    /// Asks each Redis node, if the interval is over and no other `lcd` has asked it. A Redis node
    /// that does not answer or permit it tells nothing.
    pub(super) async fn ask(&self, nodes: &RedisNodes, load: &BusLoad) {
        let now = Instant::now();
        let asked_at = self.asked_at.lock().filter(|at| now - *at < INTERVAL);
        if asked_at.is_some() {
            return;
        }
        *self.asked_at.lock() = Some(now);
        let asked = (0..nodes.count()).map(|index| async move {
            if let Some(figures) = ask(&nodes.guarded(index), &nodes.key(CLAIM_KEY)).await {
                load.set_figures(index, figures);
            }
        });
        join_all(asked).await;
    }
}

async fn ask(connection: &GuardedConnection, claim: &str) -> Option<ServerFigures> {
    let options = SetOptions::default()
        .conditional_set(ExistenceCheck::NX)
        .with_expiration(SetExpiry::PX(CLAIM.as_millis() as u64));
    let mut command = redis::cmd("SET");
    command.arg(claim).arg(1).arg(options);
    let claimed: Value = connection.query(&command).await.ok()?;
    if claimed == Value::Nil {
        return None;
    }
    let info: String = connection.query(&redis::cmd("INFO")).await.ok()?;
    Some(read(&info))
}

fn read(info: &str) -> ServerFigures {
    let figure = |name: &str| {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.trim().parse().ok())
    };
    ServerFigures {
        memory_bytes: figure("used_memory"),
        clients: figure("connected_clients"),
        // Since Redis 7.
        cut_off: figure("client_output_buffer_limit_disconnections"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_info() {
        let info = "# Memory\r\nused_memory:2211840\r\nused_memory_human:2.11M\r\n# Clients\r\n\
                    connected_clients:41\r\n";
        let figures = read(info);
        assert_eq!(figures.memory_bytes, Some(2_211_840));
        assert_eq!((figures.clients, figures.cut_off), (Some(41), None));
    }
}
