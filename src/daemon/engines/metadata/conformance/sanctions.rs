//! Promises about bans and timeouts.

use super::{actions, audit};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::MetadataStore;
use crate::protocol::UserId;
use crate::protocol::admin::{Sanction, SanctionKind};

const BOTH: [SanctionKind; 2] = [SanctionKind::Ban, SanctionKind::Timeout];

pub(super) fn sanction(user_id: u64, kind: SanctionKind, at: u64, until: Option<u64>) -> Sanction {
    Sanction {
        user_id: UserId(user_id),
        kind,
        name: Some(format!("user {user_id}")),
        reason: None,
        created_by: "ann".to_owned(),
        created_at: at,
        expires_at: until,
    }
}

async fn in_force(store: &impl MetadataStore, now_ms: u64) -> Vec<(u64, SanctionKind)> {
    let sanctions = store.sanctions(now_ms).await.unwrap();
    sanctions.into_iter().map(|sanction| (sanction.user_id.0, sanction.kind)).collect()
}

pub(crate) async fn a_sanction_replaces_one_of_its_kind(store: &impl MetadataStore) {
    let timeout = sanction(1, SanctionKind::Timeout, 10, Some(100));
    let ban = Sanction {
        name: None,
        reason: Some("spam".to_owned()),
        ..sanction(1, SanctionKind::Ban, 20, None)
    };
    let first = store.sanction(timeout.clone(), audit(10, "timeout")).await.unwrap();
    let second = store.sanction(ban.clone(), audit(20, "ban")).await.unwrap();
    assert!(second > first, "audit numbers grow");
    assert_eq!(store.sanctions(30).await.unwrap(), [ban.clone(), timeout]);
    let longer = sanction(1, SanctionKind::Timeout, 30, Some(500));
    store.sanction(longer.clone(), audit(30, "timeout")).await.unwrap();
    assert_eq!(store.sanctions(30).await.unwrap(), [longer, ban]);
    assert_eq!(actions(store).await, ["timeout", "ban", "timeout"]);
}

pub(crate) async fn sanctions_in_force_are_listed_newest_first(store: &impl MetadataStore) {
    use SanctionKind::{Ban, Timeout};
    for (user_id, kind, at, until) in
        [(1, Ban, 10, Some(100)), (2, Ban, 30, None), (3, Timeout, 20, Some(50))]
    {
        let sanction = sanction(user_id, kind, at, until);
        store.sanction(sanction, audit(at, "sanction")).await.unwrap();
    }
    assert_eq!(in_force(store, 40).await, [(2, Ban), (3, Timeout), (1, Ban)]);
    assert_eq!(in_force(store, 50).await, [(2, Ban), (1, Ban)], "it ends at its end");
    assert_eq!(in_force(store, 1000).await, [(2, Ban)]);
}

/// A node whose clock is hours ahead changes other sanctions, when this one is past by its clock.
pub(crate) async fn a_clock_that_is_ahead_lifts_no_sanction(store: &impl MetadataStore) {
    use SanctionKind::{Ban, Timeout};
    const HOUR_MS: u64 = 3_600_000;
    let now_ms = 1_750_000_000_000;
    let put = async |user_id, kind, at, until| {
        store.sanction(sanction(user_id, kind, at, until), audit(at, "put")).await.unwrap();
    };
    put(1, Timeout, now_ms, Some(now_ms + HOUR_MS)).await;
    put(2, Ban, now_ms + 3 * HOUR_MS, None).await;
    store.lift(UserId(2), &BOTH, audit(now_ms + 3 * HOUR_MS, "lift")).await.unwrap();
    assert_eq!(in_force(store, now_ms + 1).await, [(1, Timeout)]);
}

pub(crate) async fn only_sanctions_in_force_can_be_lifted(store: &impl MetadataStore) {
    use SanctionKind::{Ban, Timeout};
    for (user_id, kind, until) in [(1, Ban, None), (1, Timeout, Some(100)), (2, Ban, Some(50))] {
        store.sanction(sanction(user_id, kind, 10, until), audit(10, "put")).await.unwrap();
    }
    let expired = store.lift(UserId(2), &BOTH, audit(60, "lift")).await;
    assert!(matches!(expired, Err(StoreError::NotFound(_))), "{expired:?}");
    let unknown = store.lift(UserId(3), &BOTH, audit(60, "lift")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    store.lift(UserId(1), &[Timeout], audit(60, "lift")).await.unwrap();
    assert_eq!(in_force(store, 60).await, [(1, Ban)]);
    store.lift(UserId(1), &BOTH, audit(61, "lift")).await.unwrap();
    assert_eq!(in_force(store, 61).await, []);
    let again = store.lift(UserId(1), &BOTH, audit(62, "lift")).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
    assert_eq!(actions(store).await, ["lift", "lift", "put", "put", "put"]);
}
