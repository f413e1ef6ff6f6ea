//! The fuzz target of segment files: what recovery makes of the last segment of a topic.

use std::path::Path;

use super::disk::LocalDisk;
use super::record::{self, Flaw};
use super::recovery::recover;
use super::segment::{Extent, HEADER_BYTES, SegmentHeader, file_name};
use crate::daemon::engines::eventlog::{LogError, NewRecord};
use crate::fuzzing::choices;
use crate::fuzzing::scratch::Scratch;

const BASE: u64 = 100;

/// A segment. The first choice: even for the bytes of the file behind its header, odd for records
/// to write (each three bytes: its place in its commit, its length, its content) and damage, which
/// the other three choices place.
pub fn log_segment(data: &[u8]) {
    let ([mode, at_high, at_low, change], data) = choices(data);
    check_record(data);
    if mode & 1 == 0 {
        let file = [header(), data.to_vec()].concat();
        let kept = recovered(&file);
        if let Ok(kept) = kept {
            assert!(file.starts_with(&kept), "recovery only cuts");
            assert_eq!(recovered(&kept).as_ref(), Ok(&kept), "and it cuts once");
            continues(&kept);
        }
        return;
    }
    let (whole, ends) = write_records(data);
    assert_eq!(recovered(&whole).as_ref(), Ok(&whole), "records that were written stay");
    let records_bytes = whole.len() - HEADER_BYTES as usize;
    let at = usize::from(u16::from_be_bytes([at_high, at_low]));
    let at = HEADER_BYTES as usize + at % (records_bytes + 1);
    let torn = recovered(&whole[..at]).expect("a torn write is not damage");
    let last_end = ends.iter().map(|end| end.bytes).rfind(|end| *end <= at);
    assert_eq!(torn.len(), last_end.unwrap_or(HEADER_BYTES as usize), "whole records stay");
    if change == 0 || at == whole.len() {
        return;
    }
    let mut damaged = whole.clone();
    damaged[at] ^= change;
    if let Ok(kept) = recovered(&damaged) {
        assert!(whole.starts_with(&kept), "no changed byte is kept");
        let lost: Vec<_> = ends.iter().filter(|end| end.bytes > kept.len()).collect();
        let one_commit = lost.windows(2).all(|pair| pair[0].commit == pair[1].commit);
        assert!(one_commit, "only the last commit may be lost");
    }
}

fn check_record(data: &[u8]) {
    let decoded = record::decode(data);
    assert_eq!(record::is_whole(data), !matches!(decoded, Err(Flaw::Short { .. })));
    match decoded {
        Ok(found) => {
            let record = NewRecord {
                key: found.key,
                timestamp_ms: found.timestamp_ms,
                payload: found.payload.to_vec().into(),
            };
            let mut again = Vec::new();
            record::encode(&mut again, found.offset, found.place_in_commit, &record);
            assert!(data.starts_with(&again), "a record reads as it was written");
        }
        Err(Flaw::Short { needed }) => assert!(needed > data.len()),
        Err(Flaw::TooLong { .. } | Flaw::Checksum) => {}
    }
}

fn header() -> Vec<u8> {
    SegmentHeader { base: BASE, follows: BASE, created_ms: 1 }.encode()
}

/// The end of a record in the file, and the offset at which its commit began.
struct RecordEnd {
    bytes: usize,
    commit: u64,
}

fn write_records(plan: &[u8]) -> (Vec<u8>, Vec<RecordEnd>) {
    let mut file = header();
    let mut ends = Vec::new();
    let mut place = 0;
    for (offset, step) in (BASE..).zip(plan.chunks(3)) {
        let [begins, length, content] = [0, 1, 2].map(|at| step.get(at).copied().unwrap_or(0));
        place = if begins & 1 == 0 || offset == BASE { 0 } else { place + 1 };
        let payload = vec![content; usize::from(length)].into();
        let record = NewRecord { key: content.into(), timestamp_ms: offset, payload };
        record::encode(&mut file, offset, place, &record);
        ends.push(RecordEnd { bytes: file.len(), commit: offset - u64::from(place) });
    }
    (file, ends)
}

/// Returns the file after recovery. An error must have left it as it was.
fn recovered(file: &[u8]) -> Result<Vec<u8>, String> {
    let scratch = Scratch::new();
    let path = scratch.write(&file_name(BASE), file);
    let result = extent_of(scratch.path());
    let after = std::fs::read(&path).expect("the file is still there");
    match result {
        Ok(extent) => {
            assert_eq!(extent.bytes, after.len() as u64, "the file ends where its records end");
            Ok(after)
        }
        Err(LogError::Corrupt(text)) => {
            assert_eq!(after, file, "a refused file is not changed");
            assert!(text.contains(&file_name(BASE)), "{text}");
            Err(text)
        }
        Err(other) => panic!("damage is Corrupt, not {other}"),
    }
}

fn extent_of(directory: &Path) -> Result<Extent, LogError> {
    let segments = recover(&LocalDisk, directory)?;
    assert_eq!(segments.len(), 1);
    Ok(segments[0].extent())
}

/// A recovered segment takes further records.
fn continues(kept: &[u8]) {
    let scratch = Scratch::new();
    scratch.write(&file_name(BASE), kept);
    let end = extent_of(scratch.path()).expect("it was recovered before").end;
    let mut longer = kept.to_vec();
    let record = NewRecord { key: 1, timestamp_ms: 2, payload: b"next".to_vec().into() };
    record::encode(&mut longer, end, 0, &record);
    assert_eq!(recovered(&longer).as_ref(), Ok(&longer));
}
