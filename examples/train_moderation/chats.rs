//! Prints the shares of ordinary chat that are flagged.

use live_comments::classifier::features::FeatureExtractor;
use live_comments::classifier::recipe::Material;
use live_comments::classifier::samples::Sample;
use live_comments::classifier::{Model, Task, Verdict};

use crate::data::Data;
use crate::{Plan, Trained};

/// Prints the share of each log that is flagged by networks that learned nothing from it, at
/// thresholds that were fitted to the other logs.
pub(crate) fn print_unseen_chats(plan: Plan, data: &Data, with: &[String]) -> anyhow::Result<()> {
    let plan = Plan { seeds: &plan.seeds[..2], ..plan };
    println!("\n| kind of chat never seen | texts | flagged or rejected | rejected |");
    println!("|---|---|---|---|");
    let labelled = data.labelled(plan.task).iter();
    let allowed: Vec<_> = labelled.filter(|sample| data.may_train_on(sample, with)).collect();
    for (number, log) in data.chats.iter().enumerate() {
        let chat = data.chat(Some(number));
        let written = data.written(plan.task);
        let material = Material { labelled: &allowed, chat: &chat, written };
        let trained = Trained::new(plan, &material);
        let thresholds = trained.thresholds(data, Some(number))?;
        let zs = trained.chat_scores(log.all());
        let share = |threshold: f32| {
            let reached = zs.iter().filter(|z| **z >= threshold).count();
            percent(reached, zs.len())
        };
        let flagged = share(thresholds.flag);
        println!("| {} | {} | {flagged} | {} |", log.name, zs.len(), share(thresholds.reject));
    }
    Ok(())
}

/// Prints the shares of the measured part of each log that the finished model flags and rejects.
pub(crate) fn print_chat_shares(model: &Model, data: &Data) {
    println!("\n| log, measured part | texts | toxicity | spam | either | rejected |");
    println!("|---|---|---|---|---|---|");
    let mut extractor = FeatureExtractor::default();
    for log in &data.chats {
        let mut verdict = |task, sample: &Sample| model.score(task, &sample.text, &mut extractor);
        let verdicts: Vec<_> = log
            .measured()
            .iter()
            .map(|sample| Task::ALL.map(|task| verdict(task, sample).verdict))
            .collect();
        let share = |test: fn(&[Verdict; 2]) -> bool| {
            percent(verdicts.iter().filter(|both| test(both)).count(), verdicts.len())
        };
        println!(
            "| {} | {} | {} | {} | {} | {} |",
            log.name,
            verdicts.len(),
            share(|both| both[0] >= Verdict::Flag),
            share(|both| both[1] >= Verdict::Flag),
            share(|both| both.iter().any(|one| *one >= Verdict::Flag)),
            share(|both| both.contains(&Verdict::Reject)),
        );
    }
}

/// Returns a part of a whole in percent.
pub(crate) fn percent(part: usize, whole: usize) -> String {
    format!("{:.2} %", part as f64 * 100.0 / (whole as f64).max(1.0))
}
