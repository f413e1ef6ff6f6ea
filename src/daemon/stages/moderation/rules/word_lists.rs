//! The blocked words of the configuration and of its file. A reload reads them again.

use std::path::{Path, PathBuf};

use tracing::warn;

use super::blocked_words::{BlockedWords, WordListError};
use super::word_file::{self, WordFile};
use crate::daemon::base::config::RulesConfig;

/// Bytes of the largest file of blocked words that is read.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// A reason why the configured rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    #[error("moderation.rules.blocked_words: {0}")]
    Words(#[from] WordListError),
    #[error("moderation.rules.blocked_words_file: cannot read {}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
    #[error(
        "moderation.rules.blocked_words_file: {} has {bytes} bytes; at most {MAX_FILE_BYTES} are \
         read",
        path.display()
    )]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error(
        "moderation.rules.blocked_words_file: nothing in {} can be matched; it has {lines} lines \
         without a letter, digit or emoji, or not in UTF-8",
        path.display()
    )]
    NoWords { path: PathBuf, lines: usize },
    #[error(
        "moderation.rules.blocked_words_file: {} has no words any more; those before stay in force \
         until the node restarts",
        path.display()
    )]
    NoneLeft { path: PathBuf },
}

/// The words that are in force together.
#[derive(Debug)]
pub(super) struct WordLists {
    pub(super) blocked: BlockedWords,
    /// The number of words that come from the file.
    pub(super) of_file: usize,
}

impl WordLists {
    /// Builds the list; reads the file if one is configured.
    pub(super) fn read(config: &RulesConfig) -> Result<Self, RulesError> {
        let mut words = config.blocked_words.clone();
        let mut of_file = 0;
        if let Some(path) = &config.blocked_words_file {
            let file = read_file(path)?;
            of_file = file.words.len();
            words.extend(file.words);
        }
        let words = words.iter().map(String::as_str);
        Ok(Self { blocked: BlockedWords::new(words, &config.allowed_words)?, of_file })
    }

    /// Reads the file of the configuration again, which must not have lost all its words: an editor
    /// or a script that fails leaves an empty file.
    pub(super) fn read_again(&self, config: &RulesConfig) -> Result<Self, RulesError> {
        let new = Self::read(config)?;
        match &config.blocked_words_file {
            Some(path) if new.of_file == 0 && self.of_file > 0 => {
                Err(RulesError::NoneLeft { path: path.clone() })
            }
            _ => Ok(new),
        }
    }
}

fn read_file(path: &Path) -> Result<WordFile, RulesError> {
    let failed = |error| RulesError::File { path: path.to_owned(), error };
    let bytes = std::fs::metadata(path).map_err(failed)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(RulesError::TooLarge { path: path.to_owned(), bytes });
    }
    let file = word_file::read(&std::fs::read(path).map_err(failed)?);
    if file.words.is_empty() && !file.bad_lines.is_empty() {
        return Err(RulesError::NoWords { path: path.to_owned(), lines: file.bad_lines.len() });
    }
    if !file.bad_lines.is_empty() {
        // The lines are named by number: their text has no place in a log.
        warn!(path = %path.display(), line_numbers = %file.shown_bad_lines(),
            "lines of the file of blocked words skipped: nothing in them can be matched");
    }
    Ok(file)
}
