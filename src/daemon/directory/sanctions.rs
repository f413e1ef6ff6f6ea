//! Who is banned or timed out, right now.

use std::sync::Arc;

use ahash::AHashMap;
use arc_swap::ArcSwap;

use crate::daemon::clock::SharedClock;
use crate::daemon::store::StoreError;
use crate::daemon::store::metadata::SharedMetadataStore;
use crate::protocol::admin::{Sanction, SanctionKind};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{ErrorCode, UserId};

/// What a sanction means for the user who meets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub kind: SanctionKind,
    /// Milliseconds until it ends; `None` for good.
    pub remaining_ms: Option<u64>,
    pub reason: Option<String>,
}

impl Verdict {
    /// The error its user is answered with.
    pub fn error(&self) -> ErrorBody {
        let (code, what) = match self.kind {
            SanctionKind::Ban => (ErrorCode::Banned, "you are banned"),
            SanctionKind::Timeout => (ErrorCode::TimedOut, "you are timed out"),
        };
        let reason = self.reason.as_ref().map(|text| format!(": {text}")).unwrap_or_default();
        let mut body = ErrorBody::new(code, format!("{what}{reason}"));
        body.retry_after_ms = self.remaining_ms;
        body
    }
}

/// The sanctions in force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sanctions {
    store: SharedMetadataStore,
    clock: SharedClock,
    by_user: Arc<ArcSwap<AHashMap<UserId, Vec<Sanction>>>>,
}

impl Sanctions {
    pub async fn load(store: SharedMetadataStore, clock: SharedClock) -> Result<Self, StoreError> {
        let sanctions = Self { store, clock, by_user: Arc::default() };
        sanctions.reload().await?;
        Ok(sanctions)
    }

    /// Reads all of them anew.
    pub async fn reload(&self) -> Result<(), StoreError> {
        let mut by_user: AHashMap<UserId, Vec<Sanction>> = AHashMap::new();
        for sanction in self.store.sanctions(self.clock.now_ms()).await? {
            by_user.entry(sanction.user_id).or_default().push(sanction);
        }
        self.by_user.store(Arc::new(by_user));
        Ok(())
    }

    /// The heaviest sanction on a user, if any is in force.
    pub fn check(&self, user_id: UserId) -> Option<Verdict> {
        let by_user = self.by_user.load();
        let sanctions = by_user.get(&user_id)?;
        let now = self.clock.now_ms();
        let in_force = sanctions.iter().filter(|s| s.expires_at.is_none_or(|end| end > now));
        let worst = in_force.min_by_key(|s| match s.kind {
            SanctionKind::Ban => 0,
            SanctionKind::Timeout => 1,
        })?;
        Some(Verdict {
            kind: worst.kind,
            remaining_ms: worst.expires_at.map(|end| end - now),
            reason: worst.reason.clone(),
        })
    }

    /// The ban on a user, if one is in force; a timeout does not keep anybody from watching.
    pub fn check_ban(&self, user_id: UserId) -> Option<Verdict> {
        self.check(user_id).filter(|verdict| verdict.kind == SanctionKind::Ban)
    }

    /// All in force.
    pub fn all(&self) -> Vec<Sanction> {
        let now = self.clock.now_ms();
        let mut all: Vec<_> = self.by_user.load().values().flatten().cloned().collect();
        all.retain(|sanction| sanction.expires_at.is_none_or(|end| end > now));
        all.sort_by_key(|sanction| std::cmp::Reverse((sanction.created_at, sanction.user_id)));
        all
    }
}
