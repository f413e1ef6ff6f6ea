//! The settings that every command uses: the admin socket, the data directory, the output format.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use super::contexts::Contexts;
use super::output::Output;
use crate::client::admin::AdminClient;
use crate::protocol::paths::{ADMIN_SOCKET, default_data_dir};

/// Admin socket of a daemon that runs as a system service.
const SERVICE_SOCKET: &str = "/run/lcd/admin.sock";

/// The global options of a command line.
#[derive(Debug, Clone, Default)]
pub struct Globals {
    pub socket: Option<PathBuf>,
    pub data_dir: Option<PathBuf>,
    /// The name of a context of `lc ctx`.
    pub ctx: Option<String>,
    pub json: bool,
}

#[derive(Debug, Clone)]
pub struct Context {
    pub socket: PathBuf,
    pub data_dir: PathBuf,
    /// Print JSON: `--json` was given, or stdout is not a terminal.
    pub json: bool,
    /// Refuse what changes something.
    read_only: bool,
    /// The global options as typed, with a space before each.
    typed: String,
}

impl Context {
    /// Fills in the defaults of options that were not given. A context is used if it is named, or
    /// if nothing else says which daemon is meant.
    ///
    /// # Errors
    /// There is no such context, or the contexts cannot be read.
    pub fn new(globals: Globals) -> anyhow::Result<Self> {
        let Globals { socket, data_dir, ctx, json } = globals;
        let typed = typed_options(
            &[
                ("--ctx", ctx.as_deref().map(Path::new)),
                ("--socket", socket.as_deref()),
                ("--data-dir", data_dir.as_deref()),
            ],
            json,
        );
        let environment = std::env::var_os("LC_SOCKET").filter(|path| !path.is_empty());
        let is_given = socket.is_some() || data_dir.is_some() || environment.is_some();
        let named = match (&ctx, is_given) {
            (None, true) => None,
            (ctx, _) => Contexts::read()?.chosen(ctx.as_deref())?,
        };
        let read_only = named.as_ref().is_some_and(|daemon| daemon.read_only);
        let socket = named.map(|daemon| daemon.socket).or(socket);
        let beside_socket = socket.as_deref().and_then(Path::parent).map(Path::to_path_buf);
        let given = GivenPaths {
            socket,
            data_dir: data_dir.clone(),
            environment: environment.map(PathBuf::from),
        };
        Ok(Self {
            socket: given.socket(Path::new(SERVICE_SOCKET)),
            // A socket that was named is that of a daemon with another data directory, perhaps.
            data_dir: data_dir
                .or(beside_socket)
                .unwrap_or_else(|| default_data_dir(std::env::var_os)),
            json: json || !std::io::stdout().is_terminal(),
            read_only,
            typed,
        })
    }

    /// Returns the settings of a command that asks no daemon, and works although no context can be
    /// chosen.
    pub fn without_daemon(json: bool) -> Self {
        Self {
            socket: PathBuf::new(),
            data_dir: PathBuf::new(),
            json: json || !std::io::stdout().is_terminal(),
            read_only: false,
            typed: String::new(),
        }
    }

    /// Returns the global options as they were typed, to be repeated in a command that is shown.
    pub fn typed(&self) -> &str {
        &self.typed
    }

    /// Returns whether what changes something is refused.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    pub fn admin(&self) -> AdminClient {
        let client = AdminClient::new(self.socket.clone());
        if self.read_only { client.read_only() } else { client }
    }

    pub fn output(&self) -> Output {
        Output { json: self.json }
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
    fn typed_options_are_repeated() {
        let path = |text| Some(Path::new(text));
        let options = [("--ctx", path("prod")), ("--socket", None), ("--data-dir", path("/d"))];
        assert_eq!(typed_options(&options, true), " --ctx prod --data-dir /d --json");
        assert_eq!(typed_options(&options[1..2], false), "");
    }
}
