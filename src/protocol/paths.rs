//! Where daemon and tools meet on one machine when nobody says otherwise.

use std::path::PathBuf;

/// The name of the admin socket inside the data directory.
pub const ADMIN_SOCKET: &str = "admin.sock";
/// The name of the signing secret inside the data directory.
pub const SIGNING_SECRET: &str = "signing.key";

/// `$XDG_DATA_HOME/lcd`, or `~/.local/share/lcd`, or `/var/lib/lcd` for who has no home.
pub fn default_data_dir() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    match (from("XDG_DATA_HOME"), from("HOME")) {
        (Some(base), _) => PathBuf::from(base).join("lcd"),
        (None, Some(home)) => PathBuf::from(home).join(".local/share/lcd"),
        (None, None) => PathBuf::from("/var/lib/lcd"),
    }
}
