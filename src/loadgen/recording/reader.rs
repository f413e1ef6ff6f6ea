//! Reads a recording in any form, event by event.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::RecordingError;
use super::archive::{ArchiveReader, FRAME_MAGIC};
use super::line::RecordedEvent;

/// Bytes that a gzip decoder returns at once.
const DECODED_PIECE_BYTES: usize = 256;
/// Longest line. A comment has at most a few thousand bytes.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// Second to fourth byte of a frame that zstd skips. The first is 0x50 to 0x5F.
const SKIPPABLE_MAGIC: [u8; 3] = [0x2A, 0x4D, 0x18];
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];

/// Reads a recording from a position forwards.
pub struct RecordingReader {
    path: PathBuf,
    lines: Lines,
    line: Vec<u8>,
    /// The number of the line that was read last, counted from the last seek.
    number: usize,
    /// Events before this time are passed over.
    from_ms: u64,
    /// Time of the last event.
    now_ms: u64,
    ended: bool,
    torn: Option<String>,
}

enum Lines {
    Plain(BufReader<File>),
    Gzip(Box<BufReader<MultiGzDecoder<BufReader<File>>>>),
    Archive(Box<ArchiveReader>),
}

impl Lines {
    fn open(path: &Path) -> io::Result<Self> {
        let mut input = BufReader::new(File::open(path)?);
        let first = input.fill_buf()?;
        let is_skippable =
            first.len() >= 4 && first[0] & 0xF0 == 0x50 && first[1..4] == SKIPPABLE_MAGIC;
        let is_text = first.first().is_none_or(|byte| *byte == b'{' || byte.is_ascii_whitespace());
        let is_recording = has_extension(path, "lcr");
        if first.starts_with(&FRAME_MAGIC) || is_skippable || (is_recording && !is_text) {
            // Files of other names may come from `zstd`, which writes no index.
            return Ok(Self::Archive(Box::new(ArchiveReader::new(input, is_recording)?)));
        }
        if first.starts_with(&GZIP_MAGIC) || has_extension(path, "gz") {
            let decoder = MultiGzDecoder::new(input);
            // Where the data is damaged, the decoder drops the piece it was about to return.
            let lines = BufReader::with_capacity(DECODED_PIECE_BYTES, decoder);
            return Ok(Self::Gzip(Box::new(lines)));
        }
        Ok(Self::Plain(input))
    }

    fn input(&mut self) -> &mut dyn BufRead {
        match self {
            Self::Plain(lines) => lines,
            Self::Gzip(lines) => lines.as_mut(),
            Self::Archive(lines) => lines.as_mut(),
        }
    }
}

pub(super) fn has_extension(path: &Path, expected: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(expected))
}

impl std::fmt::Debug for RecordingReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingReader").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RecordingReader {
    /// # Errors
    /// The file cannot be opened or read.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        let lines = Lines::open(path)
            .map_err(|source| RecordingError::File { path: path.to_owned(), source })?;
        Ok(Self {
            path: path.to_owned(),
            lines,
            line: Vec::new(),
            number: 0,
            from_ms: 0,
            now_ms: 0,
            ended: false,
            torn: None,
        })
    }

    /// Returns the time of the last event, if an index has it.
    pub fn length_ms(&self) -> Option<u64> {
        match &self.lines {
            Lines::Archive(archive) => archive.index().map(|index| index.last_ms),
            Lines::Plain(_) | Lines::Gzip(_) => None,
        }
    }

    /// Returns the number of comments, if an index has it.
    pub fn comments(&self) -> Option<u64> {
        match &self.lines {
            Lines::Archive(archive) => archive.index().map(|index| index.comments),
            Lines::Plain(_) | Lines::Gzip(_) => None,
        }
    }

    /// Says what could not be read so far.
    pub fn torn(&self) -> Option<String> {
        self.damage().or(self.torn.as_deref()).map(str::to_owned)
    }

    fn damage(&self) -> Option<&str> {
        match &self.lines {
            Lines::Archive(archive) => archive.damage(),
            Lines::Plain(_) | Lines::Gzip(_) => None,
        }
    }

    /// Continues with the first event at or after a time. Costs one frame where there is an index,
    /// otherwise up to the whole file.
    ///
    /// # Errors
    /// The file cannot be opened or read.
    pub fn seek(&mut self, ts_ms: u64) -> Result<(), RecordingError> {
        let failed = |source| RecordingError::File { path: self.path.clone(), source };
        match &mut self.lines {
            Lines::Archive(archive) if archive.index().is_some() => {
                archive.seek(ts_ms).map_err(failed)?;
            }
            _ if ts_ms > self.now_ms && !self.ended => {
                self.from_ms = ts_ms;
                return Ok(());
            }
            lines => *lines = Lines::open(&self.path).map_err(failed)?,
        }
        self.number = 0;
        self.now_ms = 0;
        self.from_ms = ts_ms;
        self.ended = false;
        Ok(())
    }

    /// Returns the next event; `None` at the end. A time before that of the event before is raised
    /// to it.
    ///
    /// # Errors
    /// The file cannot be read, or a line in the middle is none.
    pub fn next_event(&mut self) -> Result<Option<RecordedEvent>, RecordingError> {
        while let Some(mut event) = self.next_line()? {
            // A schedule only moves forward.
            self.now_ms = event.ts_ms().unwrap_or_default().max(self.now_ms);
            event.set_time(self.now_ms);
            if event.ts_ms().is_none_or(|ts_ms| ts_ms >= self.from_ms) {
                return Ok(Some(event));
            }
        }
        Ok(None)
    }

    fn next_line(&mut self) -> Result<Option<RecordedEvent>, RecordingError> {
        while !self.ended {
            self.number += 1;
            self.line.clear();
            let mut lines = self.lines.input();
            match (&mut lines).take(MAX_LINE_BYTES).read_until(b'\n', &mut self.line) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if is_cut(&error) => {
                    self.torn = Some(damaged_from(self.number, &error));
                    break;
                }
                Err(source) => {
                    return Err(RecordingError::File { path: self.path.clone(), source });
                }
            }
            if self.line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            match RecordedEvent::parse(&self.line) {
                Ok(event) => return Ok(Some(event)),
                // Only the last line can be without its end.
                Err(_) if self.is_unfinished() => {
                    let number = self.number;
                    self.torn =
                        Some(format!("line {number}, the last, was not written to its end"));
                    break;
                }
                Err(problem) => {
                    // A line that nobody wrote comes from damaged data, whose checksum is wrong.
                    if let Err(damage) = io::copy(&mut self.lines.input(), &mut io::sink()) {
                        self.torn = Some(damaged_from(self.number, &damage));
                        break;
                    }
                    if self.damage().is_some() {
                        break;
                    }
                    let path = self.path.clone();
                    return Err(RecordingError::Line { path, line: self.number, problem });
                }
            }
        }
        self.ended = true;
        Ok(None)
    }

    fn is_unfinished(&self) -> bool {
        !self.line.ends_with(b"\n") && (self.line.len() as u64) < MAX_LINE_BYTES
    }
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
