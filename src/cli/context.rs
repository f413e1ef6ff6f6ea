//! The settings that every command uses: the daemon, the data directory, the output format.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use super::contexts::{ChosenContext, Contexts, Place};
use super::output::Output;
use crate::client::admin::{AdminClient, NodeAddress, RemoteDaemon};
use crate::protocol::paths::{ADMIN_SOCKET, default_data_dir};
use crate::tui::ContextEntry;

/// Admin socket of a daemon that runs as a system service.
const SERVICE_SOCKET: &str = "/run/lcd/admin.sock";

/// The global options of a command line.
#[derive(Debug, Clone, Default)]
pub struct Globals {
    pub socket: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
    /// The name of a context of `lc ctx`.
    pub ctx: Option<String>,
    /// A daemon on another machine.
    pub node: Option<NodeAddress>,
    pub json: bool,
}

#[derive(Debug, Clone)]
pub struct Context {
    client: AdminClient,
    pub data_dir: PathBuf,
    /// Print JSON: `--json` was given, or stdout is not a terminal.
    pub json: bool,
    /// The context of `lc ctx` that names the daemon, if one does.
    named: Option<ContextEntry>,
    /// The global options as typed, with a space before each.
    typed: String,
}

impl Context {
    /// Fills in the defaults of options that were not given. A context is used if it is named, or
    /// if nothing else says which daemon is meant.
    ///
    /// # Errors
    /// There is no such context, or the contexts or the files of a daemon on another machine cannot
    /// be read.
    pub fn new(globals: Globals) -> anyhow::Result<Self> {
        let Globals { socket, data_dir, ctx, node, json } = globals;
        let node_text = node.as_ref().map(NodeAddress::to_string);
        let typed = typed_options(
            &[
                ("--ctx", ctx.as_deref().map(Path::new)),
                ("--node", node_text.as_deref().map(Path::new)),
                ("--socket", socket.as_deref()),
                ("--data-dir", data_dir.as_deref()),
            ],
            json,
        );
        let environment = std::env::var_os("LC_SOCKET").filter(|path| !path.is_empty());
        let is_given =
            socket.is_some() || data_dir.is_some() || node.is_some() || environment.is_some();
        let named = match (&ctx, is_given) {
            (None, true) => None,
            (ctx, _) => Contexts::read()?.chosen(ctx.as_deref())?,
        };
        let entry = named.as_ref().map(ChosenContext::entry);
        let read_only = entry.as_ref().is_some_and(|entry| entry.read_only);
        let named_socket = match named.as_ref().map(|named| &named.daemon.place) {
            Some(Place::Socket { socket }) => Some(socket.clone()),
            Some(Place::Remote(_)) => None,
            None => socket.clone(),
        };
        let beside_socket = named_socket.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        let place = match (named, node) {
            (Some(named), _) => named.daemon.place,
            (None, Some(node)) => Place::Remote(remote_from(node, std::env::var_os)),
            (None, None) => {
                let given = GivenPaths {
                    socket,
                    data_dir: data_dir.clone(),
                    environment: environment.map(PathBuf::from),
                };
                Place::Socket { socket: given.socket(Path::new(SERVICE_SOCKET)) }
            }
        };
        Ok(Self {
            client: place.client(read_only)?,
            // A socket that was named is that of a daemon with another data directory, perhaps.
            data_dir: data_dir
                .or(beside_socket)
                .unwrap_or_else(|| default_data_dir(std::env::var_os)),
            json: json || !std::io::stdout().is_terminal(),
            named: entry,
            typed,
        })
    }

    /// Returns the settings of a command that asks no daemon, and works although no context can be
    /// chosen.
    pub fn without_daemon(json: bool) -> Self {
        Self {
            client: AdminClient::new(PathBuf::new()),
            data_dir: PathBuf::new(),
            json: json || !std::io::stdout().is_terminal(),
            named: None,
            typed: String::new(),
        }
    }

