//! Runs `lcd` until it ends by itself.

use std::path::Path;
use std::process::{Command, Stdio};

/// The exit code, and standard output and error together.
pub struct Run {
    pub code: Option<i32>,
    pub text: String,
}

/// Runs `lcd` with a configuration. `words` follow the flags.
pub fn lcd(config: &str, data_dir: &Path, listen: &str, words: &[&str]) -> Run {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lcd.toml");
    std::fs::write(&file, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_lcd"))
        .arg("--config")
        .arg(&file)
        .arg("--data-dir")
        .arg(data_dir)
        .args(["--listen", listen])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    Run { code: output.status.code(), text: String::from_utf8_lossy(&text).into_owned() }
}
