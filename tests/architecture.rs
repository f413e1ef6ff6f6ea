//! The architecture, checked against the code: who may import whom, where client libraries may
//! appear, and how long a file may be. The table is the one of ARCHITECTURE.md; a room that is not
//! in it fails the test until it is given its place.
//!
//! Test code is left out: tests put rooms together that must not know each other.

#[path = "architecture/imports.rs"]
mod imports;
#[path = "architecture/layers.rs"]
mod layers;
#[path = "architecture/source.rs"]
mod source;

use std::path::Path;

use source::Tree;

/// Lines of a file, its tests left out.
const MAX_LINES: usize = 500;
/// Files that may be longer, each with the reason.
const MAY_BE_LONGER: &[(&str, &str)] = &[];

/// A client library, and how the files and folders that may use it begin.
const CLIENT_LIBRARIES: &[(&str, &[&str])] = &[
    ("sqlx", &["sqlite", "postgres"]),
    ("rdkafka", &["kafka"]),
    ("redis", &["redis"]),
    ("scylla", &["cassandra", "scylla"]),
];

fn crate_tree() -> Tree {
    Tree::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
}

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

fn forbidden_imports(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for source in tree.sources() {
        for import in imports::of(source) {
            if let Err(why) = layers::judge(tree, &source.module, &import) {
                violations.push(format!("src/{}: {}: {why}", source.path, import.join("::")));
            }
        }
    }
    violations
}

fn stray_libraries(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for source in tree.sources() {
        for (library, engines) in CLIENT_LIBRARIES {
            let at_home = source
                .path
                .split('/')
                .any(|part| engines.iter().any(|engine| part.starts_with(engine)));
            let own_module = [&source.module[..], &[(*library).to_owned()]].concat();
            if !at_home && !tree.has_module(&own_module) && imports::names(source, library) {
                violations.push(format!("src/{} uses {library}", source.path));
            }
        }
    }
    violations
}

fn long_files(tree: &Tree) -> Vec<String> {
    let long = tree.sources().filter(|source| {
        source.lines > MAX_LINES && MAY_BE_LONGER.iter().all(|(path, _)| *path != source.path)
    });
    long.map(|source| format!("src/{} has {} lines without its tests", source.path, source.lines))
        .collect()
}

#[test]
fn imports_go_one_way() {
    assert_none(&forbidden_imports(&crate_tree()));
}

#[test]
fn client_libraries_stay_in_their_engines() {
    assert_none(&stray_libraries(&crate_tree()));
}

#[test]
fn no_file_is_crowded() {
    assert_none(&long_files(&crate_tree()));
}

#[test]
fn the_whole_crate_was_read() {
    let tree = crate_tree();
    for expected in ["lib.rs", "bin/lcd.rs", "protocol/ids.rs", "daemon/control/mod.rs"] {
        assert!(tree.sources().any(|source| source.path == expected), "{expected} was not read");
    }
    let imports: usize = tree.sources().map(|source| imports::of(source).len()).sum();
    assert!(imports > 100, "only {imports} imports were found");
    let tests = tree.sources().filter(|source| source.path.contains("/fakes/")).count();
    assert_eq!(tests, 0, "test code was not left out");
}

/// A crate of some files, with the modules the rules look for.
fn tree(files: &[(&str, &str)]) -> Tree {
    let known = [("daemon/reactions/mod.rs", ""), ("daemon/reactions/window.rs", "")];
    Tree::from_texts(known.iter().chain(files).copied())
}

