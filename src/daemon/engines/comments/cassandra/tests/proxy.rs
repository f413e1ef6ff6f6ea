//! A TCP proxy in front of a server that must not be stopped: cut or hang it instead.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Pass,
    /// Connections stay, and nothing goes through them.
    Hang,
    /// Connections are closed, new ones at once.
    Cut,
}

/// Ends with its handle.
pub(super) struct Proxy {
    mode: watch::Sender<Mode>,
    pub(super) address: String,
}

impl Proxy {
    pub(super) async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (mode, modes) = watch::channel(Mode::Pass);
        tokio::spawn(accept(listener, server, modes));
        Self { mode, address }
    }

    pub(super) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn accept(listener: TcpListener, server: String, mut modes: watch::Receiver<Mode>) {
    loop {
        let client = tokio::select! {
            accepted = listener.accept() => accepted.unwrap().0,
            changed = modes.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        if *modes.borrow() != Mode::Cut {
            tokio::spawn(forward(client, server.clone(), modes.clone()));
        }
    }
}

async fn forward(client: TcpStream, server: String, modes: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((from_client, to_client), (from_server, to_server)) =
        (client.into_split(), server.into_split());
    let mut cut = modes.clone();
    tokio::select! {
        _ = copy(from_client, to_server, modes.clone()) => {}
        _ = copy(from_server, to_client, modes) => {}
        _ = cut.wait_for(|mode| *mode == Mode::Cut) => {}
    }
}

async fn copy(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut modes: watch::Receiver<Mode>,
) -> Option<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = from.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        modes.wait_for(|mode| *mode == Mode::Pass).await.ok()?;
        to.write_all(&buffer[..read]).await.ok()?;
    }
}
