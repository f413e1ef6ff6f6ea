//! Repairs damaged segments of a log that no process has open, and keeps every record that is not
//! damaged.
//!
//! Each run of valid records becomes a segment. The header of the segment after damage says which
//! offsets are missing, so readers pass over them and consumers report them. A damaged file is kept
//! beside the new ones, with the ending `damaged`. New files are written before the old one is
//! replaced; a repair that was interrupted can be run again.

use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::FIRST_OFFSET;
use super::disk::{Disk as _, LocalDisk, read_failure, write_failure};
use super::groups::TopicGroups;
use super::identity::{DirectoryLock, Identity};
use super::record::{self, HEADER_BYTES as RECORD_HEADER_BYTES};
use super::recovery::{proves_durable, segment_paths};
use super::segment::{self, HEADER_BYTES, SegmentHeader};
use crate::daemon::base::free_name::free_name;
use crate::daemon::engines::eventlog::{LogError, Topic};
use crate::net::replace_file::replace_file;

/// The ending of a damaged file that was replaced.
const KEPT_ENDING: &str = "damaged";

/// A damaged place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    pub path: PathBuf,
    pub at_byte: u64,
    pub flaw: String,
    /// Offsets of the records that cannot be kept. Empty if none is lost.
    pub lost: Range<u64>,
}

/// The findings in a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    pub damage: Vec<Damage>,
    /// Parts that no repair brings back.
    pub missing: Vec<Missing>,
    /// True if there is no record, and none is known to be missing.
    pub is_empty: bool,
}

/// A part of the log that is missing or cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub part: MissingPart,
    /// A sentence that names it.
    pub text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MissingPart {
    /// Segments of a topic. A start leaves their records out.
    Segments,
    /// The file with the identity, beside records. A start refuses.
    Identity,
}

/// Finds the damage in the log in a directory, and repairs it if `apply` is set. Blocks on the
/// disk.
///
/// # Errors
/// [`LogError::Unavailable`] if a process has the log open, or if a file cannot be read or written.
pub fn repair(directory: &Path, apply: bool) -> Result<Findings, LogError> {
    if let Err(error) = fs::metadata(directory) {
        return Err(read_failure("opening", directory, &error));
    }
    let _lock = DirectoryLock::acquire(directory)?;
    let mut found = Findings { is_empty: true, ..Findings::default() };
    let known = match Identity::load(directory) {
        Ok(known) => known,
        Err(LogError::Corrupt(text)) => {
            found.missing.push(Missing { part: MissingPart::Identity, text });
            None
        }
        Err(error) => return Err(error),
    };
    let is_damaged = !found.missing.is_empty();
    for topic in Topic::ALL {
        let directory = directory.join(topic.name());
        let offsets = match fs::metadata(&directory) {
            Ok(_) => repair_topic(&directory, apply, &mut found.damage)?,
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(read_failure("opening", &directory, &error)),
        };
        found.is_empty &= offsets.as_ref().is_none_or(Range::is_empty);
        let is_known = known.as_ref().is_some_and(|it| it.topics.iter().any(|t| t == topic.name()));
        let missing = missing_of_topic(&directory, offsets.map(|of| of.end), is_known)?;
        let segments = missing.map(|text| Missing { part: MissingPart::Segments, text });
        found.missing.extend(segments);
    }
    if known.is_none() && !is_damaged && !found.is_empty {
        let path = directory.join("meta");
        let text = format!("{}: missing", path.display());
        found.missing.push(Missing { part: MissingPart::Identity, text });
    }
    found.is_empty &= found.missing.is_empty();
    Ok(found)
}

