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
    /// True if start-up options are dropped, as PgBouncer can be told to.
    drops_options: bool,
    /// The listener's task, which owns the tasks of its connections. `None` while cut.
    listening: Option<tokio::task::JoinHandle<()>>,
}

impl Proxy {
    pub(super) async fn start() -> Self {
        Self::start_with(false).await
    }

    /// Starts a proxy that drops the start-up options of each connection.
    pub(super) async fn ignoring_options() -> Self {
        Self::start_with(true).await
    }

    async fn start_with(drops_options: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let hanging = watch::Sender::new(false);
        let mut proxy = Self { address, hanging, drops_options, listening: None };
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
        let drops_options = self.drops_options;
        self.listening = Some(tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward_connection(client, hanging.clone(), drops_options));
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
    mut client: TcpStream,
    hanging: watch::Receiver<bool>,
    drops_options: bool,
) -> std::io::Result<()> {
    let server = stack::postgres();
    let server = server.split(['@', '/']).nth(3).expect("postgres://user@host:port/database");
    let mut server = TcpStream::connect(server).await?;
    if drops_options {
        forward_startup(&mut client, &mut server).await?;
    }
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::select! {
        ended = forward(&mut from_client, &mut to_server, hanging.clone()) => ended,
        ended = forward(&mut from_server, &mut to_client, hanging) => ended,
    }
}

/// Forwards the first message without its parameter `options`: a length, a version, and pairs of
/// texts that end with a zero byte each.
async fn forward_startup(client: &mut TcpStream, server: &mut TcpStream) -> std::io::Result<()> {
    let length = client.read_u32().await?;
    let version = client.read_u32().await?;
    let mut parameters = vec![0; length as usize - 8];
    client.read_exact(&mut parameters).await?;
    let texts: Vec<&[u8]> = parameters.split(|byte| *byte == 0).collect();
    let mut kept = Vec::new();
    for pair in texts.chunks_exact(2).filter(|pair| !pair[0].is_empty() && pair[0] != b"options") {
        for text in pair {
            kept.extend_from_slice(text);
            kept.push(0);
        }
    }
    kept.push(0);
    server.write_u32(kept.len() as u32 + 8).await?;
    server.write_u32(version).await?;
    server.write_all(&kept).await
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
