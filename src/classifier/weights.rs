//! The weights file, `.lcm`: reads and writes a [`Model`].
//!
//! ```text
//! 8 bytes   "LCMODEL\0"
//! 2 bytes   format version, 1
//! 4 bytes   length of the whole file
//! 4 bytes   length of the header
//! header    JSON: version, and per task: bits, seeds, sources, examples, Platt, thresholds
//! tables    per task, toxicity first, per seed: 2 scales, the head, 2^bits rows of 9 bytes
//! 32 bytes  SHA-256 of everything before
//! ```
//!
//! Numbers are little-endian; scales and heads have 32-bit floats. Always holds: a file that is
//! not exactly as it was written is refused before anything in it is used, and no file makes the
//! reader take more memory than [`MAX_FILE_BYTES`].

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::calibration::{Platt, Thresholds};
use super::network::{COLUMNS, Head, Network};
use super::{Model, Task, TaskModel, TrainingRecord};
use crate::protocol::ids::MAX_SAFE_INTEGER;
use crate::protocol::json;

/// Largest weights file.
pub const MAX_FILE_BYTES: usize = 64 << 20;
const MAGIC: [u8; 8] = *b"LCMODEL\0";
const FORMAT: u16 = 1;
/// Bytes before the header.
const PREFIX_BYTES: usize = 18;
const CHECKSUM_BYTES: usize = 32;
const MAX_HEADER_BYTES: usize = 64 << 10;
/// Allowed sizes of a table, as powers of two.
const BITS: std::ops::RangeInclusive<u32> = 1..=20;
/// Most networks of a task.
const MAX_NETWORKS: usize = 8;
/// Most characters of the version.
const MAX_VERSION_CHARS: usize = 32;

/// A reason why bytes are no weights.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("this is not a weights file: it does not begin with LCMODEL")]
    NotWeights,
    #[error("its format is {found}; this program reads format {FORMAT}")]
    UnknownFormat { found: u16 },
    #[error("it has {found} bytes and should have {expected}")]
    WrongLength { expected: usize, found: usize },
    #[error("it has {found} bytes; at most {MAX_FILE_BYTES} are read")]
    TooLong { found: usize },
    #[error("its checksum is wrong: it was damaged or changed")]
    WrongChecksum,
    #[error("its header cannot be read: {0}")]
    Header(String),
    #[error("{what} is {found}; right would be {right}")]
    OutOfBounds { what: &'static str, found: String, right: String },
    #[error("a number of a network is not finite")]
    NotFinite,
}

/// The header.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    version: String,
    toxicity: TaskHeader,
    spam: TaskHeader,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskHeader {
    bits: u32,
    platt: Platt,
    thresholds: Thresholds,
    training: TrainingRecord,
}

/// Returns the bytes of the weights file of a model.
///
/// # Errors
/// The model is one that [`decode`] would refuse.
pub fn encode(model: &Model) -> Result<Vec<u8>, WeightsError> {
    let of_task = |task: &TaskModel| TaskHeader {
        bits: task.bits,
        platt: task.platt,
        thresholds: task.thresholds,
        training: task.training.clone(),
    };
    let header = Header {
        version: model.version.clone(),
        toxicity: of_task(&model.toxicity),
        spam: of_task(&model.spam),
    };
    let header = json::to_vec(&header).map_err(|error| WeightsError::Header(error.to_string()))?;
    let mut tables = Vec::new();
    for network in Task::ALL.iter().flat_map(|task| &model.task(*task).networks) {
        let scales = [network.linear_scale, network.embedding_scale];
        for number in scales.into_iter().chain(network.head.numbers()) {
            tables.extend_from_slice(&number.to_le_bytes());
        }
        tables.extend(network.rows.iter().flatten().map(|number| number.cast_unsigned()));
    }
    let file = seal(&header, &tables);
    decode(&file)?;
    Ok(file)
}

/// Puts a header and tables between the numbers before them and the checksum.
pub(crate) fn seal(header: &[u8], tables: &[u8]) -> Vec<u8> {
    let length = PREFIX_BYTES + header.len() + tables.len() + CHECKSUM_BYTES;
    let mut file = Vec::with_capacity(length);
    file.extend_from_slice(&MAGIC);
    file.extend_from_slice(&FORMAT.to_le_bytes());
    file.extend_from_slice(&(length as u32).to_le_bytes());
    file.extend_from_slice(&(header.len() as u32).to_le_bytes());
    file.extend_from_slice(header);
    file.extend_from_slice(tables);
    let checksum = Sha256::digest(&file);
    file.extend_from_slice(&checksum);
    file
}

