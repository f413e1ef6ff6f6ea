//! The problems of a node that last until they are solved.
//!
//! In: stages and engines raise a problem, and clear it when it is solved. Out: `lc status` on
//! every node, the node's report, and one log line per change. Always holds: at most
//! [`MAX_PROBLEMS`] are kept; more are counted in one entry. Losses ([`ProblemCode::LOSSES`]) have
//! places of their own and outlive the process in a file (see [`super::losses`]), until an operator
//! acknowledges them. The subject of a loss says when or where it happened, so that a second one of
//! the same part is kept beside the first. Only functions that say so block on the disk.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::time::Instant;
use tracing::{info, warn};

use super::losses::{Loss, LossFile, Unwritten};
use crate::protocol::admin::{Problem, ProblemCode};
use crate::protocol::quantity::counted;

/// The problems of a node are few, and a report that carries them must stay small.
const MAX_PROBLEMS: usize = 64;
/// Losses that nobody has acknowledged. Those beyond them are logged, and told by one entry per
/// code.
const MAX_LOSSES: usize = 32;
/// The subject of that entry.
const MORE: &str = "more losses";
/// Problems beyond those that are counted.
const MAX_OMITTED: usize = 1_000;
/// The time after which a failed write of the losses is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The problems of this node. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Problems {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    inner: Mutex<Inner>,
    /// Locked before `inner`, and while the file is written.
    file: Mutex<Option<LossFile>>,
}

#[derive(Debug, Default)]
struct Inner {
    standing: BTreeMap<(ProblemCode, String), Standing>,
    /// Problems that found no place, at most [`MAX_OMITTED`].
    omitted: BTreeSet<(ProblemCode, String)>,
    /// In the order in which they were seen.
    losses: Vec<Loss>,
    /// Losses of this run that found no place, at most [`MAX_OMITTED`].
    omitted_losses: BTreeSet<(ProblemCode, String)>,
    /// Tells the writer of the file that the losses changed, once there is one.
    unwritten: Option<Unwritten>,
}

#[derive(Debug)]
struct Standing {
    text: String,
    since: Instant,
}

impl Problems {
    /// Takes the losses in the file over, and keeps it up to date from now on. A file that cannot
    /// be read is kept under another name and told as a loss. Blocks on the disk.
    pub fn keep_losses_in(&self, path: &Path) {
        let (file, known, damage) = LossFile::open(path);
        let shared = Arc::downgrade(&self.shared);
        let unwritten = Unwritten::start(RETRY_AFTER, move || match shared.upgrade() {
            Some(shared) => shared.write_losses(),
            None => true,
        });
        *self.shared.file.lock() = Some(file);
        let mut inner = self.shared.inner.lock();
        for loss in &known {
            let Loss { code, subject, text, .. } = loss;
            warn!(code = code.as_str(), subject, text, "problem of an earlier run");
        }
        inner.losses.splice(0..0, known);
        inner.unwritten = Some(unwritten);
        drop(inner);
        if let Some(text) = damage {
            let code = ProblemCode::LossesUnreadable;
            let text = format!("{text}. {}", code.acknowledge_hint());
            self.raise(code, "losses of earlier runs", text);
        }
    }

    /// Waits until the losses are in their file, or one attempt to write them has failed. Returns
    /// whether they are, if there is a file.
    pub async fn losses_written(&self) -> bool {
        let problems = self.clone();
        let written = tokio::task::spawn_blocking(move || problems.write_losses()).await;
        written.unwrap_or(false)
    }

    /// Like [`Self::losses_written`]. Blocks on the disk.
    pub fn write_losses(&self) -> bool {
        self.shared.write_losses()
    }

    /// Ends the losses that an operator was shown, each by its subject and text. One that came or
    /// grew later stays. Returns whether there were any.
    pub fn acknowledge(&self, code: ProblemCode, shown: &[(String, String)]) -> bool {
        let mut inner = self.shared.inner.lock();
        let before = inner.losses.len();
        inner.losses.retain(|loss| {
            loss.code != code
                || !shown.iter().any(|known| (&known.0, &known.1) == (&loss.subject, &loss.text))
        });
        let has_ended = inner.losses.len() < before;
        if has_ended {
            if inner.loss(code, MORE).is_none() {
                inner.omitted_losses.retain(|(omitted, _)| *omitted != code);
            }
            inner.losses_changed();
            info!(code = code.as_str(), "problem acknowledged");
        }
        has_ended
    }

    /// Records a problem of `subject`, or replaces its text. A new problem and a new text are
    /// logged; the same text again is not, so callers may raise on every probe.
    pub fn raise(&self, code: ProblemCode, subject: &str, text: impl Into<String>) {
        let text = text.into();
        let mut inner = self.shared.inner.lock();
        let is_new = if ProblemCode::LOSSES.contains(&code) {
            inner.add_loss(code, subject, &text)
        } else {
            inner.add_problem(code, subject, &text)
        };
        drop(inner);
        if is_new {
            warn!(code = code.as_str(), subject, text, "problem");
        }
    }

