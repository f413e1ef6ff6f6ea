//! The format of recorded chat: JSON lines `{"ts_ms":…,"user":…,"text":…}`, compressed with
//! gzip if the file's name ends in `.gz`. `lc record` writes it; `lc replay` and `lc loadgen
//! --replay` read it.
//!
//! It belongs to the load generator because a recording is a [`Workload`](super::Workload). The
//! client neither reads nor writes recordings.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

/// Longest line. A comment has at most a few thousand bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedComment {
    /// Milliseconds since the recording began.
    pub ts_ms: u64,
    /// Any name that distinguishes the sender from others.
    pub user: Arc<str>,
    pub text: Arc<str>,
    /// The action of moderation, such as `timeout` or `ban`.
    #[serde(default, rename = "mod", skip_serializing_if = "Option::is_none")]
    pub moderation: Option<String>,
    /// Duration of the action in seconds, where it has one.
    #[serde(default, rename = "mod_s", skip_serializing_if = "Option::is_none")]
    pub moderation_s: Option<u64>,
}

/// A recording cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    #[error("{path}: {source}", path = path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}, line {line}: {problem}; expected {{\"ts_ms\":0,\"user\":\"ann\",\"text\":\"hi\"}}",
        path = path.display()
    )]
    Line { path: PathBuf, line: usize, problem: String },
    #[error("{path} has no comments", path = path.display())]
    Empty { path: PathBuf },
}

/// Reads a whole recording. A time before that of the previous line is raised to it, because a
/// schedule only moves forward.
pub fn read(path: &Path) -> Result<Vec<RecordedComment>, RecordingError> {
    let failed = |source| RecordingError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut lines: Box<dyn BufRead> = if is_gzip(path) {
        Box::new(BufReader::new(MultiGzDecoder::new(BufReader::new(file))))
    } else {
        Box::new(BufReader::new(file))
    };
    let mut comments: Vec<RecordedComment> = Vec::new();
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let bytes = (&mut lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        if bytes.map_err(failed)? == 0 {
            break;
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let mut comment: RecordedComment = serde_json::from_slice(&line).map_err(|error| {
            let problem = error.to_string();
            RecordingError::Line { path: path.to_owned(), line: number, problem }
        })?;
        comment.ts_ms = comment.ts_ms.max(comments.last().map_or(0, |before| before.ts_ms));
        comments.push(comment);
    }
    if comments.is_empty() {
        return Err(RecordingError::Empty { path: path.to_owned() });
    }
    Ok(comments)
}

/// Writes a recording, line by line.
pub struct RecordingWriter {
    path: PathBuf,
    output: Output,
}

enum Output {
    Plain(Box<dyn Write + Send>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
}

impl std::fmt::Debug for RecordingWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RecordingWriter {
    /// Creates the file. An existing file is not overwritten.
    pub fn create(path: &Path) -> Result<Self, RecordingError> {
        let file = File::create_new(path)
            .map_err(|source| RecordingError::File { path: path.to_owned(), source })?;
        let file = BufWriter::new(file);
        let output = if is_gzip(path) {
            Output::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
        } else {
            Output::Plain(Box::new(file))
        };
        Ok(Self { path: path.to_owned(), output })
    }

    /// Returns a writer to standard output, without compression.
    pub fn stdout() -> Self {
        Self { path: "standard output".into(), output: Output::Plain(Box::new(std::io::stdout())) }
    }

    pub fn write(&mut self, comment: &RecordedComment) -> Result<(), RecordingError> {
        let mut line = serde_json::to_vec(comment)
            .expect("a recorded comment has string keys only, and memory does not fail");
        line.push(b'\n');
        let written = match &mut self.output {
            Output::Plain(output) => output.write_all(&line),
            Output::Gzip(output) => output.write_all(&line),
        };
        written.map_err(|source| RecordingError::File { path: self.path.clone(), source })
    }

    /// Flushes to the operating system. What was written so far is readable even if nothing
    /// follows.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        let flushed = match &mut self.output {
            Output::Plain(output) => output.flush(),
            Output::Gzip(output) => output.flush(),
        };
        flushed.map_err(|source| RecordingError::File { path: self.path.clone(), source })
    }

    /// Ends the file. A gzip file without its end can be read only with an error.
    pub fn finish(self) -> Result<(), RecordingError> {
        let finished = match self.output {
            Output::Plain(mut output) => output.flush(),
            Output::Gzip(output) => output.finish().and_then(|mut file| file.flush()),
        };
        finished.map_err(|source| RecordingError::File { path: self.path, source })
    }
}

fn is_gzip(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "gz")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comment(ts_ms: u64, text: &str) -> RecordedComment {
        RecordedComment {
            ts_ms,
            user: "ann".into(),
            text: text.into(),
            moderation: None,
            moderation_s: None,
        }
    }

    #[test]
    fn recordings_survive_plain_and_compressed() {
        let dir = tempfile::tempdir().unwrap();
        let mut timed_out = comment(40, "buy now \u{1F525} \"quoted\"");
        timed_out.moderation = Some("timeout".into());
        timed_out.moderation_s = Some(600);
        let comments = vec![comment(0, "hi"), timed_out];
        for name in ["chat.jsonl", "chat.jsonl.gz"] {
            let path = dir.path().join(name);
            let mut writer = RecordingWriter::create(&path).unwrap();
            comments.iter().for_each(|comment| writer.write(comment).unwrap());
            writer.finish().unwrap();
            assert_eq!(read(&path).unwrap(), comments, "{name}");
            let again = RecordingWriter::create(&path).unwrap_err().to_string();
            assert!(again.contains("exists"), "{again}");
        }
    }

    #[test]
    fn bad_lines_are_named_and_times_only_grow() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.jsonl");
        let lines = "{\"ts_ms\":5,\"user\":\"a\",\"text\":\"x\"}\n\n{\"ts_ms\":3,\"user\":\"b\",\
                     \"text\":\"y\"}\n";
        std::fs::write(&path, lines).unwrap();
        let times: Vec<_> = read(&path).unwrap().iter().map(|comment| comment.ts_ms).collect();
        assert_eq!(times, [5, 5]);
        std::fs::write(&path, format!("{lines}{{\"ts_ms\":-1}}\n")).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("line 4") && error.contains("expected {\"ts_ms\""), "{error}");
        std::fs::write(&path, "").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("no comments"));
    }

    #[test]
    fn the_fixtures_are_recordings() {
        let chat = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/chat");
        for (name, comments) in [
            ("chat_open_northernlion_fallguys.jsonl.gz", 3090),
            ("chat_open_chatdownloader_examples.jsonl.gz", 5574),
        ] {
            assert_eq!(read(&chat.join(name)).unwrap().len(), comments, "{name}");
        }
    }
}
