//! Promises about bans and timeouts.

use super::{actions, audit};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::MetadataStore;
use crate::protocol::admin::{Sanction, SanctionKind};
use crate::protocol::{StreamId, UserId};

const EVERYWHERE: [Option<StreamId>; 1] = [None];
const SEVEN: Option<StreamId> = Some(StreamId(7));
const EIGHT: Option<StreamId> = Some(StreamId(8));
const BOTH: [SanctionKind; 2] = [SanctionKind::Ban, SanctionKind::Timeout];

pub(super) fn sanction(user_id: u64, kind: SanctionKind, at: u64, until: Option<u64>) -> Sanction {
    Sanction {
        user_id: UserId(user_id),
        kind,
        stream_id: None,
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
    store.lift(UserId(2), &BOTH, &EVERYWHERE, audit(now_ms + 3 * HOUR_MS, "lift")).await.unwrap();
    assert_eq!(in_force(store, now_ms + 1).await, [(1, Timeout)]);
}

pub(crate) async fn only_sanctions_in_force_can_be_lifted(store: &impl MetadataStore) {
    use SanctionKind::{Ban, Timeout};
    for (user_id, kind, until) in [(1, Ban, None), (1, Timeout, Some(100)), (2, Ban, Some(50))] {
        store.sanction(sanction(user_id, kind, 10, until), audit(10, "put")).await.unwrap();
    }
    let expired = store.lift(UserId(2), &BOTH, &EVERYWHERE, audit(60, "lift")).await;
    assert!(matches!(expired, Err(StoreError::NotFound(_))), "{expired:?}");
    let unknown = store.lift(UserId(3), &BOTH, &EVERYWHERE, audit(60, "lift")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
    store.lift(UserId(1), &[Timeout], &EVERYWHERE, audit(60, "lift")).await.unwrap();
    assert_eq!(in_force(store, 60).await, [(1, Ban)]);
    store.lift(UserId(1), &BOTH, &EVERYWHERE, audit(61, "lift")).await.unwrap();
    assert_eq!(in_force(store, 61).await, []);
    let again = store.lift(UserId(1), &BOTH, &EVERYWHERE, audit(62, "lift")).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
    assert_eq!(actions(store).await, ["lift", "lift", "put", "put", "put"]);
}

pub(crate) async fn each_stream_has_sanctions_of_its_own(store: &impl MetadataStore) {
    use SanctionKind::{Ban, Timeout};
    let on = |stream_id, kind, at, until| Sanction { stream_id, ..sanction(1, kind, at, until) };
    let everywhere = on(None, Ban, 10, Some(500));
    let on_seven = on(SEVEN, Ban, 20, None);
    let quiet_on_seven = on(SEVEN, Timeout, 20, Some(900));
    let on_eight = on(EIGHT, Ban, 30, Some(600));
    for sanction in [&everywhere, &on_seven, &quiet_on_seven, &on_eight] {
        store.sanction(sanction.clone(), audit(sanction.created_at, "put")).await.unwrap();
    }
    let all = [on_eight, on_seven, quiet_on_seven.clone(), everywhere.clone()];
    assert_eq!(store.sanctions(40).await.unwrap(), all);
    let longer = on(EIGHT, Ban, 50, None);
    store.sanction(longer.clone(), audit(50, "put")).await.unwrap();
    store.lift(UserId(1), &[Ban], &[SEVEN], audit(60, "lift")).await.unwrap();
    let left = [longer.clone(), quiet_on_seven, everywhere.clone()];
    assert_eq!(store.sanctions(60).await.unwrap(), left, "only the one on 8 is replaced");
    let again = store.lift(UserId(1), &[Ban], &[SEVEN], audit(61, "lift")).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
    let none = store.lift(UserId(1), &BOTH, &[], audit(62, "lift")).await;
    assert!(matches!(none, Err(StoreError::NotFound(_))), "{none:?}");
    store.lift(UserId(1), &BOTH, &[None, SEVEN], audit(63, "lift")).await.unwrap();
    assert_eq!(store.sanctions(63).await.unwrap(), [longer]);
    assert_eq!(actions(store).await, ["lift", "lift", "put", "put", "put", "put", "put"]);
}

pub(crate) async fn sanctions_are_put_with_what_they_replace(store: &impl MetadataStore) {
    use SanctionKind::{Ban, Timeout};
    let ban = sanction(1, Ban, 10, None);
    let timeout = sanction(1, Timeout, 10, Some(50));
    let other = Sanction { stream_id: SEVEN, ..sanction(1, Ban, 10, None) };
    let first = [ban.clone(), timeout, other.clone()];
    let put = store.put_sanctions(&first, audit(10, "put")).await.unwrap();
    assert_eq!(put.replaced, []);
    let again = [sanction(1, Ban, 60, Some(900)), sanction(1, Timeout, 60, Some(900))];
    let put = store.put_sanctions(&again, audit(60, "put")).await.unwrap();
    assert_eq!(put.replaced, [ban], "the timeout had run out");
    store.lift(UserId(1), &BOTH, &[None, SEVEN], audit(70, "lift")).await.unwrap();
    let entries = store.audit_log(10).await.unwrap();
    let field = |at: usize, name: &str| entries[at].detail[name].clone();
    assert_eq!(field(1, "replaces"), serde_json::json!(put.replaced[0]));
    let [ban, timeout] = again;
    assert_eq!(field(0, "lifted"), serde_json::json!([ban, timeout, other]));
    assert_eq!(actions(store).await, ["lift", "put", "put"], "one entry per change");
}
