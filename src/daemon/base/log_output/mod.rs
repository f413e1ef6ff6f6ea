//! The log on standard error, which must never stop the daemon.
//!
//! In: lines of `tracing`, panics included. Out: standard error, by a thread of its own. Always
//! holds: no line waits for its reader, and a failed write is counted, not reported where it
//! failed; no text in a line controls a terminal or imitates a line; a line about a panic quotes no
//! text that the process was given. When full: [`MAX_LINES`] lines
//! wait, further ones are lost and counted ([`lost_lines`]).

mod escape;
mod output;

use std::any::Any;
use std::io::{self, IsTerminal as _, Write as _};
use std::panic::{Location, PanicHookInfo};
use std::time::{Duration, Instant};

use tracing::{error, warn};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use escape::OneLineEach;
use output::{ERRORS, Output, STATE};

pub use output::{LogState, log_state, lost_lines};

/// Lines that may wait for the reader of standard error.
const MAX_LINES: usize = 8_192;
/// The environment variable with the filter.
const FILTER_VARIABLE: &str = "RUST_LOG";

/// The longest wait for the reader of standard error at the end of the process.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The log while the daemon runs. Dropping it writes what waits, for at most about two seconds.
#[derive(Debug)]
pub struct Log {
    writer: NonBlocking,
    guard: Option<WorkerGuard>,
}

impl Drop for Log {
    fn drop(&mut self) {
        let deadline = Instant::now() + LAST_WAIT;
        while STATE.is_writing() {
            if Instant::now() >= deadline {
                // The guard would wait again, and print that it did.
                std::mem::forget(self.guard.take());
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Log {
    /// Starts logging to standard error, with `default_filter` unless `RUST_LOG` has one. Call it
    /// once, at the start of the process.
    pub fn start(default_filter: &str) -> Self {
        Self::start_on(io::stderr(), io::stderr().is_terminal(), default_filter)
    }

    fn start_on(
        output: impl io::Write + Send + 'static,
        colours: bool,
        default_filter: &str,
    ) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(MAX_LINES)
            .lossy(true)
            .thread_name("log")
            .finish(Output::new(output, &STATE));
        ERRORS.get_or_init(|| writer.error_counter());
        let given = std::env::var_os(FILTER_VARIABLE);
        let chosen = choose_filter(given.as_deref().map(|text| text.to_string_lossy()).as_deref());
        let filter = chosen.filter.unwrap_or_else(|| EnvFilter::new(default_filter));
        let lines = writer.clone();
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_ansi(colours)
            .log_internal_errors(false)
            .with_writer(move || OneLineEach::new(lines.clone()))
            .init();
        // The default hook writes to standard error, and waits for its reader.
        std::panic::set_hook(Box::new(log_panic));
        if let Some(problem) = chosen.problem {
            warn!("{problem}");
        }
        Self { writer, guard: Some(guard) }
    }

    /// Prints a message that is no log line, such as the reason why the daemon does not start.
    pub fn print(&self, text: &str) {
        // Never waits; a line that finds no place is counted.
        let _ = OneLineEach::new(self.writer.clone()).write_all(format!("{text}\n").as_bytes());
    }
}

/// The filter of the environment.
#[derive(Debug)]
struct ChosenFilter {
    /// `None` without one: the default applies.
    filter: Option<EnvFilter>,
    problem: Option<String>,
}

/// Chooses the filter. A variable that is set and empty, as unit files often have it, is no filter.
fn choose_filter(given: Option<&str>) -> ChosenFilter {
    match given.map(str::trim) {
        None | Some("") => ChosenFilter { filter: None, problem: None },
        Some(text) => match EnvFilter::try_new(text) {
            Ok(filter) => ChosenFilter { filter: Some(filter), problem: None },
            Err(error) => {
                let problem = format!(
                    "{FILTER_VARIABLE} is not a filter ({error}); the default is used. Write a \
                     level such as info or debug, or live_comments=debug"
                );
                ChosenFilter { filter: None, problem: Some(problem) }
            }
        },
    }
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("without a name");
    let backtrace = std::backtrace::Backtrace::capture();
    let trace = match backtrace.status() {
        std::backtrace::BacktraceStatus::Captured => format!("\n{backtrace}"),
        _ => String::new(),
    };
    error!("thread {name} {}{trace}", describe_panic(info.payload(), info.location()));
}

/// Tells where a panic was. Its message is told only if it is part of the program: any other may
/// quote a comment.
fn describe_panic(payload: &(dyn Any + Send), location: Option<&Location<'_>>) -> String {
    let place = location.map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
    match payload.downcast_ref::<&'static str>() {
        Some(message) => format!("panicked at {place}: {message}"),
        None => format!("panicked at {place}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_without_what_it_quotes() {
        let place = Location::caller();
        let comment = "what somebody wrote".to_owned();
        let cut = std::panic::catch_unwind(|| comment.as_str()[..99].len()).unwrap_err();
        assert_eq!(describe_panic(&*cut, Some(place)), format!("panicked at {place}"));
        let fixed = std::panic::catch_unwind(|| assert!(comment.is_empty(), "a bug")).unwrap_err();
        assert_eq!(describe_panic(&*fixed, Some(place)), format!("panicked at {place}: a bug"));
        assert_eq!(describe_panic(&*cut, None), "panicked at an unknown place");
    }

    #[test]
    fn an_empty_filter_is_none_and_a_wrong_one_is_told() {
        for unset in [None, Some(""), Some("  ")] {
            let chosen = choose_filter(unset);
            assert!(chosen.filter.is_none() && chosen.problem.is_none(), "{unset:?}");
        }
        let chosen = choose_filter(Some("live_comments=debug,warn"));
        assert!(chosen.filter.is_some() && chosen.problem.is_none());
        let chosen = choose_filter(Some("live_comments=loud"));
        assert!(chosen.filter.is_none());
        assert!(chosen.problem.unwrap().contains("RUST_LOG"));
    }
}
