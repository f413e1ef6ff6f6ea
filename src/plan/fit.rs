//! The costs of batches, from runs of a cluster on real servers.
//!
//! In: runs at several loads, and the costs of everything else. Out: the costs of
//! [`super::batches`]. Always holds: the plan of the two runs that are used is within a hundredth
//! of what they used. Loads that are too much alike for that are refused.

use super::batches::BatchedWork;
use super::check::{EdgesCores, MeasuredRun, READING_STAGES, RunPart, cores_of_edges};
use super::costs::{CostName, Costs};

/// The largest part of the work with many comments that a run with few may take: beyond it, the
/// curve is as flat as measurements vary.
const MOST_OF_FULL: f64 = 0.9;
/// The part of the work at most that the run with many comments must come to.
const LEAST_OF_FULL: f64 = 0.99;

/// Why runs give no costs.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FitError {
    #[error("costs of batches need a run with few comments and one with many; all have {rate}/s")]
    OneLoad { rate: f64 },
    #[error("`{run}` does not say how much its {part} used")]
    Part { run: String, part: &'static str },
    #[error(
        "`{run}` used no more for {work} than other costs say of it; measure those on this machine \
         first, as docs/capacity.md says"
    )]
    NothingLeft { run: String, work: &'static str },
    #[error(
        "`{low}` and `{high}` are too much alike for {work}; run fewer comments or more, such as 100 \
         and 2500 per second, on a machine that does nothing else"
    )]
    Alike { low: String, high: String, work: &'static str },
}

/// Processor time of a run per second and process.
struct MeasuredWork<'a> {
    run: &'a MeasuredRun,
    accepting_us: f64,
    reading_us: f64,
}

/// Returns the costs of batches with which plans of the run with the fewest comments and of the one
/// with the most are what these used.
///
/// # Errors
/// There are no two loads, they are too much alike, or a run lacks a part.
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
    let many = work(high, costs)?;
    let per_edge = low.comments_per_second / low.edges as f64;
    let accepting = few.curve("accepting comments", per_edge, &many, |it| it.accepting_us)?;
    let all = low.comments_per_second;
    let reading = few.curve("reading the log", all, &many, |it| it.reading_us)?;
    Ok([
        (CostName::AcceptBatchUs, accepting.batch_us),
        (CostName::AcceptFullUs, accepting.full_us),
        (CostName::ReadBatchUs, reading.batch_us),
        (CostName::ReadFullUs, reading.full_us),
    ])
}

impl MeasuredWork<'_> {
    /// Returns the curve through this work at a rate per process, and through that of a run with
    /// many comments.
    fn curve(
        &self,
        work: &'static str,
        rate: f64,
        many: &Self,
        work_us: impl Fn(&Self) -> f64,
    ) -> Result<BatchedWork, FitError> {
        for it in [self, many] {
            if work_us(it) <= 0.0 {
                return Err(FitError::NothingLeft { run: it.run.run.clone(), work });
            }
        }
        let times = many.run.comments_per_second / self.run.comments_per_second;
        let is_curved = |found: &BatchedWork| {
            let high = found.per_second_us(rate * times);
            work_us(self) <= MOST_OF_FULL * found.full_us && high >= LEAST_OF_FULL * found.full_us
        };
        let found = BatchedWork::through(rate, work_us(self), work_us(many)).filter(is_curved);
        found.ok_or_else(|| FitError::Alike {
            low: self.run.run.clone(),
            high: many.run.run.clone(),
            work,
        })
    }
}

fn work<'a>(run: &'a MeasuredRun, costs: &Costs) -> Result<MeasuredWork<'a>, FitError> {
    let used = |part: RunPart| {
        let missing = || FitError::Part { run: run.run.clone(), part: part.as_str() };
        run.used_cores.get(&part).copied().ok_or_else(missing)
    };
    let edges = used(RunPart::Edges)?;
    let EdgesCores { viewers, .. } = cores_of_edges(run, costs);
    let stages_us = run.comments_per_second * costs.value(CostName::StageUs);
    Ok(MeasuredWork {
        run,
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
                assert!((figure.ratio - 1.0).abs() < 0.01, "{figure:?}");
            }
        }
    }

    #[test]
    fn runs_without_a_curve_are_refused() {
        let costs = Costs::built_in().unwrap();
        let error = |runs: &[MeasuredRun]| costs_of_batches(runs, &costs).unwrap_err().to_string();
        let few = || run(100.0, 0.2, 0.4);
        for (runs, expected) in [
            (vec![], "few comments and one with many"),
            (vec![few(), few()], "all have 100/s"),
            // Both on the flat part, one nearly so, and too near for the second to be on it.
            (vec![run(1000.0, 0.36, 0.63), run(5000.0, 0.43, 0.70)], "`1000/s` and `5000/s`"),
            (vec![few(), run(200.0, 0.36, 0.63)], "too much alike for accepting comments"),
            (vec![few(), run(2500.0, 0.4, 0.6)], "too much alike for reading the log"),
            (vec![run(100.0, 0.01, 0.4), run(2500.0, 0.4, 0.66)], "`100/s` used no more for"),
        ] {
            let error = error(&runs);
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let mut without = few();
        without.used_cores.remove(&RunPart::Daemons);
        let error = error(&[without, run(2500.0, 0.4, 0.7)]);
        assert_eq!(error, "`100/s` does not say how much its all daemons used");
    }
}