    /// Removes a problem that is solved. Does nothing if it was not raised. A loss is not solved
    /// but acknowledged.
    pub fn clear(&self, code: ProblemCode, subject: &str) {
        let key = (code, subject.to_owned());
        let mut inner = self.shared.inner.lock();
        let is_solved = inner.standing.remove(&key).is_some() | inner.omitted.remove(&key);
        drop(inner);
        if is_solved {
            info!(code = code.as_str(), subject, "problem solved");
        }
    }

    /// Removes all problems of a kind, as [`Self::clear`] removes one.
    pub fn clear_all(&self, code: ProblemCode) {
        let inner = self.shared.inner.lock();
        let keys = inner.standing.keys().chain(&inner.omitted);
        let subjects: Vec<_> =
            keys.filter(|key| key.0 == code).map(|(_, subject)| subject.clone()).collect();
        drop(inner);
        for subject in subjects {
            self.clear(code, &subject);
        }
    }

    /// Returns the losses in a file, which may belong to a running daemon. Blocks on the disk.
    ///
    /// # Errors
    /// If the file cannot be read, a sentence that says so.
    pub fn losses_in(path: &Path) -> Result<Vec<Problem>, String> {
        let losses = LossFile::read(path)
            .map_err(|error| format!("the losses in {} cannot be read: {error}", path.display()))?;
        let now = unix_ms();
        Ok(losses.iter().map(|loss| loss.as_problem(now)).collect())
    }

    /// Returns the losses by age, then the other problems by code and subject.
    pub fn list(&self) -> Vec<Problem> {
        let inner = self.shared.inner.lock();
        let now = unix_ms();
        let problem = |((code, subject), standing): (&(ProblemCode, String), &Standing)| Problem {
            code: code.as_str().to_owned(),
            subject: subject.clone(),
            text: standing.text.clone(),
            since_ms: standing.since.elapsed().as_millis() as u64,
        };
        let losses = inner.losses.iter().map(|loss| loss.as_problem(now));
        let mut problems: Vec<_> = losses.chain(inner.standing.iter().map(problem)).collect();
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
    /// Returns whether the loss or its text is new.
    fn add_loss(&mut self, code: ProblemCode, subject: &str, text: &str) -> bool {
        if let Some(known) = self.loss(code, subject) {
            if known.text == text {
                return false;
            }
            text.clone_into(&mut known.text);
        } else if self.losses.len() < MAX_LOSSES {
            self.push_loss(code, subject, text.to_owned());
        } else {
            let is_new = self.omitted_losses.len() < MAX_OMITTED
                && self.omitted_losses.insert((code, subject.to_owned()));
            if is_new {
                self.tell_more(code);
            }
            return is_new;
        }
        self.losses_changed();
        true
    }

    /// Tells of losses that found no place. The text is another one for each, so that only those
    /// that were shown can be acknowledged.
    fn tell_more(&mut self, code: ProblemCode) {
        let now = humantime::format_rfc3339_millis(SystemTime::now());
        let hint = code.acknowledge_hint();
        let text = format!("more losses, the last at {now}: see the log of the daemon. {hint}");
        match self.loss(code, MORE) {
            Some(known) => known.text = text,
            None => self.push_loss(code, MORE, text),
        }
        self.losses_changed();
    }

    fn loss(&mut self, code: ProblemCode, subject: &str) -> Option<&mut Loss> {
        self.losses.iter_mut().find(|known| known.code == code && known.subject == subject)
    }

    fn push_loss(&mut self, code: ProblemCode, subject: &str, text: String) {
        self.losses.push(Loss { code, subject: subject.to_owned(), text, began_at: unix_ms() });
    }

    /// Returns whether the problem or its text is new.
    fn add_problem(&mut self, code: ProblemCode, subject: &str, text: &str) -> bool {
        let full = self.standing.len() >= MAX_PROBLEMS;
        let key = (code, subject.to_owned());
        match self.standing.get_mut(&key) {
            Some(known) if known.text == text => return false,
            Some(known) => text.clone_into(&mut known.text),
            None if full => return self.omit(key),
            None => {
                let standing = Standing { text: text.to_owned(), since: Instant::now() };
                self.standing.insert(key, standing);
            }
        }
        true
    }

    fn omit(&mut self, key: (ProblemCode, String)) -> bool {
        self.omitted.len() < MAX_OMITTED && self.omitted.insert(key)
    }

    fn losses_changed(&self) {
        if let Some(unwritten) = &self.unwritten {
            unwritten.tell();
        }
    }
}

impl Shared {
    /// Writes the present losses, unless the file has them. Returns whether it does now.
    fn write_losses(&self) -> bool {
        let mut file = self.file.lock();
        let Some(file) = &mut *file else { return true };
        let losses = self.inner.lock().losses.clone();
        file.write(&losses)
    }
}

fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    since.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    const LOSS: ProblemCode = ProblemCode::HistoryIncomplete;

