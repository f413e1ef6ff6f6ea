//! Trains the moderation model, measures it, and writes its weights.
//!
//! ```sh
//! scripts/train DATA_DIR --leave-one-out
//! ```
//!
//! `docs/models.md` says which files DATA_DIR has and what the figures mean. The same data, options
//! and kind of machine give the same weights.

#![allow(clippy::print_stdout, reason = "an example prints what it measures")]

mod bias;
mod chats;
mod data;
mod measure;
mod words;

use std::path::PathBuf;
use std::thread;

use anyhow::{Context as _, ensure};
use clap::Parser;
use live_comments::classifier::calibration::{Platt, Thresholds};
use live_comments::classifier::features::FeatureExtractor;
use live_comments::classifier::metrics::Scored;
use live_comments::classifier::network::Network;
use live_comments::classifier::recipe::{Material, spam_examples, toxicity_examples};
use live_comments::classifier::samples::Sample;
use live_comments::classifier::training::{FeatureSet, TrainingOptions, train};
use live_comments::classifier::{Model, Task, TaskModel, TrainingRecord, weights};

use chats::{print_chat_shares, print_fitted_shares, print_unseen_chats};
use data::{Chat, Data, is_held_out};
use measure::{print_calibration, print_figures, print_left_out};

/// Trains the moderation model, measures it on a held-out fifth, and writes its weights
#[derive(Debug, Parser)]
struct Args {
    /// The folder with toxicity_train.jsonl.gz, spam_train.jsonl.gz and the chat logs
    data: PathBuf,

    /// Also train on these data sets, whose terms you have checked
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = ["conda", "cad"])]
    with: Vec<String>,

    /// Also train on the decisions of persons in this file, which `lc mod decisions --export` wrote
    #[arg(long, value_name = "FILE")]
    decisions: Option<PathBuf>,

    /// Also measure each data set with a model that has not seen it
    #[arg(long)]
    leave_one_out: bool,

    /// Write no weights
    #[arg(long)]
    measure_only: bool,

    /// Only write src/classifier/words.txt; texts are read by it once this is built again
    #[arg(long)]
    words: bool,

    /// The weights file
    #[arg(long, short, value_name = "FILE", default_value = SHIPPED)]
    output: PathBuf,

    /// Version in the weights file
    #[arg(long, value_name = "TEXT", default_value = "3")]
    model_version: String,
}

/// The weights that `lc` contains.
const SHIPPED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/moderation.lcm");
/// The seed of choices among texts: chat lines, masked copies, variants of templates.
const RECIPE_SEED: u64 = 42;
/// Largest weights file that the repository takes.
const MAX_WEIGHTS_BYTES: usize = 6_000_000;

/// How the networks of a task are trained.
#[derive(Debug, Clone, Copy)]
struct Plan {
    task: Task,
    options: TrainingOptions,
    /// One network is trained with each.
    seeds: &'static [u64],
}

const PLANS: [Plan; 2] = [
    Plan { task: Task::Toxicity, options: TrainingOptions::TOXICITY, seeds: &[1, 2, 3, 4] },
    Plan { task: Task::Spam, options: TrainingOptions::SPAM, seeds: &[1, 2] },
];

/// Networks that were trained together.
struct Trained {
    plan: Plan,
    networks: Vec<Network>,
    examples: usize,
}

