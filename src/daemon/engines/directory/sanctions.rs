//! The bans, timeouts and shadows in force.

use std::sync::Arc;

use ahash::AHashMap;
use parking_lot::Mutex;

use super::snapshot::Snapshot;
use crate::daemon::base::clock::SharedClock;
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::SharedMetadataStore;
use crate::protocol::admin::{Sanction, SanctionKind, Shadow};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{ErrorCode, StreamId, UserId, UserScope};

/// Banned users whose connections may stay open for a while. Further ones are not spared.
const MAX_SPARED: usize = 10_000;

/// A sanction that is in force now, as its user is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveSanction {
    pub kind: SanctionKind,
    /// Milliseconds until it ends; `None` if it never does.
    pub remaining_ms: Option<u64>,
    pub reason: Option<String>,
}

impl ActiveSanction {
    /// Returns the error sent to the user.
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

/// The sanctions and shadows in force. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Sanctions {
    store: SharedMetadataStore,
    clock: SharedClock,
    by_user: Arc<Snapshot<AHashMap<UserId, Vec<Sanction>>>>,
    shadows: Arc<Snapshot<AHashMap<UserId, Vec<Shadow>>>>,
    /// The bans that [`Self::newly_banned`] has returned, with their times.
    reported: Arc<Mutex<AHashMap<UserScope, u64>>>,
    /// The bans that close no connections until a time.
    spared: Arc<Mutex<AHashMap<UserScope, u64>>>,
}

impl Sanctions {
    pub async fn load(store: SharedMetadataStore, clock: SharedClock) -> Result<Self, StoreError> {
        let sanctions = Self {
            store,
            clock,
            by_user: Arc::default(),
            shadows: Arc::default(),
            reported: Arc::default(),
            spared: Arc::default(),
        };
        sanctions.reload().await?;
        Ok(sanctions)
    }

    /// Reads all sanctions and shadows again.
    pub async fn reload(&self) -> Result<(), StoreError> {
        self.reload_sanctions().await.and(self.reload_shadows().await)
    }

    async fn reload_shadows(&self) -> Result<(), StoreError> {
        let reload = self.shadows.begin();
        let mut by_user: AHashMap<UserId, Vec<Shadow>> = AHashMap::new();
        for shadow in self.store.shadows(self.clock.now_ms()).await? {
            by_user.entry(shadow.user_id).or_default().push(shadow);
        }
        self.shadows.finish(&reload, by_user);
        Ok(())
    }

    async fn reload_sanctions(&self) -> Result<(), StoreError> {
        let reload = self.by_user.begin();
        let mut by_user: AHashMap<UserId, Vec<Sanction>> = AHashMap::new();
        for sanction in self.store.sanctions(self.clock.now_ms()).await? {
            by_user.entry(sanction.user_id).or_default().push(sanction);
        }
        self.by_user.finish(&reload, by_user);
        Ok(())
    }

    /// Returns the most severe sanction on a user that is in force on a stream, if there is any; of
    /// several of one kind, the one that ends last.
    pub fn check(&self, user_id: UserId, stream_id: StreamId) -> Option<ActiveSanction> {
        self.worst(user_id, |sanction| sanction.holds_on(stream_id))
    }

    /// Returns the most severe sanction on a user that is in force anywhere, if there is any.
    pub fn check_anywhere(&self, user_id: UserId) -> Option<ActiveSanction> {
        self.worst(user_id, |_| true)
    }

    fn worst(&self, user_id: UserId, counts: impl Fn(&Sanction) -> bool) -> Option<ActiveSanction> {
        let by_user = self.by_user.get();
        let sanctions = by_user.get(&user_id)?;
        let now = self.clock.now_ms();
        let in_force =
            sanctions.iter().filter(|s| counts(s) && s.expires_at.is_none_or(|end| end > now));
        let worst = in_force.max_by_key(|s| {
            let is_ban = s.kind == SanctionKind::Ban;
            (is_ban, s.expires_at.unwrap_or(u64::MAX))
        })?;
        Some(ActiveSanction {
            kind: worst.kind,
            remaining_ms: worst.expires_at.map(|end| end - now),
            reason: worst.reason.clone(),
        })
    }

    /// Returns whether new comments of a user on a stream are shown to nobody but the user.
    pub fn is_shadowed(&self, user_id: UserId, stream_id: StreamId) -> bool {
        self.has_shadow(user_id, |shadow| shadow.stream_id.is_none_or(|only| only == stream_id))
    }

    /// Returns whether that holds on any stream.
    pub fn is_shadowed_anywhere(&self, user_id: UserId) -> bool {
        self.has_shadow(user_id, |_| true)
    }

    fn has_shadow(&self, user_id: UserId, counts: impl Fn(&Shadow) -> bool) -> bool {
        let by_user = self.shadows.get();
        let Some(shadows) = by_user.get(&user_id) else { return false };
        let now = self.clock.now_ms();
        shadows.iter().any(|shadow| shadow.is_in_force(now) && counts(shadow))
    }