    fn texts(problems: &Problems) -> Vec<String> {
        problems.list().into_iter().map(|known| known.text).collect()
    }

    fn start(path: &Path) -> Problems {
        let problems = Problems::default();
        problems.keep_losses_in(path);
        problems
    }

    /// Writes losses as a daemon of an hour ago did, and one as a later version may.
    fn write_old(path: &Path) {
        let began_at = unix_ms() - 3_600_000;
        let losses = ["later_code", "history_incomplete"].map(
            |code| json!({ "code": code, "subject": "store", "text": code, "began_at": began_at }),
        );
        std::fs::write(path, serde_json::to_vec(&losses).unwrap()).unwrap();
    }

    #[tokio::test]
    async fn losses_outlive_restarts_until_acknowledged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("losses.json");
        let problems = start(&path);
        problems.raise(CODE, "archiver", "5 records");
        problems.losses_written().await;
        assert!(!path.exists(), "a problem is seen again if it lasts");
        for (part, text) in [("1", "lacks 1"), ("2", "lacks 2"), ("1", "lacks 1 to 3")] {
            problems.raise(LOSS, part, text);
        }
        assert!(problems.losses_written().await);
        assert_eq!(texts(&start(&path)), ["lacks 1 to 3", "lacks 2"], "one does not hide another");

        let problems = start(&path);
        let shown = |text: &str| [("1".to_owned(), text.to_owned())];
        assert!(!problems.acknowledge(ProblemCode::StoreMissing, &shown("lacks 1 to 3")));
        assert!(!problems.acknowledge(LOSS, &shown("lacks 1")));
        assert_eq!(texts(&problems), ["lacks 1 to 3", "lacks 2"], "nobody was shown these");
        assert!(problems.acknowledge(LOSS, &shown("lacks 1 to 3")));
        assert!(problems.losses_written().await);
        assert_eq!(texts(&problems), ["lacks 2"]);
        assert_eq!(texts(&start(&path)), ["lacks 2"]);
    }

    #[tokio::test]
    async fn losses_of_other_versions_are_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("losses.json");
        write_old(&path);
        let old = std::fs::read_to_string(&path).unwrap();
        let problems = start(&path);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), old, "a start changes nothing");
        let [known] = problems.list().try_into().unwrap();
        assert_eq!(known.text, "history_incomplete");
        assert!((3_600_000..3_700_000).contains(&known.since_ms), "{}", known.since_ms);
        problems.raise(LOSS, "comment store", "more");
        problems.losses_written().await;
        let written = std::fs::read_to_string(&path).unwrap();
        for text in ["later_code", "history_incomplete", "more"] {
            assert!(written.contains(text), "{text}: {written}");
        }
    }

    #[tokio::test]
    async fn a_damaged_file_is_kept_aside_and_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("losses.json");
        for (content, aside) in [("no losses", "damaged"), ("[", "damaged-2")] {
            std::fs::write(&path, content).unwrap();
            let problems = start(&path);
            let told = texts(&problems).pop().unwrap();
            assert!(told.contains(&format!("losses.json.{aside}")), "{told}");
            problems.losses_written().await;
            let moved = directory.path().join(format!("losses.json.{aside}"));
            assert_eq!(std::fs::read_to_string(moved).unwrap(), content);
            assert_eq!(texts(&start(&path)), texts(&problems), "told until acknowledged");
        }
    }

    #[tokio::test]
    async fn a_failed_write_is_tried_again() {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().join("away");
        let path = folder.join("losses.json");
        let problems = start(&path);
        problems.raise(LOSS, "comment store", "lacks 1");
        assert!(!problems.losses_written().await);
        std::fs::create_dir(&folder).unwrap();
        let deadline = std::time::Instant::now() + 6 * RETRY_AFTER;
        while !path.exists() {
            assert!(std::time::Instant::now() < deadline, "never written");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(texts(&start(&path)), ["lacks 1"]);
    }

    #[tokio::test]
    async fn other_problems_take_no_place_of_a_loss() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("losses.json");
        let problems = start(&path);
        (0..2 * MAX_PROBLEMS).for_each(|n| problems.raise(CODE, &n.to_string(), "lost"));
        (0..2 * MAX_LOSSES).for_each(|n| problems.raise(LOSS, &n.to_string(), "lost"));
        assert!(problems.losses_written().await);
        assert_eq!(problems.list().len(), MAX_LOSSES + 1 + MAX_PROBLEMS + 1);
        let problems = start(&path);
        let more = problems.list().pop().unwrap();
        assert_eq!((problems.list().len(), &*more.subject), (MAX_LOSSES + 1, MORE));
        problems.raise(LOSS, "later", "lost");
        let shown = [(MORE.to_owned(), more.text)];
        assert!(!problems.acknowledge(LOSS, &shown), "nobody was shown the later one");
        let shown = [(MORE.to_owned(), texts(&problems).pop().unwrap())];
        assert!(problems.acknowledge(LOSS, &shown));
        assert_eq!(problems.list().len(), MAX_LOSSES);
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