impl Trained {
    /// Trains one network per seed, each on its own thread.
    fn new(plan: Plan, material: &Material<'_>) -> Self {
        let examples = match plan.task {
            Task::Toxicity => toxicity_examples(material, RECIPE_SEED),
            Task::Spam => spam_examples(material, RECIPE_SEED),
        };
        let set = FeatureSet::new(&examples, &plan.options);
        let networks = thread::scope(|scope| {
            let start = |seed: &u64| {
                let seed = *seed;
                let set = &set;
                scope.spawn(move || train(set, &plan.options, seed))
            };
            let threads: Vec<_> = plan.seeds.iter().map(start).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        Self { plan, networks, examples: examples.len() }
    }

    fn z(&self, text: &str, extractor: &mut FeatureExtractor) -> f32 {
        let features = extractor.extract(text, self.plan.options.form, self.plan.options.bits);
        let sum: f32 = self.networks.iter().map(|network| network.logit(features)).sum();
        sum / self.networks.len() as f32
    }

    fn scores(&self, samples: &[&Sample]) -> Vec<Scored> {
        let mut extractor = FeatureExtractor::default();
        let scored = |sample: &&Sample| Scored {
            score: self.z(&sample.text, &mut extractor),
            positive: sample.label == Some(true),
        };
        samples.iter().map(scored).collect()
    }

    /// Returns z of each text of a chat.
    fn chat_scores(&self, chat: &[Sample]) -> Vec<f32> {
        let mut extractor = FeatureExtractor::default();
        chat.iter().map(|sample| self.z(&sample.text, &mut extractor)).collect()
    }

    /// Returns the thresholds that hold in each log of chat, without one of them. A log that is too
    /// short to tell from where texts are rejected does not raise that threshold.
    fn thresholds(&self, data: &Data, without: Option<usize>) -> anyhow::Result<Thresholds> {
        let fit = |chat: &Chat| {
            let shares = self.plan.task.chat_shares();
            let fitted = Thresholds::of_chat(&self.chat_scores(chat.fitted()), shares)?;
            let reject =
                if self.binds_reject(chat) { fitted.reject } else { fitted.flag.next_up() };
            Some(Thresholds { reject, ..fitted })
        };
        let fitted = data.fitted_chats(without).filter_map(fit);
        fitted.reduce(Thresholds::stricter).context("no chat to fit thresholds to")
    }

    /// Reports whether a log is so long that its share of rejected texts is at least one text.
    fn binds_reject(&self, chat: &Chat) -> bool {
        chat.fitted().len() as f64 * self.plan.task.chat_shares().reject >= 1.0
    }
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let data = Data::read(&args.data, args.decisions.as_deref())?;
    if args.words {
        return words::write(&data);
    }
    words::check(&data)?;
    let mut tasks = Vec::new();
    for plan in PLANS {
        let labelled = data.labelled(plan.task);
        let allowed = |sample: &&Sample| data.may_train_on(sample, &args.with);
        let seen = |sample: &&Sample| allowed(sample) && !is_held_out(sample);
        let chosen: Vec<_> = labelled.iter().filter(seen).collect();
        let written = data.written(plan.task, None);
        let chat = data.chat(None);
        let material = Material { labelled: &chosen, chat: &chat, written: &written };
        let measured = Trained::new(plan, &material);
        let held_out: Vec<_> = labelled.iter().filter(|sample| is_held_out(sample)).collect();
        print_figures(&measured, &held_out, &data)?;
        // Rows that networks may not learn from are measured, and nothing is fitted to them.
        let fitted: Vec<_> = held_out.iter().copied().filter(allowed).collect();
        let sources = data.sources_for(plan.task, &args.with);
        let stranger = fitted.iter().find(|sample| !sources.contains(&sample.source));
        ensure!(stranger.is_none(), "fitted to a source that is not recorded: {stranger:?}");
        let scores = measured.scores(&fitted);
        print_calibration(&scores);
        let platt = Platt::fit(&scores);
        if plan.task == Task::Toxicity {
            bias::print_bias(&measured, &held_out, &data)?;
        }
        if args.leave_one_out {
            print_left_out(plan, &data, &args.with);
        }
        if args.measure_only {
            continue;
        }
        let chosen: Vec<_> = labelled.iter().filter(allowed).collect();
        let material = Material { labelled: &chosen, ..material };
        tasks.push(into_model(Trained::new(plan, &material), platt, &data, sources)?);
    }
    if args.leave_one_out {
        print_unseen_chats(&data, &args.with)?;
    }
    let Ok([toxicity, spam]) = <[TaskModel; 2]>::try_from(tasks) else { return Ok(()) };
    let model = Model { version: args.model_version, checksum: String::new(), toxicity, spam };
    let bytes = weights::encode(&model)?;
    ensure!(bytes.len() <= MAX_WEIGHTS_BYTES, "the weights have {} bytes", bytes.len());
    let model = weights::decode(&bytes)?;
    print_chat_shares(&model, &data);
    let name = model.name();
    let shown = args.output.display();
    std::fs::write(&args.output, &bytes).with_context(|| format!("cannot write {shown}"))?;
    println!("\nModel {name}, trained on all rows: {} bytes in {shown}", bytes.len());
    Ok(())
}

fn into_model(
    trained: Trained,
    platt: Platt,
    data: &Data,
    sources: Vec<String>,
) -> anyhow::Result<TaskModel> {
    let thresholds = trained.thresholds(data, None)?;
    println!("\n{} thresholds: {thresholds:?}", trained.plan.task.as_str());
    print_fitted_shares(&trained, data, thresholds);
    let Trained { plan, networks, examples } = trained;
    let training = TrainingRecord { seeds: plan.seeds.to_vec(), sources, examples };
    Ok(TaskModel { bits: plan.options.bits, networks, platt, thresholds, training })
}
