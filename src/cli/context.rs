//! What every command needs to know: where the daemon is, and who reads the output.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use super::output::Output;
use crate::client::admin::AdminClient;
use crate::protocol::paths::{ADMIN_SOCKET, default_data_dir};

/// Where a daemon that runs as a service has its socket.
const SERVICE_SOCKET: &str = "/run/lcd/admin.sock";

#[derive(Debug, Clone)]
pub struct Context {
    pub socket: PathBuf,
    pub data_dir: PathBuf,
    /// The output is for a program: `--json` was given, or stdout is no terminal.
    pub json: bool,
}

impl Context {
    /// From what the command line says, with the defaults of this machine for the rest.
    pub fn new(socket: Option<PathBuf>, data_dir: Option<PathBuf>, json: bool) -> Self {
        let named = socket.or_else(|| {
            std::env::var_os("LC_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
        });
        Self {
            socket: choose_socket(named, data_dir.as_deref(), Path::new(SERVICE_SOCKET)),
            data_dir: data_dir.unwrap_or_else(default_data_dir),
            json: json || !std::io::stdout().is_terminal(),
        }
    }

    pub fn admin(&self) -> AdminClient {
        AdminClient::new(self.socket.clone())
    }

    pub fn output(&self) -> Output {
        Output { json: self.json }
    }
}

/// A socket that was named wins, then one in a data directory that was named, then the service's.
fn choose_socket(named: Option<PathBuf>, data_dir: Option<&Path>, service: &Path) -> PathBuf {
    match (named, data_dir) {
        (Some(socket), _) => socket,
        (None, Some(data_dir)) => data_dir.join(ADMIN_SOCKET),
        (None, None) if service.exists() => service.to_owned(),
        (None, None) => default_data_dir().join(ADMIN_SOCKET),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_named_wins_over_what_happens_to_be_there() {
        let dir = tempfile::tempdir().unwrap();
        let (there, absent) = (dir.path(), Path::new("/nonexistent/admin.sock"));
        let data = Some(Path::new("/data"));
        let chosen = |named: Option<&str>, data, service| {
            choose_socket(named.map(PathBuf::from), data, service)
        };
        assert_eq!(chosen(Some("/a.sock"), data, there), Path::new("/a.sock"));
        assert_eq!(chosen(None, data, there), Path::new("/data/admin.sock"));
        assert_eq!(chosen(None, None, there), there);
        assert_eq!(chosen(None, None, absent), default_data_dir().join(ADMIN_SOCKET));
    }
}
