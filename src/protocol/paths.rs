//! The default paths through which the daemon and its tools find each other on one machine.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

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

/// Replaces a leading `~` by the home directory, which only a shell would do otherwise, and not in
/// every place: bash leaves `--data-dir=~/lcd` as it is.
///
/// # Errors
/// There is no home directory, or it is that of another user.
pub fn expand_home(path: &Path, home: Option<PathBuf>) -> Result<PathBuf, String> {
    let mut components = path.components();
    let first = components.next().map(|first| first.as_os_str().to_string_lossy().into_owned());
    match first.as_deref() {
        Some("~") => {
            let home = home.filter(|home| home.is_absolute());
            let home = home.ok_or_else(|| {
                format!(
                    "{}: HOME is not set, so ~ has no meaning: write the whole path",
                    path.display()
                )
            })?;
            Ok(home.join(components.as_path()))
        }
        Some(first) if first.starts_with('~') => Err(format!(
            "{} names the home directory of another user: write the whole path (or ./{} for a file \
             of that name)",
            path.display(),
            path.display()
        )),
        _ => Ok(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_leading_tilde_is_the_home_directory() {
        let home = || Some(PathBuf::from("/home/ann"));
        for (path, expanded) in [
            ("~", "/home/ann"),
            ("~/", "/home/ann"),
            ("~/lcd/data", "/home/ann/lcd/data"),
            ("/srv/~/x", "/srv/~/x"),
            ("./~ann", "./~ann"),
            ("", ""),
        ] {
            let found = expand_home(Path::new(path), home()).unwrap();
            assert_eq!(found, Path::new(expanded), "{path}");
        }
        let other = expand_home(Path::new("~bob/x"), home()).unwrap_err();
        assert!(other.contains("whole path"), "{other}");
        for home in [None, Some(PathBuf::new())] {
            assert!(expand_home(Path::new("~/x"), home).unwrap_err().contains("HOME"));
        }
    }
}
