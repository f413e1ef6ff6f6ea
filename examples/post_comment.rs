//! Posts one comment and waits until it is durable.
//!
//! ```sh
//! LC_TOKEN=$(cargo run --bin lc -- token --user 42) cargo run --example post_comment -- "hello"
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it sees")]

use std::time::Duration;

use anyhow::{Context as _, bail};
use live_comments::client::viewer::{ViewerConnection, ViewerOptions};
use live_comments::protocol::{ClientMessage, ServerMessage, StreamId};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let message = arguments.next().context("the first argument is the comment")?;
    let endpoint = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8080".to_owned());
    let token = std::env::var("LC_TOKEN").context("LC_TOKEN is not set; `lc token` prints one")?;
    let mut options = ViewerOptions::new(endpoint.parse()?, StreamId(1));
    options.token = Some(token.into());

    let (mut connection, _) = ViewerConnection::join(&options).await?;
    // Sending the comment again with the same ref, after a lost connection, stores it once.
    let client_ref = uuid::Uuid::from_u128(rand::random()).to_string();
    let comment =
        ClientMessage::Comment { message, client_ref: Some(client_ref.clone()), parent_id: None };
    connection.send(&comment).await?;
    let answer =
        tokio::time::timeout(Duration::from_secs(10), answer(&mut connection, &client_ref)).await;
    println!("{}", answer.context("no answer within 10 s")??);
    connection.close().await;
    Ok(())
}

/// Waits for the ack or the error of the comment; other messages pass by.
async fn answer(connection: &mut ViewerConnection, our_ref: &str) -> anyhow::Result<String> {
    let is_ours = |client_ref: Option<&str>| client_ref == Some(our_ref);
    loop {
        match connection.next().await? {
            ServerMessage::Ack { client_ref, comment_id, seq }
                if is_ours(client_ref.as_deref()) =>
            {
                return Ok(format!("stored as {comment_id}, seq {seq}"));
            }
            ServerMessage::Error { code, message, client_ref, .. }
                if is_ours(client_ref.as_deref()) =>
            {
                bail!("{code}: {message}");
            }
            _ => {}
        }
    }
}
