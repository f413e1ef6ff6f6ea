//! Worker processes, from the side that starts them.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::Context as _;
use tokio::sync::mpsc;

use super::crowd::{CrowdPlan, Order, Orders, Word};
use super::crowds::{Voice, Words};
use super::{pipe, worker};

/// Starts a worker and gives it its plan.
pub(super) fn start(
    program: &Path,
    index: usize,
    plan: CrowdPlan,
    words: Words,
) -> anyhow::Result<Orders> {
    let mut child = Command::new(program)
        .arg(worker::COMMAND)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // An interrupt from the terminal is for this process, which then tells its workers.
        .process_group(0)
        .spawn()
        .with_context(|| format!("cannot start {} as a worker", program.display()))?;
    let pipes = child.stdin.take().zip(child.stdout.take());
    let (input, output) = pipes.context("a worker has no pipes")?;
    lead(index, plan, words, input, output, Some(child))
}

/// The same over pipes within this process.
#[cfg(test)]
pub(super) fn over_pipes(index: usize, plan: CrowdPlan, words: Words) -> anyhow::Result<Orders> {
    let (orders_out, orders_in) = std::io::pipe()?;
    let (words_out, words_in) = std::io::pipe()?;
    std::thread::spawn(move || worker::serve(orders_out, words_in).unwrap());
    lead(index, plan, words, orders_in, words_out, None)
}

/// One thread writes and one reads; both end with the worker.
fn lead(
    index: usize,
    plan: CrowdPlan,
    words: Words,
    input: impl Write + Send + 'static,
    output: impl Read + Send + 'static,
    child: Option<Child>,
) -> anyhow::Result<Orders> {
    let (orders, queue) = Orders::queue();
    let thread = || std::thread::Builder::new().name("loadgen-worker".to_owned());
    thread().spawn(move || command(input, &plan, queue)).context("the kernel gives no thread")?;
    thread()
        .spawn(move || listen(index, output, words, child))
        .context("the kernel gives no thread")?;
    Ok(orders)
}

/// At the end of the queue, or of the worker, its input is closed.
fn command(mut input: impl Write, plan: &CrowdPlan, mut queue: mpsc::Receiver<Order>) {
    let mut written = pipe::write(&mut input, plan);
    while written.is_ok() {
        let Some(order) = queue.blocking_recv() else { break };
        written = pipe::write(&mut input, &order);
    }
}

fn listen(index: usize, mut output: impl Read, words: Words, child: Option<Child>) {
    let mut voice = Voice { index, words, reason: None };
    loop {
        match pipe::read::<Word>(&mut output) {
            Ok(Some(word)) => {
                if voice.words.blocking_send((index, word)).is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                voice.reason = Some(format!("its words make no sense: {error}"));
                break;
            }
        }
    }
    // Closing what it writes to ends a worker that still runs.
    drop(output);
    let status = child.and_then(|mut child| child.wait().ok());
    if let Some(status) = status.filter(|status| !status.success()) {
        voice.reason = Some(format!("its process ended with {status}"));
    }
}
