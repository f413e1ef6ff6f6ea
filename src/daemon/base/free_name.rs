//! Names files that are kept aside.

use std::path::{Path, PathBuf};

/// Returns `NAME.ENDING`, or the first of `NAME.ENDING-2` and so on at which nothing stands.
pub(crate) fn free_name(path: &Path, ending: &str) -> PathBuf {
    let name = |number: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 1 { format!(".{ending}") } else { format!(".{ending}-{number}") });
        PathBuf::from(name)
    };
    let mut number = 1;
    // A link that leads nowhere stands there too.
    while name(number).symlink_metadata().is_ok() {
        number += 1;
    }
    name(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_kept_aside_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("1.log");
        std::fs::write(dir.path().join("1.log.damaged"), "").unwrap();
        std::os::unix::fs::symlink("/nowhere", dir.path().join("1.log.damaged-2")).unwrap();
        assert_eq!(free_name(&path, "damaged"), dir.path().join("1.log.damaged-3"));
    }
}
