//! Checks that the documents match the code.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

use live_comments::daemon::base::config::{self, Config, Overrides};
use live_comments::protocol::{CloseCode, ErrorCode};

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn every_code_is_in_the_protocol_document() {
    let text = read("docs/protocol.md");
    for code in ErrorCode::ALL {
        let close = code.close_code().map(|code| code.number().to_string()).unwrap_or_default();
        let retry = if code.retry() { "yes" } else { "" };
        let row = format!("| `{code}` | {} | {retry} | {close} |", code.http_status());
        assert!(text.contains(&row), "docs/protocol.md lacks: {row}");
    }
    for code in CloseCode::ALL {
        let row = format!("| {} | `{}` |", code.number(), code.as_str());
        assert!(text.contains(&row), "docs/protocol.md lacks: {row}");
    }
}

/// Returns the settings as text that can be compared.
fn to_text(config: &Config) -> String {
    format!("{config:#?}")
}

#[test]
fn the_sample_configuration_is_the_defaults() {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/lcd.toml");
    let sample = config::load(Some(&sample), Overrides::default()).unwrap();
    let defaults = config::load(None, Overrides::default()).unwrap();
    assert_eq!(to_text(&sample), to_text(&defaults));
}

/// Returns the keys of the contracts for which the file chooses an embedded engine.
fn embedded(file: &Path) -> Vec<&'static str> {
    config::load(Some(file), Overrides::default()).unwrap().engines.embedded()
}

#[test]
fn the_cluster_configuration_shares_every_engine() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/lcd-cluster.toml");
    assert_eq!(embedded(&file), Vec::<&str>::new());
}

#[test]
fn the_stack_configuration_uses_every_server() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/stack");
    let output = Command::new(script).arg("config").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lcd.toml");
    std::fs::write(&file, output.stdout).unwrap();
    assert_eq!(embedded(&file), Vec::<&str>::new());
}

#[test]
fn the_sample_configuration_has_every_setting() {
    let sample = read("docs/lcd.toml");
    let defaults = serde_json::to_value(Config::default()).unwrap();
    let mut missing = Vec::new();
    for (section, keys) in defaults.as_object().unwrap() {
        collect_missing(&sample, section, keys, &mut missing);
    }
    assert_eq!(missing, Vec::<String>::new());
}

fn collect_missing(sample: &str, path: &str, value: &serde_json::Value, missing: &mut Vec<String>) {
    let Some(keys) = value.as_object() else { return };
    for (key, value) in keys {
        let settings = [format!("\n{key} = "), format!("\n# {key} = "), format!(" {key} = ")];
        let section = [format!("\n[{path}.{key}]"), format!("\n# [{path}.{key}]")];
        if !settings.iter().chain(&section).any(|text| sample.contains(text)) {
            missing.push(format!("{path}.{key}"));
        }
        collect_missing(sample, &format!("{path}.{key}"), value, missing);
    }
}

#[test]
fn every_place_the_architecture_names_exists() {
    let text = read("ARCHITECTURE.md");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (_, table) = text.split_once("## Where to look").unwrap();
    let (table, _) = table.split_once("## Adding").unwrap();
    for row in table.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| to ")) {
        let places = row.rsplit('|').nth(1).unwrap();
        for place in places.split('`').skip(1).step_by(2) {
            let exists = root.join(place).exists() || root.join("src").join(place).exists();
            assert!(exists, "ARCHITECTURE.md names {place}, which is not there");
        }
    }
    for module in text.split("**").skip(1).step_by(2).filter(|module| module.contains('/')) {
        let exists = root.join("src/daemon").join(module).exists();
        assert!(exists, "ARCHITECTURE.md names {module}, which is not there");
    }
}

#[test]
fn the_spine_names_functions_that_exist() {
    let text = read("ARCHITECTURE.md");
    let (_, spine) = text.split_once("## The spine").unwrap();
    let (spine, _) = spine.split_once("## The sequence").unwrap();
    let rows: Vec<_> = spine.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 10, "{} rows", rows.len());
    for row in rows {
        let mut names = row.split('`').skip(1).step_by(2);
        let (file, function) = (names.next().unwrap(), names.next().unwrap());
        let code = read(&format!("src/{file}"));
        let there =
            code.contains(&format!("fn {function}(")) || code.contains(&format!("fn {function}<"));
        assert!(there, "{file} has no function {function}");
    }
}
