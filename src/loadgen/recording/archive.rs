//! The compressed form: zstd frames of whole lines, each readable by itself, and an index at the
//! end in a frame that decoders skip. So `zstd -dc` shows the lines.
//!
//! Always holds: what was flushed is readable if nothing follows. Damage in a frame costs that
//! frame, and nothing of it is read; a frame of more than [`MAX_VERIFIED_BYTES`], which this
//! program does not write, is read as far as it can be decoded.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};

use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use super::line::RecordedEvent;

/// The first bytes of a frame.
pub(super) const FRAME_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// The first bytes of the index, which is a skippable frame.
const INDEX_MAGIC: [u8; 4] = [0x5E, 0x2A, 0x4D, 0x18];
/// The last bytes of the index.
const FOOTER_MAGIC: [u8; 8] = *b"LCRINDEX";
/// Bytes of the footer: last time, comments, offset of the index, entries, version, magic.
const FOOTER_BYTES: usize = 8 + 8 + 8 + 4 + 4 + 8;
/// Bytes of an entry: offset and time of a frame.
const ENTRY_BYTES: usize = 16;
const INDEX_VERSION: u32 = 1;
/// Bytes of lines from which a frame is ended.
const FRAME_BYTES: usize = 256 << 10;
/// A frame of at most so many bytes is read only if its checksum is right.
const MAX_VERIFIED_BYTES: usize = 1 << 20;
/// The largest window of a frame, as a power of two: frames of other programs may use it.
const MAX_WINDOW_LOG: u32 = 27;
const LEVEL: i32 = 3;
const UNFINISHED: &str = "the recording was not written to its end; only what was flushed is used";

/// The index of a recording.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Index {
    frames: Vec<IndexedFrame>,
    /// Time of the last event.
    pub(super) last_ms: u64,
    pub(super) comments: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct IndexedFrame {
    offset: u64,
    /// Time of the first event in it.
    first_ms: u64,
}

impl Index {
    fn to_frame(&self, offset: u64) -> Vec<u8> {
        let length = self.frames.len() * ENTRY_BYTES + FOOTER_BYTES;
        let mut bytes = Vec::with_capacity(length + 8);
        bytes.extend(INDEX_MAGIC);
        bytes.extend((length as u32).to_le_bytes());
        for frame in &self.frames {
            bytes.extend(frame.offset.to_le_bytes());
            bytes.extend(frame.first_ms.to_le_bytes());
        }
        bytes.extend(self.last_ms.to_le_bytes());
        bytes.extend(self.comments.to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend((self.frames.len() as u32).to_le_bytes());
        bytes.extend(INDEX_VERSION.to_le_bytes());
        bytes.extend(FOOTER_MAGIC);
        bytes
    }

    /// Reads the index at the end of a file. A file without one, or with one that does not fit the
    /// file (it was torn, or another was appended), has no index.
    fn read(file: &mut (impl Read + Seek)) -> io::Result<Option<Self>> {
        let end = file.seek(SeekFrom::End(0))?;
        if end < (8 + FOOTER_BYTES) as u64 {
            return Ok(None);
        }
        let mut footer = [0; FOOTER_BYTES];
        file.seek(SeekFrom::Start(end - FOOTER_BYTES as u64))?;
        file.read_exact(&mut footer)?;
        let entries = u32_at(&footer, 24) as usize;
        if footer[32..] != FOOTER_MAGIC || u32_at(&footer, 28) != INDEX_VERSION {
            return Ok(None);
        }
        let length = (entries * ENTRY_BYTES + FOOTER_BYTES) as u64;
        let Some(start) = end.checked_sub(8 + length) else { return Ok(None) };
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = vec![0; 8 + entries * ENTRY_BYTES];
        file.read_exact(&mut bytes)?;
        let is_whole = u64_at(&footer, 16) == start && u64::from(u32_at(&bytes, 4)) == length;
        if bytes[..4] != INDEX_MAGIC || !is_whole {
            return Ok(None);
        }
        let frames: Vec<_> = bytes[8..]
            .chunks_exact(ENTRY_BYTES)
            .map(|entry| IndexedFrame { offset: u64_at(entry, 0), first_ms: u64_at(entry, 8) })
            .collect();
        let is_ordered =
            frames.is_sorted_by(|a, b| a.offset < b.offset && a.first_ms <= b.first_ms);
        let begins = frames.first().is_none_or(|frame| frame.offset == 0);
        let ends = frames.last().is_none_or(|frame| frame.offset < start);
        let index = Self { frames, last_ms: u64_at(&footer, 0), comments: u64_at(&footer, 8) };
        Ok((is_ordered && begins && ends).then_some(index))
    }

    /// Returns the offset of the last frame that begins before `ts_ms`: events of that time may be
    /// at its end.
    fn offset_before(&self, ts_ms: u64) -> u64 {
        let after = self.frames.partition_point(|frame| frame.first_ms < ts_ms);
        after.checked_sub(1).map_or(0, |at| self.frames[at].offset)
    }
}

/// Returns whether the last bytes are those of an index, which may be one that is not used.
fn ends_with_index(file: &mut (impl Read + Seek)) -> io::Result<bool> {
    let end = file.seek(SeekFrom::End(0))?;
    let Some(start) = end.checked_sub(FOOTER_MAGIC.len() as u64) else { return Ok(false) };
    file.seek(SeekFrom::Start(start))?;
    let mut last = [0; FOOTER_MAGIC.len()];
    file.read_exact(&mut last)?;
    Ok(last == FOOTER_MAGIC)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// Counts the bytes that are written.
struct Counted {
    file: BufWriter<File>,
    bytes: u64,
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Writes the compressed form.
pub(super) struct ArchiveWriter {
    /// The frame being written; `None` only while one is replaced.
    frame: Option<Encoder<'static, Counted>>,
    /// Bytes of lines in it.
    frame_bytes: usize,
    index: Index,
}

impl ArchiveWriter {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let frame = begin_frame(Counted { file: BufWriter::new(file), bytes: 0 })?;
        Ok(Self { frame: Some(frame), frame_bytes: 0, index: Index::default() })
    }

    pub(super) fn write(&mut self, event: &RecordedEvent) -> io::Result<()> {
        if self.frame_bytes >= FRAME_BYTES {
            let file = self.end_frame()?;
            self.frame = Some(begin_frame(file)?);
        }
        let ts_ms = event.ts_ms().unwrap_or_default().max(self.index.last_ms);
        let frame = frame(&mut self.frame)?;
        if self.frame_bytes == 0 {
            let offset = frame.get_ref().bytes;
            self.index.frames.push(IndexedFrame { offset, first_ms: ts_ms });
        }
        let line = event.to_line();
        frame.write_all(&line)?;
        self.frame_bytes += line.len();
        self.index.last_ms = ts_ms;
        self.index.comments += u64::from(matches!(event, RecordedEvent::Comment(_)));
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        // A frame of nothing is not begun.
        if self.frame_bytes == 0 { Ok(()) } else { frame(&mut self.frame)?.flush() }
    }

    pub(super) fn finish(mut self) -> io::Result<()> {
        let mut file = self.end_frame()?;
        let offset = file.bytes;
        file.write_all(&self.index.to_frame(offset))?;
        file.flush()
    }

    fn end_frame(&mut self) -> io::Result<Counted> {
        self.frame_bytes = 0;
        self.frame.take().ok_or_else(broken)?.finish()
    }
}

fn begin_frame(file: Counted) -> io::Result<Encoder<'static, Counted>> {
    let mut frame = Encoder::new(file, LEVEL)?;
    frame.include_checksum(true)?;
    Ok(frame)
}

fn frame<'a>(
    frame: &'a mut Option<Encoder<'static, Counted>>,
) -> io::Result<&'a mut Encoder<'static, Counted>> {
    frame.as_mut().ok_or_else(broken)
}

