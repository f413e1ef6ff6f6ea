//! The report of `scripts/million`, written from the files that the script measures into.
//!
//! In: a directory with the files below. Out: markdown, and a list of shortfalls: figures that
//! differ from what a successful run must have. Always holds: the report contains only what was
//! measured; a missing figure is an error.
//!
//! | file | lines |
//! |---|---|
//! | `facts` | `NAME VALUE`: the machine, the options and the outcome of the ban |
//! | `marks` | `MARK NAME VALUE`: figures at a moment of the run |
//! | `samples` | one per second: time in µs, available memory in KiB, pages in TCP's queues |
//! | `seen` | time in µs, and what the banned viewer saw |
//! | `loadgen.json` | the report of `lc loadgen` |
//! | `ban.json` | the answer to `lc ban` |

mod checks;
mod costs;
mod markdown;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context as _, anyhow};
use serde_json::Value;

use super::report::Report;
use crate::plan::check::MeasuredRun;
use crate::plan::costs::{Cost, CostName};

/// Everything that a run of `scripts/million` measured.
#[derive(Debug)]
pub struct MillionRun {
    facts: HashMap<String, String>,
    /// By mark and name.
    marks: HashMap<(String, String), i64>,
    memory: MemoryExtremes,
    ban: BanOutcome,
    load: Report,
}

/// Extremes of the samples.
#[derive(Debug, Default)]
struct MemoryExtremes {
    least_available_kib: i64,
    most_tcp_pages: i64,
}

/// The comments that the banned viewer saw, and the answer of the command.
#[derive(Debug, Default)]
struct BanOutcome {
    comments_before: i64,
    comments_after: i64,
    connections_closed: Option<i64>,
}

