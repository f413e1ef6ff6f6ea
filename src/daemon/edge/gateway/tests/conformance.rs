//! The Autobahn cases, which nobody here wrote, against the gateway's handshake and the connection
//! layer of delivery. PyPI's `kosoku` runs them; `scripts/setup` installs it.
//!
//! The cases with many large messages (12.*, 13.*) take minutes; the gate runs the smaller of them.
//! `LC_AUTOBAHN=all cargo test --lib conformance` runs every one.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::rig::Rig;
use crate::daemon::stages::delivery::echoing::echo;

/// The largest message of the cases has 16 MiB.
const MAX_MESSAGE_BYTES: usize = 32 << 20;
/// Only a failing run takes this long.
const PATIENCE: Duration = Duration::from_secs(1800);
/// The least number of cases of each run, so that a change of the filter is noticed.
const LEAST_CASES: usize = 385;
const ALL_CASES: usize = 517;
/// The sections that the gate runs whole.
const WHOLE_SECTIONS: [u8; 9] = [1, 2, 3, 4, 5, 6, 7, 9, 10];
/// The sections on compression, and the number of groups of each: 1,000 messages a case.
const COMPRESSION_GROUPS: [(u8, u8); 2] = [(12, 5), (13, 7)];
/// Of each group, the cases that the gate runs: messages up to 8 KiB, and fragmented ones.
const SMALL_CASES: [u8; 7] = [1, 2, 3, 4, 5, 6, 11];

/// Returns the command that runs the cases against `url` and writes its report to `report`.
fn kosoku(url: &str, report: &Path) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = std::env::var_os("LC_PYTHON")
        .map_or_else(|| root.join("target/python/bin/python3"), PathBuf::from);
    let program = python.with_file_name("kosoku");
    assert!(program.exists(), "{} is missing: run scripts/setup", program.display());
    let mut command = Command::new(python);
    command.arg(root.join("tests/support/run_kosoku.py"));
    command.args(["-m", "fuzzingclient", "-p", "2", "-o"]).arg(report).arg(url);
    command
}

/// Chooses the cases of the gate.
fn choose_small(command: &mut Command) {
    for section in WHOLE_SECTIONS {
        command.arg("-i").arg(format!("{section}.*"));
    }
    for (section, groups) in COMPRESSION_GROUPS {
        for group in 1..=groups {
            for case in SMALL_CASES {
                command.arg("-i").arg(format!("{section}.{group}.{case}"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn autobahn_cases_pass() {
    let mut rig = Rig::start().await;
    let report = tempfile::tempdir().unwrap();
    let mut command = kosoku(&format!("ws://{}/ws/1", rig.address), report.path());
    let all = std::env::var("LC_AUTOBAHN").is_ok_and(|cases| cases == "all");
    if !all {
        choose_small(&mut command);
    }
    let mut run = tokio::task::spawn_blocking(move || command.output().unwrap());
    let output = loop {
        tokio::select! {
            viewer = rig.kept.attached.recv() => {
                let viewer = viewer.unwrap();
                std::thread::spawn(move || {
                    echo(viewer.link, MAX_MESSAGE_BYTES);
                    drop(viewer.permit);
                });
            }
            output = &mut run => break output.unwrap(),
            () = tokio::time::sleep(PATIENCE) => panic!("not done within {PATIENCE:?}"),
        }
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let index = std::fs::read(report.path().join("index.json"));
    let index: Value = serde_json::from_slice(&index.unwrap_or_else(|_| panic!("{said}"))).unwrap();
    let cases: Vec<_> = index.as_object().unwrap().values().flat_map(cases).collect();
    let least = if all { ALL_CASES } else { LEAST_CASES };
    assert!(cases.len() >= least, "{} cases ran, at least {least} were asked for", cases.len());
    for section in cases.chunk_by(|one, other| one.section() == other.section()) {
        let ms: u64 = section.iter().map(|case| case.ms).sum();
        println!("{}.*: {} cases, {ms} ms", section[0].section(), section.len());
    }
    let failed: Vec<_> = cases.iter().filter(|case| !case.passed()).collect();
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:#?}", failed.len(), cases.len());
}

/// The verdict on a case.
#[derive(Debug)]
struct Case {
    id: String,
    behavior: String,
    close: String,
    ms: u64,
}

impl Case {
    fn section(&self) -> &str {
        self.id.split('.').next().unwrap_or_default()
    }

    fn passed(&self) -> bool {
        let good = ["OK", "INFORMATIONAL"];
        good.contains(&self.behavior.as_str()) && good.contains(&self.close.as_str())
    }
}

#[test]
fn only_ok_and_informational_verdicts_pass() {
    let verdict =
        |behavior: &str, close: &str| json!({"behavior": behavior, "behaviorClose": close});
    let of_agent = json!({
        "1.1.1": verdict("OK", "OK"),
        "1.1.2": verdict("INFORMATIONAL", "OK"),
        "1.1.3": verdict("NON-STRICT", "OK"),
        "1.1.4": verdict("OK", "UNCLEAN"),
        "1.1.5": {},
    });
    let cases = cases(&of_agent);
    let passed: Vec<_> = cases.iter().filter(|case| case.passed()).map(|case| &case.id).collect();
    assert_eq!(passed, ["1.1.1", "1.1.2"]);
}

fn cases(of_agent: &Value) -> Vec<Case> {
    let text = |case: &Value, name: &str| case[name].as_str().unwrap_or_default().to_owned();
    let verdicts = of_agent.as_object().unwrap().iter().map(|(id, case)| Case {
        id: id.clone(),
        behavior: text(case, "behavior"),
        close: text(case, "behaviorClose"),
        ms: case["duration"].as_u64().unwrap_or_default(),
    });
    verdicts.collect()
}
