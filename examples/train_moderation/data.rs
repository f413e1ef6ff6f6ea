//! The files of the data folder, and which of their rows are for what.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, ensure};
use live_comments::classifier::Task;
use live_comments::classifier::recipe::{choose_chat, expand};
use live_comments::classifier::samples::{DecidedSamples, Sample, read_decisions, read_samples};
use sha2::{Digest as _, Sha256};

/// Data sets whose terms are not settled; they are used only if the command names them.
const UNSETTLED: [&str; 2] = ["conda", "cad"];
/// The seed of the sentences made of templates.
const IDENTITIES_SEED: u64 = 42;
/// One part in so many is held out.
const PARTS: u64 = 5;

/// A log of ordinary chat, and how many of its lines a model learns from.
#[derive(Debug, Clone, Copy)]
struct ChatLog {
    name: &'static str,
    most_learned: usize,
}

const CHATS: [ChatLog; 3] = [
    ChatLog { name: "chat_open_northernlion_fallguys", most_learned: 0 },
    ChatLog { name: "chat_open_chatdownloader_examples", most_learned: 4_000 },
    ChatLog { name: "chat_open_ubuntu_irc_60days", most_learned: 8_000 },
];
/// Percent of a log's lines, from its beginning, that models may learn from. No model learns from a
/// log that has no `most_learned`.
const LEARNED_PERCENT: usize = 60;
/// Percent of a log's lines before its measured part; thresholds are fitted to those between.
const FITTED_PERCENT: usize = 75;

/// Files of `models/lines`, by task.
const WRITTEN: [(Task, &[&str]); 2] = [
    (Task::Toxicity, &["game_chat", "exclamations"]),
    (Task::Spam, &["promotion", "viewer_sellers", "technical_chat"]),
];
/// Sources of lines that were written after a look at a log, and that log: a network that is to
/// show what it makes of a log that it never saw does not learn from them.
const WRITTEN_AFTER: [(&str, &str); 2] = [
    ("technical_chat", "chat_open_ubuntu_irc_60days"),
    ("word_toxic", "chat_open_northernlion_fallguys"),
];
/// Toxic texts of the evasion suite. No model learns from them.
const EVASION_SUITE: &str = "fixtures/moderation/toxic_texts.jsonl";
/// Sentences about groups of people, all harmless. No model learns from them.
const IDENTITIES: &str = "models/bias/identities.jsonl";

/// Ordinary chat in the order in which it was written, in three parts.
#[derive(Debug)]
pub(crate) struct Chat {
    pub(crate) name: &'static str,
    lines: Vec<Sample>,
    most_learned: usize,
}

impl Chat {
    fn part(&self, from_percent: usize, to_percent: usize) -> &[Sample] {
        let at = |percent: usize| self.lines.len() * percent / 100;
        &self.lines[at(from_percent)..at(to_percent)]
    }

    fn learned(&self) -> &[Sample] {
        if self.most_learned == 0 { &[] } else { self.part(0, LEARNED_PERCENT) }
    }

    /// Returns the lines that thresholds are fitted to.
    pub(crate) fn fitted(&self) -> &[Sample] {
        self.part(if self.most_learned == 0 { 0 } else { LEARNED_PERCENT }, FITTED_PERCENT)
    }

    /// Returns the lines that neither models nor thresholds have seen.
    pub(crate) fn measured(&self) -> &[Sample] {
        self.part(FITTED_PERCENT, 100)
    }

    pub(crate) fn all(&self) -> &[Sample] {
        &self.lines
    }
}

/// All texts.
pub(crate) struct Data {
    labelled: [Vec<Sample>; 2],
    /// Texts of the evasion suite.
    suite: HashSet<String>,
    written: [Vec<Sample>; 2],
    pub(crate) chats: Vec<Chat>,
    pub(crate) identities: Vec<Sample>,
}

impl Data {
    /// Reads the folder, and decisions of persons, which are rows as those of the data sets are.
    /// Prints how many of the decisions are rows.
    ///
    /// # Errors
    /// A file cannot be read, or none of the decisions is a row.
    pub(crate) fn read(folder: &Path, decisions: Option<&Path>) -> anyhow::Result<Self> {
        let file = |name: &str| read(&folder.join(format!("{name}.jsonl.gz")));
        let chat = |ChatLog { name, most_learned }| {
            file(name).map(|lines| Chat { name, lines, most_learned })
        };
        let chats = CHATS.into_iter().map(chat).collect::<Result<_, _>>()?;
        let suite: HashSet<String> =
            shipped(EVASION_SUITE)?.into_iter().map(|sample| sample.text).collect();
        let mut labelled = [file("toxicity_train")?, file("spam_train")?];
        if let Some(path) = decisions {
            for (rows, decided) in labelled.iter_mut().zip(read_decided(path)?) {
                rows.extend(decided);
            }
        }
        Ok(Self {
            labelled,
            suite,
            written: [written(Task::Toxicity)?, written(Task::Spam)?],
            chats,
            identities: expand(&shipped(IDENTITIES)?, IDENTITIES_SEED),
        })
    }