/// Reads the bytes of a weights file.
///
/// # Errors
/// The bytes are not exactly those of a weights file, or a number in it is out of bounds.
pub fn decode(file: &[u8]) -> Result<Model, WeightsError> {
    let (prefix, _) = file.split_at_checked(PREFIX_BYTES).ok_or(WeightsError::NotWeights)?;
    let number = |at: usize| {
        let bytes = [prefix[at], prefix[at + 1], prefix[at + 2], prefix[at + 3]];
        u32::from_le_bytes(bytes) as usize
    };
    if prefix[..8] != MAGIC {
        return Err(WeightsError::NotWeights);
    }
    let format = u16::from_le_bytes([prefix[8], prefix[9]]);
    if format != FORMAT {
        return Err(WeightsError::UnknownFormat { found: format });
    }
    if file.len() > MAX_FILE_BYTES {
        return Err(WeightsError::TooLong { found: file.len() });
    }
    let expected = number(10);
    let wrong_length = || WeightsError::WrongLength { expected, found: file.len() };
    if expected != file.len() {
        return Err(wrong_length());
    }
    let header_length = number(14);
    within("the length of its header", header_length, 2..=MAX_HEADER_BYTES)?;
    let tables_at = PREFIX_BYTES + header_length;
    let end = file.len().checked_sub(CHECKSUM_BYTES).filter(|end| *end >= tables_at);
    let end = end.ok_or_else(wrong_length)?;
    if file[end..] != Sha256::digest(&file[..end])[..] {
        return Err(WeightsError::WrongChecksum);
    }
    let header: Header = serde_json::from_slice(&file[PREFIX_BYTES..tables_at])
        .map_err(|error| WeightsError::Header(error.to_string()))?;
    within("the length of its version", header.version.chars().count(), 1..=MAX_VERSION_CHARS)?;
    let toxicity_bytes = table_bytes(&header.toxicity)?;
    let spam_bytes = table_bytes(&header.spam)?;
    if tables_at + toxicity_bytes + spam_bytes != end {
        return Err(WeightsError::OutOfBounds {
            what: "the length of its tables",
            found: (end - tables_at).to_string(),
            right: (toxicity_bytes + spam_bytes).to_string(),
        });
    }
    let (toxicity, spam) = file[tables_at..end].split_at(toxicity_bytes);
    Ok(Model {
        version: header.version,
        checksum: file[end..].iter().take(4).map(|byte| format!("{byte:02x}")).collect(),
        toxicity: read_task(header.toxicity, toxicity)?,
        spam: read_task(header.spam, spam)?,
    })
}

fn within<T>(
    what: &'static str,
    found: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<(), WeightsError>
where
    T: Copy + PartialOrd + std::fmt::Display,
{
    if range.contains(&found) {
        return Ok(());
    }
    let right = format!("{} to {}", range.start(), range.end());
    Err(WeightsError::OutOfBounds { what, found: found.to_string(), right })
}

/// Bytes of a network's scales and head.
const HEAD_BYTES: usize = 4 * (2 + Head::NUMBERS);

/// Returns the bytes of the tables that a header announces, after its numbers are checked.
fn table_bytes(header: &TaskHeader) -> Result<usize, WeightsError> {
    within("the size of a table", header.bits, BITS)?;
    let networks = header.training.seeds.len();
    within("the number of networks", networks, 1..=MAX_NETWORKS)?;
    for seed in &header.training.seeds {
        within("a seed", *seed, 0..=MAX_SAFE_INTEGER)?;
    }
    within("the number of examples", header.training.examples as u64, 0..=MAX_SAFE_INTEGER)?;
    let Platt { slope, offset } = header.platt;
    let thresholds = header.thresholds;
    within("a Platt slope", slope, f32::MIN_POSITIVE..=1e6)?;
    within("a Platt offset", offset, -1e6..=1e6)?;
    within("a threshold", thresholds.flag, -1e6..=1e6)?;
    within("a threshold", thresholds.reject, -1e6..=1e6)?;
    if !thresholds.are_in_order() {
        return Err(WeightsError::OutOfBounds {
            what: "the threshold from which texts are rejected",
            found: thresholds.reject.to_string(),
            right: format!("more than {}", thresholds.flag),
        });
    }
    Ok(networks * (HEAD_BYTES + (COLUMNS << header.bits)))
}

fn read_task(header: TaskHeader, tables: &[u8]) -> Result<TaskModel, WeightsError> {
    let TaskHeader { bits, platt, thresholds, training } = header;
    let each = HEAD_BYTES + (COLUMNS << bits);
    let networks = tables.chunks_exact(each).map(read_network).collect::<Result<_, _>>()?;
    Ok(TaskModel { bits, networks, platt, thresholds, training })
}

fn read_network(bytes: &[u8]) -> Result<Network, WeightsError> {
    let (head, table) = bytes.split_at(HEAD_BYTES);
    let mut numbers = head
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    if numbers.clone().any(|number| !number.is_finite()) {
        return Err(WeightsError::NotFinite);
    }
    let linear_scale = numbers.next().unwrap_or_default();
    let embedding_scale = numbers.next().unwrap_or_default();
    let (rows, _) = table.as_chunks::<COLUMNS>();
    let rows = rows.iter().map(|row| row.map(u8::cast_signed)).collect();
    Ok(Network { rows, linear_scale, embedding_scale, head: Head::from_numbers(numbers) })
}
