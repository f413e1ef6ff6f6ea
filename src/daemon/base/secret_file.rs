//! Files that hold a secret: only their owner may read them.

use std::fs::File;
use std::io::Read as _;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Why a file is not used as a secret.
#[derive(Debug, thiserror::Error)]
pub enum UnusableSecret {
    #[error("{0}")]
    Unreadable(#[from] std::io::Error),
    /// With the mode of the file.
    #[error("others can read it (mode {0:04o}): run `chmod 600` on it")]
    Exposed(u32),
    /// With the number of bytes, white space at the end not counted. A file above the upper bound
    /// is not read to its end.
    #[error("it holds {0} bytes")]
    BadLength(usize),
}

/// Reads a file. White space at its end is not part of the secret, so that a file edited by hand
/// works. Blocks on the disk.
///
/// # Errors
/// The file cannot be read, can be read by others, or has a length that is not `allowed`.
pub fn read(file: File, allowed: &RangeInclusive<usize>) -> Result<Vec<u8>, UnusableSecret> {
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(UnusableSecret::Exposed(mode));
    }
    let mut bytes = Vec::new();
    file.take(*allowed.end() as u64 + 1).read_to_end(&mut bytes)?;
    bytes.truncate(bytes.trim_ascii_end().len());
    if !allowed.contains(&bytes.len()) {
        return Err(UnusableSecret::BadLength(bytes.len()));
    }
    Ok(bytes)
}

/// Reads the file that a setting names. Blocks on the disk.
///
/// # Errors
/// A sentence with the setting, the path and the fault.
pub fn read_setting(
    setting: &str,
    path: &Path,
    allowed: &RangeInclusive<usize>,
) -> Result<Vec<u8>, String> {
    let secret =
        File::open(path).map_err(UnusableSecret::from).and_then(|file| read(file, allowed));
    secret.map_err(|error| {
        let path = path.display();
        let bounds = match error {
            UnusableSecret::BadLength(_) => {
                format!("; {} to {} are allowed", allowed.start(), allowed.end())
            }
            _ => String::new(),
        };
        format!("`{setting}`: cannot use {path}: {error}{bounds}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn only_a_private_file_of_the_right_size_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        let read = |allowed| read_setting("hook.token", &path, &allowed);
        assert!(read(1..=9).unwrap_err().contains("No such file"));
        std::fs::write(&path, "hush\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let error = read(1..=9).unwrap_err();
        assert!(error.contains("mode 0640") && error.contains("`hook.token`"), "{error}");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read(4..=4).unwrap(), b"hush");
        for allowed in [5..=9, 1..=3] {
            let error = read(allowed).unwrap_err();
            assert!(error.contains("are allowed") && !error.contains("hush"), "{error}");
        }
    }
}