#[test]
fn what_the_table_forbids_is_found() {
    for (path, text) in [
        ("protocol/ids.rs", "use crate::client::Viewer;"),
        ("client/mod.rs", "use crate::{protocol::X, daemon::clock::Clock};"),
        ("tui/mod.rs", "fn f() { crate::cli::run() }"),
        ("daemon/clock.rs", "use super::eventlog::EventLog;"),
        ("daemon/clock.rs", "use crate::client::Viewer;"),
        ("daemon/eventlog/mod.rs", "use crate::daemon::engines::bus::FanoutBus;"),
        ("daemon/bus/mod.rs", "use crate::daemon::engines::directory::Streams;"),
        (
            "daemon/ingest/mod.rs",
            "use crate::daemon::{\n    clock::Clock,\n    delivery::Ring,\n};",
        ),
        ("daemon/ingest/queue.rs", "use super::super::moderation::Rules;"),
        ("daemon/ingest/mod.rs", "use crate::daemon::edge::admin::Admin;"),
        ("daemon/ingest/mod.rs", "use crate::daemon::stages::archive::Archiver;"),
        ("daemon/ingest/mod.rs", "use crate::daemon::stages::reactions::Window;"),
        ("daemon/ingest/mod.rs", "use crate::daemon::engines::eventlog::embedded::EmbeddedLog;"),
        ("daemon/store/archive.rs", "use crate::daemon::stages::control::Control;"),
        ("daemon/admin/mod.rs", "use crate::daemon::edge::gateway::Gateway;"),
        ("daemon/gateway/mod.rs", "use crate::daemon::node::run::run;"),
        ("daemon/gateway/mod.rs", "pub(crate) use crate::daemon::attic::Box;"),
        ("daemon/attic/mod.rs", "use crate::daemon::base::clock::Clock;"),
        ("bin/lc.rs", "fn main() { live_comments::daemon::node::run() }"),
        ("bin/lcd.rs", "use live_comments::cli::run;"),
    ] {
        let found = forbidden_imports(&tree(&[(path, text)]));
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
    }
}

#[test]
fn what_the_table_allows_is_let_through() {
    for (path, text) in [
        ("cli/mod.rs", "use crate::{client::A, protocol::B, tui};\nuse super::cli::args::C;"),
        ("daemon/status.rs", "use super::metrics::Metrics;\nuse super::supervise::breaker::B;"),
        ("daemon/reactions/mod.rs", "use crate::daemon::engines::StoreError;"),
        (
            "daemon/reactions/window.rs",
            "use crate::daemon::engines::bus::FanoutBus;\nuse super::Totals;",
        ),
        ("daemon/directory/mod.rs", "use crate::daemon::engines::metadata::MetadataStore;"),
        ("daemon/admin/mod.rs", "use crate::daemon::{control::Control, clock::Clock};"),
        ("daemon/engines.rs", "use crate::daemon::engines::eventlog::embedded::EmbeddedLog;"),
        ("daemon/store/comments/sqlite.rs", "use crate::daemon::engines::comments::CommentStore;"),
        ("daemon/ingest/mod.rs", "// use crate::client::A;\nconst A: &str = \"crate::client::A\";"),
        ("daemon/ingest/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::client::A;\n}"),
        ("daemon/ingest/mod.rs", "#[cfg(test)]\nuse crate::client::{A, B};\nfn f() {}"),
    ] {
        assert_none(&forbidden_imports(&tree(&[(path, text)])));
    }
    let test_module = [
        ("daemon/ingest/mod.rs", "#[cfg(test)]\npub(crate) mod fakes;"),
        ("daemon/ingest/fakes/deep.rs", "use crate::client::A;"),
    ];
    assert_none(&forbidden_imports(&tree(&test_module)));
}

#[test]
fn client_libraries_are_found_where_they_do_not_belong() {
    for (path, text, count) in [
        ("daemon/ingest/mod.rs", "use sqlx::SqlitePool;", 1),
        ("daemon/bus/mod.rs", "fn f(c: ::redis::Client) {}", 1),
        ("daemon/eventlog/mod.rs", "use {rdkafka::ClientConfig, std::fmt};", 1),
        ("daemon/bus/redis.rs", "use redis::Client;", 0),
        ("daemon/store/metadata/sqlite/rows.rs", "use sqlx::Row;", 0),
        (
            "daemon/ingest/mod.rs",
            "// as sqlx::Row does\nuse crate::daemon::engines::bus::redis::R;",
            0,
        ),
    ] {
        let found = stray_libraries(&tree(&[(path, text)]));
        assert_eq!(found.len(), count, "{path}: {text}: {found:?}");
    }
    let sibling = [("daemon/bus/mod.rs", "pub use redis::RedisBus;"), ("daemon/bus/redis.rs", "")];
    assert_none(&stray_libraries(&tree(&sibling)));
}

#[test]
fn tests_do_not_count_as_length_and_code_does() {
    let code = "fn f() {}\n".repeat(MAX_LINES);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
    assert_none(&long_files(&tree(&[("daemon/ingest/mod.rs", &format!("{code}{tests}"))])));
    let found = long_files(&tree(&[("daemon/ingest/mod.rs", &format!("{code}fn g() {{}}\n"))]));
    assert_eq!(found.len(), 1, "{found:?}");
}
