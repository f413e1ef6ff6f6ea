//! The program of a worker process: one viewer pool, controlled by the process that started it.
//!
//! In: a [`PoolPlan`], then [`PoolCommand`]s, on standard input. Out: [`PoolEvent`]s on standard
//! output. Always holds: the worker ends when its input ends, so it never outlives its parent. When
//! full: it waits until its output is read, and its viewers wait with it.

use std::io::{Read, Write};
use std::process::ExitCode;

use anyhow::Context as _;

use super::pipe;
use crate::loadgen::capacity;
use crate::loadgen::pool::{
    CommandQueue, CommandSender, PoolCommand, PoolEvent, PoolPlan, ViewerPool,
};
use crate::protocol::printable::describe;

/// Runs the worker until its standard input ends.
pub fn main() -> ExitCode {
    capacity::raise_descriptor_limit();
    match serve(std::io::stdin(), std::io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let text = format!("error: a worker of loadgen failed: {}\n", describe(error.as_ref()));
            // Without a reader of stderr the exit code still tells.
            let _ = std::io::stderr().write_all(text.as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Reads a plan and runs its pool.
///
/// # Errors
/// The input does not begin with a plan, or the kernel denies a poll or a thread.
pub(super) fn serve(
    mut input: impl Read + Send + 'static,
    mut output: impl Write,
) -> anyhow::Result<()> {
    let plan =
        pipe::read::<PoolPlan>(&mut input).context("the input does not begin with a plan")?;
    let Some(plan) = plan else { return Ok(()) };
    let (commands, queue) = CommandQueue::new().context("cannot create a poll")?;
    std::thread::Builder::new()
        .name("loadgen-commands".to_owned())
        .spawn(move || read_commands(input, &commands))
        .context("cannot start a thread")?;
    // An error of the pipe means that the parent is gone.
    let emit = |event: PoolEvent| pipe::write(&mut output, &event).is_ok();
    ViewerPool::new(plan, queue, emit).run().context("the poll failed")
}

/// Forwards commands. At the end of the input the last sender is dropped, which ends the pool.
fn read_commands(mut input: impl Read, commands: &CommandSender) {
    while let Ok(Some(command)) = pipe::read::<PoolCommand>(&mut input) {
        commands.send_blocking(command);
    }
}
