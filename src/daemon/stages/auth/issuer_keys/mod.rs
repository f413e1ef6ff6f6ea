//! The public keys that an issuer publishes: a JSON Web Key Set, at an address of the configuration
//! or at the one that the issuer's discovery document names.
//!
//! In: the set, read at the start, every `auth.jwks_refresh`, and when a token names a key that is
//! not known. Out: keys that verify tokens. A file in the data directory keeps the last good set
//! for a start while the issuer is away.
//!
//! Always holds: a set is used as a whole or not at all (see [`set`]), and a reading that fails
//! changes nothing but the problem that operators are told. A key that a set no longer has stops
//! working when that set is read. Verifying never waits for the network, unless the key of a token
//! is not known.
//!
//! When full: unknown keys cause at most one reading in 10 s, whoever names them, and at most
//! [`MAX_WAITING`] tokens wait for one; others are refused at once.

mod fetch;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod set;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::fetch::{FetchError, FetchedSet, Fetcher};
use self::file::KeyFile;
use super::KeyError;
use super::keys::VerifyingKey;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{AuthConfig, KeySource};
use crate::daemon::base::http_client;
use crate::daemon::base::problems::Problems;
use crate::net::backoff::BackoffBounds;
use crate::protocol::admin::ProblemCode;

/// The bounds of readings.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// The longest time of one, its discovery included.
    time: Duration,
    /// The least time between two that unknown keys cause.
    min_gap: Duration,
}

