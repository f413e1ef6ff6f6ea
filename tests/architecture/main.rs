//! The architecture, checked on the code: who may import whom, where client libraries may appear,
//! how long a file may be, and what the manifest must keep.
//!
//! The rules are rules on paths: the folders of `src/` and of `src/daemon/` are the layers. Test
//! code is left out, because tests put parts together that must not know each other.

mod manifest;
mod source;
mod style;

use std::collections::{BTreeMap, BTreeSet};

use source::{Source, Tree};

/// The parts of the crate, and what each may import besides itself.
const PARTS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("net", &["protocol"]),
    ("policy", &["protocol"]),
    ("classifier", &["protocol"]),
    ("client", &["protocol", "net"]),
    ("loadgen", &["protocol", "net", "client", "plan"]),
    ("tui", &["protocol", "net", "client"]),
    ("plan", &["protocol"]),
    ("cli", &["protocol", "net", "policy", "classifier", "client", "loadgen", "tui", "plan"]),
    ("daemon", &["protocol", "net", "policy", "classifier"]),
    ("bin/lc", &["cli"]),
    ("bin/lcd", &["protocol", "daemon"]),
];

/// The folders of `src/daemon/`; each may import those before it.
const LAYERS: &[&str] = &["base", "engines", "stages", "edge", "node"];

/// Folders whose parts do not import each other, and the parts that all of them share.
const INDEPENDENT: &[(&str, &[&str])] = &[("stages", &[]), ("edge", &["http"])];

/// Modules that are one engine of a contract. Only `engines::choose` picks one.
const ENGINES: &[&str] =
    &["cassandra", "embedded", "in_process", "kafka", "memory", "postgres", "redis", "sqlite"];

/// A client library, and how the names of files and folders that may use it begin.
const CLIENT_LIBRARIES: &[(&str, &[&str])] = &[
    ("sqlx", &["sqlite", "postgres", "sql"]),
    ("rdkafka", &["kafka"]),
    ("redis", &["redis"]),
    ("scylla", &["cassandra"]),
];

/// Lines of a file without its tests.
const MAX_LINES: usize = 500;

fn assert_none(violations: &[String]) {
    assert!(violations.is_empty(), "{} violations:\n{}", violations.len(), violations.join("\n"));
}

/// Returns why `source` must not import `path`, which starts at the crate's root.
fn judge_import(source: &Source, path: &[String]) -> Option<String> {
    let part = source.part();
    let target = path[0].as_str();
    if PARTS.iter().all(|(name, _)| *name != target) {
        return None;
    }
    let Some((_, allowed)) = PARTS.iter().find(|(name, _)| *name == part) else {
        return Some(format!("{part} is not in the list of parts"));
    };
    if target != part && !allowed.contains(&target) {
        return Some(format!("{part} must not import {target}"));
    }
    if part != "daemon" || target != "daemon" {
        return None;
    }
    judge_layers(&source.module[1..], &path[1..])
}

fn judge_layers(from: &[String], to: &[String]) -> Option<String> {
    let from_layer = from.first()?;
    let to_layer = to.first()?;
    let rank = |layer: &String| LAYERS.iter().position(|name| name == layer);
    let Some(from_rank) = rank(from_layer) else {
        return Some(format!("{from_layer} is not a layer"));
    };
    // Anything else is an item of the daemon's own mod.rs.
    let to_rank = rank(to_layer)?;
    if to_rank > from_rank {
        return Some(format!("{from_layer} must not import {to_layer}"));
    }
    let from_room = from.get(1)?;
    let to_room = to.get(1)?;
    let names_engine = to_layer == "engines"
        && to_room != "backends"
        && to.get(2).is_some_and(|name| is_engine(name));
    let may_choose = from_layer == "engines" && (from_room == to_room || from_room == "choose");
    if names_engine && !may_choose {
        return Some(format!("only engines::choose may choose {}", to[1..3].join("::")));
    }
    let shared =
        INDEPENDENT.iter().find(|(layer, _)| layer == to_layer).map(|(_, shared)| *shared)?;
    let independent = from_layer == to_layer && from_room != to_room;
    (independent && !shared.contains(&to_room.as_str()))
        .then(|| format!("{from_layer}::{from_room} must not import {from_layer}::{to_room}"))
}

fn is_engine(module: &str) -> bool {
    ENGINES.contains(&module)
}

fn forbidden_imports(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for source in tree.sources() {
        for path in source.imports() {
            if let Some(reason) = judge_import(source, path) {
                violations.push(format!("src/{}: {}: {reason}", source.path, path.join("::")));
            }
        }
    }
    violations
}

