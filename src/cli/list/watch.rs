//! A list that is shown again and again: in place on a terminal, one object per interval in a pipe.

use std::process::ExitCode;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ListView;
use crate::cli::context::Context;
use crate::cli::output::{Redrawn, note, now_ms};
use crate::cli::stop::stop_on_signal;
use crate::cli::table::terminal_width;
use crate::client::outcome_text::missing_nodes;
use crate::protocol::NodeId;
use crate::protocol::admin::Cluster;
use crate::protocol::filter::Columns;
use crate::protocol::filter::rows::At;

/// After a signal only the line in hand is left to write.
const PATIENCE: Duration = Duration::from_secs(2);

/// The list at one time, which is printed once per interval.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Listed<T> {
    /// Milliseconds since the Unix epoch.
    taken_at: u64,
    items: Vec<T>,
    /// Nodes that are missing from the list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    unreachable: Vec<NodeId>,
}

/// Lists until a signal. A daemon that is away at the start is an error; later it is waited for.
pub(super) async fn run<T, Whole>(
    view: &ListView<T>,
    path: &str,
    interval: Duration,
    context: &Context,
) -> anyhow::Result<ExitCode>
where
    T: Serialize + DeserializeOwned + 'static,
    Whole: DeserializeOwned + Into<Cluster<T>>,
    for<'a> At<'a, T>: Columns,
{
    let stop = stop_on_signal(PATIENCE);
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut screen = Redrawn::default();
    let mut has_answered = false;
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let asked = stop.run_until_cancelled(context.admin().get::<Whole>(path)).await;
        match asked {
            None => break,
            Some(Ok(answer)) => {
                has_answered = true;
                show(view, answer.into(), &mut screen, context)?;
            }
            Some(Err(error)) if has_answered && error.retry() => note(&format!("lc: {error}")),
            Some(Err(error)) => return Err(error.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show<T>(
    view: &ListView<T>,
    answer: Cluster<T>,
    screen: &mut Redrawn,
    context: &Context,
) -> anyhow::Result<()>
where
    T: Serialize + DeserializeOwned + 'static,
    for<'a> At<'a, T>: Columns,
{
    let now_ms = now_ms();
    let Cluster { items, unreachable } = answer;
    let chosen = view.choose(items, now_ms);
    if context.json {
        let listed = Listed { taken_at: now_ms, items: chosen.items, unreachable };
        context.output().item(&listed, String::new)?;
        return Ok(());
    }
    let mut text = view.table(&chosen, now_ms, terminal_width());
    if let Some(warning) = missing_nodes(&unreachable) {
        text.push_str(&format!("\nwarning: {warning}; their part is missing here"));
    }
    screen.draw(&text)?;
    Ok(())
}
