//! Rules of style that can be read off the lines of a file, tests included.

use std::fs;
use std::path::{Path, PathBuf};

/// Characters of a test's name.
const MAX_TEST_NAME: usize = 50;
/// Folders with code.
const FOLDERS: &[&str] = &["src", "tests", "benches", "examples"];
/// The one file that two benchmarks share, which are programs of their own.
const SHARED_BY_BENCHMARKS: &str = "#[path = \"../fanout/cpu.rs\"]";

/// Files that may write JSON by themselves: the one that keeps integers within 53 bits, one that
/// compares with it, and one whose JSON only this program reads.
const WRITERS_OF_JSON: &[&str] =
    &["protocol/json.rs", "fuzzing/messages.rs", "engines/announcements/postgres.rs"];

/// Returns what is wrong with the lines of a file.
fn offences(text: &str) -> Vec<String> {
    let mut offences = Vec::new();
    let mut is_test = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let mut offend = |what: &str| offences.push(format!("line {}: {what}: {line}", index + 1));
        for (sign, what) in [
            (concat!("super::", "super"), "the file is in the wrong folder"),
            (concat!("pub(", "in "), "the file is in the wrong folder"),
            (concat!("#[", "path"), "a module stands where its name says"),
        ] {
            if line.contains(sign) && line != SHARED_BY_BENCHMARKS {
                offend(what);
            }
        }
        if is_pair_of_lets(line) {
            offend("one `let` per variable");
        }
        if line.starts_with("#[test") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some(name) = function_name(line) {
            if is_test && name.len() > MAX_TEST_NAME {
                offend("the name of a test has at most 50 characters");
            }
            is_test = false;
        }
    }
    offences
}

fn function_name(line: &str) -> Option<&str> {
    let line = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ")?;
    line.split(['(', '<']).next()
}

/// Recognizes `let (a, b) = (x, y);` on one line.
fn is_pair_of_lets(line: &str) -> bool {
    let Some((names, values)) = line.split_once(") = (") else { return false };
    let Some(values) = values.strip_suffix(");") else { return false };
    let mut depth = 0_i32;
    let closes_early = values.chars().any(|letter| {
        depth += i32::from(letter == '(') - i32::from(letter == ')');
        depth < 0
    });
    names.starts_with("let (") && !closes_early
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the crate") {
        let path = entry.expect("an entry of the crate").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn code_follows_the_rules_of_style() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    FOLDERS.iter().for_each(|folder| collect(&root.join(folder), &mut files));
    assert!(files.len() > 500, "only {} files were read", files.len());
    let mut found = Vec::new();
    for file in files.iter().filter(|file| !file.ends_with("architecture/style.rs")) {
        let text = fs::read_to_string(file).expect("a source file");
        let shown = file.strip_prefix(root).expect("a path below the root").display();
        found.extend(offences(&text).into_iter().map(|offence| format!("{shown} {offence}")));
    }
    assert!(found.is_empty(), "{} offences:\n{}", found.len(), found.join("\n"));
}

/// Every number that another program reads fits into 53 bits, because one module writes them.
#[test]
fn json_for_others_is_written_in_one_place() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&root, &mut files);
    let mut found = Vec::new();
    for file in files {
        let is_test = file.components().any(|part| part.as_os_str() == "tests")
            || file.ends_with("tests.rs")
            || WRITERS_OF_JSON.iter().any(|writer| file.ends_with(writer));
        let text = fs::read_to_string(&file).expect("a source file");
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let writers =
            ["serde_json::to_vec", "serde_json::to_string", "serde_json::to_writer", "axum::Json"];
        let used = writers.iter().find(|writer| code.contains(**writer));
        found.extend(used.filter(|_| !is_test).map(|used| format!("{}: {used}", file.display())));
    }
    assert!(found.is_empty(), "use protocol::json: {found:#?}");
}

#[test]
fn offences_are_found() {
    let long = "a".repeat(MAX_TEST_NAME + 1);
    for (text, count) in [
        ("use super::super::a;", 1),
        ("pub(in crate::a) fn f() {}", 1),
        ("#[path = \"a.rs\"]\nmod b;", 1),
        (SHARED_BY_BENCHMARKS, 0),
        ("let (a, b) = (f(1), g(2));", 1),
        ("let (a, b) = (f(1), g(2)).split(h(3));", 0),
        ("let (a, b) = f(1);", 0),
        (&format!("#[test]\nfn {long}() {{"), 1),
        (&format!("#[tokio::test]\n#[ignore]\nasync fn {long}() {{"), 1),
        (&format!("fn {long}() {{"), 0),
    ] {
        assert_eq!(offences(text).len(), count, "{text}");
    }
}
