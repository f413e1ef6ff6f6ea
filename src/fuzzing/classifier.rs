//! Files of the moderation model: weights and texts.

use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::classifier::samples::read_samples;
use crate::classifier::{Model, weights};

/// Reads a weights file whose checksum is right: its header ends at the first line break, and its
/// tables follow. A model that is read is written and read again, and is the same.
pub fn model_weights(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let (header, tables) = data.split_at(end);
    let file = weights::seal(header, tables.get(1..).unwrap_or_default());
    let Ok(model) = weights::decode(&file) else { return };
    let written = weights::encode(&model).expect("a model that was read can be written");
    let again = weights::decode(&written).expect("a model that was written can be read");
    assert_eq!(Model { checksum: model.checksum.clone(), ..again }, model);
}

/// Reads texts, as they are and compressed. Both have the same result.
pub fn samples(data: &[u8]) {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(data).expect("memory takes it");
    let gzip = gzip.finish().expect("memory takes it");
    let plain = read_samples(data);
    if data.starts_with(&[0x1F, 0x8B]) {
        return;
    }
    let name = Path::new("input");
    let error = |result: Result<_, crate::classifier::samples::SampleError>| {
        result.map_err(|error| error.in_file(name))
    };
    assert_eq!(error(plain), error(read_samples(&gzip[..])));
}
