//! `lc top`: runs the console, or prints one frame of it, or its snapshots as JSON.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt as _;

use super::arguments::interval;
use super::context::Context;
use super::output::{note, write};
use super::stop::stop_on_signal;
use crate::client::follow::{Followed, follow};
use crate::protocol::admin::TopSnapshot;
use crate::tui;

/// After a signal only the line in hand is left to write.
const PATIENCE: Duration = Duration::from_secs(2);
/// Size of a frame if stdout is not a terminal.
const FRAME_SIZE: (u16, u16) = (120, 40);

/// Watch and control the system on one screen
///
/// Press ? for the keys. In a pipe, or with --json, the snapshots are printed as JSON lines.
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Time between two snapshots, from 100ms to 1m
    #[arg(long, value_name = "TIME", value_parser = interval, default_value = "1s")]
    interval: Duration,
    /// Print one frame as text and exit; its size is that of the terminal, or 120×40
    #[arg(long)]
    once: bool,
}

/// Runs the command. `json` is true if `--json` was given; a pipe alone sets `context.json`.
pub(super) async fn run(args: TopArgs, json: bool, context: &Context) -> anyhow::Result<ExitCode> {
    match (args.once, json || context.json) {
        (true, _) if !json => {
            let size = crossterm::terminal::size().unwrap_or(FRAME_SIZE);
            write(&tui::frame(context.admin(), args.interval, size).await?)?;
        }
        (once, true) => snapshots(args.interval, once, context).await?,
        _ => tui::run(context.admin(), args.interval, stop_on_signal(PATIENCE)).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn snapshots(interval: Duration, once: bool, context: &Context) -> anyhow::Result<()> {
    let path = tui::snapshots_path(interval);
    let mut snapshots = Box::pin(follow::<TopSnapshot>(context.admin(), path).await?);
    let stop = stop_on_signal(PATIENCE);
    while let Some(Some(followed)) = stop.run_until_cancelled(snapshots.next()).await {
        match followed {
            Followed::Item(snapshot) => context.output().item(&snapshot, String::new)?,
            Followed::Lost { why, .. } if !once => note(&format!("lc: {why}; retrying")),
            Followed::Lost { why: error, .. } | Followed::Ended(error) => return Err(error.into()),
        }
        if once {
            break;
        }
    }
    Ok(())
}
