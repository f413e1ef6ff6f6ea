//! A broadcast server as the examples of axum and tokio-tungstenite write it: a broadcast channel,
//! a task per connection, the library's defaults.

use std::io::BufRead as _;

use futures_util::{SinkExt as _, StreamExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::time::{Duration, Instant, sleep_until};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use crate::bare::payload;
use crate::rounds::Load;

/// Messages a connection may lag behind; then it loses the oldest.
const CHANNEL_MESSAGES: usize = 1024;

/// Serves until its input ends; each line is a load.
#[tokio::main]
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening {}", listener.local_addr()?);
    let (messages, _) = channel(CHANNEL_MESSAGES);
    let mut commands = commands();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (socket, _) = accepted?;
                tokio::spawn(connection(socket, messages.subscribe()));
            }
            line = commands.recv() => match line {
                Some(line) => {
                    tokio::spawn(publish(messages.clone(), Load::parse(&line)?));
                }
                None => return Ok(()),
            },
        }
    }
}

/// Lines of the input.
fn commands() -> tokio::sync::mpsc::Receiver<String> {
    let (sender, receiver) = tokio::sync::mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn publish(messages: Sender<Utf8Bytes>, load: Load) {
    let started = Instant::now();
    for at in 0..load.frames() {
        sleep_until(started + Duration::from_secs_f64(at as f64 / load.frames_per_s)).await;
        let text = String::from_utf8(payload(load.comments_of(at))).unwrap_or_default();
        // Nobody listens: nothing to do.
        let _ = messages.send(text.into());
    }
    println!("done");
}

async fn connection(socket: TcpStream, mut messages: Receiver<Utf8Bytes>) {
    let Ok(()) = socket.set_nodelay(true) else { return };
    let Ok(websocket) = tokio_tungstenite::accept_async(socket).await else { return };
    let (mut to_viewer, mut from_viewer) = websocket.split();
    let sending = async {
        loop {
            match messages.recv().await {
                Ok(text) => match to_viewer.send(Message::Text(text)).await {
                    Ok(()) => {}
                    Err(_) => return,
                },
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    };
    let receiving = async { while let Some(Ok(_)) = from_viewer.next().await {} };
    tokio::select! {
        () = sending => {}
        () = receiving => {}
    }
}
