//! Parts of `Cargo.toml` that a merge once removed unnoticed: the lints and the release profile.

use std::collections::BTreeMap;
use std::path::Path;

use figment::Figment;
use figment::providers::{Format as _, Toml};
use figment::value::Value;

fn manifest() -> Figment {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
    Figment::from(Toml::file_exact(path))
}

#[test]
fn the_lint_table_is_there() {
    let levels = [
        ("rust.unsafe_code", "deny"),
        ("rust.missing_debug_implementations", "warn"),
        ("rust.unreachable_pub", "warn"),
        ("rust.unexpected_cfgs.level", "warn"),
        ("rust.rust_2018_idioms.level", "warn"),
        ("clippy.all.level", "warn"),
        ("clippy.unwrap_used", "warn"),
        ("clippy.await_holding_lock", "deny"),
        ("clippy.dbg_macro", "deny"),
        ("clippy.todo", "deny"),
        ("clippy.unimplemented", "deny"),
        ("clippy.large_futures", "warn"),
        ("clippy.needless_pass_by_value", "warn"),
        ("clippy.semicolon_if_nothing_returned", "warn"),
        ("clippy.uninlined_format_args", "warn"),
        ("clippy.expect_used", "allow"),
        ("clippy.print_stdout", "deny"),
        ("clippy.print_stderr", "deny"),
    ];
    for (lint, level) in levels {
        let found = manifest().extract_inner::<String>(&format!("lints.{lint}"));
        assert_eq!(found.as_deref().ok(), Some(level), "lints.{lint}");
    }
    let tables: BTreeMap<String, BTreeMap<String, Value>> =
        manifest().extract_inner("lints").expect("a table of lints");
    let lints: usize = tables.values().map(BTreeMap::len).sum();
    // `clippy.all` and `rust_2018_idioms` are written with their priority.
    assert_eq!(lints, levels.len(), "a lint is missing from this test: {tables:?}");
}

#[test]
fn the_release_profile_is_there() {
    let manifest = manifest();
    let release = |key: &str| format!("profile.release.{key}");
    assert_eq!(manifest.extract_inner::<String>(&release("lto")).ok().as_deref(), Some("thin"));
    assert_eq!(manifest.extract_inner::<u32>(&release("codegen-units")).ok(), Some(4));
    assert_eq!(manifest.extract_inner::<String>(&release("panic")).ok().as_deref(), Some("unwind"));
    let bench = manifest.extract_inner::<String>("profile.bench.inherits");
    assert_eq!(bench.ok().as_deref(), Some("release"));
}
