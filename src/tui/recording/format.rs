//! The bytes of one moment.

use std::io::{self, Read as _, Write as _};

use flate2::Crc;
use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use crate::protocol::json;
use crate::tui::feed::{Happening, Metric, Moment};

/// The first bytes of the skippable frame.
const MAGIC: [u8; 4] = [0x50, 0x2A, 0x4D, 0x18];
/// The first bytes of its content, with the version.
const MARK: [u8; 6] = *b"LCTOP\x01";
/// Bytes of the magic number and of the length.
pub(super) const PREFIX_BYTES: usize = 8;
const FIGURES_BYTES: usize = 4 * Metric::ALL.len();
/// Bytes of the content before the happenings.
const FIXED_BYTES: usize = MARK.len() + 8 + 4 + FIGURES_BYTES;
const CRC_BYTES: usize = 4;
/// The most bytes of the content.
const MAX_HEAD_BYTES: usize = 4 << 20;
/// The most bytes of a moment, compressed and as JSON.
const MAX_PACKED_BYTES: u32 = 64 << 20;
const MAX_MOMENT_BYTES: u64 = 256 << 20;
const LEVEL: i32 = 3;

/// The figures of the charts at one time, in the order of [`Metric::ALL`]; NaN is unknown.
pub(crate) type Figures = [f32; Metric::ALL.len()];

/// The content of the frame before a moment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    pub(super) at_ms: u64,
    /// Bytes of the frame that follows.
    pub(super) packed_bytes: u32,
    pub(super) figures: Figures,
    pub(super) happenings: Vec<Happening>,
}

/// Returns the figures of a moment.
pub(super) fn figures_of(moment: &Moment) -> Figures {
    Metric::ALL.map(|metric| metric.value(moment).map_or(f32::NAN, |value| value as f32))
}

/// Returns both frames of a moment.
pub(super) fn encode(moment: &Moment, happenings: &[Happening]) -> io::Result<Vec<u8>> {
    let mut encoder = Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    encoder.write_all(&json::to_vec(moment)?)?;
    encoder.write_all(b"\n")?;
    let packed = encoder.finish()?;
    let packed_bytes = u32::try_from(packed.len()).ok().filter(|it| *it <= MAX_PACKED_BYTES);
    let packed_bytes = packed_bytes.ok_or_else(|| io::Error::other("the moment is too large"))?;
    let told = if happenings.is_empty() { Vec::new() } else { json::to_vec(happenings)? };
    let told =
        if FIXED_BYTES + told.len() + CRC_BYTES > MAX_HEAD_BYTES { Vec::new() } else { told };
    let mut content = Vec::with_capacity(FIXED_BYTES + told.len());
    content.extend(MARK);
    content.extend(moment.at_ms.to_le_bytes());
    content.extend(packed_bytes.to_le_bytes());
    figures_of(moment).iter().for_each(|figure| content.extend(figure.to_le_bytes()));
    content.extend(told);
    let mut bytes = head_frame(&content);
    bytes.extend(packed);
    Ok(bytes)
}

/// Returns the skippable frame of a content of at most [`MAX_HEAD_BYTES`], with its checksum.
pub(super) fn head_frame(content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + content.len() + CRC_BYTES);
    bytes.extend(MAGIC);
    bytes.extend(((content.len() + CRC_BYTES) as u32).to_le_bytes());
    bytes.extend(content);
    bytes.extend(crc_of(content).to_le_bytes());
    bytes
}

/// Returns the length of the content that a prefix announces.
pub(super) fn content_bytes(prefix: [u8; PREFIX_BYTES]) -> Result<usize, String> {
    let [a, b, c, d, length @ ..] = prefix;
    if [a, b, c, d] != MAGIC {
        return Err("no moment begins here".to_owned());
    }
    let length = u32::from_le_bytes(length) as usize;
    if !(FIXED_BYTES + CRC_BYTES..=MAX_HEAD_BYTES).contains(&length) {
        return Err(format!("the head of a moment has {length} bytes"));
    }
    Ok(length)
}

/// Reads the content of a skippable frame.
pub(super) fn decode_head(content: &[u8]) -> Result<Head, String> {
    let Some((content, crc)) = content.split_last_chunk::<CRC_BYTES>() else {
        return Err("the head of a moment is too short".to_owned());
    };
    let Some(rest) = content.strip_prefix(&MARK[..]) else {
        return Err(match content.strip_prefix(&MARK[..5]) {
            Some([version, ..]) => format!("its version is {version}; this lc knows 1"),
            _ => "no moment begins here".to_owned(),
        });
    };
    if crc_of(content) != u32::from_le_bytes(*crc) {
        return Err("the checksum of the head of a moment is wrong".to_owned());
    }
    let short = || "the head of a moment is too short".to_owned();
    let (at_ms, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (packed_bytes, rest) = rest.split_first_chunk().ok_or_else(short)?;
    let (figures, told) = rest.split_at_checked(FIGURES_BYTES).ok_or_else(short)?;
    let mut values = figures.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let figures = Metric::ALL.map(|_| values.next().unwrap_or(f32::NAN));
    let packed_bytes = u32::from_le_bytes(*packed_bytes);
    if packed_bytes > MAX_PACKED_BYTES {
        return Err(format!("a moment has {packed_bytes} bytes"));
    }
    let happenings = match told {
        [] => Vec::new(),
        told => serde_json::from_slice(told).map_err(|error| error.to_string())?,
    };
    Ok(Head { at_ms: u64::from_le_bytes(*at_ms), packed_bytes, figures, happenings })
}

/// Reads the second frame of a moment.
pub(super) fn decode_moment(packed: &[u8]) -> Result<Moment, String> {
    let mut text = Vec::new();
    Decoder::new(packed)
        .and_then(|decoder| decoder.take(MAX_MOMENT_BYTES).read_to_end(&mut text))
        .map_err(|error| error.to_string())?;
    serde_json::from_slice(&text).map_err(|error| error.to_string())
}

fn crc_of(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}
