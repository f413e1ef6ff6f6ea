//! A worker process: one crowd, led over standard input and output by the process that started it.
//!
//! In: a plan, then orders. Out: words. Always holds: it ends when its input ends, and so never outlives
//! the process that leads it. When full: it waits for its output to be read, and its viewers with it.

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::Context as _;

use super::crowd::{Crowd, CrowdPlan, Inbox, Order, Orders, Word};
use super::{descriptors, pipe};

/// The command by which a process starts another one as its worker.
pub(crate) const COMMAND: &str = "loadgen-worker";

/// Runs until standard input ends.
pub fn main() -> ExitCode {
    descriptors::raise_limit();
    match serve(std::io::stdin(), std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: a worker of loadgen failed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Follows the plan and the orders that come.
///
/// # Errors
/// What comes is no plan, or the kernel denies what a crowd needs.
pub(super) fn serve(
    mut input: impl Read + Send + 'static,
    mut output: impl Write,
) -> anyhow::Result<()> {
    let Some(plan) = pipe::read::<CrowdPlan>(&mut input).context("this is no plan")? else {
        return Ok(());
    };
    let (orders, inbox) = Inbox::new().context("no poll")?;
    std::thread::Builder::new()
        .name("loadgen-orders".to_owned())
        .spawn(move || hear(input, &orders))
        .context("no thread for orders")?;
    // An error of the pipe says that nobody listens any more.
    let words = |word: Word| pipe::write(&mut output, &word).is_ok();
    Crowd::new(plan, inbox, words).run().context("the poll failed")
}

/// Hands orders on; at the end of the input the crowd has no one to give any, and ends.
fn hear(mut input: impl Read, orders: &Orders) {
    while let Ok(Some(order)) = pipe::read::<Order>(&mut input) {
        orders.give_blocking(order);
    }
}