fn stray_libraries(tree: &Tree) -> Vec<String> {
    let mut violations = Vec::new();
    for source in tree.sources() {
        for (library, homes) in CLIENT_LIBRARIES {
            let at_home = || {
                let mut names = source.path.split('/');
                names.any(|name| homes.iter().any(|home| name.starts_with(home)))
            };
            if source.uses_crate(library) && !at_home() {
                violations.push(format!("src/{} uses {library}", source.path));
            }
        }
    }
    violations
}

/// Returns the groups of neighbours in one folder (files and subfolders, without `mod.rs`) of which
/// each reaches every other one by imports.
fn import_circles(tree: &Tree) -> Vec<String> {
    let mut neighbours: BTreeMap<Vec<String>, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    for source in tree.sources() {
        for path in source.imports() {
            let Some(target) = tree.module_of(path) else { continue };
            let common = source.module.iter().zip(target).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (source.module.get(common), target.get(common)) {
                let folder = neighbours.entry(source.module[..common].to_vec()).or_default();
                folder.entry(from).or_default().insert(to);
            }
        }
    }
    let mut circles = Vec::new();
    for (folder, imports) in &neighbours {
        let mut seen = BTreeSet::new();
        for &start in imports.keys() {
            let reached = reachable(imports, start);
            let circle: Vec<_> = reached
                .iter()
                .copied()
                .filter(|&other| reachable(imports, other).contains(start))
                .collect();
            if circle.len() > 1 && seen.insert(circle.clone()) {
                circles.push(format!("{}: {}", folder.join("::"), circle.join(", ")));
            }
        }
    }
    circles
}

fn reachable<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>, start: &str) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&str> = vec![start];
    while let Some(next) = open.pop() {
        for &target in imports.get(next).into_iter().flatten() {
            if reached.insert(target) {
                open.push(target);
            }
        }
    }
    reached
}

fn long_files(tree: &Tree) -> Vec<String> {
    let long = tree.sources().filter(|source| source.lines > MAX_LINES);
    long.map(|source| format!("src/{}: {} lines without tests", source.path, source.lines))
        .collect()
}

#[test]
fn imports_go_down() {
    assert_none(&forbidden_imports(Tree::of_this_crate()));
}

#[test]
fn client_libraries_stay_in_their_engines() {
    assert_none(&stray_libraries(Tree::of_this_crate()));
}

#[test]
fn neighbours_do_not_import_in_a_circle() {
    assert_none(&import_circles(Tree::of_this_crate()));
}

#[test]
fn no_file_is_crowded() {
    assert_none(&long_files(Tree::of_this_crate()));
}

#[test]
fn the_whole_crate_was_read() {
    let tree = Tree::of_this_crate();
    for expected in ["lib.rs", "bin/lcd.rs", "protocol/ids.rs", "daemon/stages/control/mod.rs"] {
        assert!(tree.sources().any(|source| source.path == expected), "{expected} was not read");
    }
    let imports: usize = tree.sources().map(|source| source.imports().len()).sum();
    assert!(imports > 1_000, "only {imports} imports were found");
    assert!(tree.sources().all(|source| !source.path.contains("/testing/")), "tests were read");
}

#[test]
fn forbidden_imports_are_found() {
    for (path, text) in [
        ("protocol/ids.rs", "use crate::client::Viewer;"),
        ("net/mod.rs", "use crate::client::Viewer;"),
        ("policy/mod.rs", "use crate::daemon::base::config::Config;"),
        ("policy/mod.rs", "use crate::net::tls::X;"),
        ("classifier/mod.rs", "use crate::policy::rate::X;"),
        ("client/mod.rs", "use crate::policy::throttle::ThrottlePolicy;"),
        ("client/mod.rs", "use crate::{protocol::X, daemon::base::clock::Clock};"),
        ("tui/mod.rs", "fn f() { crate::cli::run() }"),
        ("loadgen/mod.rs", "use super::cli::output::print;"),
        ("daemon/base/clock.rs", "use crate::daemon::engines::eventlog::EventLog;"),
        ("daemon/base/clock.rs", "use crate::client::Viewer;"),
        ("daemon/engines/bus/mod.rs", "use crate::daemon::stages::delivery::Handle;"),
        ("daemon/engines/bus/mod.rs", "use crate::daemon::engines::eventlog::kafka::KafkaLog;"),
        ("daemon/stages/ingest/mod.rs", "use crate::daemon::{\n    stages::delivery::Ring,\n};"),
        ("daemon/stages/ingest/mod.rs", "fn f() { warn!(x = crate::daemon::edge::X) }"),
        ("daemon/stages/ingest/queue.rs", concat!("use super::", "super::moderation::Rules;")),
        ("daemon/stages/ingest/mod.rs", "use crate::daemon::engines::bus::redis::RedisBus;"),
        ("daemon/edge/admin/mod.rs", "use crate::daemon::edge::gateway::Gateway;"),
        ("daemon/edge/gateway/mod.rs", "use crate::daemon::node::run::run;"),
        ("daemon/attic/mod.rs", "use crate::daemon::base::clock::Clock;"),
        ("bin/lc.rs", "fn main() { live_comments::daemon::node::run::run() }"),
        ("bin/lcd.rs", "use live_comments::cli::run;"),
        ("daemon/base/clock.rs", "#[cfg(any(test, unix))]\nuse crate::client::Viewer;"),
    ] {
        let found = forbidden_imports(&Tree::from_texts([(path, text)]));
        assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
    }
}

