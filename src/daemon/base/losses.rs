//! The file of the losses that nobody has acknowledged, and the thread that writes it.
//!
//! In: all present losses, whenever they change. Out: the file, synced, which the next start reads.
//! Always holds: what is in the file and not understood, such as a loss of a later version, is
//! written back unchanged; a file that cannot be read has a second name before it is replaced. When
//! a write fails: it is logged once and tried again until it succeeds or the process ends; what a
//! process could not write is forgotten with it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tracing::{info, warn};

use super::free_name::free_name;
use crate::net::replace_file::replace_file;
use crate::protocol::admin::{Problem, ProblemCode};
use crate::protocol::json;

/// A loss that nobody has acknowledged.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Loss {
    pub(super) code: ProblemCode,
    pub(super) subject: String,
    pub(super) text: String,
    /// Milliseconds since the Unix epoch.
    pub(super) began_at: u64,
}

impl Loss {
    pub(super) fn as_problem(&self, now_ms: u64) -> Problem {
        Problem {
            code: self.code.as_str().to_owned(),
            subject: self.subject.clone(),
            text: self.text.clone(),
            since_ms: now_ms.saturating_sub(self.began_at),
        }
    }
}

/// A loss in the file.
#[derive(Debug, Serialize, Deserialize)]
struct KeptLoss {
    code: String,
    subject: String,
    text: String,
    began_at: u64,
}

/// The file of the losses.
#[derive(Debug)]
pub(super) struct LossFile {
    /// `None` if the losses cannot be kept: a file is there that cannot be read, nor get another
    /// name.
    path: Option<PathBuf>,
    /// Entries that this version does not understand.
    foreign: Vec<Value>,
    /// The losses in the file, as last read or written.
    written: Vec<Loss>,
    is_failing: bool,
}

impl LossFile {
    /// Returns the losses in the file.
    pub(super) fn read(path: &Path) -> io::Result<Vec<Loss>> {
        Ok(read_entries(path)?.iter().filter_map(known_loss).collect())
    }

    /// Reads the file and changes nothing, unless it cannot be read: then it gets a second name,
    /// under which it stays when the file is written. Returns its losses, and a sentence if it
    /// could not be read.
    pub(super) fn open(path: &Path) -> (Self, Vec<Loss>, Option<String>) {
        let mut file = Self {
            path: Some(path.to_owned()),
            foreign: Vec::new(),
            written: Vec::new(),
            is_failing: false,
        };
        let entries = match read_entries(path) {
            Ok(entries) => entries,
            Err(error) => {
                let aside = free_name(path, "damaged");
                // It is found damaged again until that is written.
                let text = match std::fs::hard_link(path, &aside) {
                    Ok(()) => format!(
                        "losses of earlier runs could not be read ({error}): look for them in {}",
                        aside.display()
                    ),
                    Err(link) => {
                        file.path = None;
                        format!(
                            "losses of earlier runs in {} can be neither read ({error}) nor kept \
                             under another name ({link}), so later ones are not kept either: \
                             repair or move the file and restart lcd",
                            path.display()
                        )
                    }
                };
                return (file, Vec::new(), Some(text));
            }
        };
        for entry in entries {
            match known_loss(&entry) {
                Some(loss) => file.written.push(loss),
                None => file.foreign.push(entry),
            }
        }
        let known = file.written.clone();
        (file, known, None)
    }

    /// Writes the losses, unless the file has them. Returns whether it has them now. Blocks on the
    /// disk.
    pub(super) fn write(&mut self, losses: &[Loss]) -> bool {
        if self.written == losses {
            return true;
        }
        let Some(path) = self.path.as_deref() else { return false };
        match write_entries(path, &self.foreign, losses) {
            Ok(()) => {
                losses.clone_into(&mut self.written);
                if self.is_failing {
                    info!(path = %path.display(), "the losses are written");
                }
                self.is_failing = false;
            }
            Err(error) => {
                if !self.is_failing {
                    warn!(
                        path = %path.display(), %error,
                        "cannot write the losses, so a restart would forget them; trying again"
                    );
                }
                self.is_failing = true;
            }
        }
        !self.is_failing
    }
}

fn read_entries(path: &Path) -> io::Result<Vec<Value>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn known_loss(entry: &Value) -> Option<Loss> {
    let KeptLoss { code, subject, text, began_at } = KeptLoss::deserialize(entry).ok()?;
    Some(Loss { code: ProblemCode::loss(&code)?, subject, text, began_at })
}

fn write_entries(path: &Path, foreign: &[Value], losses: &[Loss]) -> io::Result<()> {
    let mut entries = foreign.to_vec();
    for Loss { code, subject, text, began_at } in losses {
        let [code, subject, text] = [code.as_str(), subject, text].map(ToOwned::to_owned);
        entries.push(serde_json::to_value(KeptLoss { code, subject, text, began_at: *began_at })?);
    }
    replace_file(path, &json::to_vec(&entries)?)
}

/// Wakes the thread that writes the losses. The thread ends when this is dropped.
#[derive(Debug)]
pub(super) struct Unwritten {
    wake: SyncSender<()>,
}

impl Unwritten {
    /// Starts the thread. `write` returns false if it failed, and is then called again.
    pub(super) fn start(retry_after: Duration, write: impl Fn() -> bool + Send + 'static) -> Self {
        let (wake, woken) = sync_channel(1);
        let thread = std::thread::Builder::new().name("losses".to_owned());
        if let Err(error) = thread.spawn(move || keep_written(&woken, retry_after, write)) {
            warn!(%error, "cannot start the thread that writes the losses");
        }
        Self { wake }
    }

    /// Wakes the thread. Does not wait: if it is to be woken already, it will see this change too.
    pub(super) fn tell(&self) {
        let _ = self.wake.try_send(());
    }
}

fn keep_written(woken: &Receiver<()>, retry_after: Duration, write: impl Fn() -> bool) {
    let mut is_written = true;
    loop {
        let next = if is_written {
            woken.recv().map_err(RecvTimeoutError::from)
        } else {
            woken.recv_timeout(retry_after)
        };
        if next == Err(RecvTimeoutError::Disconnected) {
            return;
        }
        is_written = write();
    }
}
