//! `lcd` under load: in a directory of its own, with one viewer that comments.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use live_comments::client::Endpoint;
use live_comments::client::token::{Claims, mint};
use live_comments::client::viewer::{ViewerConnection, ViewerOptions};
use live_comments::protocol::{ClientMessage, Role, ServerMessage, StreamId, UserId};
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
    directory: TempDir,
    pub(crate) address: SocketAddr,
}

impl Daemon {
    pub(crate) fn start(arguments: &Arguments) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let program =
            arguments.lcd.as_deref().unwrap_or_else(|| Path::new(env!("CARGO_BIN_EXE_lcd")));
        let log = std::fs::File::create(directory.path().join("lcd.log"))?;
        let mut command = Command::new(program);
        command.arg("--data-dir").arg(directory.path().join("data"));
        command.args(["--listen", "127.0.0.1:0"]).stderr(log);
        if arguments.tls {
            command.arg("--dev-tls");
        }
        if let Some(config) = &arguments.lcd_config {
            command.arg("--config").arg(config);
        }
        let mut process = Child::spawn(&mut command)?;
        let address = process.address().with_context(|| {
            let log = std::fs::read_to_string(directory.path().join("lcd.log"));
            format!("lcd did not start: {}", log.unwrap_or_default())
        })?;
        Ok(Self { process, directory, address })
    }

    /// Comments at the load's rate, all acknowledged when this returns.
    pub(crate) fn comment(&self, load: Load) -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.send_comments(load))
    }

    async fn send_comments(&self, load: Load) -> anyhow::Result<()> {
        let secret = std::fs::read(self.directory.path().join("data/signing.key"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let mut claims = Claims::new(UserId(1), "ann", now, Duration::from_secs(3600));
        (claims.role, claims.comments_per_minute) = (Role::Viewer, Some(0));
        let token = Some(mint(secret.trim_ascii(), &claims).into());
        let endpoint = Endpoint::plain(&self.address.ip().to_string(), self.address.port());
        let options = ViewerOptions { token, ..ViewerOptions::new(endpoint, StreamId(1)) };
        let (connection, _) = ViewerConnection::join(&options).await?;
        let (mut writer, mut reader) = connection.split();
        // A ref that came before would be a repetition, not a comment.
        let (comments, prefix) = (load.comments(), now.as_millis());
        let sending = async {
            let started = Instant::now();
            for at in 0..comments {
                sleep_until(started + Duration::from_secs_f64(at as f64 / load.comments_per_s))
                    .await;
                // Marked once; brings a frame of one comment to about 250 bytes.
                let message = format!("{} comment number {at}", char::from(MARK));
                let client_ref = Some(format!("{prefix}-{at}"));
                writer.feed(&ClientMessage::Comment { message, client_ref }).await?;
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
