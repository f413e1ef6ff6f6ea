//! Promises about users.

use crate::daemon::engines::metadata::{MAX_USERS_NAMED, MetadataStore, UserRecord};
use crate::protocol::UserId;

fn user(user_id: u64, name: &str, seen_at: u64) -> UserRecord {
    UserRecord { user_id: UserId(user_id), name: name.into(), seen_at, account_created: None }
}

pub(crate) async fn the_newest_name_of_a_user_wins(store: &impl MetadataStore) {
    store.remember_users(&[]).await.unwrap();
    let many: Vec<_> = (1..=1000).map(|id| user(id, &format!("user{id}"), 10)).collect();
    store.remember_users(&many).await.unwrap();
    assert_eq!(store.user(UserId(1000)).await.unwrap(), Some(user(1000, "user1000", 10)));
    store.remember_users(&[user(1, "late", 30), user(1, "early", 20)]).await.unwrap();
    assert_eq!(store.user(UserId(1)).await.unwrap(), Some(user(1, "late", 30)));
    store.remember_users(&[user(1, "old", 29), user(2, "same time", 10)]).await.unwrap();
    assert_eq!(store.user(UserId(1)).await.unwrap(), Some(user(1, "late", 30)));
    assert_eq!(store.user(UserId(2)).await.unwrap(), Some(user(2, "same time", 10)));
    assert_eq!(store.user(UserId(1001)).await.unwrap(), None);
}

pub(crate) async fn users_of_a_name_are_listed_last_seen_first(store: &impl MetadataStore) {
    let anns = [user(1, "ann", 10), user(2, "ann", 30), user(3, "ann", 20), user(4, "Ann", 40)];
    store.remember_users(&anns).await.unwrap();
    let found = store.users_named("ann").await.unwrap();
    assert_eq!(found, [anns[1].clone(), anns[2].clone(), anns[0].clone()]);
    assert_eq!(store.users_named("a%").await.unwrap(), []);
    store.remember_users(&[user(2, "anna", 50)]).await.unwrap();
    assert_eq!(store.users_named("ann").await.unwrap().len(), 2, "renamed users are not found");
    let guests: Vec<_> = (100..500).map(|id| user(id, "guest", id)).collect();
    store.remember_users(&guests).await.unwrap();
    let found = store.users_named("guest").await.unwrap();
    assert_eq!(found.len(), MAX_USERS_NAMED);
    assert_eq!(found[0].user_id, UserId(499));
}
