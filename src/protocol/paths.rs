//! The default paths through which the daemon and its tools find each other on one machine.

use std::ffi::OsString;
use std::path::PathBuf;

/// The name of the admin socket inside the data directory.
pub const ADMIN_SOCKET: &str = "admin.sock";
/// The name of the signing secret inside the data directory.
pub const SIGNING_SECRET: &str = "signing.key";

/// Returns `$XDG_DATA_HOME/lcd`, else `~/.local/share/lcd`, else `/var/lib/lcd` if there is no
/// home.
///
/// `variable` reads an environment variable; callers pass `std::env::var_os`.
pub fn default_data_dir(variable: impl Fn(&'static str) -> Option<OsString>) -> PathBuf {
    let non_empty = |name| variable(name).filter(|value| !value.is_empty());
    match (non_empty("XDG_DATA_HOME"), non_empty("HOME")) {
        (Some(base), _) => PathBuf::from(base).join("lcd"),
        (None, Some(home)) => PathBuf::from(home).join(".local/share/lcd"),
        (None, None) => PathBuf::from("/var/lib/lcd"),
    }
}