#[test]
fn allowed_imports_pass() {
    for (path, text) in [
        ("cli/mod.rs", "use crate::{client::A, protocol::B, tui};\nuse super::cli::args::C;"),
        ("cli/mod.rs", "use crate::policy::throttle::ThrottleRules;"),
        ("daemon/base/config.rs", "use crate::policy::throttle::ThrottleRules;"),
        ("daemon/stages/moderation/mod.rs", "use crate::classifier::Model;"),
        ("daemon/base/status.rs", "use super::metrics::Metrics;"),
        ("daemon/engines/choose/mod.rs", "use crate::daemon::engines::bus::redis::RedisBus;"),
        ("daemon/engines/bus/mod.rs", "use self::redis::RedisBus;"),
        ("daemon/stages/ingest/mod.rs", "use crate::daemon::engines::directory::Streams;"),
        ("daemon/edge/admin/mod.rs", "use crate::daemon::edge::http::Answer;"),
        ("daemon/edge/admin/mod.rs", "use crate::daemon::{stages::control::C, base::clock::D};"),
        (
            "daemon/stages/ingest/mod.rs",
            "// use crate::client::A;\nconst A: &str = \"crate::cli\";",
        ),
        ("daemon/stages/ingest/mod.rs", "#[cfg(test)]\nmod tests {\n    use crate::client::A;\n}"),
        ("daemon/stages/ingest/mod.rs", "#[cfg(test)]\nuse crate::client::{A, B};\nfn f() {}"),
        ("daemon/stages/ingest/mod.rs", "#[cfg(all(test, unix))]\nuse crate::client::A;"),
        (
            "daemon/stages/ingest/mod.rs",
            "#[cfg(all(any(test, fuzzing), feature = \"lc\"))]\nuse crate::client::{A, B};",
        ),
    ] {
        assert_none(&forbidden_imports(&Tree::from_texts([(path, text)])));
    }
    let test_module = [
        ("daemon/stages/ingest/mod.rs", "#[cfg(test)]\npub(crate) mod fakes;"),
        ("daemon/stages/ingest/fakes/deep.rs", "use crate::client::A;"),
    ];
    assert_none(&forbidden_imports(&Tree::from_texts(test_module)));
}

#[test]
fn stray_client_libraries_are_found() {
    for (path, text, count) in [
        ("daemon/stages/ingest/mod.rs", "use sqlx::SqlitePool;", 1),
        ("daemon/engines/bus/mod.rs", "fn f(c: ::redis::Client) {}", 1),
        ("daemon/engines/eventlog/mod.rs", "use {rdkafka::ClientConfig, std::fmt};", 1),
        ("daemon/engines/bus/redis/mod.rs", "use redis::Client;", 0),
        ("daemon/engines/bus/mod.rs", "pub mod redis;\npub use self::redis::RedisBus;", 0),
        ("daemon/stages/ingest/mod.rs", "// as sqlx::Row does\nfn f() {}", 0),
    ] {
        let found = stray_libraries(&Tree::from_texts([(path, text)]));
        assert_eq!(found.len(), count, "{path}: {text}: {found:?}");
    }
}

#[test]
fn import_circles_are_found() {
    let circle = [
        ("daemon/stages/x/mod.rs", "mod a;\nmod b;\nmod c;"),
        ("daemon/stages/x/a/mod.rs", "mod deep;"),
        ("daemon/stages/x/a/deep.rs", "use crate::daemon::stages::x::b::B;"),
        ("daemon/stages/x/b.rs", "use super::c::C;"),
        ("daemon/stages/x/c.rs", "use super::a::A;"),
    ];
    let found = import_circles(&Tree::from_texts(circle));
    assert_eq!(found, ["daemon::stages::x: a, b, c"]);
    let line = &circle[..4];
    assert_none(&import_circles(&Tree::from_texts(line.iter().copied())));
}

#[test]
fn only_code_counts_as_length() {
    let code = "fn f() {}\n".repeat(MAX_LINES);
    let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
    let path = "daemon/stages/ingest/mod.rs";
    assert_none(&long_files(&Tree::from_texts([(path, format!("{code}{tests}").as_str())])));
    let found = long_files(&Tree::from_texts([(path, format!("{code}fn g() {{}}\n").as_str())]));
    assert_eq!(found.len(), 1, "{found:?}");
}
