//! Plans beside runs: what a benchmark used of the processors, and what is planned for its load.
//!
//! In: runs that benchmarks write, one JSON object per line. Out: a [`CheckedFigure`] per part of a
//! run. Always holds: the plan is computed for exactly the run's load, and with the same arithmetic
//! as any other plan.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::batches::reading;
use super::costs::{CostName, Costs};
use super::edge::EdgeModel;
use super::{EdgeMachine, EventInputs};

/// The largest difference between plan and run, as a share of what the run used.
pub const TOLERANCE: f64 = 0.25;
/// The most bytes of a file of runs.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A load that was measured, with plain WebSocket and one stream, all processes on one machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredRun {
    /// Names the run in the table, such as `scripts/bench cluster, 5000/s`.
    pub run: String,
    pub viewers: u64,
    /// Processes with the role edge, between which viewers and their comments are shared.
    pub edges: u64,
    /// Cores of the machine, which all processes share.
    pub cores: u64,
    /// Accepted comments.
    pub comments_per_second: f64,
    /// Comments that one viewer is shown.
    pub shown_per_second: f64,
    /// `gateway.ping_interval`.
    pub ping_interval_s: f64,
    /// Frames with the number of viewers; the inverse of `delivery.presence_interval`.
    pub presence_per_second: f64,
    /// Cores in use, by part.
    pub used_cores: BTreeMap<RunPart, f64>,
}

/// Processes of a run that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunPart {
    Edges,
    Coordinators,
    /// All processes of `lcd`, whatever their roles.
    Daemons,
}

impl RunPart {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Edges => "edges",
            Self::Coordinators => "coordinators",
            Self::Daemons => "all daemons",
        }
    }
}

/// A planned figure beside the measured one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckedFigure {
    pub run: String,
    pub part: RunPart,
    pub planned_cores: f64,
    pub used_cores: f64,
    /// `planned_cores` by `used_cores`.
    pub ratio: f64,
    /// The plan says how much the part needs at most, because its own cost was not measured.
    pub at_most: bool,
    /// Within [`TOLERANCE`]; a plan that says at most may be any amount higher.
    pub agrees: bool,
}

/// A reason for which runs cannot be compared with plans.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("it has more than {MAX_FILE_BYTES} bytes")]
    TooLarge,
    #[error(
        "line {line}: {source}; a run is as scripts/bench cluster writes it: {{\"run\": …, \
         \"viewers\": 200, \"edges\": 2, \"used_cores\": {{\"edges\": 0.5}}, …}}"
    )]
    Json { line: usize, source: serde_json::Error },
    #[error("line {line}: {problem}")]
    Value { line: usize, problem: String },
    #[error("it has no run")]
    Empty,
}

/// Reads the runs in a file, one per line.
///
/// # Errors
/// The file cannot be read, a line is no run, or it has a value that no run has.
pub fn read_runs(path: &Path) -> Result<Vec<MeasuredRun>, CheckError> {
    if std::fs::metadata(path)?.len() > MAX_FILE_BYTES {
        return Err(CheckError::TooLarge);
    }
    parse_runs(&std::fs::read_to_string(path)?)
}

fn parse_runs(text: &str) -> Result<Vec<MeasuredRun>, CheckError> {
    let mut runs = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = index + 1;
        if text.trim().is_empty() {
            continue;
        }
        let run: MeasuredRun =
            serde_json::from_str(text).map_err(|source| CheckError::Json { line, source })?;
        run.check().map_err(|problem| CheckError::Value { line, problem })?;
        runs.push(run);
    }
    if runs.is_empty() { Err(CheckError::Empty) } else { Ok(runs) }
}

impl MeasuredRun {
    fn check(&self) -> Result<(), String> {
        if self.viewers == 0 || self.edges == 0 || self.cores == 0 {
            return Err("viewers, edges and cores must be at least 1".to_owned());
        }
        let rates = [self.comments_per_second, self.shown_per_second, self.presence_per_second];
        if rates.iter().any(|rate| !(rate.is_finite() && *rate >= 0.0)) {
            return Err("rates must be 0 or more".to_owned());
        }
        let is_positive = |value: &f64| value.is_finite() && *value > 0.0;
        if !is_positive(&self.ping_interval_s) {
            return Err("ping_interval_s must be above 0".to_owned());
        }
        if self.used_cores.is_empty() || !self.used_cores.values().all(is_positive) {
            return Err("used_cores must name a part, with a number above 0 for each".to_owned());
        }
        Ok(())
    }

    fn inputs(&self) -> EventInputs {
        let event = EventInputs::new(self.viewers, self.comments_per_second, self.shown_per_second);
        EventInputs {
            deflate: false,
            presence_per_second: self.presence_per_second,
            ping_interval_s: self.ping_interval_s,
            machine: EdgeMachine { cores: self.cores, ..event.machine },
            ..event
        }
    }
}

