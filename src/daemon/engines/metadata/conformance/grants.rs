//! Promises about roles on single streams.

use super::{actions, audit};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::MetadataStore;
use crate::protocol::admin::Grant;
use crate::protocol::{Role, StreamId, UserId};

pub(super) fn grant(user_id: u64, stream_id: u64, role: Role, at: u64) -> Grant {
    Grant {
        user_id: UserId(user_id),
        stream_id: StreamId(stream_id),
        role,
        name: Some(format!("user {user_id}")),
        created_by: "ann".to_owned(),
        created_at: at,
    }
}

pub(crate) async fn a_grant_replaces_one_on_its_stream(store: &impl MetadataStore) {
    let first = grant(1, 7, Role::Moderator, 10);
    let other = grant(1, 8, Role::Broadcaster, 20);
    let one = store.put_grant(&first, audit(10, "grant")).await.unwrap();
    let two = store.put_grant(&other, audit(20, "grant")).await.unwrap();
    assert!(two > one, "audit numbers grow");
    assert_eq!(store.grants().await.unwrap(), [other.clone(), first]);
    let higher = Grant { name: None, ..grant(1, 7, Role::Broadcaster, 30) };
    store.put_grant(&higher, audit(30, "grant")).await.unwrap();
    assert_eq!(store.grants().await.unwrap(), [higher, other]);
    assert_eq!(actions(store).await, ["grant", "grant", "grant"]);
}

pub(crate) async fn only_a_given_role_can_be_revoked(store: &impl MetadataStore) {
    let on_two = [grant(1, 7, Role::Moderator, 10), grant(1, 8, Role::Moderator, 20)];
    for grant in &on_two {
        store.put_grant(grant, audit(10, "grant")).await.unwrap();
    }
    for (user_id, stream_id) in [(2, 7), (1, 9)] {
        let entry = audit(30, "revoke");
        let refused = store.revoke_grant(UserId(user_id), StreamId(stream_id), entry).await;
        assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    }
    store.revoke_grant(UserId(1), StreamId(7), audit(30, "revoke")).await.unwrap();
    assert_eq!(store.grants().await.unwrap(), [on_two[1].clone()]);
    let again = store.revoke_grant(UserId(1), StreamId(7), audit(40, "revoke")).await;
    assert!(matches!(again, Err(StoreError::NotFound(_))), "{again:?}");
    assert_eq!(actions(store).await, ["revoke", "grant", "grant"]);
}

pub(crate) async fn an_entry_has_the_role_that_was_there(store: &impl MetadataStore) {
    let first = grant(1, 7, Role::Moderator, 10);
    let second = grant(1, 7, Role::Broadcaster, 20);
    store.put_grant(&first, audit(10, "grant")).await.unwrap();
    store.put_grant(&second, audit(20, "grant")).await.unwrap();
    store.revoke_grant(UserId(1), StreamId(7), audit(30, "revoke")).await.unwrap();
    let entries = store.audit_log(10).await.unwrap();
    assert_eq!(entries[2].detail.get("replaces"), None);
    assert_eq!(entries[1].detail["replaces"], serde_json::json!(first));
    assert_eq!(entries[0].detail["revoked"], serde_json::json!(second));
}
