//! Prints figures as tables in Markdown.

use std::thread;

use live_comments::classifier::Task;
use live_comments::classifier::calibration::{Platt, calibration_error};
use live_comments::classifier::metrics::{Curve, Scored};
use live_comments::classifier::recipe::{Material, depends_on_context};
use live_comments::classifier::samples::Sample;

use crate::data::Data;
use crate::{Plan, Trained};

const FIGURES: &str = "| rows | AUC | recall @FPR 1 % | 2 % | 5 % | accuracy @FPR ≤ 2 % | 5 % |";

fn head(first: &str) {
    println!("\n| {first} {FIGURES}\n|---|---|---|---|---|---|---|---|");
}

fn row(name: &str, rows: &[Scored]) {
    let curve = Curve::new(rows);
    let figures = [
        curve.auc(),
        curve.recall_at_fpr(0.01),
        curve.recall_at_fpr(0.02),
        curve.recall_at_fpr(0.05),
        curve.best_accuracy_at_fpr(0.02),
        curve.best_accuracy_at_fpr(0.05),
    ];
    let cells: Vec<_> = figures.iter().map(|figure| cell(*figure)).collect();
    println!("| {name} | {} | {} |", curve.rows(), cells.join(" | "));
}

pub(crate) fn cell(figure: Option<f64>) -> String {
    figure.map_or_else(|| "–".to_owned(), |figure| format!("{figure:.4}"))
}

/// Prints the figures on the held-out rows, and what the thresholds do.
pub(crate) fn print_figures(
    trained: &Trained,
    held_out: &[&Sample],
    data: &Data,
) -> anyhow::Result<()> {
    let task = trained.plan.task;
    let scores = trained.scores(held_out);
    let part = |keep: &dyn Fn(&str) -> bool| -> Vec<Scored> {
        let both = held_out.iter().zip(&scores);
        both.filter(|(sample, _)| keep(&sample.source)).map(|(_, scored)| *scored).collect()
    };
    println!("\n## {}, held out; {} examples", task.as_str(), trained.examples);
    head("rows of");
    row("all", &scores);
    let core = |source: &str| !depends_on_context(source);
    if task == Task::Toxicity {
        row("CORE", &part(&core));
    }
    for source in data.sources(task) {
        row(source, &part(&|name| name == source));
    }
    let thresholds = trained.thresholds(data, None)?;
    let curve = Curve::new(&part(&core));
    println!("\n| threshold | z | recall | FPR |\n|---|---|---|---|");
    for (name, z) in [("flag", thresholds.flag), ("reject", thresholds.reject)] {
        let rates = curve.at(z);
        println!("| {name} | {z:.2} | {} | {} |", cell(rates.recall), cell(rates.fpr));
    }
    Ok(())
}

/// Fits probabilities on every other row and measures them on the rest.
pub(crate) fn print_calibration(scores: &[Scored]) {
    let half = |odd: usize| scores.iter().skip(odd).step_by(2).copied().collect::<Vec<_>>();
    let platt = Platt::fit(&half(0));
    let error = |identity: bool| {
        let probability = |row: Scored| {
            let raw = Platt { slope: 1.0, offset: 0.0 };
            let platt = if identity { raw } else { platt };
            Scored { score: platt.probability(row.score), ..row }
        };
        calibration_error(&half(1).into_iter().map(probability).collect::<Vec<_>>())
    };
    println!(
        "\nPlatt: slope {:.3}, offset {:.3}; calibration error {:.4}, without {:.4}",
        platt.slope,
        platt.offset,
        error(false),
        error(true)
    );
}

/// Prints the figures of each data set, of a network that learned from all others.
pub(crate) fn print_left_out(plan: Plan, data: &Data, with: &[String]) {
    let plan = Plan { seeds: &plan.seeds[..1], ..plan };
    head("left out");
    let scores = &|source: &&str| {
        let labelled = data.labelled(plan.task).iter();
        let (left_out, others): (Vec<_>, Vec<_>) =
            labelled.partition(|sample| sample.source == *source);
        let others: Vec<_> =
            others.into_iter().filter(|sample| data.may_train_on(sample, with)).collect();
        let chat = data.chat(None);
        let written = data.written(plan.task, None);
        let material = Material { labelled: &others, chat: &chat, written: &written };
        Trained::new(plan, &material).scores(&left_out)
    };
    let sources: Vec<_> = data.sources(plan.task).into_iter().collect();
    for pair in sources.chunks(2) {
        let scored: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> =
                pair.iter().map(|source| scope.spawn(move || scores(source))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        for (source, scores) in pair.iter().zip(scored) {
            row(source, &scores);
        }
    }
}