    /// Returns the ban that keeps a user from a stream, or from all: on all streams only one that
    /// holds on all counts. A timeout does not prevent watching.
    pub fn check_ban(&self, who: UserScope) -> Option<ActiveSanction> {
        self.worst(who.user_id, |sanction| {
            let holds = match who.stream_id {
                Some(stream_id) => sanction.holds_on(stream_id),
                None => sanction.stream_id.is_none(),
            };
            sanction.kind == SanctionKind::Ban && holds
        })
    }

    /// Leaves a ban out of [`Self::newly_banned`] for a time, because somebody else closes the
    /// connections then. Returns false, and spares nobody, if that many are spared already.
    pub fn spare(&self, banned: UserScope, for_ms: u64) -> bool {
        let now = self.clock.now_ms();
        let mut spared = self.spared.lock();
        spared.retain(|_, until| *until > now);
        if spared.len() >= MAX_SPARED {
            return false;
        }
        spared.insert(banned, now.saturating_add(for_ms));
        true
    }

    /// Returns whether the connections that a ban is about stay open for now.
    pub fn is_spared(&self, banned: UserScope) -> bool {
        let now = self.clock.now_ms();
        self.spared.lock().get(&banned).is_some_and(|until| *until > now)
    }

    /// Returns the users banned, or banned again, since the last call, each with the streams of the
    /// ban. Those that are spared are returned later.
    pub fn newly_banned(&self) -> Vec<UserScope> {
        let mut bans: AHashMap<UserScope, u64> = AHashMap::new();
        for ban in self.all().iter().filter(|sanction| sanction.kind == SanctionKind::Ban) {
            let banned = UserScope { user_id: ban.user_id, stream_id: ban.stream_id };
            let at = bans.entry(banned).or_default();
            *at = ban.created_at.max(*at);
        }
        self.remove_spared(&mut bans);
        let before = std::mem::replace(&mut *self.reported.lock(), bans.clone());
        let is_new = |(banned, at): &(UserScope, u64)| before.get(banned) != Some(at);
        bans.into_iter().filter(is_new).map(|(banned, _)| banned).collect()
    }

    fn remove_spared(&self, bans: &mut AHashMap<UserScope, u64>) {
        let now = self.clock.now_ms();
        let spared = self.spared.lock();
        bans.retain(|banned, _| spared.get(banned).is_none_or(|until| *until <= now));
    }

    /// Returns all sanctions in force, newest first.
    pub fn all(&self) -> Vec<Sanction> {
        let now = self.clock.now_ms();
        let mut all: Vec<_> = self.by_user.get().values().flatten().cloned().collect();
        all.retain(|sanction| sanction.expires_at.is_none_or(|end| end > now));
        all.sort_by_key(|it| (std::cmp::Reverse((it.created_at, it.user_id)), it.stream_id));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::clock::TokioClock;
    use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, sanction};
    use std::time::Duration;

    const START_MS: u64 = 1_000_000;
    const ONE: StreamId = StreamId(1);
    const TWO: StreamId = StreamId(2);

    fn everywhere(user_id: u64) -> UserScope {
        UserScope::everywhere(UserId(user_id))
    }

    async fn loaded(sanctions: &[Sanction]) -> (Arc<InMemoryMetadata>, Sanctions) {
        let store = Arc::new(InMemoryMetadata::default());
        sanctions.iter().for_each(|sanction| store.put_sanction(sanction.clone()));
        let clock = Arc::new(TokioClock::starting_at(Duration::from_millis(START_MS)));
        let sanctions = Sanctions::load(store.clone(), clock).await.unwrap();
        (store, sanctions)
    }

