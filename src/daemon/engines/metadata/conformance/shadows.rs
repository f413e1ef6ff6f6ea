//! Promises about shadowed users.

use super::{actions, audit};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{MetadataStore, NewAudit};
use crate::protocol::admin::Shadow;
use crate::protocol::{StreamId, UserId};

const ONE: Option<StreamId> = Some(StreamId(7));

fn shadow(user_id: u64, stream_id: Option<StreamId>, at: u64, until: Option<u64>) -> Shadow {
    Shadow {
        user_id: UserId(user_id),
        stream_id,
        name: Some(format!("user {user_id}")),
        created_by: "ann".to_owned(),
        created_at: at,
        expires_at: until,
    }
}

async fn put(store: &impl MetadataStore, shadow: &Shadow, audit: NewAudit) -> u64 {
    store.put_shadows(std::slice::from_ref(shadow), audit).await.unwrap()
}

pub(crate) async fn a_shadow_replaces_one_on_the_same_streams(store: &impl MetadataStore) {
    let everywhere = shadow(1, None, 10, None);
    let on_one = shadow(1, ONE, 20, Some(100));
    let first = put(store, &everywhere, audit(10, "shadow")).await;
    let second = put(store, &on_one, audit(20, "shadow")).await;
    assert!(second > first, "audit numbers grow");
    assert_eq!(store.shadows(30).await.unwrap(), [on_one.clone(), everywhere.clone()]);
    let left = store.shadows(100).await.unwrap();
    assert_eq!(left, std::slice::from_ref(&everywhere), "it ends at its end");
    let longer = Shadow { name: None, ..shadow(1, ONE, 30, Some(500)) };
    put(store, &longer, audit(30, "shadow")).await;
    assert_eq!(store.shadows(100).await.unwrap(), [longer, everywhere]);
    assert_eq!(store.sanctions(30).await.unwrap(), [], "it is neither a ban nor a timeout");
    assert_eq!(actions(store).await, ["shadow", "shadow", "shadow"]);
}

pub(crate) async fn only_shadows_in_force_can_be_lifted(store: &impl MetadataStore) {
    for (user_id, stream_id, until) in [(1, None, None), (1, ONE, None), (2, None, Some(50))] {
        let shadow = shadow(user_id, stream_id, 10, until);
        put(store, &shadow, audit(10, "shadow")).await;
    }
    for (user_id, streams) in [(2, &[None][..]), (3, &[None]), (1, &[])] {
        let refused = store.lift_shadows(UserId(user_id), streams, audit(60, "unshadow")).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    }
    store.lift_shadows(UserId(1), &[ONE], audit(60, "unshadow")).await.unwrap();
    assert_eq!(store.shadows(60).await.unwrap(), [shadow(1, None, 10, None)]);
    store.lift_shadows(UserId(1), &[ONE, None], audit(61, "unshadow")).await.unwrap();
    assert_eq!(store.shadows(61).await.unwrap(), []);
    assert_eq!(actions(store).await, ["unshadow", "unshadow", "shadow", "shadow", "shadow"]);
}

pub(crate) async fn several_shadows_have_one_entry(store: &impl MetadataStore) {
    put(store, &shadow(1, ONE, 10, Some(500)), audit(10, "shadow")).await;
    let both = [shadow(1, ONE, 20, None), shadow(1, None, 5, None)];
    let audit_id = store.put_shadows(&both, audit(30, "undo")).await.unwrap();
    assert_eq!(store.shadows(40).await.unwrap(), both);
    assert_eq!(store.audit_log(1).await.unwrap()[0].audit_id, audit_id);
    assert_eq!(actions(store).await, ["undo", "shadow"]);
}
