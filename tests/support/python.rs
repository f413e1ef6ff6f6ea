//! The Python of tests, with the packages that `scripts/setup` installs.

use std::path::{Path, PathBuf};

/// Returns a program of that environment, such as `python3`: of `scripts/setup`, or beside the
/// Python that `LC_PYTHON` names.
pub fn python_program(name: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os("LC_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| root.join("target/python/bin/python3"));
    let program = python.with_file_name(name);
    assert!(program.exists(), "{} is missing: run scripts/setup", program.display());
    program
}
