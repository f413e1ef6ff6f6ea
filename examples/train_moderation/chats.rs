//! Prints the shares of ordinary chat that are flagged.

use live_comments::classifier::calibration::Thresholds;
use live_comments::classifier::features::FeatureExtractor;
use live_comments::classifier::recipe::Material;
use live_comments::classifier::samples::Sample;
use live_comments::classifier::{Model, Task, Verdict};

use crate::data::Data;
use crate::{PLANS, Plan, Trained};

/// Prints the shares of each log that are flagged by networks that learned nothing from it, nor
/// from lines that it led to, at thresholds that were fitted to the other logs.
pub(crate) fn print_unseen_chats(data: &Data, with: &[String]) -> anyhow::Result<()> {
    print_head("kind of chat never seen");
    for (number, log) in data.chats.iter().enumerate() {
        let mut verdicts = vec![[Verdict::Accept; 2]; log.all().len()];
        for plan in PLANS {
            let found = unseen_verdicts(plan, data, number, with)?;
            for (verdicts, verdict) in verdicts.iter_mut().zip(found) {
                verdicts[plan.task as usize] = verdict;
            }
        }
        print_shares(log.name, &verdicts);
    }
    Ok(())
}

/// Returns the verdicts on a whole log of two networks that never saw it.
fn unseen_verdicts(
    plan: Plan,
    data: &Data,
    number: usize,
    with: &[String],
) -> anyhow::Result<Vec<Verdict>> {
    let plan = Plan { seeds: &plan.seeds[..2], ..plan };
    let labelled = data.labelled(plan.task).iter();
    let allowed: Vec<_> = labelled.filter(|sample| data.may_train_on(sample, with)).collect();
    let chat = data.chat(Some(number));
    let written = data.written(plan.task, Some(number));
    let material = Material { labelled: &allowed, chat: &chat, written: &written };
    let trained = Trained::new(plan, &material);
    let thresholds = trained.thresholds(data, Some(number))?;
    let zs = trained.chat_scores(data.chats[number].all());
    Ok(zs.into_iter().map(|z| thresholds.verdict(z)).collect())
}

/// Prints the shares of the part of each log that thresholds were fitted to, and which of the two
/// thresholds the log binds.
pub(crate) fn print_fitted_shares(trained: &Trained, data: &Data, thresholds: Thresholds) {
    println!("\n| log, fitted part | texts | flagged or rejected | rejected | binds |");
    println!("|---|---|---|---|---|");
    for log in data.fitted_chats(None) {
        let zs = trained.chat_scores(log.fitted());
        let share = |z: f32| percent(zs.iter().filter(|other| **other >= z).count(), zs.len());
        println!(
            "| {} | {} | {} | {} | {} |",
            log.name,
            zs.len(),
            share(thresholds.flag),
            share(thresholds.reject),
            if trained.binds_reject(log) { "flag, reject" } else { "flag" },
        );
    }
}

/// Prints the shares of the measured part of each log that the finished model flags and rejects.
pub(crate) fn print_chat_shares(model: &Model, data: &Data) {
    print_head("log, measured part");
    let mut extractor = FeatureExtractor::default();
    for log in &data.chats {
        let mut verdict = |task, sample: &Sample| model.score(task, &sample.text, &mut extractor);
        let verdicts: Vec<_> = log
            .measured()
            .iter()
            .map(|sample| Task::ALL.map(|task| verdict(task, sample).verdict))
            .collect();
        print_shares(log.name, &verdicts);
    }
}

fn print_head(first: &str) {
    println!("\n| {first} | texts | toxicity | spam | either | rejected |");
    println!("|---|---|---|---|---|---|");
}

/// Prints the shares of a log, of which each text has a verdict per task. `either` is flagged or
/// rejected for one of them.
fn print_shares(name: &str, verdicts: &[[Verdict; 2]]) {
    let share = |test: fn(&[Verdict; 2]) -> bool| {
        percent(verdicts.iter().filter(|both| test(both)).count(), verdicts.len())
    };
    println!(
        "| {name} | {} | {} | {} | {} | {} |",
        verdicts.len(),
        share(|both| both[0] >= Verdict::Flag),
        share(|both| both[1] >= Verdict::Flag),
        share(|both| both.iter().any(|one| *one >= Verdict::Flag)),
        share(|both| both.contains(&Verdict::Reject)),
    );
}

/// Returns a part of a whole in percent.
pub(crate) fn percent(part: usize, whole: usize) -> String {
    format!("{:.2} %", part as f64 * 100.0 / (whole as f64).max(1.0))
}
