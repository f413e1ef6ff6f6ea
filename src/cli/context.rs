//! The settings that every command uses: the admin socket, the data directory, the output format.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use super::output::Output;
use crate::client::admin::AdminClient;
use crate::protocol::paths::{ADMIN_SOCKET, default_data_dir};

/// Admin socket of a daemon that runs as a system service.
const SERVICE_SOCKET: &str = "/run/lcd/admin.sock";

#[derive(Debug, Clone)]
pub struct Context {
    pub socket: PathBuf,
    pub data_dir: PathBuf,
    /// Whether to print JSON: `--json` was given, or stdout is not a terminal.
    pub json: bool,
}

impl Context {
    /// Fills in the defaults of options that were not given.
    pub fn new(socket: Option<PathBuf>, data_dir: Option<PathBuf>, json: bool) -> Self {
        let given = socket.or_else(|| {
            std::env::var_os("LC_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
        });
        Self {
            socket: choose_socket(given, data_dir.as_deref(), Path::new(SERVICE_SOCKET)),
            data_dir: data_dir.unwrap_or_else(|| default_data_dir(std::env::var_os)),
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

/// A given socket wins over one in a given data directory, and that over the service's socket.
fn choose_socket(given: Option<PathBuf>, data_dir: Option<&Path>, service: &Path) -> PathBuf {
    match (given, data_dir) {
        (Some(socket), _) => socket,
        (None, Some(data_dir)) => data_dir.join(ADMIN_SOCKET),
        (None, None) if service.exists() => service.to_owned(),
        (None, None) => default_data_dir(std::env::var_os).join(ADMIN_SOCKET),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_paths_win_over_existing_ones() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path();
        let absent = Path::new("/nonexistent/admin.sock");
        let data = Some(Path::new("/data"));
        let chosen = |given: Option<&str>, data, service| {
            choose_socket(given.map(PathBuf::from), data, service)
        };
        assert_eq!(chosen(Some("/a.sock"), data, there), Path::new("/a.sock"));
        assert_eq!(chosen(None, data, there), Path::new("/data/admin.sock"));
        assert_eq!(chosen(None, None, there), there);
        assert_eq!(
            chosen(None, None, absent),
            default_data_dir(std::env::var_os).join(ADMIN_SOCKET)
        );
    }
}
