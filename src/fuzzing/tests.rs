//! The short run of each target on stable Rust: its seeds, and mutations of them from a fixed
//! random sequence.

use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::TARGETS;

/// No input grows beyond it.
const MAX_INPUT_BYTES: usize = 4096;

/// Numbers at the edges of types, and bytes that mean something to a parser.
const PIECES: &[&[u8]] = &[
    b"\0",
    b"\x7F",
    b"\x80",
    b"\xFF",
    b"\x00\x00\x00\x00",
    b"\xFF\xFF\xFF\xFF",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"-1",
    b"1e999",
    b"0.5",
    b"9007199254740993",
    b"18446744073709551616",
    b":",
    b",",
    b".",
    b"/",
    b"//",
    b"://",
    b"@",
    b"#",
    b"*",
    b"\n",
    b"\r\n",
    b"\xEF\xBB\xBF",
    "\u{200B}".as_bytes(),
    "\u{202E}".as_bytes(),
    "\u{3164}".as_bytes(),
    "\u{FFFA}".as_bytes(),
    "👍🏽".as_bytes(),
    "ı".as_bytes(),
    "İ".as_bytes(),
    "e\u{301}".as_bytes(),
    "dot com".as_bytes(),
    b"\xC1",
    b"\xDD\xFF\xFF\xFF\xFF",
];

fn fuzz_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Returns the seeds of a target in the order of their names.
fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = fuzz_folder().join("seeds").join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 3, "{} has {} seeds", folder.display(), paths.len());
    paths.iter().map(|path| std::fs::read(path).unwrap()).collect()
}

/// Prints the input that a target failed on.
struct Reporter<'a> {
    target: &'a str,
    input: &'a [u8],
}

impl Drop for Reporter<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{} fails on b\"{}\"", self.target, self.input.escape_ascii());
        }
    }
}

fn mutate(rng: &mut StdRng, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut input = seeds.choose(rng).unwrap().clone();
    for _ in 0..rng.random_range(1..=4) {
        let at = rng.random_range(0..=input.len());
        let end = (at + rng.random_range(0..16)).min(input.len());
        match rng.random_range(0..7) {
            0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            1 if at < input.len() => input[at] = rng.random(),
            2 => drop(input.drain(at..end)),
            3 => input.truncate(at),
            4 => {
                let other = seeds.choose(rng).unwrap();
                let from = rng.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            5 => {
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
            _ => drop(input.splice(at..at, PIECES.choose(rng).unwrap().iter().copied())),
        }
    }
    input.truncate(MAX_INPUT_BYTES);
    input
}

/// Runs a target on its seeds and on `mutations` more inputs.
fn short_run(name: &str, mutations: usize) {
    let (target, run) = TARGETS.into_iter().find(|(target, _)| *target == name).unwrap();
    let seeds = seeds(target);
    for input in &seeds {
        let _reporter = Reporter { target, input };
        run(input);
    }
    let mut rng = StdRng::seed_from_u64(0x6C69_7665);
    for _ in 0..mutations {
        let input = mutate(&mut rng, &seeds);
        let _reporter = Reporter { target, input: &input };
        run(&input);
    }
}

#[test]
fn frame_holds_on_mutated_seeds() {
    short_run("frame", 10_000);
}

#[test]
fn deflate_holds_on_mutated_seeds() {
    short_run("deflate", 400);
}

#[test]
fn json_holds_on_mutated_seeds() {
    short_run("json", 10_000);
}

#[test]
fn msgpack_holds_on_mutated_seeds() {
    short_run("msgpack", 10_000);
}

#[test]
fn token_holds_on_mutated_seeds() {
    short_run("token", 1_000);
}

#[test]
fn config_holds_on_mutated_seeds() {
    short_run("config", 400);
}

#[test]
fn log_segment_holds_on_mutated_seeds() {
    short_run("log_segment", 600);
}

#[test]
fn recording_holds_on_mutated_seeds() {
    short_run("recording", 800);
}

#[test]
fn admin_request_holds_on_mutated_seeds() {
    short_run("admin_request", 1_000);
}

#[test]
fn position_holds_on_mutated_seeds() {
    short_run("position", 10_000);
}

#[test]
fn word_list_holds_on_mutated_seeds() {
    short_run("word_list", 300);
}

#[test]
fn link_rule_holds_on_mutated_seeds() {
    short_run("link_rule", 2_000);
}

#[test]
fn filter_holds_on_mutated_seeds() {
    short_run("filter", 2_000);
}

#[test]
fn feed_recording_holds_on_mutated_seeds() {
    short_run("feed_recording", 2_000);
}

#[test]
fn model_weights_hold_on_mutated_seeds() {
    short_run("model_weights", 1_000);
}

#[test]
fn samples_hold_on_mutated_seeds() {
    short_run("samples", 1_000);
}

#[test]
fn each_target_can_be_run_by_cargo_fuzz() {
    let manifest = std::fs::read_to_string(fuzz_folder().join("Cargo.toml")).unwrap();
    let this_file = include_str!("tests.rs");
    assert_eq!(manifest.matches("[[bin]]").count(), TARGETS.len());
    for (target, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "{target}");
        let file = fuzz_folder().join(format!("fuzz_targets/{target}.rs"));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains(&format!("live_comments::fuzzing::{target}(data)")), "{target}");
        assert!(
            this_file.contains(&format!("short_run(\"{target}\"")),
            "{target} has no short run"
        );
    }
}

#[test]
fn key_set_holds_on_mutated_seeds() {
    short_run("key_set", 5_000);
}

#[test]
fn hook_answer_holds_on_mutated_seeds() {
    short_run("hook_answer", 10_000);
}
