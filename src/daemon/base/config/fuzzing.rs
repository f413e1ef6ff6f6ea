//! The fuzz target of configuration files.

use figment::Figment;
use figment::providers::Serialized;

use super::{Config, ConfigError, Overrides, load};
use crate::fuzzing::scratch::Scratch;

/// A configuration file.
pub fn config(data: &[u8]) {
    let scratch = Scratch::new();
    let file = scratch.write("lcd.toml", data);
    match load(Some(&file), Overrides::default()) {
        Ok(config) => {
            assert!(!config.node.name.is_empty() && !config.node.roles.is_empty());
            // Sizes are written rounded: `2.5 GiB`.
            let again = written_and_read(&config);
            let once_more = written_and_read(&again);
            assert_eq!(format!("{once_more:?}"), format!("{again:?}"), "it reads back as written");
            super::validate::validate(&again).expect("it stays valid");
        }
        Err(ConfigError::Read { .. }) => assert!(std::str::from_utf8(data).is_err()),
        Err(error) => {
            let text = error.to_string();
            let names_file = text.contains("lcd.toml");
            assert!(names_file || text.contains('`'), "no file and no setting: {text}");
        }
    }
}

fn written_and_read(config: &Config) -> Config {
    let written = Figment::from(Serialized::defaults(config));
    written.extract().expect("an accepted configuration is readable")
}
