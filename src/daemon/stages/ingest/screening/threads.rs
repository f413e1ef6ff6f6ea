//! The threads on which comments are checked before publication.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// Threads named `screening` for checks alone, so that one that computes for long delays other
/// checks at most. A check that panics ends, and its thread continues. On drop, checks that run are
/// abandoned.
#[derive(Debug)]
pub struct ScreeningThreads {
    handle: Handle,
    /// `None` in tests, whose clock is that of one runtime.
    runtime: Option<Runtime>,
}

impl ScreeningThreads {
    /// Starts this many threads, at least one.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub fn start(threads: usize) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .thread_name("screening")
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Checks on the runtime of the caller.
    #[cfg(test)]
    pub(crate) fn of_this_runtime() -> Self {
        Self { handle: Handle::current(), runtime: None }
    }

    pub(super) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for ScreeningThreads {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // Waiting for the threads would block the runtime of the node.
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn checks_run_on_threads_of_their_own() {
        let threads = ScreeningThreads::start(2).unwrap();
        let name = || std::thread::current().name().map(str::to_owned);
        let panics = threads.handle().spawn(async { panic!("a check panics") });
        assert!(panics.await.is_err());
        let running = threads.handle().spawn(async move { name() });
        assert_eq!(running.await.unwrap().as_deref(), Some("screening"));
    }
}
