//! Runs the whole daemon inside a program or a test: no other process, a temporary directory, a
//! free port. The tests of a site can do the same.
//!
//! ```sh
//! cargo run --example embedded_daemon
//! cargo test --example embedded_daemon
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it sees")]

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use live_comments::client::Endpoint;
use live_comments::client::token::{Claims, mint, secret_of};
use live_comments::client::viewer::{ViewerConnection, ViewerOptions};
use live_comments::daemon::base::config::{self, Overrides};
use live_comments::daemon::node::run;
use live_comments::protocol::{ClientMessage, ServerMessage, StreamId, UserId};
use tokio::sync::oneshot;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Runtime::new()?;
    let shown = runtime.block_on(post_and_read("hello"))?;
    println!("every viewer sees: {shown}");
    Ok(())
}

/// Starts a daemon, posts a comment as user 42, and returns what an anonymous viewer is shown.
async fn post_and_read(message: &str) -> anyhow::Result<String> {
    let directory = tempfile::tempdir()?;
    let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let overrides = Overrides {
        listen: Some(listen),
        data_dir: Some(directory.path().to_owned()),
        ..Overrides::default()
    };
    let config = config::load(None, overrides)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let daemon = std::thread::spawn(move || {
        tokio::runtime::Runtime::new()?.block_on(run::run(config, async {
            // A dropped sender stops it too.
            let _ = stopped.await;
        }))
    });

    let endpoint = Endpoint::plain("127.0.0.1", listen.port());
    let anonymous = ViewerOptions::new(endpoint, StreamId(1));
    let mut viewer = join_when_ready(&anonymous).await?;
    let token = token_for(directory.path(), UserId(42), "alice")?;
    let author = ViewerOptions { token: Some(token.into()), ..anonymous };
    let (mut author, _) = ViewerConnection::join(&author).await?;
    let comment =
        ClientMessage::Comment { message: message.to_owned(), client_ref: None, parent_id: None };
    author.send(&comment).await?;
    let shown = tokio::time::timeout(Duration::from_secs(10), first_comment(&mut viewer)).await??;

    // The daemon drains: it tells its viewers, closes their sockets and flushes the log.
    let _ = stop.send(());
    let drained = tokio::task::spawn_blocking(|| daemon.join()).await?;
    drained.map_err(|_| anyhow::anyhow!("the daemon panicked"))??;
    Ok(shown)
}

/// Joins as soon as the daemon listens.
async fn join_when_ready(options: &ViewerOptions) -> anyhow::Result<ViewerConnection> {
    let mut last_error = None;
    for _ in 0..200 {
        match ViewerConnection::join(options).await {
            Ok((connection, _)) => return Ok(connection),
            Err(error) => last_error = Some(error),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(last_error.context("not tried")?).context("the daemon does not listen")
}

/// Signs a token with the secret that the daemon made in its data directory.
fn token_for(data_dir: &Path, user_id: UserId, name: &str) -> anyhow::Result<String> {
    let secret = std::fs::read(data_dir.join("signing.key"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let claims = Claims::new(user_id, name, now, Duration::from_secs(3600));
    Ok(mint(secret_of(&secret), &claims))
}

async fn first_comment(viewer: &mut ViewerConnection) -> anyhow::Result<String> {
    loop {
        if let ServerMessage::Comments(batch) = viewer.next().await?
            && let Some(comment) = batch.comments.first()
        {
            return Ok(format!("{}: {}", comment.name, comment.message));
        }
    }
}

#[cfg(test)]
mod tests {
    #[tokio::test(flavor = "multi_thread")]
    async fn a_comment_reaches_a_viewer() {
        let shown = super::post_and_read("hello from a test").await.unwrap();
        assert_eq!(shown, "alice: hello from a test");
    }
}
