//! `lc import FILE…`: makes recordings from the exports of other tools.
//!
//! In: JSON of chat-downloader, TwitchDownloader, or YouTube's live chat, compressed or not. Out:
//! a recording per file, and a summary that counts what could not be used, by reason. Always holds:
//! comments are in the order of their times, and each author stays one user. When full: memory
//! holds one item of at most 16 MiB ([`items`]), one run of the sort ([`sort`]), and 8 bytes per
//! author, whatever the size of the file.
//!
//! Parts: [`items`] splits a file into items, [`platform`] reads an item, [`placement`] finds its
//! time, and [`sort`] orders them.

mod items;
mod placement;
mod platform;
mod sort;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;

use super::arguments::path;
use super::context::Context;
use super::exit::UsageError;
use super::output::note;
use super::progress::ProgressLine;
use crate::loadgen::ProgressSink as _;
use crate::loadgen::recording::{
    RECORDING_VERSION, RecordedComment, RecordedDeletion, RecordedEvent, RecordingHeader,
    RecordingWriter,
};
use crate::protocol::quantity::{counted, show_bytes, show_count, show_duration};

use items::{ItemSink, Place, ReadBytes, read_items};
use placement::Placement;
use platform::{Imported, ImportedEvent, read_item};
use sort::EventSorter;

/// A comment is cut to this, which is what a daemon accepts by default.
const MAX_CHARS: usize = 500;
const MAX_BYTES: usize = 2_000;
/// Items between two updates of the progress.
const PROGRESS_ITEMS: u64 = 4_096;

/// Make recordings from the exports of other chat tools
///
/// Reads JSON of chat-downloader, TwitchDownloader, and YouTube's live chat. Files may be
/// compressed with gzip or zstd, and are not loaded into memory. What cannot be used is counted by
/// reason, with the place of the first. Exit codes: 0 success, 1 a file cannot be read or has no
/// comments, 64 wrong usage.
#[derive(Debug, Clone, Args)]
pub(super) struct ImportArgs {
    /// Exports, in any of the forms
    #[arg(value_name = "FILE", value_parser = path, required = true)]
    files: Vec<PathBuf>,

    /// The new recording, for one FILE [default: FILE.lcr in the current directory]
    #[arg(long, short, value_name = "FILE", value_parser = path)]
    output: Option<PathBuf>,
}

/// The result of importing a file.
#[derive(Debug, PartialEq, Serialize)]
struct ImportSummary {
    file: String,
    output: String,
    comments: u64,
    deletions: u64,
    users: u64,
    duration_ms: u64,
    /// Comments that were longer than a daemon accepts by default.
    cut: u64,
    /// Items that were not used, by reason.
    skipped: BTreeMap<&'static str, Skipped>,
}

/// Items that were not used for one reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Skipped {
    count: u64,
    /// The place of the first: a line, or a byte of the file as it is uncompressed.
    first: Place,
}

pub(super) fn run(args: &ImportArgs, context: &Context) -> anyhow::Result<ExitCode> {
    if args.files.len() > 1 && args.output.is_some() {
        let files = args.files.len();
        let text = format!("--output names one recording, and {files} files are given");
        return Err(UsageError(text).into());
    }
    let mut code = ExitCode::SUCCESS;
    for file in &args.files {
        let output = match &args.output {
            Some(output) => output.clone(),
            // Absolute, so that the summary says where the recording is.
            None => std::path::absolute(recording_name(file))?,
        };
        let progress = ProgressLine::new();
        let summary = import(file, &output, &progress)?;
        drop(progress);
        if summary.comments == 0 {
            note(&format!("lc: {} has no comments that can be used", file.display()));
            code = ExitCode::FAILURE;
        }
        context.output().result(&summary, || format_summary(&summary))?;
    }
    Ok(code)
}

/// Returns the name of the file without the endings of its form and of its compression, and with
/// `.lcr`.
fn recording_name(file: &Path) -> PathBuf {
    let name = file.file_name().map_or(file, Path::new);
    let compressed = name.extension().is_some_and(|ending| ending == "gz" || ending == "zst");
    let name = if compressed { name.with_extension("") } else { name.to_owned() };
    name.with_extension("lcr")
}

/// Reads a file and writes its recording. Without comments no recording is written.
fn import(file: &Path, output: &Path, progress: &ProgressLine) -> anyhow::Result<ImportSummary> {
    if output.exists() {
        anyhow::bail!("{} exists; name another --output", output.display());
    }
    let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let size = fs::metadata(file).map_or(0, |metadata| metadata.len());
    let read = ReadBytes::default();
    let mut importer = Importer {
        sorter: EventSorter::new(folder, EventSorter::RUN_EVENTS),
        placement: Placement::default(),
        users: ahash::AHashSet::new(),
        items: 0,
        comments: 0,
        deletions: 0,
        cut: 0,
        skipped: BTreeMap::new(),
        progress,
        read: read.clone(),
        size,
    };
    read_items(file, &read, &mut importer).with_context(|| file.display().to_string())?;
    let mut summary = ImportSummary {
        file: file.display().to_string(),
        output: output.display().to_string(),
        comments: importer.comments,
        deletions: importer.deletions,
        users: importer.users.len() as u64,
        duration_ms: 0,
        cut: importer.cut,
        skipped: importer.skipped,
    };
    if summary.comments > 0 {
        let source = file.file_name().unwrap_or_default().to_string_lossy();
        summary.duration_ms = write(importer.sorter, output, &source, &importer.placement)?;
    }
    Ok(summary)
}

