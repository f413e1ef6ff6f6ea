//! The format of recorded chat: JSON lines `{"ts_ms":…,"user":…,"user_id":…,"text":…}`, compressed
//! with gzip if the file's name ends in `.gz`. `lc record` writes it; `lc replay` and `lc loadgen
//! --replay` read it.
//!
//! It belongs to the load generator because a recording is a [`Workload`](super::Workload). The
//! client neither reads nor writes recordings.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde::{Deserialize, Serialize};

use crate::protocol::printable::printable_json;
use crate::protocol::{UserId, json};

/// Bytes that a decoder returns at once.
const DECODED_PIECE_BYTES: usize = 256;

/// Longest line. A comment has at most a few thousand bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// The name of standard output in error messages.
const STDOUT: &str = "standard output";

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedComment {
    /// Milliseconds since the recording began.
    pub ts_ms: u64,
    /// The sender's name.
    pub user: Arc<str>,
    /// The sender's id where it is known. Two senders may have one name, and one sender several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    pub text: Arc<str>,
    /// The action of moderation, such as `timeout` or `ban`.
    #[serde(default, rename = "mod", skip_serializing_if = "Option::is_none")]
    pub moderation: Option<String>,
    /// Duration of the action in seconds, where it has one.
    #[serde(default, rename = "mod_s", skip_serializing_if = "Option::is_none")]
    pub moderation_s: Option<u64>,
}

/// Distinguishes the senders of a recording.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordedSender {
    Id(UserId),
    /// The recording does not have the sender's id.
    Name(Arc<str>),
}

impl RecordedComment {
    pub fn sender(&self) -> RecordedSender {
        match self.user_id {
            Some(id) => RecordedSender::Id(id),
            None => RecordedSender::Name(self.user.clone()),
        }
    }
}

/// The comments of a recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    pub comments: Vec<RecordedComment>,
    /// Says what is missing at the end, if its writer was killed or the file is damaged.
    pub torn: Option<String>,
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
    #[error("{path} has no comments{}", reason_text(.reason.as_deref()), path = path.display())]
    Empty { path: PathBuf, reason: Option<String> },
}

fn reason_text(reason: Option<&str>) -> String {
    reason.map(|reason| format!(": {reason}")).unwrap_or_default()
}

/// Reads a recording. A time before that of the previous line is raised to it, because a schedule
/// only moves forward. An end that was cut off, in a line or in compressed data, costs only what
/// was cut.
///
/// # Errors
/// The file cannot be opened or read, a line in the middle is no comment, or there is no comment.
pub fn read(path: &Path) -> Result<Recording, RecordingError> {
    let failed = |source| RecordingError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let mut lines: Box<dyn BufRead> = if is_gzip(path) {
        let decoder = MultiGzDecoder::new(BufReader::new(file));
        // Where the data is damaged, the decoder drops the piece it was about to return.
        Box::new(BufReader::with_capacity(DECODED_PIECE_BYTES, decoder))
    } else {
        Box::new(BufReader::new(file))
    };
    let mut comments: Vec<RecordedComment> = Vec::new();
    let mut torn = None;
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        match (&mut lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) if is_cut(&error) => {
                torn = Some(damaged_from(number, &error));
                break;
            }
            Err(error) => return Err(failed(error)),
        }
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice::<RecordedComment>(&line) {
            Ok(mut comment) => {
                let before = comments.last().map_or(0, |before| before.ts_ms);
                comment.ts_ms = comment.ts_ms.max(before);
                comments.push(comment);
            }
            // Only the last line can be without its end.
            Err(_) if !line.ends_with(b"\n") && (line.len() as u64) < MAX_LINE_BYTES => {
                torn = Some(format!("line {number}, the last, was not written to its end"));
                break;
            }
            Err(error) => {
                // A line that nobody wrote comes from damaged data, whose checksum is wrong.
                if let Err(damage) = io::copy(&mut lines, &mut io::sink()) {
                    torn = Some(damaged_from(number, &damage));
                    break;
                }
                let problem = error.to_string();
                return Err(RecordingError::Line { path: path.to_owned(), line: number, problem });
            }
        }
    }
    if comments.is_empty() {
        return Err(RecordingError::Empty { path: path.to_owned(), reason: torn });
    }
    Ok(Recording { comments, torn })
}

fn damaged_from(line: usize, error: &io::Error) -> String {
    format!(
        "the compressed data ends or is damaged in line {line} ({error}); only the comments before \
         it are used"
    )
}