/// After a failed write there is no frame to continue.
fn broken() -> io::Error {
    io::Error::other("an earlier write failed")
}

/// Reads the compressed form as lines.
pub(super) struct ArchiveReader {
    input: Option<BufReader<File>>,
    index: Option<Index>,
    /// The lines of the current frame, and how many bytes of them are taken.
    lines: Vec<u8>,
    taken: usize,
    /// The decoder of a frame that is larger than [`MAX_VERIFIED_BYTES`].
    large: Option<Decoder<'static, BufReader<File>>>,
    /// Nothing more can be read.
    ended: bool,
    /// The file should end with an index and does not. It may end between two frames.
    lacks_index: bool,
    /// The first damage that was found.
    damage: Option<String>,
}

impl ArchiveReader {
    /// Reads from the start of a file, or what is left of a pipe, which has no index.
    /// `expects_index` says that a file without one has lost its end.
    pub(super) fn new(mut input: BufReader<File>, expects_index: bool) -> io::Result<Self> {
        let mut index = None;
        let mut lacks_index = false;
        if input.get_ref().metadata()?.is_file() {
            index = Index::read(&mut input)?;
            lacks_index = expects_index && !ends_with_index(&mut input)?;
            input.seek(SeekFrom::Start(0))?;
        }
        Ok(Self {
            input: Some(input),
            index,
            lines: Vec::new(),
            taken: 0,
            large: None,
            ended: false,
            lacks_index,
            damage: None,
        })
    }

    pub(super) fn index(&self) -> Option<&Index> {
        self.index.as_ref()
    }

    /// Says what could not be read so far.
    pub(super) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Continues with the frame that may have the first event of this time.
    pub(super) fn seek(&mut self, ts_ms: u64) -> io::Result<()> {
        let offset = self.index.as_ref().map_or(0, |index| index.offset_before(ts_ms));
        if let Some(large) = self.large.take() {
            self.input = Some(large.finish());
        }
        self.lines.clear();
        self.taken = 0;
        self.ended = false;
        self.input()?.seek(SeekFrom::Start(offset))?;
        Ok(())
    }

    fn input(&mut self) -> io::Result<&mut BufReader<File>> {
        self.input.as_mut().ok_or_else(broken)
    }