/// Writes the events in order. Returns the time of the last. A recording has its name only once it
/// is complete.
fn write(
    sorter: EventSorter,
    output: &Path,
    source: &str,
    placement: &Placement,
) -> anyhow::Result<u64> {
    let name = output.file_name().context("the output has no file name")?;
    let unfinished = output.with_file_name(format!(".import-{}", name.to_string_lossy()));
    // An import that was killed may have left it.
    let _ = fs::remove_file(&unfinished);
    let mut writer = RecordingWriter::create(&unfinished)?;
    let mut start_us = None;
    let mut last_ms = 0;
    let written = sorter.for_each(|at_us, mut event| {
        if start_us.is_none() {
            let date_us = placement.date_us(at_us);
            let started_at_ms = date_us.and_then(|date_us| u64::try_from(date_us / 1_000).ok());
            writer.write_event(&RecordedEvent::Header(RecordingHeader {
                version: RECORDING_VERSION,
                source: source.to_owned(),
                started_at_ms,
                rules: None,
            }))?;
        }
        let start_us = *start_us.get_or_insert(at_us);
        last_ms = u64::try_from(at_us.saturating_sub(start_us) / 1_000).unwrap_or_default();
        event.set_time(last_ms);
        Ok(writer.write_event(&event)?)
    });
    let finished = written.and_then(|()| Ok(writer.finish()?));
    if let Err(error) = finished.and_then(|()| Ok(fs::rename(&unfinished, output)?)) {
        let _ = fs::remove_file(&unfinished);
        return Err(error);
    }
    Ok(last_ms)
}

/// Takes the items of a file.
struct Importer<'a> {
    sorter: EventSorter,
    placement: Placement,
    /// Hashes of the senders.
    users: ahash::AHashSet<u64>,
    items: u64,
    comments: u64,
    deletions: u64,
    cut: u64,
    skipped: BTreeMap<&'static str, Skipped>,
    progress: &'a ProgressLine,
    read: ReadBytes,
    size: u64,
}

impl ItemSink for Importer<'_> {
    fn item(&mut self, json: &str, place: Place) -> anyhow::Result<()> {
        self.items += 1;
        if self.items.is_multiple_of(PROGRESS_ITEMS) && self.progress.is_shown() {
            let read = show_bytes(self.read.get());
            let size = show_bytes(self.size);
            let comments = show_count(self.comments);
            self.progress.show(format!("{read} of {size} read, {comments} comments"));
        }
        match serde_json::from_str(json) {
            Ok(value) => {
                for imported in read_item(&value) {
                    match imported {
                        Imported::Event(event) => self.add(event, place)?,
                        Imported::Skipped(reason) => self.skipped(reason, place),
                    }
                }
            }
            Err(_) => self.skipped("not JSON", place),
        }
        Ok(())
    }

    fn skipped(&mut self, reason: &'static str, place: Place) {
        self.skipped.entry(reason).or_insert(Skipped { count: 0, first: place }).count += 1;
    }
}

impl Importer<'_> {
    fn add(&mut self, event: ImportedEvent, place: Place) -> anyhow::Result<()> {
        let Some(at_us) = self.placement.place(event.time()) else {
            self.skipped("without a time", place);
            return Ok(());
        };
        let event = match event {
            ImportedEvent::Comment(comment) => {
                let text = cut(&comment.text);
                self.cut += u64::from(text.len() < comment.text.len());
                if text.trim().is_empty() {
                    self.skipped("without text", place);
                    return Ok(());
                }
                self.comments += 1;
                self.users
                    .insert(ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(&comment.user_key));
                RecordedEvent::Comment(RecordedComment {
                    ts_ms: 0,
                    id: comment.id.map(Into::into),
                    user: comment.user.into(),
                    user_id: None,
                    user_key: Some(comment.user_key.into()),
                    text: text.into(),
                    moderation: None,
                    moderation_s: None,
                })
            }
            ImportedEvent::Deletion(deletion) => {
                self.deletions += 1;
                RecordedEvent::Deletion(RecordedDeletion {
                    ts_ms: 0,
                    id: deletion.id.into(),
                    reason: deletion.reason,
                })
            }
        };
        self.sorter.add(at_us, event)
    }
}

/// Returns the part of a text that a daemon accepts by default.
fn cut(text: &str) -> &str {
    let by_chars = text.char_indices().nth(MAX_CHARS).map_or(text.len(), |(at, _)| at);
    &text[..text.floor_char_boundary(by_chars.min(MAX_BYTES))]
}

fn format_summary(summary: &ImportSummary) -> String {
    let ImportSummary { output, comments, deletions, users, duration_ms, cut, .. } = summary;
    let length = show_duration(*duration_ms);
    let comments = counted(*comments, "comment");
    let users = counted(*users, "user");
    let deletions = counted(*deletions, "deletion");
    let mut text = format!("{output}: {comments} of {users} in {length}, {deletions}\n");
    if *cut > 0 {
        let cut = counted(*cut, "comment");
        text.push_str(&format!("  cut to {MAX_CHARS} characters: {cut}\n"));
    }
    for (reason, Skipped { count, first }) in &summary.skipped {
        text.push_str(&format!("  {count} skipped: {reason} (first at {first})\n"));
    }
    text
}
