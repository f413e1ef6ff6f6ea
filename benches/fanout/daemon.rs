//! `lcd` under load: in a directory of its own, with one viewer that comments.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use live_comments::client::admin::AdminClient;
use live_comments::client::token::{Claims, mint};
use live_comments::client::viewer::{ViewerConnection, ViewerOptions, ViewerReader, ViewerWriter};
use live_comments::client::{Endpoint, Trust};
use live_comments::protocol::admin::{Outcome, ShadowRequest, UserRef};
use live_comments::protocol::{ClientMessage, ServerMessage, StreamId, UserId};
use tempfile::TempDir;
use tokio::time::{Instant, sleep_until, timeout};

use crate::Arguments;
use crate::child::Child;
use crate::rounds::Load;
use crate::viewers::MARK;

/// The longest that the last comments may take to be acknowledged.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Daemon {
    // The process ends before its directory goes.
    pub(crate) process: Child,
    _directory: TempDir,
    pub(crate) address: SocketAddr,
    runtime: tokio::runtime::Runtime,
    sender: Sender,
    /// A shadow-banned user, with `--shadow`.
    hidden: Option<Sender>,
}

/// The user whose comments viewers are shown, and the one whose comments they are not.
const SHOWN: UserId = UserId(1);
const HIDDEN: UserId = UserId(2);

impl Daemon {
    pub(crate) fn start(arguments: &Arguments) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let program =
            arguments.lcd.as_deref().unwrap_or_else(|| Path::new(env!("CARGO_BIN_EXE_lcd")));
        let log = std::fs::File::create(directory.path().join("lcd.log"))?;
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(directory.path().join("data"));
        command.args(["--listen", "127.0.0.1:0"]);
        let socket = directory.path().join("lcd.sock");
        command.arg("--admin-socket").arg(&socket);
        if arguments.tls {
            command.arg("--dev-tls");
        }
        if let Some(config) = &arguments.lcd_config {
            command.arg("--config").arg(config);
        }
        let mut process = Child::spawn(&command, arguments.server_cores(), log.into())?;
        let address = process.address().with_context(|| {
            let log = std::fs::read_to_string(directory.path().join("lcd.log"));
            format!("lcd did not start: {}", log.unwrap_or_default())
        })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let data_dir = directory.path().join("data");
        let join = |user| Sender::join(address, &data_dir, arguments.tls, user);
        let sender = runtime.block_on(join(SHOWN))?;
        let hidden = if arguments.shadow {
            runtime.block_on(shadow(socket))?;
            Some(runtime.block_on(join(HIDDEN))?)
        } else {
            None
        };
        Ok(Self { process, _directory: directory, address, runtime, sender, hidden })
    }

    /// Comments at the load's rate, all acknowledged when this returns.
    pub(crate) fn comment(&mut self, load: Load) -> anyhow::Result<()> {
        let Self { runtime, sender, hidden, .. } = self;
        runtime.block_on(async {
            match hidden {
                Some(hidden) => {
                    tokio::try_join!(sender.comment(load), hidden.comment(load)).map(drop)
                }
                None => sender.comment(load).await,
            }
        })
    }
}

/// Shadow-bans the hidden user on all streams.
async fn shadow(socket: PathBuf) -> anyhow::Result<()> {
    let request = ShadowRequest {
        user: UserRef(format!("id:{HIDDEN}")),
        stream_id: None,
        note: None,
        duration_ms: None,
    };
    let _: Outcome = AdminClient::new(socket).post("/v1/shadow", &request).await?;
    Ok(())
}

/// The one viewer that comments. It stays connected from the start, so that no viewer comes or goes
/// while a load is measured.
struct Sender {
    writer: ViewerWriter,
    reader: ViewerReader,
    /// Distinguishes the refs of one load from those of another.
    loads: u32,
}

impl Sender {
    async fn join(
        address: SocketAddr,
        data_dir: &Path,
        tls: bool,
        user: UserId,
    ) -> anyhow::Result<Self> {
        let secret = std::fs::read(data_dir.join("signing.key"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let mut claims = Claims::new(user, "ann", now, Duration::from_secs(3600));
        claims.comments_per_minute = Some(0);
        let token = Some(mint(secret.trim_ascii(), &claims).into());
        let mut endpoint = Endpoint::plain(&address.ip().to_string(), address.port());
        endpoint.tls = tls;
        let trust = Trust::AnyCertificate;
        let options = ViewerOptions { token, trust, ..ViewerOptions::new(endpoint, StreamId(1)) };
        let (connection, _) = ViewerConnection::join(&options).await?;
        let (writer, reader) = connection.split();
        Ok(Self { writer, reader, loads: 0 })
    }

    async fn comment(&mut self, load: Load) -> anyhow::Result<()> {
        self.loads += 1;
        let Self { writer, reader, loads } = self;
        let comments = load.comments();
        let sending = async {
            let started = Instant::now();
            for at in 0..comments {
                sleep_until(started + Duration::from_secs_f64(at as f64 / load.comments_per_s))
                    .await;
                // Marked once; brings a frame of one comment to about 230 bytes.
                let message = format!("{} comment number {at}", char::from(MARK));
                let client_ref = Some(format!("{loads}-{at}"));
                writer
                    .feed(&ClientMessage::Comment { message, client_ref, parent_id: None })
                    .await?;
                writer.flush().await?;
            }
            anyhow::Ok(())
        };
        let acknowledged = async {
            let mut acknowledged = 0;
            while acknowledged < comments {
                match reader.next().await? {
                    ServerMessage::Ack { .. } => acknowledged += 1,
                    ServerMessage::Error { message, .. } => anyhow::bail!("refused: {message}"),
                    _ => {}
                }
            }
            anyhow::Ok(())
        };
        let whole = Duration::from_secs_f64(load.seconds) + PATIENCE;
        timeout(whole, async { tokio::try_join!(sending, acknowledged) }).await??;
        Ok(())
    }
}
