//! The files of the data folder, and which of their rows are for what.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

use anyhow::Context as _;
use live_comments::classifier::Task;
use live_comments::classifier::recipe::choose_chat;
use live_comments::classifier::samples::{Sample, read_samples};
use sha2::{Digest as _, Sha256};

/// Data sets whose terms are not settled; they are used only if the command names them.
const UNSETTLED: [&str; 2] = ["conda", "cad"];
/// One part in so many is held out.
const PARTS: u64 = 5;

/// Logs of ordinary chat, and how many of their lines a model learns from.
pub(crate) const CHATS: [(&str, usize); 2] =
    [("chat_open_chatdownloader_examples", 4_000), ("chat_open_ubuntu_irc_60days", 8_000)];
/// The log that thresholds are fitted to. No model learns from it.
const CALIBRATION: &str = "chat_open_northernlion_fallguys";

/// Files of `models/lines`, by task.
const WRITTEN: [(Task, &[&str]); 2] = [
    (Task::Toxicity, &["game_chat", "exclamations"]),
    (Task::Spam, &["promotion", "viewer_sellers"]),
];

/// All texts.
pub(crate) struct Data {
    labelled: [Vec<Sample>; 2],
    written: [Vec<Sample>; 2],
    pub(crate) chats: Vec<Vec<Sample>>,
    pub(crate) calibration: Vec<Sample>,
}

impl Data {
    pub(crate) fn read(folder: &Path) -> anyhow::Result<Self> {
        let file = |name: &str| read(&folder.join(format!("{name}.jsonl.gz")));
        let chats = CHATS.iter().map(|(name, _)| file(name)).collect::<Result<_, _>>()?;
        Ok(Self {
            labelled: [file("toxicity_train")?, file("spam_train")?],
            written: [written(Task::Toxicity)?, written(Task::Spam)?],
            chats,
            calibration: file(CALIBRATION)?,
        })
    }

    pub(crate) fn labelled(&self, task: Task) -> &[Sample] {
        &self.labelled[task as usize]
    }

    pub(crate) fn written(&self, task: Task) -> &[Sample] {
        &self.written[task as usize]
    }

    /// Returns the chat lines that a model learns from, without those of one log.
    pub(crate) fn chat(&self, without: Option<usize>) -> Vec<&Sample> {
        let logs = self.chats.iter().zip(CHATS).enumerate();
        logs.filter(|(number, _)| Some(*number) != without)
            .flat_map(|(number, (log, (_, most)))| choose_chat(log, most, number as u64))
            .collect()
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
        let chats = CHATS.iter().map(|(name, _)| (*name).to_owned());
        labelled.chain(chats).chain(written.map(|name| (*name).to_owned())).collect()
    }
}

fn written(task: Task) -> anyhow::Result<Vec<Sample>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/lines");
    let mut lines = Vec::new();
    for name in WRITTEN.iter().filter(|(of, _)| *of == task).flat_map(|(_, names)| *names) {
        lines.extend(read(&folder.join(format!("{name}.jsonl")))?);
    }
    Ok(lines)
}

fn read(path: &Path) -> anyhow::Result<Vec<Sample>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    read_samples(file).map_err(|error| anyhow::anyhow!(error.in_file(path)))
}

fn is_allowed(source: &str, with: &[String]) -> bool {
    !UNSETTLED.contains(&source) || with.iter().any(|name| name == source)
}

pub(crate) fn may_train_on(sample: &Sample, with: &[String]) -> bool {
    is_allowed(&sample.source, with)
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
