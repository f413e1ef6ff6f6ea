//! Promises about the ids of users whose tokens name them by a text.

use futures_util::future::join_all;

use crate::daemon::engines::metadata::{FIRST_SUBJECT_ID, MetadataStore, Subject};
use crate::protocol::UserId;

const ISSUER: &str = "https://id.example";

pub(crate) fn subject(issuer: &str, name: &str) -> Subject {
    Subject::new(issuer, name).unwrap()
}

pub(crate) async fn a_subject_keeps_its_id(store: &impl MetadataStore) {
    let id_of = async |issuer, name| store.id_of_subject(&subject(issuer, name), 10).await.unwrap();
    let uuid = "123e4567-e89b-12d3-a456-426614174000";
    let first = id_of(ISSUER, uuid).await;
    assert!(first.is_valid() && first.0 >= FIRST_SUBJECT_ID, "{first}");
    assert_eq!(id_of(ISSUER, uuid).await, first);
    let mut ids = vec![first, id_of("", uuid).await, id_of("https://other.example", uuid).await];
    let names = ["auth0|5f7c8ec7", "ann", "Ann", "ann ", "e\u{301}", "\u{e9}", "'; --", "漢字"];
    for name in names.into_iter().chain([&*"x".repeat(255)]) {
        ids.push(id_of(ISSUER, name).await);
    }
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "each issuer and each spelling is a user of its own");
}

pub(crate) async fn first_uses_at_once_give_one_id(store: &impl MetadataStore) {
    let users: Vec<_> = (0..8).map(|user| subject(ISSUER, &format!("user-{user}"))).collect();
    let uses = (0..48).map(|n| store.id_of_subject(&users[n % users.len()], 10));
    let ids: Vec<UserId> = join_all(uses).await.into_iter().map(Result::unwrap).collect();
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(*id, ids[n % users.len()]);
    }
    let mut distinct = ids;
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), users.len());
}
