//! The side that starts a worker process and controls its pool.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::{COMMAND, pipe};
use crate::loadgen::pool::{
    CommandSender, EventSender, ExitGuard, PoolCommand, PoolEvent, PoolPlan,
};

/// Starts a worker process and sends it its plan.
///
/// # Errors
/// The program cannot be started, or the kernel denies a thread.
pub(crate) fn start(
    program: &Path,
    plan: PoolPlan,
    events: EventSender,
) -> anyhow::Result<CommandSender> {
    let mut child = Command::new(program)
        .arg(COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Ctrl-C in the terminal reaches only this process, which then stops its workers.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {} as a worker", program.display()))?;
    let pipes = child.stdin.take().zip(child.stdout.take());
    let (input, output) = pipes.context("a worker has no pipes")?;
    connect(plan, events, input, output, Some(child))
}

/// Starts a worker on a thread of this process, connected by pipes.
#[cfg(test)]
pub(crate) fn start_on_threads(
    plan: PoolPlan,
    events: EventSender,
) -> anyhow::Result<CommandSender> {
    let (commands_out, commands_in) = std::io::pipe()?;
    let (events_out, events_in) = std::io::pipe()?;
    std::thread::spawn(move || super::child::serve(commands_out, events_in).unwrap());
    connect(plan, events, commands_in, events_out, None)
}

/// Starts a thread that writes commands and one that reads events. Both end with the worker.
fn connect(
    plan: PoolPlan,
    events: EventSender,
    input: impl Write + Send + 'static,
    output: impl Read + Send + 'static,
    child: Option<Child>,
) -> anyhow::Result<CommandSender> {
    let (commands, queue) = CommandSender::queue();
    let thread = || std::thread::Builder::new().name("loadgen-worker".to_owned());
    thread().spawn(move || write_commands(input, &plan, queue)).context("cannot start a thread")?;
    thread().spawn(move || read_events(output, events, child)).context("cannot start a thread")?;
    Ok(commands)
}

/// Writes the plan and then commands. Closes the worker's input when the queue or the worker ends.
fn write_commands(mut input: impl Write, plan: &PoolPlan, mut queue: mpsc::Receiver<PoolCommand>) {
    let mut written = pipe::write(&mut input, plan);
    while written.is_ok() {
        let Some(command) = queue.blocking_recv() else { break };
        written = pipe::write(&mut input, &command);
    }
}

/// Forwards events until the worker closes its output, then reports how the worker ended.
fn read_events(mut output: impl Read, events: EventSender, child: Option<Child>) {
    let mut guard = ExitGuard::new(events);
    loop {
        match pipe::read::<PoolEvent>(&mut output) {
            Ok(Some(event)) => {
                if !guard.events().send(event) {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                guard.set_reason(format!("it wrote an unreadable event: {error}"));
                break;
            }
        }
    }
    // A worker that still runs ends when its output is closed.
    drop(output);
    let status = child.and_then(|mut child| child.wait().ok());
    if let Some(status) = status.filter(|status| !status.success()) {
        guard.set_reason(format!("its process ended with {status}"));
    }
}
