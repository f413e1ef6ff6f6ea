//! The public keys that an issuer publishes: a JSON Web Key Set, at an address of the configuration
//! or at the one that the issuer's discovery document names.
//!
//! In: the set, read at the start, every `auth.jwks_refresh`, and when a token names a key that is
//! not known. Out: keys that verify tokens. A file in the data directory keeps the last good set
//! for a start while the issuer is away.
//!
//! Always holds: a set is used as a whole or not at all (see [`set`]), and a reading that fails
//! changes nothing but the problem that operators are told, until the set is older than
//! `auth.jwks_max_age`: then it is as if the issuer had withdrawn all keys. A key that a set no
//! longer has stops working when that set is read, and the connections that it admitted are closed.
//! Verifying never waits for the network, unless the key of a token is not known.
//!
//! When full: unknown keys cause at most one reading in 10 s, whoever names them, and at most
//! [`MAX_WAITING`] tokens wait for one. Others are refused at once, for now: their key may be one
//! that the issuer has just published.

mod fetch;
mod file;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod numbered;
mod set;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use self::fetch::{FetchError, FetchedSet, Fetcher};
use self::file::KeyFile;
use self::numbered::{NumberedKeys, NumberedSet};
use self::set::PublicKey;
use super::KeyError;
use super::keys::{Origin, VerifyingKey};
use crate::daemon::base::clock::SharedClock;
use crate::daemon::base::config::{AuthConfig, KeyAlgorithm, KeySource};
use crate::daemon::base::handoff::IssuerKeyId;
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
/// The file is written again, with the same set, after this part of `auth.jwks_max_age`, so that it
/// hardly ends earlier than the set in use.
const MAX_AGE_PER_WRITE: u64 = 24;
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
    /// The names of the keys that the issuer withdrew last. Bounded as a set is.
    withdrawn: Vec<(KeyAlgorithm, String)>,
}

/// A reading whose end a token waits for.
#[derive(Debug)]
struct AwaitedReading {
    ended: watch::Receiver<u64>,
    /// Whether it begins from now on, so that it finds every key that a known token names.
    is_to_begin: bool,
}

/// Closes the connections whose tokens were signed with one of these keys. Resolves to their
/// number. Provided by the assembly.
pub type CloseSignedBy = dyn Fn(Arc<[IssuerKeyId]>) -> BoxFuture<'static, u64> + Send + Sync;

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
    numbered: Mutex<NumberedKeys>,
    fetcher: Fetcher,
    file: KeyFile,
    refresh: Duration,
    /// Sets that were read longer ago are not used.
    max_age: Duration,
    problems: Problems,
    clock: SharedClock,
    /// When the last good set was read, in milliseconds since the Unix epoch.
    read_at_ms: Mutex<Option<u64>>,
    /// The set in the file; `None` if this run wrote none.
    written: Mutex<Option<WrittenSet>>,
}