    fn tell(&mut self, damage: impl FnOnce() -> String) {
        self.damage.get_or_insert_with(damage);
    }

    /// Reads frames until there are lines. Returns whether there are.
    fn next_frame(&mut self) -> io::Result<bool> {
        self.lines.clear();
        self.taken = 0;
        if let Some(decoder) = self.large.take() {
            self.read_frame(decoder, None)?;
            return Ok(!self.lines.is_empty() || self.next_small_frame()?);
        }
        self.next_small_frame()
    }

    fn next_small_frame(&mut self) -> io::Result<bool> {
        while self.lines.is_empty() {
            if self.ended {
                return Ok(false);
            }
            let input = self.input()?;
            if input.fill_buf()?.is_empty() {
                if self.lacks_index {
                    self.tell(|| UNFINISHED.to_owned());
                }
                return Ok(false);
            }
            let start = input.stream_position().ok();
            let input = self.input.take().ok_or_else(broken)?;
            let mut decoder = Decoder::with_buffer(input)?.single_frame();
            decoder.window_log_max(MAX_WINDOW_LOG)?;
            self.read_frame(decoder, start)?;
        }
        Ok(true)
    }

    /// Reads a frame, or up to [`MAX_VERIFIED_BYTES`] of it. `start` is its offset in a file if
    /// nothing of it has been used: then a damaged one is passed over.
    fn read_frame(
        &mut self,
        mut decoder: Decoder<'static, BufReader<File>>,
        start: Option<u64>,
    ) -> io::Result<()> {
        let limit = MAX_VERIFIED_BYTES as u64;
        match (&mut decoder).take(limit).read_to_end(&mut self.lines) {
            Ok(read) if read as u64 == limit => self.large = Some(decoder),
            Ok(_) => self.input = Some(decoder.finish()),
            // A file with an index is whole: a frame that goes beyond its end is damaged.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && self.index.is_none() => {
                self.tell(|| UNFINISHED.to_owned());
                self.input = Some(decoder.finish());
                self.ended = true;
            }
            Err(error) if is_damage(&error) => {
                let at = start.map_or_else(String::new, |start| format!(" at byte {start}"));
                self.tell(|| {
                    format!("compressed data{at} is damaged ({error}); what it held is missing")
                });
                let mut input = decoder.finish();
                self.lines.clear();
                match start {
                    Some(start) => {
                        input.seek(SeekFrom::Start(start + 1))?;
                        seek_frame(&mut input)?;
                    }
                    None => self.ended = true,
                }
                self.input = Some(input);
            }
            Err(error) => {
                self.input = Some(decoder.finish());
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Returns whether the decoder met what is no compressed data. Errors of the file have a code of
/// the operating system.
fn is_damage(error: &io::Error) -> bool {
    error.raw_os_error().is_none()
}

/// Moves to the next bytes that begin a frame, or to the end.
fn seek_frame(input: &mut BufReader<File>) -> io::Result<()> {
    let mut window = [0_u8; 4];
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let mut used = 0;
        for &byte in buffer {
            window.rotate_left(1);
            window[3] = byte;
            used += 1;
            if window == FRAME_MAGIC || window == INDEX_MAGIC {
                input.consume(used);
                return input.seek_relative(-4);
            }
        }
        input.consume(used);
    }
}

impl Read for ArchiveReader {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let read = available.read(bytes)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for ArchiveReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken == self.lines.len() {
            self.next_frame()?;
        }
        Ok(&self.lines[self.taken..])
    }

    fn consume(&mut self, bytes: usize) {
        self.taken += bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let frame = |offset, first_ms| IndexedFrame { offset, first_ms };
        let frames = vec![frame(0, 0), frame(100, 50), frame(200, 50), frame(300, 90)];
        Index { frames, last_ms: 120, comments: 7 }
    }

    fn file(length: usize, index: &Index) -> io::Cursor<Vec<u8>> {
        io::Cursor::new([vec![0; length], index.to_frame(length as u64)].concat())
    }

    #[test]
    fn an_index_is_read_back_where_it_fits() {
        assert_eq!(Index::read(&mut file(400, &index())).unwrap(), Some(index()));
        assert_eq!(Index::read(&mut file(300, &index())).unwrap(), None, "beyond the file");
        let mut unordered = index();
        unordered.frames.swap(1, 2);
        assert_eq!(Index::read(&mut file(400, &unordered)).unwrap(), None);
        let bytes = file(400, &index()).into_inner();
        for length in 0..bytes.len() {
            let mut cut = io::Cursor::new(&bytes[..length]);
            assert_eq!(Index::read(&mut cut).unwrap(), None, "{length}");
        }
        let appended = [bytes.clone(), bytes].concat();
        assert_eq!(Index::read(&mut io::Cursor::new(appended)).unwrap(), None, "two recordings");
    }

    #[test]
    fn a_time_is_in_the_frame_that_begins_before_it() {
        for (ts_ms, offset) in
            [(0, 0), (1, 0), (50, 0), (51, 200), (90, 200), (91, 300), (999, 300)]
        {
            assert_eq!(index().offset_before(ts_ms), offset, "{ts_ms}");
        }
    }
}