/// Stages that read all comments from the log, each in one process: broadcast, moderation, archive.
pub(super) const READING_STAGES: f64 = 3.0;

/// Returns the cores that edges on one machine use for viewers and for comments.
///
/// Their viewers share the machine's processors, as those of one edge with all of its cores. Their
/// comments come in batches of each edge.
pub(super) fn cores_of_edges(run: &MeasuredRun, costs: &Costs) -> EdgesCores {
    let inputs = run.inputs();
    let model = EdgeModel { inputs: &inputs, costs };
    let together = model.usage(run.viewers as f64, 1.0);
    let edges = run.edges as f64;
    let each = model.usage(run.viewers as f64, edges);
    EdgesCores {
        viewers: together.viewers * together.viewer_us / 1e6,
        comments: edges * each.comments_us / 1e6,
    }
}

/// Cores of all edges.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct EdgesCores {
    pub(super) viewers: f64,
    pub(super) comments: f64,
}

/// Plans the load of a run and compares what its parts used.
pub fn check(run: &MeasuredRun, costs: &Costs) -> Vec<CheckedFigure> {
    let EdgesCores { viewers, comments } = cores_of_edges(run, costs);
    let edges = viewers + comments;
    // Only the cost of a comment in all stages together was measured. That of the edges has it.
    let stages = run.comments_per_second * costs.value(CostName::StageUs) / 1e6;
    let reading = reading(costs).per_second_us(run.comments_per_second) / 1e6;
    let figure = |(&part, &used_cores): (&RunPart, &f64)| {
        let planned_cores = match part {
            RunPart::Edges => edges,
            RunPart::Coordinators => reading + stages,
            RunPart::Daemons => edges + READING_STAGES * reading,
        };
        let at_most = part != RunPart::Daemons && stages > 0.0;
        let ratio = planned_cores / used_cores;
        let agrees = ratio >= 1.0 - TOLERANCE && (at_most || ratio <= 1.0 + TOLERANCE);
        let run = run.run.clone();
        CheckedFigure { run, part, planned_cores, used_cores, ratio, at_most, agrees }
    };
    run.used_cores.iter().map(figure).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"run":"million","viewers":1000000,"edges":53,"cores":2,"comments_per_second":0,
        "shown_per_second":0,"ping_interval_s":120,"presence_per_second":0,
        "used_cores":{"edges":0.4034}}"#;

    fn line() -> String {
        LINE.replace('\n', "")
    }

    /// docs/million.md: 23.4 s of processor time in 58 s of silence.
    #[test]
    fn a_measured_run_agrees_with_its_plan() {
        let runs = parse_runs(&format!("{}\n\n", line())).unwrap();
        let figures = check(&runs[0], &Costs::built_in().unwrap());
        assert_eq!(figures.len(), 1);
        let CheckedFigure { part, ratio, at_most, agrees, .. } = &figures[0];
        assert_eq!((*part, *at_most, *agrees), (RunPart::Edges, false, true), "{figures:?}");
        assert!((ratio - 1.0).abs() < 0.02, "{ratio}");
    }

    #[test]
    fn a_part_without_a_cost_of_its_own_is_bounded() {
        let mut run = parse_runs(&line()).unwrap().remove(0);
        run.viewers = 200;
        run.comments_per_second = 5_000.0;
        run.shown_per_second = 5_000.0;
        run.used_cores = [(RunPart::Coordinators, 0.01), (RunPart::Daemons, 0.01)].into();
        let costs = Costs::built_in().unwrap();
        let figures = check(&run, &costs);
        let batches = costs.value(CostName::ReadFullUs) / 1e6;
        let planned = figures[0].planned_cores;
        assert!((planned - 0.07 - batches).abs() < 1e-6, "5 000/s × 14 µs: {figures:?}");
        assert!(figures[0].agrees && figures[0].at_most);
        assert!(!figures[1].agrees, "far more than was used");
        run.used_cores = [(RunPart::Coordinators, 0.5)].into();
        assert!(!check(&run, &costs)[0].agrees, "more than the plan allows");
    }

    #[test]
    fn a_wrong_line_is_told_what_would_be_right() {
        for (text, expected) in [
            (String::new(), "no run"),
            ("{}".to_owned(), "line 1: missing field"),
            (format!("{}\n{}", line(), line().replace("0.4034", "0")), "line 2: used_cores"),
            (line().replace("\"cores\":2", "\"cores\":0"), "at least 1"),
            (line().replace("\"edges\":0", "\"edge\":0"), "unknown variant"),
        ] {
            let error = parse_runs(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
