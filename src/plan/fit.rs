//! The costs of batches, from runs of a cluster on real servers.
//!
//! In: runs at several loads, and the costs of everything else. Out: the costs of
//! [`super::batches`]. Always holds: the plan of the two runs that are used gives what they used.

use super::batches::BatchedWork;
use super::check::{EdgesCores, MeasuredRun, READING_STAGES, RunPart, cores_of_edges};
use super::costs::{CostName, Costs};

/// Why runs give no costs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    #[error("costs of batches need a run with few comments and one with many; all have {rate}/s")]
    OneLoad { rate: f64 },
    #[error("`{run}` does not say what its {part} used")]
    Part { run: String, part: &'static str },
    #[error(
        "`{low}` used as much as `{high}` for {work}; run again on a machine that does nothing else"
    )]
    NoCurve { low: String, high: String, work: &'static str },
}

/// Processor time per second of a run, per process.
struct Work {
    comments_per_second: f64,
    accepting_us: f64,
    reading_us: f64,
}

/// Returns the costs of batches that make plans of the run with the fewest comments and of the one
/// with the most give what these used.
///
/// # Errors
/// There are no two different loads, or one does not take more than the other.
pub fn costs_of_batches(
    runs: &[MeasuredRun],
    costs: &Costs,
) -> Result<[(CostName, f64); 4], FitError> {
    let by_rate = |a: &&MeasuredRun, b: &&MeasuredRun| {
        a.comments_per_second.total_cmp(&b.comments_per_second)
    };
    let rate = runs.first().map_or(0.0, |run| run.comments_per_second);
    let (Some(low), Some(high)) = (runs.iter().min_by(by_rate), runs.iter().max_by(by_rate)) else {
        return Err(FitError::OneLoad { rate });
    };
    if low.comments_per_second >= high.comments_per_second {
        return Err(FitError::OneLoad { rate });
    }
    let few = work(low, costs)?;
    let full = work(high, costs)?;
    let fit = |work, rate, few_us, full_us| {
        let found = BatchedWork::through(rate, few_us, full_us);
        let names = (low.run.clone(), high.run.clone());
        found.ok_or_else(|| FitError::NoCurve { low: names.0, high: names.1, work })
    };
    let per_edge = few.comments_per_second / low.edges as f64;
    let accepting = fit("accepting comments", per_edge, few.accepting_us, full.accepting_us)?;
    let reading = fit("reading the log", few.comments_per_second, few.reading_us, full.reading_us)?;
    Ok([
        (CostName::AcceptBatchUs, accepting.batch_us),
        (CostName::AcceptFullUs, accepting.full_us),
        (CostName::ReadBatchUs, reading.batch_us),
        (CostName::ReadFullUs, reading.full_us),
    ])
}

fn work(run: &MeasuredRun, costs: &Costs) -> Result<Work, FitError> {
    let used = |part: RunPart| {
        let missing = || FitError::Part { run: run.run.clone(), part: part.as_str() };
        run.used_cores.get(&part).copied().ok_or_else(missing)
    };
    let edges = used(RunPart::Edges)?;
    let EdgesCores { viewers, .. } = cores_of_edges(run, costs);
    let stages_us = run.comments_per_second * costs.value(CostName::StageUs);
    Ok(Work {
        comments_per_second: run.comments_per_second,
        accepting_us: ((edges - viewers) * 1e6 - stages_us) / run.edges as f64,
        reading_us: (used(RunPart::Daemons)? - edges) * 1e6 / READING_STAGES,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::check::check;
    use crate::plan::costs::{Cost, CostFile};

    fn run(comments_per_second: f64, edges: f64, daemons: f64) -> MeasuredRun {
        MeasuredRun {
            run: format!("{comments_per_second}/s"),
            viewers: 200,
            edges: 2,
            cores: 2,
            comments_per_second,
            shown_per_second: comments_per_second,
            ping_interval_s: 30.0,
            presence_per_second: 0.5,
            used_cores: [(RunPart::Edges, edges), (RunPart::Daemons, daemons)].into(),
        }
    }

    #[test]
    fn the_plan_of_fitted_runs_is_what_they_used() {
        let costs = Costs::built_in().unwrap();
        let runs = [run(2500.0, 0.40, 0.66), run(1000.0, 0.36, 0.64), run(100.0, 0.22, 0.40)];
        let fitted = costs_of_batches(&runs, &costs).unwrap();
        let mut file = CostFile::default();
        for (name, value) in fitted {
            assert!(value > 0.0, "{name:?}: {value}");
            file.set(name, Cost::measured_now(name, value, "batches", "scripts/bench cluster"));
        }
        let costs = costs.with(file).unwrap();
        for run in [&runs[0], &runs[2]] {
            for figure in check(run, &costs) {
                // The fullest load stands for all high ones, to which the curve comes close.
                assert!((figure.ratio - 1.0).abs() < 0.01, "{figure:?}");
            }
        }
    }

    #[test]
    fn runs_without_a_curve_are_refused() {
        let costs = Costs::built_in().unwrap();
        let error = |runs: &[MeasuredRun]| costs_of_batches(runs, &costs).unwrap_err().to_string();
        assert!(error(&[]).contains("few comments and one with many"));
        let same = [run(100.0, 0.2, 0.4), run(100.0, 0.2, 0.4)];
        assert!(error(&same).contains("all have 100/s"), "{}", error(&same));
        let falling = [run(100.0, 0.5, 0.9), run(2500.0, 0.4, 0.6)];
        assert!(error(&falling).contains("`100/s` used as much as `2500/s` for accepting"));
        let mut without = run(100.0, 0.2, 0.4);
        without.used_cores.remove(&RunPart::Daemons);
        let error = error(&[without, run(2500.0, 0.4, 0.6)]);
        assert_eq!(error, "`100/s` does not say what its all daemons used");
    }
}
