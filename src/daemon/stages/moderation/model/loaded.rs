//! The weights that are in force, with the thresholds of the site.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use figment::Figment;
use figment::providers::{Format as _, Toml};

use crate::classifier::Model;
use crate::classifier::calibration::SiteCalibration;
use crate::classifier::weights::{self, MAX_FILE_BYTES, WeightsError};
use crate::daemon::base::config::{ModelConfig, on_one_line};

/// Bytes of the largest file with a site's thresholds. One has about 200.
const MAX_CALIBRATION_BYTES: usize = 64 << 10;

/// A reason why the configured model cannot be used. Names the setting, the file, and what would be
/// right.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("the model that comes with lcd: {0}")]
    BuiltIn(WeightsError),
    #[error(
        "moderation.model.file: cannot read {}: {error}; right would be a file that scripts/train \
         writes, or no such setting for the model that comes with lcd",
        path.display()
    )]
    UnreadableWeights { path: PathBuf, error: io::Error },
    #[error(
        "moderation.model.file: {} cannot be used: {error}; right would be a file that \
         scripts/train writes, or no such setting for the model that comes with lcd",
        path.display()
    )]
    Weights { path: PathBuf, error: WeightsError },
    #[error(
        "moderation.model.calibration: {} cannot be used: {error}; right would be a file that \
         `lc mod calibrate --output` writes for model {model}",
        path.display()
    )]
    Calibration { path: PathBuf, error: String, model: String },
}

/// A model with the thresholds that hold here.
#[derive(Debug)]
pub(super) struct LoadedModel {
    pub(super) model: Arc<Model>,
    /// Version and checksum of the weights.
    pub(super) name: Arc<str>,
    /// The files that it comes from, in words.
    pub(super) origin: String,
}

impl LoadedModel {
    /// Reads the configured files. Blocks.
    pub(super) fn load(config: &ModelConfig) -> Result<Self, ModelError> {
        let mut model = match &config.file {
            None => built_in().map_err(ModelError::BuiltIn)?,
            Some(path) => Arc::new(read_weights(path)?),
        };
        let name = model.name();
        if let Some(path) = &config.calibration {
            let calibrated = Arc::make_mut(&mut model);
            calibrate(calibrated, path).map_err(|error| ModelError::Calibration {
                path: path.clone(),
                error,
                model: name.clone(),
            })?;
        }
        Ok(Self { model, name: name.into(), origin: origin(config) })
    }
}

/// Returns the model that comes with the daemon, decoded once for all its users.
fn built_in() -> Result<Arc<Model>, WeightsError> {
    static MODEL: OnceLock<Arc<Model>> = OnceLock::new();
    if let Some(model) = MODEL.get() {
        return Ok(model.clone());
    }
    let model = Arc::new(Model::built_in()?);
    Ok(MODEL.get_or_init(|| model).clone())
}

fn read_weights(path: &Path) -> Result<Model, ModelError> {
    let unreadable = |error| ModelError::UnreadableWeights { path: path.to_owned(), error };
    let unusable = |error| ModelError::Weights { path: path.to_owned(), error };
    let file = open(path).map_err(unreadable)?;
    let length = file.metadata().map_err(unreadable)?.len();
    if length > MAX_FILE_BYTES as u64 {
        return Err(unusable(WeightsError::TooLong { found: length as usize }));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    weights::decode(&bytes).map_err(unusable)
}

/// Replaces the thresholds by those of a file. Returns what is wrong with it.
fn calibrate(model: &mut Model, path: &Path) -> Result<(), String> {
    let in_words = |error: io::Error| error.to_string();
    let mut text = String::new();
    let file = open(path).map_err(in_words)?;
    file.take(MAX_CALIBRATION_BYTES as u64 + 1).read_to_string(&mut text).map_err(in_words)?;
    if text.len() > MAX_CALIBRATION_BYTES {
        return Err(format!("it is longer than {MAX_CALIBRATION_BYTES} bytes"));
    }
    let site: SiteCalibration = Figment::from(Toml::string(&text))
        .extract()
        .map_err(|error: figment::Error| at_key(&error))?;
    model.calibrate(&site).map_err(|error| error.to_string())
}

fn at_key(error: &figment::Error) -> String {
    let text = on_one_line(&error.kind.to_string());
    if error.path.is_empty() { text } else { format!("`{}`: {text}", error.path.join(".")) }
}

/// Opens a regular file. Another kind could block for ever, or have no end.
fn open(path: &Path) -> io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    File::open(path)
}

fn origin(config: &ModelConfig) -> String {
    let weights = match &config.file {
        Some(path) => format!("from {}", path.display()),
        None => "built in".to_owned(),
    };
    match &config.calibration {
        Some(path) => format!("{weights}, with the thresholds of {}", path.display()),
        None => weights,
    }
}
