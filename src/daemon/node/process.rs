//! The runtime of the process, and how it ends whatever happens.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::anyhow;
use futures_util::FutureExt as _;

/// Runs the main task of the process to its end. Tasks that are left then are dropped, and threads
/// that are blocked are abandoned after `force_after`. A panic of the main task is an error: the
/// process must end with it, instead of waiting for threads that wait for it.
///
/// # Errors
/// The error of the main task, or its panic, which has been logged.
pub fn run_to_end(
    main: impl Future<Output = anyhow::Result<()>>,
    force_after: Duration,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let main = AssertUnwindSafe(main).catch_unwind();
    let result = runtime.block_on(Box::pin(main));
    runtime.shutdown_timeout(force_after);
    result.unwrap_or_else(|_| Err(anyhow!("the main task panicked")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Instant;

    #[test]
    fn a_panic_ends_the_process_despite_blocked_threads() {
        let started = Instant::now();
        let (release, released) = mpsc::channel::<()>();
        let main = async {
            let (tell, told) = tokio::sync::oneshot::channel();
            tokio::task::spawn_blocking(move || {
                tell.send(()).unwrap();
                // Blocks until the end of the test.
                let _ = released.recv();
            });
            told.await.unwrap();
            panic!("as a bug would")
        };
        let error = run_to_end(main, Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("panicked"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
        drop(release);
    }
}
