//! What a node makes for itself, so that it works as typed, and what it tells whoever started it.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tracing::{info, warn};

use crate::daemon::base::config::Config;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{NewAudit, SharedMetadataStore};
use crate::protocol::StreamId;
use crate::protocol::paths::{ADMIN_SOCKET, default_data_dir};
use crate::protocol::stream::NewStream;

/// Makes the data directory, for its owner alone.
pub(super) fn make_data_dir(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
        format!("cannot make the data directory {}: choose another with --data-dir", path.display())
    })
}

/// Stream 1, live and open to everybody, if there is no stream at all.
pub(super) async fn make_stream(metadata: &SharedMetadataStore, now_ms: u64) -> anyhow::Result<()> {
    if metadata.streams().await?.is_empty() {
        let title = "Stream 1".to_owned();
        let new = NewStream {
            stream_id: Some(StreamId(1)),
            title,
            anonymous: true,
            ..NewStream::default()
        };
        let audit = NewAudit {
            at: now_ms,
            actor: "lcd (first start)".to_owned(),
            action: "create_stream",
            target: String::new(),
            detail: serde_json::to_value(&new)?,
        };
        match metadata.create_stream(new, audit).await {
            Ok(_) => info!("made stream 1, live and open to anonymous viewers"),
            // Another node of the cluster was first.
            Err(StoreError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Descriptors that are not viewers: stores, log segments, admin connections, requests over HTTP.
const RESERVED_FILES: u64 = 1_000;

/// Raises the limit of open files to what the system allows, and returns how many viewers fit: each
/// is one. `None` if the limit is not known.
pub(super) fn raise_file_limit() -> Option<u32> {
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map(|()| hard));
    match raised {
        Ok(files) => Some(u32::try_from(files.saturating_sub(RESERVED_FILES)).unwrap_or(u32::MAX)),
        Err(error) => {
            warn!(%error, "cannot raise the limit of open files");
            None
        }
    }
}

/// The connections this process can really hold: a viewer beyond them must be told so, instead of
/// finding a node that cannot accept.
pub(super) fn fit_connections(configured: u32, viewers_that_fit: Option<u32>) -> u32 {
    match viewers_that_fit {
        Some(fit) if fit < configured => {
            info!(
                connections = fit.max(1),
                configured, "the limit of open files allows fewer viewers"
            );
            fit.max(1)
        }
        _ => configured,
    }
}

/// Where to go next, in commands that work as they stand.
pub(super) fn greeting(config: &Config, address: SocketAddr) -> String {
    let secure = config.gateway.tls.is_some() || config.gateway.dev_tls;
    let (http, ws) = if secure { ("https", "wss") } else { ("http", "ws") };
    let lc = lc_command(config);
    format!(
        "lcd {version} is ready (data in {data})\n\
         \n\
         \x20 watch     {http}://{address}/            or {ws}://{address}/ws/1\n\
         \x20 comment   {lc} token --user 42 --name ann --role viewer\n\
         \x20 operate   {lc} top\n\
         \x20 try it    {lc} loadgen --viewers 100 --rate 50 --duration 10s\n",
        version = env!("CARGO_PKG_VERSION"),
        data = config.node.data_dir.display(),
    )
}

/// How `lc` is called from where the daemon was started: by its path if it lies beside `lcd`
/// outside of `PATH`, with the socket if that is not where `lc` looks by itself.
fn lc_command(config: &Config) -> String {
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name("lc"));
    let installed = |path: &PathBuf| {
        let search = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&search).any(|dir| Some(dir.as_path()) == path.parent())
    };
    let program = match beside.filter(|path| path.exists()) {
        Some(path) if !installed(&path) => {
            let here = std::env::current_dir().unwrap_or_default();
            path.strip_prefix(here).map(Path::to_path_buf).unwrap_or(path).display().to_string()
        }
        _ => "lc".to_owned(),
    };
    if config.node.admin_socket == default_data_dir(std::env::var_os).join(ADMIN_SOCKET) {
        program
    } else {
        format!("{program} --socket {}", config.node.admin_socket.display())
    }
}