    #[tokio::test(start_paused = true)]
    async fn sanctions_end_on_time_without_a_reload() {
        let timeout = sanction(7, SanctionKind::Timeout, Some(START_MS + 10_000));
        let (_, sanctions) = loaded(&[timeout]).await;
        tokio::time::advance(Duration::from_secs(4)).await;
        let verdict = sanctions.check(UserId(7), ONE).unwrap();
        assert_eq!(verdict.remaining_ms, Some(6000));
        assert_eq!(verdict.error().code, ErrorCode::TimedOut);
        assert_eq!(verdict.error().retry_after_ms, Some(6000));
        assert_eq!(sanctions.all().len(), 1);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(sanctions.check(UserId(7), ONE), None);
        assert!(sanctions.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_ban_outweighs_a_timeout() {
        let timeout = sanction(7, SanctionKind::Timeout, Some(START_MS + 1000));
        let (store, sanctions) = loaded(&[timeout]).await;
        assert_eq!(sanctions.check_ban(everywhere(7)), None);
        store.put_sanction(sanction(7, SanctionKind::Ban, None));
        sanctions.reload().await.unwrap();
        let verdict = sanctions.check(UserId(7), ONE).unwrap();
        assert_eq!((verdict.kind, verdict.remaining_ms), (SanctionKind::Ban, None));
        let error = verdict.error();
        assert_eq!((error.code, error.retry_after_ms), (ErrorCode::Banned, None));
        assert!(error.message.contains("test reason"), "{}", error.message);
        assert_eq!(sanctions.check_ban(everywhere(7)), Some(verdict));
        assert_eq!(sanctions.check(UserId(8), ONE), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_reload_keeps_bans_in_force() {
        let (store, sanctions) = loaded(&[sanction(7, SanctionKind::Ban, None)]).await;
        store.set_down(true);
        assert!(sanctions.reload().await.is_err());
        assert!(sanctions.clone().check_ban(everywhere(7)).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_spared_user_is_newly_banned_later() {
        let (_, sanctions) = loaded(&[sanction(7, SanctionKind::Ban, None)]).await;
        assert!(sanctions.spare(everywhere(7), 10_000));
        assert_eq!(sanctions.newly_banned(), []);
        assert!(sanctions.is_spared(everywhere(7)) && !sanctions.is_spared(everywhere(8)));
        assert!(sanctions.check_ban(everywhere(7)).is_some(), "new connections are refused");
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(!sanctions.is_spared(everywhere(7)));
        assert_eq!(sanctions.newly_banned(), [everywhere(7)]);
        let all = (0..MAX_SPARED as u64).all(|user| sanctions.spare(everywhere(user), 10_000));
        assert!(all && !sanctions.spare(everywhere(1 << 40), 10_000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ban_is_new_once_and_again_when_repeated() {
        let (store, sanctions) = loaded(&[sanction(7, SanctionKind::Timeout, None)]).await;
        assert_eq!(sanctions.newly_banned(), [], "a timeout is no ban");
        let mut ban = sanction(7, SanctionKind::Ban, None);
        store.put_sanction(ban.clone());
        sanctions.reload().await.unwrap();
        assert_eq!(sanctions.newly_banned(), [everywhere(7)]);
        assert_eq!(sanctions.newly_banned(), []);
        ban.created_at += 1;
        store.put_sanction(ban);
        sanctions.reload().await.unwrap();
        assert_eq!(sanctions.newly_banned(), [everywhere(7)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_shadow_is_for_its_streams_until_it_ends() {
        let (store, sanctions) = loaded(&[]).await;
        let shadow = |user, stream_id, expires_at| Shadow {
            user_id: UserId(user),
            stream_id,
            name: None,
            created_by: "test".to_owned(),
            created_at: 1,
            expires_at,
        };
        store.put_shadow(shadow(7, Some(StreamId(1)), None));
        store.put_shadow(shadow(8, None, Some(START_MS + 1000)));
        assert!(!sanctions.is_shadowed(UserId(8), StreamId(1)), "not read yet");
        sanctions.reload().await.unwrap();
        let shadowed = |user, stream| sanctions.is_shadowed(UserId(user), StreamId(stream));
        assert!(shadowed(7, 1) && !shadowed(7, 2) && shadowed(8, 2) && !shadowed(9, 1));
        assert_eq!(sanctions.check(UserId(7), ONE), None, "the user is told nothing");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!shadowed(8, 2) && shadowed(7, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_listed_newest_first() {
        let mut list: Vec<_> =
            (1..=3).map(|user| sanction(user, SanctionKind::Ban, None)).collect();
        list[1].created_at += 5;
        let (_, sanctions) = loaded(&list).await;
        let users: Vec<_> = sanctions.all().iter().map(|sanction| sanction.user_id.0).collect();
        assert_eq!(users, [2, 3, 1]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_sanction_on_a_stream_holds_there_only() {
        let on = |stream_id, kind, expires_at| Sanction {
            stream_id: Some(stream_id),
            ..sanction(7, kind, expires_at)
        };
        let ends = Some(START_MS + 1000);
        let (store, sanctions) =
            loaded(&[on(ONE, SanctionKind::Ban, ends), on(TWO, SanctionKind::Timeout, None)]).await;
        let kind = |stream_id| sanctions.check(UserId(7), stream_id).map(|verdict| verdict.kind);
        assert_eq!(kind(ONE), Some(SanctionKind::Ban));
        assert_eq!(kind(TWO), Some(SanctionKind::Timeout));
        assert_eq!(kind(StreamId(3)), None);
        let is_banned = |who| sanctions.check_ban(who).is_some();
        let on_one = UserScope::on(UserId(7), ONE);
        assert!(is_banned(on_one) && !is_banned(UserScope::on(UserId(7), TWO)));
        assert!(!is_banned(everywhere(7)), "it may watch other streams");
        assert_eq!(sanctions.newly_banned(), [on_one]);
        store.put_sanction(sanction(7, SanctionKind::Ban, Some(START_MS + 500)));
        sanctions.reload().await.unwrap();
        assert_eq!(sanctions.check_ban(on_one).unwrap().remaining_ms, Some(1000), "the longer");
        assert_eq!(sanctions.check_ban(everywhere(7)).unwrap().remaining_ms, Some(500));
        assert!(sanctions.spare(on_one, 10_000) && !sanctions.is_spared(everywhere(7)));
        assert_eq!(sanctions.newly_banned(), [everywhere(7)]);
    }
}
