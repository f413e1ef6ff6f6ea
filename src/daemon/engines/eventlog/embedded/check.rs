//! Checks that a log could be opened, without opening it. A running daemon may use it meanwhile.
//!
//! Always holds: it asks of each file what a start asks before it reads records, and looks at no
//! other file.

use std::fs::OpenOptions;
use std::io::{Error, ErrorKind};
use std::path::Path;

use super::disk::{read_failure, write_failure};
use super::groups::position_paths;
use super::identity::{Identity, without_identity};
use super::recovery::segment_paths;
use super::segment::HEADER_BYTES;
use crate::daemon::base::disk_probe::try_directory;
use crate::daemon::engines::eventlog::{LogError, Topic};

/// Checks the log in a directory, see [`EmbeddedLog::check`](super::EmbeddedLog::check).
pub(super) fn check(directory: &Path) -> Result<String, LogError> {
    let name = directory.display();
    try_directory(directory).map_err(LogError::Unavailable)?;
    if !directory.exists() {
        return Ok(format!("{name} will be created"));
    }
    check_file(&directory.join("LOCK"), Use::Write)?;
    check_file(&directory.join("meta"), Use::Read)?;
    let is_known = Identity::load(directory)?.is_some();
    for topic in Topic::ALL {
        let topic_directory = directory.join(topic.name());
        try_directory(&topic_directory).map_err(LogError::Unavailable)?;
        if topic_directory.exists() {
            check_topic(&topic_directory)?;
            if !is_known && has_records(&topic_directory)? {
                return Err(without_identity(directory));
            }
        }
    }
    Ok(name.to_string())
}

/// Whether a segment of the topic is longer than its header.
pub(super) fn has_records(topic_directory: &Path) -> Result<bool, LogError> {
    let segments = segment_paths(topic_directory)?;
    let mut lengths = segments.iter().filter_map(|path| path.metadata().ok()).map(|it| it.len());
    Ok(lengths.any(|length| length > HEADER_BYTES))
}

fn check_topic(directory: &Path) -> Result<(), LogError> {
    let mut segments = segment_paths(directory)?;
    // Records are appended to the last one.
    if let Some(last) = segments.pop() {
        check_file(&last, Use::Write)?;
    }
    for segment in segments {
        check_file(&segment, Use::Read)?;
    }
    for position in position_paths(directory)? {
        check_file(&position, Use::Write)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Read,
    /// Reads it too.
    Write,
}

/// Fails if there is something at the path that a start cannot use.
fn check_file(path: &Path, wanted: Use) -> Result<(), LogError> {
    let metadata = match path.metadata() {
        Ok(metadata) => metadata,
        // A running daemon may have removed it meanwhile; a link is still there.
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => return Ok(()),
        Err(error) => return Err(read_failure("opening", path, &error)),
    };
    if !metadata.is_file() {
        // Opening a pipe would wait for its other end.
        return Err(read_failure("opening", path, &Error::other("not a file")));
    }
    match OpenOptions::new().read(true).write(wanted == Use::Write).open(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(write_failure("opening", path, &error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::daemon::engines::eventlog::embedded::segment;

    /// Returns the directory of a log with two segments, a position and an identity, and that of
    /// its topic.
    fn log() -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let topic = directory.path().join(Topic::CommentEvents.name());
        fs::create_dir(&topic).unwrap();
        for name in [segment::file_name(1), segment::file_name(50), "g.position".to_owned()] {
            fs::write(topic.join(name), "").unwrap();
        }
        let topics = vec![Topic::CommentEvents.name().to_owned()];
        Identity::random(topics).store(directory.path()).unwrap();
        (directory, topic)
    }

    #[test]
    fn what_a_start_does_not_open_is_not_checked() {
        let (directory, topic) = log();
        // The program that runs can be read and not written to, also by root.
        let program = std::env::current_exe().unwrap();
        for at in [directory.path(), &topic] {
            symlink("/nowhere", at.join("notes")).unwrap();
            fs::create_dir(at.join("copy")).unwrap();
            symlink(&program, at.join("00000000000000000001.damaged")).unwrap();
        }
        let [sealed, last] = [1, 50].map(|base| topic.join(segment::file_name(base)));
        fs::remove_file(&sealed).unwrap();
        symlink(&program, &sealed).unwrap();
        check(directory.path()).unwrap();
        // Records are appended to the last segment.
        fs::remove_file(&last).unwrap();
        symlink(&program, &last).unwrap();
        let error = check(directory.path()).unwrap_err().to_string();
        assert!(error.contains(&segment::file_name(50)), "{error}");
    }

    #[test]
    fn whatever_a_start_cannot_open_is_told() {
        let paths = [
            "LOCK".to_owned(),
            "meta".to_owned(),
            format!("comment_events/{}", segment::file_name(1)),
            format!("comment_events/{}", segment::file_name(50)),
            "comment_events/g.position".to_owned(),
            "moderation_events".to_owned(),
        ];
        for name in paths {
            let (directory, _) = log();
            let path = directory.path().join(&name);
            let _ = fs::remove_file(&path);
            symlink("/nowhere", &path).unwrap();
            let error = check(directory.path()).unwrap_err().to_string();
            assert!(error.contains(&name), "a link that leads nowhere: {error}");
            fs::remove_file(&path).unwrap();
            if name != "moderation_events" {
                fs::create_dir(&path).unwrap();
                let error = check(directory.path()).unwrap_err().to_string();
                assert!(error.contains(&name) && error.contains("not a file"), "{error}");
            }
        }
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("log");
        symlink("/nowhere", &link).unwrap();
        let error = check(&link).unwrap_err().to_string();
        assert!(error.contains("leads nowhere"), "{error}");
    }
}
