//! Reads a segment in chunks and finds the records in them.
//!
//! Memory: one chunk of 256 KiB, or one record if that is larger. A payload is at most 1 MiB, so a
//! damaged length cannot make it allocate more.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use super::record::{self, Flaw, RecordRef};

const CHUNK_BYTES: u64 = 256 * 1024;

/// A part of a file that begins at a record.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    bytes: Vec<u8>,
    /// Start of the next record in `bytes`.
    at: usize,
    /// Start of the next record in the file.
    position: u64,
}

/// The reason why reading stopped.
#[derive(Debug)]
pub(super) enum Stop {
    Io(io::Error),
    /// No complete, valid record begins at [`Chunk::position`].
    Flawed(Flaw),
}

impl Chunk {
    pub(super) fn at(position: u64) -> Self {
        Self { bytes: Vec::new(), at: 0, position }
    }

    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Returns the next complete record in memory. `Ok(None)` means that [`Self::fill`] must be
    /// called.
    pub(super) fn next(&mut self) -> Result<Option<RecordRef<'_>>, Flaw> {
        let total = match record::decode(&self.bytes[self.at..]) {
            Ok(record) => record.total_bytes(),
            Err(Flaw::Short { .. }) => return Ok(None),
            Err(flaw) => return Err(flaw),
        };
        let start = self.at;
        self.at += total;
        self.position += total as u64;
        Ok(Some(record::view(&self.bytes[start..start + total])))
    }

    /// Returns whether [`Self::next`] returns something without [`Self::fill`].
    pub(super) fn is_buffered(&self) -> bool {
        record::is_whole(&self.bytes[self.at..])
    }

    /// Reads from the current position, never beyond `limit`. Returns `false` if nothing is left. A
    /// last record that extends beyond the limit is a [`Flaw::Short`].
    pub(super) fn fill(&mut self, file: &File, limit: u64) -> Result<bool, Stop> {
        let available = limit.saturating_sub(self.position);
        if available == 0 {
            return Ok(false);
        }
        self.read(file, CHUNK_BYTES.min(available))?;
        if let Err(Flaw::Short { needed }) = record::decode(&self.bytes) {
            if needed as u64 > available {
                return Err(Stop::Flawed(Flaw::Short { needed }));
            }
            self.read(file, needed as u64)?;
        }
        Ok(true)
    }

    fn read(&mut self, file: &File, bytes: u64) -> Result<(), Stop> {
        self.at = 0;
        // The old bytes are overwritten; only the growth is filled with zeros first.
        self.bytes.resize(bytes as usize, 0);
        file.read_exact_at(&mut self.bytes, self.position).map_err(|error| {
            self.bytes.clear();
            Stop::Io(error)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::engines::eventlog::NewRecord;

    fn file_of(payload_bytes: &[usize]) -> (File, u64) {
        let mut bytes = Vec::new();
        for (number, length) in payload_bytes.iter().enumerate() {
            let payload = vec![number as u8; *length].into();
            let record = NewRecord { key: 1, timestamp_ms: 2, payload };
            record::encode(&mut bytes, number as u64, 0, &record);
        }
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        (file, bytes.len() as u64)
    }

    fn read_all(file: &File, limit: u64) -> (Vec<usize>, Option<Stop>) {
        let mut chunk = Chunk::at(0);
        let mut found = Vec::new();
        loop {
            match chunk.next() {
                Ok(Some(record)) => found.push(record.payload.len()),
                Ok(None) => match chunk.fill(file, limit) {
                    Ok(true) => {}
                    Ok(false) => return (found, None),
                    Err(stop) => return (found, Some(stop)),
                },
                Err(flaw) => return (found, Some(Stop::Flawed(flaw))),
            }
        }
    }

    #[test]
    fn records_smaller_and_larger_than_a_chunk_are_found() {
        let lengths = [10, 0, 200_000, 100_000, 1 << 20, 3, 300_000, 1];
        let (file, end) = file_of(&lengths);
        let (found, stop) = read_all(&file, end);
        assert_eq!(found, lengths);
        assert!(stop.is_none());
    }

    #[test]
    fn reads_only_up_to_the_limit() {
        let (file, end) = file_of(&[10, 10, 10]);
        let (found, stop) = read_all(&file, end - 46);
        assert_eq!((found.len(), stop.is_none()), (2, true));
        let (found, stop) = read_all(&file, end - 1);
        assert_eq!(found.len(), 2);
        assert!(matches!(stop, Some(Stop::Flawed(Flaw::Short { needed: 46 }))));
    }
}