impl MillionRun {
    /// Reads the files of a run.
    ///
    /// # Errors
    /// A file is missing or malformed.
    pub fn read(directory: &Path) -> anyhow::Result<Self> {
        let text = |name: &str| {
            let path = directory.join(name);
            std::fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let json = |name: &str| -> anyhow::Result<Value> {
            serde_json::from_str(&text(name)?).with_context(|| format!("{name} is not JSON"))
        };
        let load = serde_json::from_value(json("loadgen.json")?)
            .context("loadgen.json is not a report of lc loadgen")?;
        let mut ban = parse_seen(&text("seen")?);
        ban.connections_closed = json("ban.json").ok().and_then(|ban| ban["connections"].as_i64());
        Ok(Self {
            facts: parse_facts(&text("facts")?),
            marks: parse_marks(&text("marks")?)?,
            memory: parse_samples(&text("samples")?)?,
            ban,
            load,
        })
    }

    /// Returns a sentence per figure that a successful run does not have.
    ///
    /// # Errors
    /// A fact is missing.
    pub fn shortfalls(&self) -> anyhow::Result<Vec<String>> {
        let viewers: i64 = self.fact("viewers")?;
        let comments: i64 = self.fact("comments")?;
        let before_ban: i64 = self.fact("comments_before_ban")?;
        let load = &self.load;
        let mut shortfalls = Vec::new();
        let mut require = |what: &str, got: i64, wanted: i64| {
            if got != wanted {
                shortfalls.push(format!("{what}: {got} instead of {wanted}"));
            }
        };
        require("viewers connected by the generator", load.connected as i64, viewers - 1);
        require("viewers disconnected", load.disconnected as i64, 0);
        require("reconnects", load.reconnects as i64, 0);
        require("comments acknowledged", load.acked as i64, comments);
        let delivered = load.delivered as i64;
        require(
            "comments delivered to the generator's viewers",
            delivered,
            comments * (viewers - 1),
        );
        require("comments lost", load.lost as i64, 0);
        require("comments duplicated", load.duplicated as i64, 0);
        require("comments out of order", load.out_of_order as i64, 0);
        let seen = self.ban.comments_before;
        // On a slow machine the next comment may have been sent before the ban.
        if !(before_ban..comments).contains(&seen) {
            require("comments seen by the banned viewer before the ban", seen, before_ban);
        }
        require("comments seen by the banned viewer after the ban", self.ban.comments_after, 0);
        require("connections closed by the ban", self.ban.connections_closed.unwrap_or(0), 1);
        if self.text("ban_ms")?.is_empty() {
            shortfalls.push("the banned viewer was not told of its ban".to_owned());
        }
        let second_attempt = self.text("second_attempt")?;
        if !second_attempt.starts_with("refused") {
            shortfalls.push(format!("the banned viewer's next attempt: {second_attempt}"));
        }
        Ok(shortfalls)
    }

    /// Writes the report.
    ///
    /// # Errors
    /// A figure is missing.
    pub fn markdown(&self) -> anyhow::Result<String> {
        markdown::write(self)
    }

    /// Returns the costs that the run measured.
    ///
    /// # Errors
    /// A figure is missing.
    pub fn costs(&self) -> anyhow::Result<Vec<(CostName, Cost)>> {
        costs::of(self)
    }

    /// Returns the loads of the run, for a comparison with their plans.
    ///
    /// # Errors
    /// A figure is missing.
    pub fn checks(&self) -> anyhow::Result<Vec<MeasuredRun>> {
        checks::of(self)
    }

    fn text(&self, name: &str) -> anyhow::Result<&str> {
        let fact = self.facts.get(name).ok_or_else(|| anyhow!("there is no fact {name}"))?;
        Ok(fact)
    }

    fn fact<T: FromStr>(&self, name: &str) -> anyhow::Result<T> {
        let text = self.text(name)?;
        text.parse().map_err(|_| anyhow!("the fact {name} is not a number: {text}"))
    }

    fn at(&self, mark: &str, name: &str) -> anyhow::Result<i64> {
        let key = (mark.to_owned(), name.to_owned());
        self.marks.get(&key).copied().ok_or_else(|| anyhow!("there is no {name} at {mark}"))
    }

    /// Returns how much a figure grew from one mark to another.
    fn growth(&self, from: &str, to: &str, name: &str) -> anyhow::Result<i64> {
        Ok(self.at(to, name)? - self.at(from, name)?)
    }
}

fn parse_facts(text: &str) -> HashMap<String, String> {
    let fact = |line: &str| {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        (name.to_owned(), value.trim().to_owned())
    };
    text.lines().filter(|line| !line.is_empty()).map(fact).collect()
}

fn parse_marks(text: &str) -> anyhow::Result<HashMap<(String, String), i64>> {
    let mut marks = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split_whitespace();
        let mut field = || fields.next().with_context(|| format!("a mark lacks a field: {line}"));
        let key = (field()?.to_owned(), field()?.to_owned());
        let value = field()?.parse().with_context(|| format!("a mark is not a number: {line}"))?;
        marks.entry(key).or_insert(value);
    }
    Ok(marks)
}

fn parse_samples(text: &str) -> anyhow::Result<MemoryExtremes> {
    let mut extremes = MemoryExtremes::default();
    for (number, line) in text.lines().enumerate() {
        let fields: Result<Vec<i64>, _> = line.split_whitespace().map(str::parse).collect();
        let fields = fields.with_context(|| format!("a sample is not numeric: {line}"))?;
        let [_, available, tcp_pages, ..] = fields[..] else {
            anyhow::bail!("a sample lacks a field: {line}");
        };
        let least = if number == 0 { available } else { extremes.least_available_kib };
        extremes.least_available_kib = least.min(available);
        extremes.most_tcp_pages = extremes.most_tcp_pages.max(tcp_pages);
    }
    Ok(extremes)
}

fn parse_seen(text: &str) -> BanOutcome {
    let mut ban = BanOutcome::default();
    let mut banned = false;
    for what in text.lines().filter_map(|line| line.split_whitespace().nth(1)) {
        match what {
            "banned" => banned = true,
            "comment" if banned => ban.comments_after += 1,
            "comment" => ban.comments_before += 1,
            _ => {}
        }
    }
    ban
}
