//! The report of a recorded run: the files in `fixture` have the figures of `docs/million.md`.

use std::path::PathBuf;

use super::MillionRun;
use crate::plan::check::check;
use crate::plan::costs::Costs;

fn fixture() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/loadgen/million/fixture")
}

#[test]
fn the_report_has_the_measured_figures() {
    let run = MillionRun::read(&fixture()).unwrap();
    assert_eq!(run.shortfalls().unwrap(), Vec::<String>::new());
    let report = run.markdown().unwrap();
    // With UPDATE_DOCUMENTS=1 the document is written again from the figures.
    let document = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/million.md");
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        std::fs::write(&document, &report).unwrap();
    }
    assert_eq!(report, std::fs::read_to_string(document).unwrap());
    let prose = report.lines().filter(|line| !line.starts_with('|'));
    assert!(prose.into_iter().all(|line| line.chars().count() <= 100), "{report}");
}

#[test]
fn shortfalls_are_listed_in_the_report() {
    let mut run = MillionRun::read(&fixture()).unwrap();
    run.load.lost = 7;
    run.ban.comments_after = 1;
    run.facts.insert("ban_ms".to_owned(), String::new());
    run.facts.insert("second_attempt".to_owned(), "welcome".to_owned());
    let shortfalls = run.shortfalls().unwrap();
    assert_eq!(
        shortfalls,
        [
            "comments lost: 7 instead of 0",
            "comments seen by the banned viewer after the ban: 1 instead of 0",
            "the banned viewer was not told of its ban",
            "the banned viewer's next attempt: welcome",
        ]
    );
    let report = run.markdown().unwrap();
    assert!(shortfalls.iter().all(|shortfall| report.contains(shortfall)), "{report}");
}

#[test]
fn a_missing_figure_is_an_error() {
    let mut run = MillionRun::read(&fixture()).unwrap();
    run.facts.remove("gap_s");
    assert!(run.markdown().unwrap_err().to_string().contains("gap_s"));
}

/// A million viewers' costs are those that `lc plan` computes with.
#[test]
fn the_costs_of_the_run_are_those_of_plans() {
    let built_in = Costs::built_in().unwrap();
    let measured = MillionRun::read(&fixture()).unwrap().costs().unwrap();
    assert_eq!(measured.len(), 5);
    for (name, cost) in measured {
        let planned = built_in.file().get(name).unwrap();
        assert_eq!((cost.value, cost.at), (planned.value, planned.at), "{name:?}");
        assert_eq!((&cost.machine, &cost.measured), (&planned.machine, &planned.measured));
    }
}

#[test]
fn the_plans_of_the_run_agree_with_it() {
    let costs = Costs::built_in().unwrap();
    let runs = MillionRun::read(&fixture()).unwrap().checks().unwrap();
    assert_eq!(runs.len(), 2);
    let figures: Vec<_> = runs.iter().flat_map(|run| check(run, &costs)).collect();
    assert_eq!(figures.len(), 2);
    assert!(figures.iter().all(|figure| figure.agrees), "{figures:#?}");
}
