//! Writes a recording.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use super::RecordingError;
use super::archive::ArchiveWriter;
use super::line::{RecordedComment, RecordedEvent};
use super::reader::has_extension;

/// The name of standard output in error messages.
const STDOUT: &str = "standard output";

/// Writes a recording, event by event.
pub struct RecordingWriter {
    path: PathBuf,
    output: Output,
}

enum Output {
    Plain(Box<dyn Write + Send>),
    Gzip(Box<GzEncoder<BufWriter<File>>>),
    Archive(Box<ArchiveWriter>),
}

impl std::fmt::Debug for RecordingWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordingWriter").field("path", &self.path).finish_non_exhaustive()
    }
}

impl RecordingWriter {
    /// Creates the file, in the form that its name says: `.lcr` and `.zst` are compressed with an
    /// index, `.gz` is gzip, everything else JSON lines. An existing file is not overwritten.
    ///
    /// # Errors
    /// The file exists or cannot be created.
    pub fn create(path: &Path) -> Result<Self, RecordingError> {
        let failed = |source| RecordingError::File { path: path.to_owned(), source };
        let file = File::create_new(path).map_err(failed)?;
        let output = if has_extension(path, "lcr") || has_extension(path, "zst") {
            Output::Archive(Box::new(ArchiveWriter::new(file).map_err(failed)?))
        } else if has_extension(path, "gz") {
            let file = BufWriter::new(file);
            Output::Gzip(Box::new(GzEncoder::new(file, Compression::default())))
        } else {
            Output::Plain(Box::new(BufWriter::new(file)))
        };
        Ok(Self { path: path.to_owned(), output })
    }

    /// Returns a writer to standard output, without compression.
    pub fn stdout() -> Self {
        let output = Output::Plain(Box::new(io::stdout()));
        Self { path: STDOUT.into(), output }
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write(&mut self, comment: &RecordedComment) -> Result<(), RecordingError> {
        self.write_event(&RecordedEvent::Comment(comment.clone()))
    }

    /// # Errors
    /// The file cannot be written.
    pub fn write_event(&mut self, event: &RecordedEvent) -> Result<(), RecordingError> {
        let written = match &mut self.output {
            Output::Plain(output) => output.write_all(&event.to_line()),
            Output::Gzip(output) => output.write_all(&event.to_line()),
            Output::Archive(output) => output.write(event),
        };
        written.map_err(|source| RecordingError::File { path: self.path.clone(), source })
    }

    /// Flushes to the operating system, compressed data as a block that ends here. What was written
    /// so far is readable even if nothing follows.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> Result<(), RecordingError> {
        let flushed = match &mut self.output {
            Output::Plain(output) => output.flush(),
            Output::Gzip(output) => output.flush(),
            Output::Archive(output) => output.flush(),
        };
        flushed.map_err(|source| RecordingError::File { path: self.path.clone(), source })
    }

    /// Ends the file. A compressed file without its end is read with a warning.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn finish(self) -> Result<(), RecordingError> {
        let finished = match self.output {
            Output::Plain(mut output) => output.flush(),
            Output::Gzip(output) => output.finish().and_then(|mut file| file.flush()),
            Output::Archive(output) => output.finish(),
        };
        finished.map_err(|source| RecordingError::File { path: self.path, source })
    }
}