const LIMITS: Limits = Limits { time: Duration::from_secs(10), min_gap: Duration::from_secs(10) };
/// Tokens with unknown keys that wait for a reading.
const MAX_WAITING: usize = 32;
/// The pauses after a reading that failed. `auth.jwks_refresh` bounds them too.
const RETRIES: BackoffBounds =
    BackoffBounds { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
/// The subject of the problem.
const ISSUER_KEYS: &str = "issuer keys";

/// The keys of the issuer that are used now.
#[derive(Debug)]
pub struct IssuerKeys {
    /// The `iss` that tokens signed with these keys must have; `None` if any will do.
    issuer: Option<String>,
    limits: Limits,
    keys: ArcSwap<Vec<VerifyingKey>>,
    /// Whether the last reading failed, or there was none.
    is_failing: AtomicBool,
    /// Wakes the task before its time.
    wanted: Notify,
    /// The number of readings that have ended.
    readings: watch::Sender<u64>,
    state: Mutex<ReadingState>,
    places: Semaphore,
}

#[derive(Debug, Default)]
struct ReadingState {
    is_reading: bool,
    begun: Option<Instant>,
    asked: Option<Instant>,
}

/// The keys, and the task that reads them.
#[derive(Debug)]
pub struct IssuerKeysEnds {
    pub keys: Arc<IssuerKeys>,
    pub task: IssuerKeyTask,
}

/// Reads the keys of the issuer again and again.
#[derive(Debug)]
pub struct IssuerKeyTask {
    keys: Arc<IssuerKeys>,
    fetcher: Fetcher,
    file: KeyFile,
    refresh: Duration,
    problems: Problems,
    clock: SharedClock,
    /// When the set in use was read, in milliseconds since the Unix epoch.
    read_at_ms: Mutex<Option<u64>>,
    /// The set in the file.
    written: Mutex<bytes::Bytes>,
}

impl IssuerKeys {
    /// Returns the keys of the configured issuer and the task that reads them; `None` if none is
    /// configured. Until the first reading, those of an earlier run are used. Blocks on the disk.
    ///
    /// # Errors
    /// An address or a file of the configuration cannot be used.
    pub fn load(
        config: &AuthConfig,
        data_dir: &Path,
        problems: Problems,
        clock: SharedClock,
    ) -> Result<Option<IssuerKeysEnds>, KeyError> {
        Self::load_with(config, data_dir, problems, clock, LIMITS)
    }

    fn load_with(
        config: &AuthConfig,
        data_dir: &Path,
        problems: Problems,
        clock: SharedClock,
        limits: Limits,
    ) -> Result<Option<IssuerKeysEnds>, KeyError> {
        let Some(fetcher) = fetcher(config, limits)? else { return Ok(None) };
        let source = config.key_source().map_err(|(key, text)| KeyError::Source(key, text))?;
        let Some(source) = source else { return Ok(None) };
        let file = KeyFile::new(data_dir, &source);
        let kept = file.read();
        let read_at_ms = kept.as_ref().map(|kept| kept.read_at_ms);
        let keys = Arc::new(Self {
            issuer: match source {
                KeySource::Set(_) => None,
                KeySource::Discovery { issuer, .. } => Some(issuer),
            },
            limits,
            keys: ArcSwap::from_pointee(kept.map(|kept| kept.keys).unwrap_or_default()),
            is_failing: AtomicBool::new(true),
            wanted: Notify::new(),
            readings: watch::channel(0).0,
            state: Mutex::default(),
            places: Semaphore::new(MAX_WAITING),
        });
        let task = IssuerKeyTask {
            keys: keys.clone(),
            fetcher,
            file,
            refresh: config.jwks_refresh,
            problems,
            clock,
            read_at_ms: Mutex::new(read_at_ms),
            written: Mutex::default(),
        };
        Ok(Some(IssuerKeysEnds { keys, task }))
    }

    pub(super) fn issuer(&self) -> Option<&str> {
        self.issuer.as_deref()
    }

    pub(super) fn current(&self) -> arc_swap::Guard<Arc<Vec<VerifyingKey>>> {
        self.keys.load()
    }

    /// Returns whether keys of the issuer may be missing, because the last reading failed.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Has the keys read again, unless that was done a moment ago, and waits until it is done.
    pub(super) async fn refresh(&self) {
        let Ok(_place) = self.places.try_acquire() else { return };
        let mut readings = self.readings.subscribe();
        if !self.ask() {
            return;
        }
        // The reading has a time limit of its own; the task may have been stopped.
        let _ = timeout(self.limits.time + Duration::from_secs(1), readings.changed()).await;
    }

    /// Returns whether a reading is under way or about to begin.
    fn ask(&self) -> bool {
        let mut state = self.state.lock();
        if state.is_reading {
            return true;
        }
        let is_recent =
            |time: Option<Instant>| time.is_some_and(|time| time.elapsed() < self.limits.min_gap);
        if is_recent(state.begun) {
            return false;
        }
        if !is_recent(state.asked) {
            state.asked = Some(Instant::now());
            self.wanted.notify_one();
        }
        true
    }

    fn begin(&self) {
        let mut state = self.state.lock();
        state.is_reading = true;
        state.begun = Some(Instant::now());
    }

    fn end(&self, has_failed: bool) {
        self.is_failing.store(has_failed, Ordering::Relaxed);
        self.state.lock().is_reading = false;
        self.readings.send_modify(|readings| *readings += 1);
    }
}

fn fetcher(config: &AuthConfig, limits: Limits) -> Result<Option<Fetcher>, KeyError> {
    let source = config.key_source().map_err(|(key, text)| KeyError::Source(key, text))?;
    let Some(source) = source else { return Ok(None) };
    let authorities = config.jwks_ca.as_deref();
    let tls = http_client::trusting(authorities).map_err(|reason| KeyError::Authorities {
        path: authorities.unwrap_or(Path::new("")).display().to_string(),
        reason,
    })?;
    Ok(Some(Fetcher::new(source, tls, limits.time)))
}

impl IssuerKeyTask {
    /// Runs until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let mut retries = RETRIES.start();
        loop {
            self.keys.begin();
            // Whoever asked until now gets this reading.
            let _ = self.keys.wanted.notified().now_or_never();
            let outcome = tokio::select! {
                outcome = self.fetcher.read() => outcome,
                () = stop.cancelled() => return,
            };
            let pause = match outcome {
                Ok(set) => {
                    retries.reset();
                    self.accept(set).await;
                    self.refresh
                }
                Err(error) => {
                    self.report(&error);
                    retries.next_pause_with_jitter().min(self.refresh)
                }
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.keys.wanted.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    async fn accept(&self, set: FetchedSet) {
        let FetchedSet { bytes, keys } = set;
        let now_ms = self.clock.now_ms();
        *self.read_at_ms.lock() = Some(now_ms);
        self.keys.keys.store(Arc::new(keys));
        self.problems.clear(ProblemCode::IssuerKeysFailing, ISSUER_KEYS);
        self.keys.end(false);
        let file = self.file.clone();
        if *self.written.lock() == bytes {
            return;
        }
        let set = bytes.clone();
        let written = tokio::task::spawn_blocking(move || file.write(&set, now_ms)).await;
        match written {
            Ok(Ok(())) => *self.written.lock() = bytes,
            Ok(Err(error)) => {
                tracing::warn!(%error, "issuer keys not kept for the next start");
            }
            Err(error) => tracing::warn!(%error, "issuer keys not kept for the next start"),
        }
    }

    fn report(&self, error: &FetchError) {
        let meanwhile = match *self.read_at_ms.lock() {
            Some(read_at_ms) => {
                let time = SystemTime::UNIX_EPOCH + Duration::from_millis(read_at_ms);
                let time = humantime::format_rfc3339_seconds(time);
                format!("the keys that were read at {time} stay in use")
            }
            None => "tokens that it signed are refused for now".to_owned(),
        };
        let text = format!(
            "the public keys of the issuer (auth.jwks_url, auth.oidc_issuer) cannot be read: {error}; \
             {meanwhile}"
        );
        self.problems.raise(ProblemCode::IssuerKeysFailing, ISSUER_KEYS, text);
        self.keys.end(true);
    }
}

/// Reads the keys of a configuration once, for `lcd check`. `None` if it names no issuer, or has a
/// fault that is told elsewhere.
pub async fn try_issuer(config: &AuthConfig) -> Option<Result<String, String>> {
    let fetcher = fetcher(config, LIMITS).ok()??;
    let began = std::time::Instant::now();
    Some(match fetcher.read().await {
        Ok(set) => {
            let ms = began.elapsed().as_millis();
            let keys = set.keys.len() as u64;
            let keys = crate::protocol::quantity::counted(keys, "key");
            Ok(format!("answers in {ms} ms with {keys}"))
        }
        Err(error) => Err(format!("(auth.jwks_url, auth.oidc_issuer): {error}")),
    })
}
