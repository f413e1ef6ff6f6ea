//! A TCP proxy in front of the shared server: outages that only one test sees.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::daemon::testing::stack;

/// Forwards bytes until it is cut, hangs, or is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    address: SocketAddr,
    hanging: watch::Sender<bool>,
    /// The listener's task, which owns the tasks of its connections. `None` while cut.
    listening: Option<tokio::task::JoinHandle<()>>,
}

impl Proxy {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut proxy = Self { address, hanging: watch::Sender::new(false), listening: None };
        proxy.listen(listener);
        proxy
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all connections and refuses new ones.
    pub(super) async fn cut(&mut self) {
        let listening = self.listening.take().expect("not cut already");
        listening.abort();
        let _ = listening.await;
    }

    pub(super) async fn restore(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.listen(listener);
    }

    /// Keeps connections open and forwards nothing.
    pub(super) fn hang(&self) {
        self.hanging.send_replace(true);
    }

    pub(super) fn resume(&self) {
        self.hanging.send_replace(false);
    }

    fn listen(&mut self, listener: TcpListener) {
        let hanging = self.hanging.subscribe();
        self.listening = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward_connection(client, hanging.clone()));
                while connections.try_join_next().is_some() {}
            }
        }));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(listening) = &self.listening {
            listening.abort();
        }
    }
}

async fn forward_connection(
    client: TcpStream,
    hanging: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let server = stack::postgres();
    let server = server.split(['@', '/']).nth(3).expect("postgres://user@host:port/database");
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::select! {
        ended = forward(&mut from_client, &mut to_server, hanging.clone()) => ended,
        ended = forward(&mut from_server, &mut to_client, hanging) => ended,
    }
}

async fn forward(
    from: &mut tokio::net::tcp::OwnedReadHalf,
    to: &mut tokio::net::tcp::OwnedWriteHalf,
    mut hanging: watch::Receiver<bool>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        if hanging.wait_for(|hanging| !hanging).await.is_err() {
            return Ok(());
        }
        to.write_all(&buffer[..length]).await?;
    }
}
