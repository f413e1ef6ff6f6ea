//! The configuration file of `lc`: `$LC_CONFIG`, or `config.toml` in the folder of the contexts.
//!
//! In: TOML with the section `[keys]`. Out: bindings for `lc top`. Always holds: a file that is not
//! understood is refused with the line that is wrong; without a file everything has its default,
//! unless `$LC_CONFIG` names one.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use serde_json::Value;

use super::contexts::folder;
use super::exit::UsageError;
use crate::tui::KeyBinding;

/// The section with the bindings.
const KEYS: &str = "keys";

/// The settings of an operator.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    /// In the order of the commands' names.
    pub(super) keys: Vec<KeyBinding>,
}

impl Settings {
    /// Reads the file of this user.
    ///
    /// # Errors
    /// The file is not understood, or it cannot be read.
    pub(super) fn read() -> Result<Self, UsageError> {
        let named = std::env::var_os("LC_CONFIG").filter(|path| !path.is_empty());
        let is_named = named.is_some();
        let beside_contexts = || Some(folder()?.join("config.toml"));
        match named.map(PathBuf::from).or_else(beside_contexts) {
            Some(file) => Self::read_from(&file, is_named),
            None => Ok(Self::default()),
        }
    }

    fn read_from(file: &Path, must_exist: bool) -> Result<Self, UsageError> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound && !must_exist => {
                return Ok(Self::default());
            }
            Err(error) => {
                return Err(UsageError(format!("cannot read {}: {error}", file.display())));
            }
        };
        SettingsText { file, text: &text }.parse().map_err(UsageError)
    }
}

/// The text of a file with its name, for errors.
struct SettingsText<'a> {
    file: &'a Path,
    text: &'a str,
}

impl SettingsText<'_> {
    fn parse(&self) -> Result<Settings, String> {
        let sections = Toml::from_str::<Value>(self.text).map_err(|error| {
            let line = error.span().map(|span| self.line_at(span.start));
            let said: Vec<_> = error.message().lines().map(str::trim).collect();
            format!("{}: {}", self.place(line), said.join(": "))
        })?;
        let mut keys = Vec::new();
        for (section, commands) in sections.as_object().into_iter().flatten() {
            let line = self.line_of(section);
            if section != KEYS {
                let place = self.place(line);
                return Err(format!("{place}: there is no setting `{section}`; there is [{KEYS}]"));
            }
            let Some(commands) = commands.as_object() else {
                let place = self.place(line);
                return Err(format!("{place}: `{KEYS}` is a section: write [{KEYS}], {EXAMPLE}"));
            };
            for (command, bound) in commands {
                keys.extend(self.bindings(command, bound)?);
            }
        }
        Ok(Settings { keys })
    }

    /// Returns the bindings of a command: to one key, or to each key of a list.
    fn bindings(&self, command: &str, bound: &Value) -> Result<Vec<KeyBinding>, String> {
        let place = self.place(self.line_of(command));
        let several: Option<Vec<&str>> = match bound {
            Value::String(key) => Some(vec![key.as_str()]),
            Value::Array(keys) => keys.iter().map(Value::as_str).collect(),
            _ => None,
        };
        let binding = |key: &str| KeyBinding {
            command: command.to_owned(),
            key: key.to_owned(),
            place: place.clone(),
        };
        match several.filter(|keys| !keys.is_empty()) {
            Some(keys) => Ok(keys.into_iter().map(binding).collect()),
            None => Err(format!("{place}: `{command}` wants a key or a list of keys: {EXAMPLE}")),
        }
    }

    fn place(&self, line: Option<usize>) -> String {
        let file = self.file.display();
        line.map_or(file.to_string(), |line| format!("{file}, line {line}"))
    }

    /// Returns the number of the line that a byte is on, from 1.
    fn line_at(&self, byte: usize) -> usize {
        let before = self.text.as_bytes().iter().take(byte);
        before.filter(|byte| **byte == b'\n').count() + 1
    }

    /// Returns the number of the line that names a section or a setting, from 1.
    fn line_of(&self, name: &str) -> Option<usize> {
        let names = |line: &str| {
            let line = line.trim_start().trim_start_matches('[').trim_start();
            let word = line.split(['=', ']', '#']).next().unwrap_or_default();
            let mut parts = word.split('.').map(|part| part.trim().trim_matches(['"', '\'']));
            parts.any(|part| part == name)
        };
        self.text.lines().position(names).map(|at| at + 1)
    }
}

/// An example of bindings, for errors.
const EXAMPLE: &str = "quit = \"Q\" or quit = [\"Q\", \"ctrl-q\"]";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Settings, String> {
        SettingsText { file: Path::new("/c.toml"), text }.parse()
    }

    #[test]
    fn a_key_or_a_list_of_keys_is_bound() {
        let text =
            "# mine\n[keys]\nquit = [\"Q\", \"ctrl-q\"]\n\"live\" = \"ctrl-e\" # as in vim\n";
        let keys = parsed(text).unwrap().keys;
        let told = |it: &KeyBinding| format!("{}={} {}", it.command, it.key, it.place);
        let told: Vec<_> = keys.iter().map(told).collect();
        let expected = [
            "live=ctrl-e /c.toml, line 4",
            "quit=Q /c.toml, line 3",
            "quit=ctrl-q /c.toml, line 3",
        ];
        assert_eq!(told, expected);
        assert_eq!(parsed("keys.quit = 'Q'").unwrap().keys[0].place, "/c.toml, line 1");
        assert_eq!(parsed("").unwrap(), Settings::default());
    }

    #[test]
    fn wrong_settings_name_their_line() {
        for (text, expected) in [
            ("[keys]\nquit = \"Q\"\nquit = \"q\"\n", "/c.toml, line 3: duplicate key `quit`"),
            ("[keys\n", "/c.toml, line 1: invalid table header"),
            ("\n[key]\n", "/c.toml, line 2: there is no setting `key`; there is [keys]"),
            ("keys = 1", "/c.toml, line 1: `keys` is a section: write [keys], quit = \"Q\""),
            ("[keys]\nquit = 1", "/c.toml, line 2: `quit` wants a key or a list of keys: quit ="),
            ("[keys]\nquit = []", "/c.toml, line 2: `quit` wants a key"),
            ("[keys]\nquit = [1]", "/c.toml, line 2: `quit` wants a key"),
        ] {
            let error = parsed(text).unwrap_err();
            assert!(error.starts_with(expected), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }

    #[test]
    fn only_a_file_that_is_named_must_exist() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.toml");
        assert_eq!(Settings::read_from(&file, false).unwrap(), Settings::default());
        let error = Settings::read_from(&file, true).unwrap_err().to_string();
        assert!(error.contains("config.toml: No such file"), "{error}");
        std::fs::write(&file, "[keys]\nquit = \"Q\"\n").unwrap();
        let keys = Settings::read_from(&file, false).unwrap().keys;
        assert_eq!(keys[0].place, format!("{}, line 2", file.display()));
    }
}
