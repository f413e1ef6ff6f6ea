//! Preparations that let a node start without a configuration, and the text it prints when it is
//! ready.

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
use crate::protocol::admin::audit_action;
use crate::protocol::paths::{ADMIN_SOCKET, default_data_dir};
use crate::protocol::stream::NewStream;

/// File descriptors that are not viewers: stores, log segments, admin connections, HTTP requests.
const RESERVED_FILES: u64 = 1_000;

/// Creates the data directory, with access only for its owner.
pub(super) fn create_data_dir(path: &Path) -> anyhow::Result<()> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).with_context(|| {
        let path = path.display();
        format!("cannot create the data directory {path}: choose another with --data-dir")
    })
}

/// Creates stream 1, live and open to anonymous viewers, if there is no stream at all.
pub(super) async fn create_first_stream(
    metadata: &SharedMetadataStore,
    now_ms: u64,
) -> anyhow::Result<()> {
    if !metadata.streams().await?.is_empty() {
        return Ok(());
    }
    let new = NewStream {
        stream_id: Some(StreamId(1)),
        title: "Stream 1".to_owned(),
        anonymous: true,
        ..NewStream::default()
    };
    let audit = NewAudit {
        at: now_ms,
        actor: "lcd (first start)".to_owned(),
        action: audit_action::CREATE_STREAM,
        target: String::new(),
        detail: serde_json::to_value(&new)?,
        points: None,
    };
    match metadata.create_stream(new, audit).await {
        Ok(_) => info!("created stream 1, live and open to anonymous viewers"),
        // Another node of the cluster created it meanwhile.
        Err(StoreError::Exists(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

/// Raises the limit of open files to the maximum the system allows, and lowers `max_connections` to
/// the number of viewers that fit. A viewer beyond that is then refused with `node_full`, instead
/// of reaching a node that cannot accept.
pub(super) fn fit_connections_to_file_limit(max_connections: &mut u32) {
    let configured = *max_connections;
    if let Some(fit) = raise_file_limit().filter(|fit| *fit < configured) {
        let connections = fit.max(1);
        info!(connections, configured, "the limit of open files allows fewer viewers");
        *max_connections = connections;
    }
}

/// Returns how many viewers fit the raised limit, at one file each, or `None` if it is not known.
fn raise_file_limit() -> Option<u32> {
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

/// Returns the text that a node prints when it is ready: the next commands, ready to be copied.
pub(super) fn greeting(config: &Config, address: SocketAddr) -> String {
    let secure = config.gateway.tls.is_some() || config.gateway.dev_tls;
    let (http, ws) = if secure { ("https", "wss") } else { ("http", "ws") };
    let lc = lc_command(config);
    let site = format!("{address}{}", config.gateway.base_path);
    format!(
        "lcd {version} is ready (data in {data})\n\
         \n\
         \x20 watch     {http}://{site}/            or {ws}://{site}/ws/1\n\
         \x20 comment   {lc} token --user 42 --name ann --role viewer\n\
         \x20 operate   {lc} top\n\
         \x20 try it    {lc} loadgen --viewers 100 --rate 50 --duration 10s\n",
        version = env!("CARGO_PKG_VERSION"),
        data = config.node.data_dir.display(),
    )
}

/// Returns the command that calls `lc` from here: with its path if it lies beside `lcd` but not in
/// `PATH`, and with the socket if that is not the default one.
fn lc_command(config: &Config) -> String {
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name("lc"));
    let in_path = |program: &PathBuf| {
        let search = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&search).any(|dir| Some(dir.as_path()) == program.parent())
    };
    let program = match beside.filter(|program| program.exists()) {
        Some(program) if !in_path(&program) => {
            let here = std::env::current_dir().unwrap_or_default();
            program.strip_prefix(here).map(Path::to_path_buf).unwrap_or(program)
        }
        _ => PathBuf::from("lc"),
    };
    let program = program.display();
    if config.node.admin_socket == default_data_dir(std::env::var_os).join(ADMIN_SOCKET) {
        return program.to_string();
    }
    format!("{program} --socket {}", config.node.admin_socket.display())
}
