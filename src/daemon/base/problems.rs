//! The problems of a node that last until they are solved.
//!
//! In: stages and engines raise a problem, and clear it when it is solved. Out: `lc status` on
//! every node, the node's report, and one log line per change. Always holds: at most
//! [`MAX_PROBLEMS`] are kept; more are counted in one entry. Nothing waits here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::protocol::admin::{Problem, ProblemCode};

/// The problems of a node are few, and a report that carries them must stay small.
const MAX_PROBLEMS: usize = 64;
/// Problems beyond those that are counted.
const MAX_OMITTED: usize = 1_000;

/// The problems of this node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    standing: BTreeMap<(ProblemCode, String), Standing>,
    /// Problems that found no place, at most [`MAX_OMITTED`].
    omitted: BTreeSet<(ProblemCode, String)>,
}

#[derive(Debug)]
struct Standing {
    text: String,
    since: Instant,
}

impl Problems {
    /// Records a problem of `subject`, or replaces its text. A new problem and a new text are
    /// logged; the same text again is not, so callers may raise on every probe.
    pub fn raise(&self, code: ProblemCode, subject: &str, text: impl Into<String>) {
        let text = text.into();
        let mut inner = self.inner.lock();
        let full = inner.standing.len() >= MAX_PROBLEMS;
        let key = (code, subject.to_owned());
        match inner.standing.get_mut(&key) {
            Some(known) if known.text == text => return,
            Some(known) => known.text.clone_from(&text),
            None if full => {
                if inner.omitted.len() >= MAX_OMITTED || !inner.omitted.insert(key) {
                    return;
                }
            }
            None => {
                let standing = Standing { text: text.clone(), since: Instant::now() };
                inner.standing.insert(key, standing);
            }
        }
        drop(inner);
        warn!(code = code.as_str(), subject, text, "problem");
    }

    /// Removes a problem that is solved. Does nothing if it was not raised.
    pub fn clear(&self, code: ProblemCode, subject: &str) {
        let key = (code, subject.to_owned());
        let mut inner = self.inner.lock();
        let is_solved = inner.standing.remove(&key).is_some() | inner.omitted.remove(&key);
        drop(inner);
        if is_solved {
            info!(code = code.as_str(), subject, "problem solved");
        }
    }

    /// Returns the problems, ordered by code and subject.
    pub fn list(&self) -> Vec<Problem> {
        let inner = self.inner.lock();
        let problem = |((code, subject), standing): (&(ProblemCode, String), &Standing)| Problem {
            code: code.as_str().to_owned(),
            subject: subject.clone(),
            text: standing.text.clone(),
            since_ms: standing.since.elapsed().as_millis() as u64,
        };
        let mut problems: Vec<_> = inner.standing.iter().map(problem).collect();
        if !inner.omitted.is_empty() {
            problems.push(Problem {
                code: "more".to_owned(),
                subject: String::new(),
                text: format!("{} more problems: see the log of the daemon", inner.omitted.len()),
                since_ms: 0,
            });
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const CODE: ProblemCode = ProblemCode::RecordsSkipped;

    #[tokio::test(start_paused = true)]
    async fn a_problem_stands_until_it_is_solved() {
        let problems = Problems::default();
        problems.raise(CODE, "archiver", "5 records");
        tokio::time::advance(Duration::from_secs(2)).await;
        problems.raise(CODE, "archiver", "7 records");
        let expected = Problem {
            code: "records_skipped".to_owned(),
            subject: "archiver".to_owned(),
            text: "7 records".to_owned(),
            since_ms: 2_000,
        };
        assert_eq!(problems.list(), [expected]);
        problems.clear(CODE, "archiver");
        problems.clear(CODE, "archiver");
        assert_eq!(problems.list(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn problems_beyond_the_bound_are_counted() {
        let problems = Problems::default();
        for _ in 0..2 {
            (100..103 + MAX_PROBLEMS).for_each(|n| problems.raise(CODE, &n.to_string(), "lost"));
        }
        let list = problems.list();
        assert_eq!(list.len(), MAX_PROBLEMS + 1);
        assert_eq!(list[MAX_PROBLEMS].text, "3 more problems: see the log of the daemon");
        (100 + MAX_PROBLEMS..103 + MAX_PROBLEMS).for_each(|n| problems.clear(CODE, &n.to_string()));
        assert_eq!(problems.list().len(), MAX_PROBLEMS);
    }
}
