//! Prints the comments of a stream, and sends each line of the standard input as one. Nothing is
//! lost or doubled when the daemon restarts.
//!
//! ```sh
//! LC_TOKEN=$(cargo run --bin lc -- token --user 42) cargo run --example follow_and_comment
//! ```

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "an example prints what it sees")]

use live_comments::client::viewer::{FollowerEvent, StreamFollower, ViewerOptions};
use live_comments::protocol::StreamId;
use tokio::sync::mpsc;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let site = std::env::args().nth(1).unwrap_or_else(|| "ws://127.0.0.1:8080".to_owned());
    let mut options = ViewerOptions::new(site.parse()?, StreamId(1));
    options.token = std::env::var("LC_TOKEN").ok().map(Into::into);
    let mut viewer = StreamFollower::new(options);
    let (sender, mut lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        let mut typed = std::io::stdin().lines().map_while(Result::ok);
        typed.try_for_each(|line| sender.blocking_send(line).ok())
    });
    loop {
        tokio::select! {
            event = viewer.next() => match event? {
                FollowerEvent::Comment(said) => println!("{}: {}", said.name, said.message),
                FollowerEvent::Refused { code, message, .. } => eprintln!("{code}: {message}"),
                FollowerEvent::Lost { why, .. } => eprintln!("reconnecting: {why}"),
                _ => {}
            },
            Some(line) = lines.recv() => {
                viewer.comment(line)?;
            }
        }
    }
}