    /// Returns the global options as they were typed, to be repeated in a command that is shown.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// Returns whether what changes something is refused.
    pub fn is_read_only(&self) -> bool {
        self.named.as_ref().is_some_and(|named| named.read_only)
    }

    /// Returns the context that names the daemon, if one does.
    pub(super) fn named(&self) -> Option<&ContextEntry> {
        self.named.as_ref()
    }

    pub fn admin(&self) -> AdminClient {
        self.client.clone()
    }

    pub fn output(&self) -> Output {
        Output { json: self.json }
    }
}

/// Returns a daemon whose files are named in the environment, as its help says.
fn remote_from(
    node: NodeAddress,
    variable: impl Fn(&'static str) -> Option<OsString>,
) -> RemoteDaemon {
    let file = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    RemoteDaemon {
        node,
        ca: file("LC_CA"),
        cert: file("LC_CERT"),
        key: file("LC_KEY"),
        token_file: file("LC_TOKEN_FILE"),
    }
}

fn typed_options(options: &[(&str, Option<&Path>)], json: bool) -> String {
    let mut typed = String::new();
    for (option, path) in options.iter().filter_map(|(option, path)| Some((option, (*path)?))) {
        typed.push_str(&format!(" {option} {}", path.display()));
    }
    typed + if json { " --json" } else { "" }
}

/// The paths that a user named.
#[derive(Debug, Default)]
struct GivenPaths {
    socket: Option<PathBuf>,
    data_dir: Option<PathBuf>,
    environment: Option<PathBuf>,
}

impl GivenPaths {
    /// Returns the socket: what is typed wins over the environment, and a typed socket over the one
    /// in a typed data directory. Nothing given, it is the service's if that exists.
    fn socket(self, service: &Path) -> PathBuf {
        let environment = self.environment.filter(|path| !path.as_os_str().is_empty());
        match (self.socket, self.data_dir, environment) {
            (Some(socket), _, _) => socket,
            (None, Some(data_dir), _) => data_dir.join(ADMIN_SOCKET),
            (None, None, Some(socket)) => socket,
            (None, None, None) if service.exists() => service.to_owned(),
            (None, None, None) => default_data_dir(std::env::var_os).join(ADMIN_SOCKET),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_wins_over_the_environment() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path();
        let absent = Path::new("/nonexistent/admin.sock");
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let chosen = |socket, data_dir, environment: Option<&str>, service| {
            let environment = environment.map(PathBuf::from);
            let given = GivenPaths { socket: path(socket), data_dir: path(data_dir), environment };
            given.socket(service)
        };
        assert_eq!(chosen("/a.sock", "/data", Some("/env"), there), Path::new("/a.sock"));
        assert_eq!(chosen("", "/data", Some("/env"), there), Path::new("/data/admin.sock"));
        assert_eq!(chosen("", "", Some("/env"), there), Path::new("/env"));
        assert_eq!(chosen("", "", Some(""), there), there);
        assert_eq!(chosen("", "", None, there), there);
        assert_eq!(
            chosen("", "", None, absent),
            default_data_dir(std::env::var_os).join(ADMIN_SOCKET)
        );
    }

    #[test]
    fn files_of_another_machine_are_in_the_environment() {
        let node: NodeAddress = "lcd://edge-1".parse().unwrap();
        let variable = |name| match name {
            "LC_TOKEN_FILE" => Some("/t".into()),
            "LC_CA" => Some(OsString::new()),
            _ => None,
        };
        let found = remote_from(node.clone(), variable);
        let token_file = Some("/t".into());
        assert_eq!(found, RemoteDaemon { node, ca: None, cert: None, key: None, token_file });
    }

    #[test]
    fn typed_options_are_repeated() {
        let path = |text| Some(Path::new(text));
        let options = [("--ctx", path("prod")), ("--socket", None), ("--data-dir", path("/d"))];
        assert_eq!(typed_options(&options, true), " --ctx prod --data-dir /d --json");
        assert_eq!(typed_options(&options[1..2], false), "");
    }
}