/// Returns what is missing of a topic whose records end at `end`, as far as other files show it.
fn missing_of_topic(
    directory: &Path,
    end: Option<u64>,
    is_known: bool,
) -> Result<Option<String>, LogError> {
    let name = directory.display();
    let groups =
        if directory.exists() { TopicGroups::open(directory)?.all_committed() } else { Vec::new() };
    let furthest = groups.into_iter().max_by_key(|(_, next)| *next);
    let read =
        |group: &str, next: u64| format!("{group} has read the records before offset {next}");
    Ok(match (end, furthest) {
        (None, Some((group, next))) => {
            Some(format!("{name}: all segments are missing, although {}", read(&group, next)))
        }
        (None, None) if is_known => Some(format!("{name}: all segments are missing")),
        (Some(end), Some((group, next))) if end < next => {
            let read = read(&group, next);
            Some(format!("{name}: the records from offset {end} on are missing, although {read}"))
        }
        _ => None,
    })
}

/// A file of a segment, as it is on the disk.
struct Found {
    path: PathBuf,
    bytes: Vec<u8>,
    header: Option<SegmentHeader>,
    base: u64,
}

/// A run of valid records, which becomes a segment.
struct Run {
    header: SegmentHeader,
    /// The bytes of the records in the file.
    records: Range<usize>,
    end: u64,
}

/// Returns the offsets from the first segment to the end of the records; `None` without a segment.
fn repair_topic(
    directory: &Path,
    apply: bool,
    all: &mut Vec<Damage>,
) -> Result<Option<Range<u64>>, LogError> {
    let paths = segment_paths(directory)?;
    let first = paths.first().and_then(|path| segment::base_in_name(path));
    // The end of the segment before; the first one begins where it begins.
    let mut end = None;
    for (index, path) in paths.iter().enumerate() {
        let found = Found::read(path)?;
        // Where this segment should end; unknown for the last one.
        let next_base = paths.get(index + 1).and_then(|next| segment::base_in_name(next));
        let before = all.len();
        let runs = found.examine(end, next_base, all);
        end = runs.last().map(|run| run.end);
        if apply && (all.len() > before || !found.holds(&runs)) {
            found.replace(&runs)?;
        }
    }
    Ok(end.map(|end| first.unwrap_or(FIRST_OFFSET)..end))
}

impl Found {
    fn read(path: &Path) -> Result<Self, LogError> {
        let bytes = fs::read(path).map_err(|error| read_failure("reading", path, &error))?;
        let base = segment::base_in_name(path).unwrap_or(FIRST_OFFSET);
        let header = SegmentHeader::decode(&bytes).filter(|header| header.base == base);
        Ok(Self { path: path.to_owned(), bytes, header, base })
    }

    /// Returns the valid runs of records, and adds what lies between them to `all`.
    fn examine(
        &self,
        end_before: Option<u64>,
        next_base: Option<u64>,
        all: &mut Vec<Damage>,
    ) -> Vec<Run> {
        let known = self.header.unwrap_or_else(|| SegmentHeader {
            base: self.base,
            follows: end_before.unwrap_or(self.base),
            created_ms: modified_ms(&self.path),
        });
        let is_new = next_base.is_none() && self.bytes.len() <= HEADER_BYTES as usize;
        if self.header.is_none() && !is_new {
            all.push(self.damage(0, "the header is damaged", 0..0));
        }
        let follows = end_before.unwrap_or(known.follows);
        // The segment before may have told of the records at its end.
        let is_of_topic = |damage: &&Damage| damage.path.parent() == self.path.parent();
        let told_to = all.iter().filter(is_of_topic).map(|damage| damage.lost.end).max();
        let untold = follows.max(told_to.unwrap_or(0))..known.follows;
        if !untold.is_empty() {
            let flaw = "the segment before it is missing, or ends too early";
            all.push(self.damage(0, flaw, untold));
        }
        let mut header = SegmentHeader { follows, ..known };
        let mut start = (HEADER_BYTES as usize).min(self.bytes.len());
        let mut at = start;
        let mut offset = known.base;
        let mut runs = Vec::new();
        while at < self.bytes.len() && next_base.is_none_or(|next| offset < next) {
            let flaw = match record::decode(&self.bytes[at..]) {
                Ok(record) if record.offset == offset => {
                    at += record.total_bytes();
                    offset += 1;
                    continue;
                }
                Ok(record) => format!("offset {} instead of {offset}", record.offset),
                Err(flaw) => flaw.to_string(),
            };
            let rest = &self.bytes[at..];
            if next_base.is_none() && !proves_durable(rest, offset) {
                // An unfinished write, which was not acknowledged. Opening the log cuts it off.
                break;
            }
            let found = next_record(rest, offset + 1, next_base);
            let lost_to = found.as_ref().map(|found| found.offset).or(next_base).unwrap_or(offset);
            all.push(self.damage(at as u64, &flaw, offset..lost_to));
            if start < at || found.is_none() {
                runs.push(Run { header, records: start..at, end: offset });
                header.follows = offset;
            }
            let Some(found) = found else { return runs };
            header.base = found.offset;
            offset = found.offset;
            at += found.distance;
            start = at;
        }
        if next_base.is_some() && at < self.bytes.len() {
            let flaw = "records of the next segment follow the last one of this";
            all.push(self.damage(at as u64, flaw, offset..offset));
        }
        let rest = if next_base.is_none() { self.bytes.len() } else { at };
        runs.push(Run { header, records: start..rest.max(start), end: offset });
        runs
    }

