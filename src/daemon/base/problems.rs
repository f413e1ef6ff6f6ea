//! The problems of a node that last until they are solved.
//!
//! In: stages and engines raise a problem, and clear it when it is solved. Out: `lc status` on
//! every node, the node's report, and one log line per change. Always holds: at most
//! [`MAX_PROBLEMS`] are kept; more are counted in one entry. Losses ([`ProblemCode::LOSSES`])
//! outlive the process in a file, until an operator acknowledges them. Nothing waits here but for
//! that small file.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{info, warn};

use crate::protocol::admin::{Problem, ProblemCode};
use crate::protocol::json;
use crate::protocol::quantity::counted;

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
    /// The file of the losses, once it is known.
    file: Option<PathBuf>,
}

/// A loss in the file.
#[derive(Debug, Serialize, Deserialize)]
struct KeptLoss {
    code: String,
    subject: String,
    text: String,
    /// Milliseconds since the Unix epoch.
    began_at: u64,
}

#[derive(Debug)]
struct Standing {
    text: String,
    since: Instant,
    /// Milliseconds since the Unix epoch.
    began_at: u64,
}

impl Problems {
    /// Takes the losses in the file over, and keeps it up to date from now on. Blocks on the disk.
    pub fn keep_losses_in(&self, path: &Path) {
        let mut inner = self.inner.lock();
        for KeptLoss { code, subject, text, began_at } in read_losses(path) {
            let Some(code) = ProblemCode::loss(&code) else { continue };
            let age = Duration::from_millis(unix_ms().saturating_sub(began_at));
            let since = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
            warn!(code = code.as_str(), subject, text, "problem of an earlier run");
            inner.standing.entry((code, subject)).or_insert(Standing { text, since, began_at });
        }
        inner.file = Some(path.to_owned());
        inner.write_losses();
    }

    /// Ends a loss, whatever it was about: an operator knows of it.
    pub fn acknowledge(&self, loss: ProblemCode) {
        let mut inner = self.inner.lock();
        let before = inner.standing.len() + inner.omitted.len();
        inner.standing.retain(|(code, _), _| *code != loss);
        inner.omitted.retain(|(code, _)| *code != loss);
        if inner.standing.len() + inner.omitted.len() < before {
            info!(code = loss.as_str(), "problem acknowledged");
            inner.write_losses();
        }
    }

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
                let standing =
                    Standing { text: text.clone(), since: Instant::now(), began_at: unix_ms() };
                inner.standing.insert(key, standing);
            }
        }
        if ProblemCode::LOSSES.contains(&code) {
            inner.write_losses();
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
                text: format!(
                    "{}: see the log of the daemon",
                    counted(inner.omitted.len() as u64, "more problem")
                ),
                since_ms: 0,
            });
        }
        problems
    }
}

impl Inner {
    /// Writes the file of the losses. Without it they are shown until the process ends.
    fn write_losses(&self) {
        let Some(path) = &self.file else { return };
        let is_loss = |(code, _): &&(ProblemCode, String)| ProblemCode::LOSSES.contains(code);
        let kept = |(code, subject): &(ProblemCode, String)| {
            let Standing { text, began_at, .. } = self.standing.get(&(*code, subject.clone()))?;
            let [code, subject, text] = [code.as_str(), subject, text].map(ToOwned::to_owned);
            Some(KeptLoss { code, subject, text, began_at: *began_at })
        };
        let losses: Vec<_> = self.standing.keys().filter(is_loss).filter_map(kept).collect();
        if losses.is_empty() && !path.exists() {
            return;
        }
        let new = path.with_extension("new");
        let written = json::to_vec(&losses)
            .map_err(std::io::Error::from)
            .and_then(|bytes| std::fs::write(&new, bytes))
            .and_then(|()| std::fs::rename(&new, path));
        if let Err(error) = written {
            warn!(path = %path.display(), %error, "a restart will forget the losses that are shown");
        }
    }
}

fn read_losses(path: &Path) -> Vec<KeptLoss> {
    let losses = match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(std::io::Error::from),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Vec::new(),
        Err(error) => Err(error),
    };
    losses.unwrap_or_else(|error| {
        warn!(path = %path.display(), %error, "losses of earlier runs cannot be read");
        Vec::new()
    })
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[tokio::test]
    async fn a_loss_outlives_restarts_until_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("losses.json");
        let start = || {
            let problems = Problems::default();
            problems.keep_losses_in(&path);
            problems
        };
        start().raise(CODE, "archiver", "5 records");
        assert!(!path.exists() && start().list().is_empty(), "a problem is seen again if it lasts");
        let loss = ProblemCode::HistoryIncomplete;
        start().raise(loss, "comment store", "lacks 5 records");
        let old = std::fs::read_to_string(&path).unwrap();
        let mut losses: Vec<KeptLoss> = serde_json::from_str(&old).unwrap();
        losses[0].began_at -= 3_600_000;
        std::fs::write(&path, serde_json::to_vec(&losses).unwrap()).unwrap();
        for _ in 0..2 {
            let [known] = start().list().try_into().unwrap();
            assert_eq!((&*known.code, &*known.text), ("history_incomplete", "lacks 5 records"));
            assert!((3_600_000..3_700_000).contains(&known.since_ms), "{}", known.since_ms);
        }
        let problems = start();
        problems.acknowledge(ProblemCode::StoreMissing);
        assert_eq!(problems.list().len(), 1);
        problems.acknowledge(loss);
        assert!(problems.list().is_empty() && start().list().is_empty());
        std::fs::write(&path, "no losses").unwrap();
        assert_eq!(start().list(), [], "a damaged file does not stop a node");
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