#[derive(Debug)]
struct WrittenSet {
    set: Bytes,
    /// Milliseconds since the Unix epoch.
    at_ms: u64,
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
        let Some((source, fetcher)) = fetcher(config, limits)? else { return Ok(None) };
        let file = KeyFile::new(data_dir, &source);
        let kept = file.read(clock.now_ms(), config.jwks_max_age);
        let read_at_ms = kept.as_ref().map(|kept| kept.read_at_ms);
        let mut numbered = NumberedKeys::default();
        let in_use = numbered.replace(kept.map(|kept| kept.keys).unwrap_or_default());
        let keys = Arc::new(Self {
            issuer: match source {
                KeySource::Set(_) => None,
                KeySource::Discovery { issuer, .. } => Some(issuer),
            },
            limits,
            keys: ArcSwap::from_pointee(in_use.keys),
            is_failing: AtomicBool::new(true),
            wanted: Notify::new(),
            readings: watch::channel(0).0,
            state: Mutex::default(),
            places: Semaphore::new(MAX_WAITING),
        });
        let task = IssuerKeyTask {
            keys: keys.clone(),
            numbered: Mutex::new(numbered),
            fetcher,
            file,
            refresh: config.jwks_refresh,
            max_age: config.jwks_max_age,
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

    pub(super) fn has(&self, id: IssuerKeyId) -> bool {
        self.keys.load().iter().any(|key| key.origin == Origin::Issuer(id))
    }

    /// Returns whether keys of the issuer may be missing, because the last reading failed.
    pub(super) fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Returns whether the issuer withdrew a key of this name when it withdrew keys last.
    pub(super) fn has_withdrawn(&self, algorithm: KeyAlgorithm, kid: &str) -> bool {
        let state = self.state.lock();
        state.withdrawn.iter().any(|(known, name)| *known == algorithm && name == kid)
    }

    /// Has the keys read again, unless that was done a moment ago, and waits until it is done.
    /// Returns whether a reading began after the call and ended: if not, a key that the issuer
    /// published before the call may be missing.
    pub(super) async fn refresh(&self) -> bool {
        let Ok(_place) = self.places.try_acquire() else { return false };
        let Some(mut reading) = self.ask() else { return false };
        // The reading has a time limit of its own; the task may have been stopped.
        let limit = self.limits.time + Duration::from_secs(1);
        let has_ended = matches!(timeout(limit, reading.ended.changed()).await, Ok(Ok(())));
        has_ended && reading.is_to_begin
    }

    /// Returns the reading that is under way or about to begin; `None` if the last one began a
    /// moment ago.
    fn ask(&self) -> Option<AwaitedReading> {
        let mut state = self.state.lock();
        let ended = self.readings.subscribe();
        if state.is_reading {
            return Some(AwaitedReading { ended, is_to_begin: false });
        }
        let is_recent =
            |time: Option<Instant>| time.is_some_and(|time| time.elapsed() < self.limits.min_gap);
        if is_recent(state.begun) {
            return None;
        }
        if !is_recent(state.asked) {
            state.asked = Some(Instant::now());
            self.wanted.notify_one();
        }
        Some(AwaitedReading { ended, is_to_begin: true })
    }

    fn replace(&self, keys: Vec<VerifyingKey>, withdrawn: &[IssuerKeyId]) {
        let before = self.keys.swap(Arc::new(keys));
        if withdrawn.is_empty() {
            return;
        }
        let is_withdrawn = |key: &&VerifyingKey| match key.origin {
            Origin::Issuer(id) => withdrawn.contains(&id),
            Origin::Node | Origin::Configured => false,
        };
        let names = before.iter().filter(is_withdrawn);
        let names = names.filter_map(|key| Some((key.algorithm, key.kid.clone()?))).collect();
        self.state.lock().withdrawn = names;
    }

    fn begin(&self) {
        let mut state = self.state.lock();
        state.is_reading = true;
        state.begun = Some(Instant::now());
    }

    fn end(&self, has_failed: bool) {
        self.is_failing.store(has_failed, Ordering::Relaxed);
        // Under the lock, so that whoever asks sees this reading under way or waits for the next.
        let mut state = self.state.lock();
        state.is_reading = false;
        self.readings.send_modify(|readings| *readings += 1);
    }
}

fn fetcher(config: &AuthConfig, limits: Limits) -> Result<Option<(KeySource, Fetcher)>, KeyError> {
    let source = config.key_source().map_err(|(key, text)| KeyError::Source(key, text))?;
    let Some(source) = source else { return Ok(None) };
    let authorities = config.jwks_ca.as_deref();
    let tls = http_client::trusting(authorities).map_err(|reason| KeyError::Authorities {
        path: authorities.unwrap_or(Path::new("")).display().to_string(),
        reason,
    })?;
    let fetcher = Fetcher::new(source.clone(), tls, limits.time);
    Ok(Some((source, fetcher)))
}

impl IssuerKeyTask {
    /// Runs until `stop`. Connections that a key admitted are closed when it is withdrawn.
    pub async fn run(&self, close: &CloseSignedBy, stop: CancellationToken) {
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
                    self.accept(set, close).await;
                    self.refresh
                }
                Err(error) => {
                    let discarded = self.discard_old();
                    self.report(&error);
                    close_all(discarded, close).await;
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

    async fn accept(&self, set: FetchedSet, close: &CloseSignedBy) {
        let FetchedSet { bytes, keys } = set;
        let now_ms = self.clock.now_ms();
        *self.read_at_ms.lock() = Some(now_ms);
        let withdrawn = self.replace(keys);
        self.problems.clear(ProblemCode::IssuerKeysFailing, ISSUER_KEYS);
        self.keys.end(false);
        close_all(withdrawn, close).await;
        if !self.is_write_due(&bytes, now_ms) {
            return;
        }
        let file = self.file.clone();
        let set = bytes.clone();
        let written = tokio::task::spawn_blocking(move || file.write(&set, now_ms)).await;
        match written {
            Ok(Ok(())) => *self.written.lock() = Some(WrittenSet { set: bytes, at_ms: now_ms }),
            Ok(Err(error)) => {
                tracing::warn!(%error, "issuer keys not kept for the next start");
            }
            Err(error) => tracing::warn!(%error, "issuer keys not kept for the next start"),
        }
    }

    fn is_write_due(&self, set: &Bytes, now_ms: u64) -> bool {
        let longest_ms = self.max_age.as_millis() as u64 / MAX_AGE_PER_WRITE;
        let is_fresh = |written: &WrittenSet| {
            written.set == *set && now_ms.saturating_sub(written.at_ms) < longest_ms
        };
        !self.written.lock().as_ref().is_some_and(is_fresh)
    }

    /// Stops using the set if it is too old. Returns its keys.
    fn discard_old(&self) -> Vec<IssuerKeyId> {
        let read_at_ms = *self.read_at_ms.lock();
        let is_old = read_at_ms.is_some_and(|read_at_ms| self.is_too_old(read_at_ms));
        if is_old { self.replace(Vec::new()) } else { Vec::new() }
    }

    fn is_too_old(&self, read_at_ms: u64) -> bool {
        let age_ms = self.clock.now_ms().saturating_sub(read_at_ms);
        Duration::from_millis(age_ms) > self.max_age
    }

    /// Uses another set. Returns the keys that it lacks.
    fn replace(&self, set: Vec<PublicKey>) -> Vec<IssuerKeyId> {
        let NumberedSet { keys, withdrawn } = self.numbered.lock().replace(set);
        self.keys.replace(keys, &withdrawn);
        withdrawn
    }

    fn report(&self, error: &FetchError) {
        let meanwhile = match *self.read_at_ms.lock() {
            Some(read_at_ms) => {
                let read_at = SystemTime::UNIX_EPOCH + Duration::from_millis(read_at_ms);
                let read = humantime::format_rfc3339_seconds(read_at);
                let end = humantime::format_rfc3339_seconds(read_at + self.max_age);
                if self.is_too_old(read_at_ms) {
                    format!(
                        "the keys that were read at {read} were used until {end} \
                         (`auth.jwks_max_age`); tokens that it signed are refused for now"
                    )
                } else {
                    format!("the keys that were read at {read} stay in use until {end}")
                }
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

async fn close_all(withdrawn: Vec<IssuerKeyId>, close: &CloseSignedBy) {
    if withdrawn.is_empty() {
        return;
    }
    let keys = withdrawn.len();
    let connections = close(withdrawn.into()).await;
    tracing::info!(keys, connections, "issuer keys withdrawn; their connections closed");
}

/// Reads the keys of a configuration once, for `lcd check`. `None` if it names no issuer, or has a
/// fault that is told elsewhere.
pub async fn try_issuer(config: &AuthConfig) -> Option<Result<String, String>> {
    let (_, fetcher) = fetcher(config, LIMITS).ok()??;
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