    fn damage(&self, at_byte: u64, flaw: &str, lost: Range<u64>) -> Damage {
        Damage { path: self.path.clone(), at_byte, flaw: flaw.to_owned(), lost }
    }

    /// Returns whether the file is already what the runs say.
    fn holds(&self, runs: &[Run]) -> bool {
        let [run] = runs else { return false };
        let whole = (HEADER_BYTES as usize).min(self.bytes.len())..self.bytes.len();
        self.header.is_none_or(|header| header == run.header) && run.records == whole
    }

    /// Writes a file per run, the last one first, and keeps the old one under another name.
    fn replace(&self, runs: &[Run]) -> Result<(), LogError> {
        let directory = self.path.parent().unwrap_or(Path::new("."));
        let kept = free_name(&self.path.with_extension(""), KEPT_ENDING);
        fs::hard_link(&self.path, &kept).map_err(|e| write_failure("keeping", &kept, &e))?;
        for run in runs.iter().rev() {
            let path = directory.join(segment::file_name(run.header.base));
            let bytes = [&run.header.encode()[..], &self.bytes[run.records.clone()]].concat();
            replace_file(&path, &bytes).map_err(|e| write_failure("writing", &path, &e))?;
        }
        if runs.iter().all(|run| run.header.base != self.base) {
            fs::remove_file(&self.path).map_err(|e| write_failure("removing", &self.path, &e))?;
        }
        LocalDisk.sync_directory(directory).map_err(|e| write_failure("syncing", directory, &e))
    }
}

/// A valid record behind damage.
struct NextRecord {
    distance: usize,
    offset: u64,
}

/// Finds the first valid record with an offset from `least` up to the next segment.
fn next_record(bytes: &[u8], least: u64, next_base: Option<u64>) -> Option<NextRecord> {
    let most = least + (bytes.len() / RECORD_HEADER_BYTES) as u64;
    let possible = least..next_base.map_or(most, |next| most.min(next));
    let last = bytes.len().checked_sub(RECORD_HEADER_BYTES)?;
    (1..=last).find_map(|distance| {
        // Checks the offset first, because a checksum is expensive.
        let offset = record::u64_at(bytes, distance + 8);
        let is_record = possible.contains(&offset) && record::decode(&bytes[distance..]).is_ok();
        is_record.then_some(NextRecord { distance, offset })
    })
}

/// Returns when a file was last changed, or 0 if that is unknown.
fn modified_ms(path: &Path) -> u64 {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_millis() as u64)
}
