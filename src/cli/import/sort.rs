//! Orders events by time in bounded memory: sorted runs in unnamed files, merged at the end.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Lines, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use zstd::stream::read::Decoder;
use zstd::stream::write::Encoder;

use crate::cli::keyed::Keyed;
use crate::loadgen::recording::RecordedEvent;

/// Collects events, and returns them in the order of their times. Events of one time keep their
/// order.
#[derive(Debug)]
pub(super) struct EventSorter {
    folder: PathBuf,
    run_events: usize,
    events: Vec<(i64, RecordedEvent)>,
    runs: Vec<File>,
}

/// A run that is read back.
type Run = Lines<BufReader<Decoder<'static, BufReader<File>>>>;

impl EventSorter {
    /// Events in memory, at about 300 bytes each.
    pub(super) const RUN_EVENTS: usize = 200_000;

    /// Keeps runs of `run_events` events in a folder.
    pub(super) fn new(folder: &Path, run_events: usize) -> Self {
        Self { folder: folder.to_owned(), run_events, events: Vec::new(), runs: Vec::new() }
    }

    /// # Errors
    /// A run cannot be written.
    pub(super) fn add(&mut self, at_us: i64, event: RecordedEvent) -> anyhow::Result<()> {
        self.events.push((at_us, event));
        if self.events.len() >= self.run_events {
            self.write_run()?;
        }
        Ok(())
    }

    fn write_run(&mut self) -> anyhow::Result<()> {
        self.events.sort_by_key(|(at_us, _)| *at_us);
        let process = std::process::id();
        let path = self.folder.join(format!(".lc-import-{process}-{}", self.runs.len()));
        let named = || format!("a run of the sort in {}", self.folder.display());
        let open = File::options().read(true).write(true).create_new(true).open(&path);
        let file = open.with_context(named)?;
        // Without a name it is gone with this process, however that ends.
        fs::remove_file(&path).with_context(named)?;
        let mut run = Encoder::new(BufWriter::new(file), 1).with_context(named)?;
        for (at_us, event) in self.events.drain(..) {
            write!(run, "{at_us} ").with_context(named)?;
            run.write_all(&event.to_line()).with_context(named)?;
        }
        let written = run.finish().and_then(|run| run.into_inner().map_err(Into::into));
        self.runs.push(written.with_context(named)?);
        Ok(())
    }

    /// Calls `take` with each event in order.
    ///
    /// # Errors
    /// A run cannot be read back, or `take` fails.
    pub(super) fn for_each(
        mut self,
        mut take: impl FnMut(i64, RecordedEvent) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        if self.runs.is_empty() {
            self.events.sort_by_key(|(at_us, _)| *at_us);
            return self.events.into_iter().try_for_each(|(at_us, event)| take(at_us, event));
        }
        if !self.events.is_empty() {
            self.write_run()?;
        }
        let mut runs = Vec::with_capacity(self.runs.len());
        // The next event of each run, ordered by time and then by the run.
        let mut first = BinaryHeap::new();
        for (number, mut file) in self.runs.drain(..).enumerate() {
            file.seek(SeekFrom::Start(0))?;
            let mut run: Run = BufReader::new(Decoder::new(file)?).lines();
            if let Some((at_us, event)) = next_of(&mut run)? {
                first.push(Reverse(Keyed { key: (at_us, number), value: event }));
            }
            runs.push(run);
        }
        while let Some(Reverse(Keyed { key: (at_us, number), value })) = first.pop() {
            take(at_us, value)?;
            if let Some((at_us, event)) = next_of(&mut runs[number])? {
                first.push(Reverse(Keyed { key: (at_us, number), value: event }));
            }
        }
        Ok(())
    }
}

fn next_of(run: &mut Run) -> anyhow::Result<Option<(i64, RecordedEvent)>> {
    let Some(line) = run.next() else { return Ok(None) };
    let line = line.context("a run of the sort cannot be read back")?;
    let parsed = line.split_once(' ').and_then(|(at_us, event)| {
        Some((at_us.parse().ok()?, RecordedEvent::parse(event.as_bytes()).ok()?))
    });
    Ok(Some(parsed.context("a run of the sort is damaged")?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::loadgen::recording::RecordedDeletion;

    fn event(number: usize) -> RecordedEvent {
        let id = number.to_string().into();
        RecordedEvent::Deletion(RecordedDeletion { ts_ms: 0, id, reason: None })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn runs_are_merged_into_one_stable_order(
            times in proptest::collection::vec(-50_i64..50, 0..200),
            run_events in 1_usize..60,
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut sorter = EventSorter::new(dir.path(), run_events);
            for (number, at_us) in times.iter().enumerate() {
                sorter.add(*at_us, event(number)).unwrap();
            }
            let mut sorted = Vec::new();
            sorter
                .for_each(|at_us, event| {
                    sorted.push((at_us, event));
                    Ok(())
                })
                .unwrap();
            let mut expected: Vec<_> =
                times.iter().enumerate().map(|(number, at_us)| (*at_us, event(number))).collect();
            expected.sort_by_key(|(at_us, _)| *at_us);
            prop_assert_eq!(sorted, expected);
            prop_assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no file stays");
        }
    }
}
