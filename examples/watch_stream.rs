//! Prints the comments of a stream, and survives restarts of the daemon without missing one.
//!
//! ```sh
//! cargo run --example watch_stream -- ws://127.0.0.1:8080 1
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it sees")]

use anyhow::Context as _;
use live_comments::client::viewer::{
    Position, Reconnect, SeqRange, ViewerConnection, ViewerError, ViewerOptions,
};
use live_comments::protocol::{ServerMessage, StreamId};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let endpoint = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:8080".to_owned());
    let stream = arguments.next().unwrap_or_else(|| "1".to_owned());
    let stream = StreamId(stream.parse().context("the second argument is a stream's number")?);
    let mut options = ViewerOptions::new(endpoint.parse()?, stream);
    let mut reconnect = Reconnect::default();
    let mut position: Option<Position> = None;
    loop {
        let pause = match ViewerConnection::join(&options).await {
            Ok((mut connection, welcome)) => {
                reconnect.succeeded();
                eprintln!("connected; {} viewers", welcome.viewers);
                // A log with another epoch is another log: its positions start again.
                let known = position.take().filter(|known| known.epoch() == welcome.epoch);
                let position = position
                    .insert(known.unwrap_or_else(|| Position::new(welcome.epoch, welcome.seq)));
                let end = print_comments(&mut connection, position, &mut reconnect).await;
                // The next connection continues after this position.
                options.resume = Some(position.resume());
                eprintln!("disconnected: {end}");
                reconnect.after_end(&end)
            }
            Err(error) => {
                eprintln!("cannot connect: {error}");
                reconnect.after_failure(&error)
            }
        };
        // The server or the error says that coming back is of no use.
        let Some(pause) = pause else { return Ok(()) };
        tokio::time::sleep(pause).await;
    }
}

/// Prints until the connection ends; returns why it ended.
async fn print_comments(
    connection: &mut ViewerConnection,
    position: &mut Position,
    reconnect: &mut Reconnect,
) -> ViewerError {
    loop {
        match connection.next().await {
            Ok(ServerMessage::Comments(batch)) => {
                for comment in &batch.comments {
                    println!("{}: {}", comment.name, comment.message);
                }
                if let Some(range) = SeqRange::new(batch.from_seq, batch.to_seq) {
                    position.advance(range);
                }
            }
            Ok(ServerMessage::Gap { from_seq, to_seq, .. }) => {
                eprintln!("skipped {from_seq} to {to_seq}; history has them");
                if let Some(range) = SeqRange::new(from_seq, to_seq) {
                    position.advance(range);
                }
            }
            Ok(ServerMessage::CommentDeleted(deletion)) => {
                eprintln!("deleted: {}", deletion.comment_id);
            }
            Ok(ServerMessage::Bye { reconnect_after_ms, .. }) => reconnect.bye(reconnect_after_ms),
            Ok(_) => {}
            Err(end) => return end,
        }
    }
}