    pub(crate) fn labelled(&self, task: Task) -> &[Sample] {
        &self.labelled[task as usize]
    }

    /// Returns the lines written for this project, without those that one log led to.
    pub(crate) fn written(&self, task: Task, without: Option<usize>) -> Vec<Sample> {
        let log = without.map(|number| self.chats[number].name);
        let is_after = |sample: &&Sample| {
            WRITTEN_AFTER.iter().any(|(source, of)| *source == sample.source && Some(*of) == log)
        };
        self.written[task as usize].iter().filter(|sample| !is_after(sample)).cloned().collect()
    }

    /// Reports whether networks may learn from a text.
    pub(crate) fn may_train_on(&self, sample: &Sample, with: &[String]) -> bool {
        is_allowed(&sample.source, with) && !self.suite.contains(&sample.text)
    }

    /// Returns the chat lines that a model learns from, without those of one log.
    pub(crate) fn chat(&self, without: Option<usize>) -> Vec<&Sample> {
        let logs = self.chats.iter().enumerate();
        logs.filter(|(number, _)| Some(*number) != without)
            .flat_map(|(number, log)| choose_chat(log.learned(), log.most_learned, number as u64))
            .collect()
    }

    /// Returns the logs that thresholds are fitted to, without one.
    pub(crate) fn fitted_chats(&self, without: Option<usize>) -> impl Iterator<Item = &Chat> {
        let logs = self.chats.iter().enumerate();
        logs.filter(move |(number, _)| Some(*number) != without).map(|(_, log)| log)
    }

    /// Returns the names of the data sets of a task.
    pub(crate) fn sources(&self, task: Task) -> BTreeSet<&str> {
        self.labelled(task).iter().map(|sample| sample.source.as_str()).collect()
    }

    /// Returns the names of everything that a task's networks learn from.
    pub(crate) fn sources_for(&self, task: Task, with: &[String]) -> Vec<String> {
        let allowed = |name: &&str| is_allowed(name, with);
        let labelled = self.sources(task).into_iter().filter(allowed).map(str::to_owned);
        let written = WRITTEN.iter().filter(|(of, _)| *of == task).flat_map(|(_, names)| *names);
        let chats = CHATS.iter().filter(|log| log.most_learned > 0).map(|log| log.name.to_owned());
        labelled.chain(chats).chain(written.map(|name| (*name).to_owned())).collect()
    }
}

fn written(task: Task) -> anyhow::Result<Vec<Sample>> {
    let mut lines = Vec::new();
    for name in WRITTEN.iter().filter(|(of, _)| *of == task).flat_map(|(_, names)| *names) {
        lines.extend(shipped(&format!("models/lines/{name}.jsonl"))?);
    }
    Ok(lines)
}

/// Reads a file of this repository.
fn shipped(path: &str) -> anyhow::Result<Vec<Sample>> {
    read(&Path::new(env!("CARGO_MANIFEST_DIR")).join(path))
}

fn read(path: &Path) -> anyhow::Result<Vec<Sample>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    read_samples(file).map_err(|error| anyhow::anyhow!(error.in_file(path)))
}

fn read_decided(path: &Path) -> anyhow::Result<[Vec<Sample>; 2]> {
    let shown = path.display();
    let file = File::open(path).with_context(|| format!("cannot read {shown}"))?;
    let decided = read_decisions(file).map_err(|error| anyhow::anyhow!(error.in_file(path)))?;
    let DecidedSamples { of_tasks, passed_over } = decided;
    for (task, rows) in Task::ALL.iter().zip(&of_tasks) {
        println!("decisions about {}: {}", task.as_str(), rows.len());
    }
    println!("decisions passed over, without a task or not of a person: {passed_over}");
    let is_row = of_tasks.iter().any(|rows| !rows.is_empty());
    ensure!(is_row, "{shown}: no line has a task and was decided by a person");
    Ok(of_tasks)
}

fn is_allowed(source: &str, with: &[String]) -> bool {
    !UNSETTLED.contains(&source) || with.iter().any(|name| name == source)
}

/// Reports whether a text is in the fifth that is held out. Texts that differ only in case, spaces
/// and signs are on the same side.
pub(crate) fn is_held_out(sample: &Sample) -> bool {
    let lower = sample.text.to_lowercase();
    let key: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
    let digest = Sha256::digest(format!("held-out|{key}"));
    let number = digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte));
    number.is_multiple_of(PARTS)
}
