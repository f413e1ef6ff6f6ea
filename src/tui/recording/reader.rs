//! Reads a recording: first where each moment is, then the moments that are shown.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::FeedRecordingError;
use super::format::{self, Figures, Head, PREFIX_BYTES};
use crate::tui::feed::{Happening, Moment};
use crate::tui::figures::clock;

/// The most moments that are played: 55 hours of one per second, whose places take 15 MB.
const MAX_MOMENTS: usize = 200_000;
/// The most happenings that are kept, the first of the recording.
const MAX_HAPPENINGS: usize = 20_000;

/// The place of a moment.
#[derive(Debug, Clone, Copy)]
struct Place {
    at_ms: u64,
    /// Offset and length of its second frame.
    offset: u64,
    packed_bytes: u32,
    figures: Figures,
}

/// A recording that is played.
#[derive(Debug)]
pub(crate) struct FeedRecording<F = BufReader<File>> {
    file: F,
    /// In the order of time; never empty.
    places: Vec<Place>,
    happenings: Vec<Happening>,
    /// The place and the reason of an end of the recording before that of the file.
    cut: Option<String>,
}

impl FeedRecording {
    /// Opens a recording. One that is cut or damaged is read up to there.
    ///
    /// # Errors
    /// The file cannot be read, or does not begin with a moment.
    pub(crate) fn open(path: &Path) -> Result<Self, FeedRecordingError> {
        let file = File::open(path)
            .map_err(|source| FeedRecordingError::File { path: path.to_owned(), source })?;
        Self::read_from(BufReader::new(file), path.to_owned())
    }
}

impl<F: Read + Seek> FeedRecording<F> {
    /// Reads the places of all moments.
    pub(super) fn read_from(mut file: F, path: PathBuf) -> Result<Self, FeedRecordingError> {
        let failed = |source| FeedRecordingError::File { path: path.clone(), source };
        let end = file.seek(SeekFrom::End(0)).map_err(failed)?;
        file.seek(SeekFrom::Start(0)).map_err(failed)?;
        let mut places: Vec<Place> = Vec::new();
        let mut happenings: Vec<Happening> = Vec::new();
        let mut offset = 0;
        let why = loop {
            if offset == end {
                break None;
            }
            if places.len() == MAX_MOMENTS {
                break Some(format!("only the first {MAX_MOMENTS} moments are played"));
            }
            let head = match read_head(&mut file) {
                Ok(head) => head,
                Err(Stop::File(error)) => return Err(failed(error)),
                Err(Stop::Cut) => break Some("the file ends inside a moment".to_owned()),
                Err(Stop::Damaged(why)) => break Some(why),
            };
            let at = file.stream_position().map_err(failed)?;
            let next = at + u64::from(head.packed_bytes);
            if next > end {
                break Some("the file ends inside a moment".to_owned());
            }
            if places.last().is_some_and(|last| last.at_ms > head.at_ms) {
                break Some("its time goes back, as if another recording was appended".to_owned());
            }
            let Head { at_ms, packed_bytes, figures, happenings: told } = head;
            places.push(Place { at_ms, offset: at, packed_bytes, figures });
            let room = MAX_HAPPENINGS - happenings.len();
            happenings.extend(told.into_iter().take(room));
            // Relative, so that what was read ahead stays.
            file.seek_relative(i64::from(packed_bytes)).map_err(failed)?;
            offset = next;
        };
        let Some(last) = places.last() else {
            let why = why.unwrap_or_else(|| "it is empty".to_owned());
            return Err(FeedRecordingError::NotARecording { path, why });
        };
        let cut = why.map(|why| {
            format!("the recording ends at byte {offset}, after {}Z: {why}", clock(last.at_ms))
        });
        Ok(Self { file, places, happenings, cut })
    }

    /// Returns why the recording ends before the file does, and where.
    pub(crate) fn cut(&self) -> Option<&str> {
        self.cut.as_deref()
    }

    /// Takes what happened, oldest first.
    pub(crate) fn take_happenings(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    /// Returns the number of moments, at least one.
    pub(crate) fn len(&self) -> usize {
        self.places.len()
    }

    /// Returns the time of a moment; of the last one, beyond it.
    pub(crate) fn time(&self, index: usize) -> u64 {
        self.places[index.min(self.places.len() - 1)].at_ms
    }

    /// Returns the last moment that is not later than a time, or the first one.
    pub(crate) fn index_at(&self, at_ms: u64) -> usize {
        self.places.partition_point(|place| place.at_ms <= at_ms).saturating_sub(1)
    }

    /// Returns times and figures up to a moment, of the last `span_ms`, oldest first.
    pub(crate) fn figures(
        &self,
        index: usize,
        span_ms: u64,
    ) -> impl Iterator<Item = (u64, &Figures)> {
        let index = index.min(self.places.len() - 1);
        let from_ms = self.places[index].at_ms.saturating_sub(span_ms);
        let first = self.places.partition_point(|place| place.at_ms < from_ms);
        self.places[first..=index].iter().map(|place| (place.at_ms, &place.figures))
    }

    /// Reads a moment.
    ///
    /// # Errors
    /// It is damaged, or the file cannot be read any more.
    pub(crate) fn moment(&mut self, index: usize) -> Result<Moment, FeedRecordingError> {
        let place = self.places[index.min(self.places.len() - 1)];
        let mut read = || -> io::Result<Vec<u8>> {
            self.file.seek(SeekFrom::Start(place.offset))?;
            let mut packed = vec![0; place.packed_bytes as usize];
            self.file.read_exact(&mut packed)?;
            Ok(packed)
        };
        let damaged = |why: String| FeedRecordingError::Moment {
            time: format!("{}Z", clock(place.at_ms)),
            byte: place.offset,
            why,
        };
        let packed = read().map_err(|error| damaged(error.to_string()))?;
        let moment = format::decode_moment(&packed).map_err(damaged)?;
        if moment.at_ms != place.at_ms {
            return Err(damaged("it is of another time".to_owned()));
        }
        Ok(moment)
    }
}

/// A reason to read no further moment.
enum Stop {
    File(io::Error),
    Cut,
    Damaged(String),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == ErrorKind::UnexpectedEof { Self::Cut } else { Self::File(error) }
    }
}

fn read_head(file: &mut impl Read) -> Result<Head, Stop> {
    let mut prefix = [0; PREFIX_BYTES];
    file.read_exact(&mut prefix)?;
    let mut content = vec![0; format::content_bytes(prefix).map_err(Stop::Damaged)?];
    file.read_exact(&mut content)?;
    format::decode_head(&content).map_err(Stop::Damaged)
}