/// Returns whether the decoder met the end, or what is no compressed data.
fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | InvalidData | InvalidInput)
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
        let output = Output::Plain(Box::new(io::stdout()));
        Self { path: STDOUT.into(), output }
    }

    pub fn write(&mut self, comment: &RecordedComment) -> Result<(), RecordingError> {
        let line = json::to_string(comment)
            .expect("a recorded comment has string keys only, and memory does not fail");
        let mut line = printable_json(&line).into_bytes();
        line.push(b'\n');
        let written = match &mut self.output {
            Output::Plain(output) => output.write_all(&line),
            Output::Gzip(output) => output.write_all(&line),
        };
        written.map_err(|source| RecordingError::File { path: self.path.clone(), source })
    }

    /// Flushes to the operating system, compressed data as a block that ends here. What was written
    /// so far is readable even if nothing follows.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        let flushed = match &mut self.output {
            Output::Plain(output) => output.flush(),
            Output::Gzip(output) => output.flush(),
        };
        flushed.map_err(|source| RecordingError::File { path: self.path.clone(), source })
    }

    /// Ends the file. A gzip file without its end is read with a warning.
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
            user_id: Some(UserId(42)),
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
            assert_eq!(read(&path).unwrap(), Recording { comments: comments.clone(), torn: None });
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
        let times: Vec<_> =
            read(&path).unwrap().comments.iter().map(|comment| comment.ts_ms).collect();
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
            let recording = read(&chat.join(name)).unwrap();
            assert_eq!((recording.comments.len(), recording.torn), (comments, None), "{name}");
        }
    }

    /// A recording that was flushed after each comment.
    struct Flushed {
        bytes: Vec<u8>,
        /// The length of the file after each flush.
        lengths: Vec<usize>,
    }

    impl Flushed {
        fn write(path: &Path, comments: u64) -> Self {
            let mut writer = RecordingWriter::create(path).unwrap();
            let mut lengths = Vec::new();
            for n in 0..comments {
                writer.write(&comment(n, &format!("comment {n}"))).unwrap();
                writer.flush().unwrap();
                lengths.push(std::fs::metadata(path).unwrap().len() as usize);
            }
            writer.finish().unwrap();
            Self { bytes: std::fs::read(path).unwrap(), lengths }
        }

        /// Returns the number of comments that were flushed when the file had this length.
        fn comments_in(&self, length: usize) -> usize {
            self.lengths.partition_point(|flushed| *flushed <= length)
        }
    }

    /// Cuts a recording behind each of its bytes: everything flushed is read, nothing is made up,
    /// and the missing end is told.
    #[test]
    fn a_torn_end_costs_only_the_end() {
        const COMMENTS: u64 = 20;
        let dir = tempfile::tempdir().unwrap();
        for name in ["chat.jsonl", "chat.jsonl.gz"] {
            let path = dir.path().join(name);
            let written = Flushed::write(&path, COMMENTS);
            for length in 0..written.bytes.len() {
                std::fs::write(&path, &written.bytes[..length]).unwrap();
                let flushed = written.comments_in(length);
                let (texts, torn) = match read(&path) {
                    Ok(Recording { comments, torn }) => {
                        (comments.iter().map(|it| it.text.to_string()).collect(), torn)
                    }
                    Err(RecordingError::Empty { reason, .. }) => (Vec::new(), reason),
                    Err(error) => panic!("{name}, {length} bytes: {error}"),
                };
                // A last line may be whole before its end was flushed.
                let count = texts.len();
                assert!((flushed..=flushed + 1).contains(&count), "{name}, {length}: {count}");
                assert!(texts.into_iter().eq((0..count).map(|n| format!("comment {n}"))));
                let last = written.bytes[..length].last();
                let ends_with_a_line =
                    name.ends_with(".jsonl") && matches!(last, None | Some(b'\n' | b'}'));
                match torn {
                    None => assert!(ends_with_a_line || length == 0, "{name}, {length}: untold"),
                    Some(torn) => {
                        assert!(!ends_with_a_line, "{name}, {length}: {torn}");
                        assert!(torn.contains(&format!("line {}", count + 1)), "{torn}");
                    }
                }
            }
        }
    }

    #[test]
    fn damage_in_compressed_data_costs_what_follows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.jsonl.gz");
        let mut bytes = Flushed::write(&path, 50).bytes;
        let middle = bytes.len() / 2;
        bytes[middle..middle + 20].fill(0xFF);
        std::fs::write(&path, &bytes).unwrap();
        let recording = read(&path).unwrap();
        assert!((5..45).contains(&recording.comments.len()), "{}", recording.comments.len());
        assert!(recording.torn.is_some());
        std::fs::write(&path, b"no gzip").unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("no comments") && error.contains("compressed"), "{error}");
    }
}
