//! Promises about direct messages.

use futures_util::future::join_all;

use super::{actions, audit};
use crate::daemon::engines::metadata::{MetadataStore, NewMessage};
use crate::protocol::UserId;
use crate::protocol::kept_message::{KEPT_FOR_MS, MAX_KEPT_MESSAGES, MAX_KEPT_OF_SENDER};

const ANN: UserId = UserId(42);

fn new(message: &str, sent_at: u64) -> NewMessage {
    let from = "<b>mod</b>".to_owned();
    NewMessage { from, from_user: None, message: message.to_owned(), sent_at }
}

/// Keeps a message and returns its id.
async fn keep(store: &impl MetadataStore, user_id: UserId, new: NewMessage) -> u64 {
    store.keep_message(user_id, new, None).await.unwrap().message_id
}

async fn kept(store: &impl MetadataStore, user_id: UserId, now_ms: u64) -> Vec<String> {
    let kept = store.kept_messages(user_id, now_ms).await.unwrap();
    kept.into_iter().map(|kept| kept.message).collect()
}

pub(crate) async fn messages_are_kept_until_acknowledged(store: &impl MetadataStore) {
    assert!(kept(store, ANN, 10).await.is_empty());
    for (message, sent_at) in [("one", 1), ("'; --", 2), ("\u{1F600}", 3)] {
        keep(store, ANN, new(message, sent_at)).await;
    }
    let ids = store.keep_message(UserId(43), new("other", 4), Some(audit(4, "dm"))).await.unwrap();
    let entry = store.audit_entry(ids.audit_id.unwrap()).await.unwrap().unwrap();
    assert_eq!((&*entry.action, actions(store).await.len()), ("dm", 1), "only with an entry");
    assert_eq!(kept(store, ANN, 10).await, ["one", "'; --", "\u{1F600}"]);
    let first = store.kept_messages(ANN, 10).await.unwrap().remove(0);
    assert_eq!((&*first.from, first.from_user, first.sent_at), ("<b>mod</b>", None, 1));
    store.acknowledge_messages(ANN, first.message_id).await.unwrap();
    store.acknowledge_messages(ANN, first.message_id).await.unwrap();
    assert_eq!(kept(store, ANN, 10).await, ["'; --", "\u{1F600}"]);
    let last = store.kept_messages(ANN, 10).await.unwrap().pop().unwrap();
    store.acknowledge_messages(ANN, i64::MAX as u64).await.unwrap();
    assert!(kept(store, ANN, 10).await.is_empty());
    assert!(keep(store, ANN, new("later", 5)).await > last.message_id);
    assert_eq!(kept(store, ANN, 10).await, ["later"], "whatever was acknowledged before");
    assert_eq!(kept(store, UserId(43), 10).await, ["other"], "that of another user");
}

pub(crate) async fn the_newest_messages_are_kept_for_a_time(store: &impl MetadataStore) {
    for number in 0..MAX_KEPT_MESSAGES + 3 {
        keep(store, ANN, new(&number.to_string(), 100 + number)).await;
    }
    let all = kept(store, ANN, 200).await;
    assert_eq!((all.len() as u64, &*all[0]), (MAX_KEPT_MESSAGES, "3"));
    let late = kept(store, ANN, 100 + KEPT_FOR_MS + 10).await;
    assert_eq!(late.first().map(String::as_str), Some("11"), "older ones have run out");
}

pub(crate) async fn a_sender_pushes_out_its_own_messages(store: &impl MetadataStore) {
    keep(store, ANN, new("of a moderator", 1)).await;
    let send = async |sender: u64, number: u64| {
        let from_user = Some(UserId(sender));
        let new = NewMessage { from_user, ..new(&format!("{sender}: {number}"), 10) };
        keep(store, ANN, new).await
    };
    let first = send(7, 0).await;
    assert_eq!(store.kept_messages(ANN, 10).await.unwrap()[1].from_user, Some(UserId(7)));
    for number in 1..MAX_KEPT_OF_SENDER + 2 {
        assert!(send(7, number).await > first, "ids grow");
    }
    send(8, 0).await;
    let all = ["of a moderator", "7: 2", "7: 3", "7: 4", "7: 5", "7: 6", "8: 0"];
    assert_eq!(kept(store, ANN, 10).await, all);
    for sender in 9..9 + MAX_KEPT_MESSAGES {
        send(sender, 0).await;
    }
    let all = kept(store, ANN, 10).await;
    assert_eq!((all.len() as u64, &*all[0]), (1 + MAX_KEPT_MESSAGES, "of a moderator"));
}

pub(crate) async fn messages_that_ran_out_are_swept(store: &impl MetadataStore) {
    for number in 0..5 {
        keep(store, UserId(40 + number), new("old", 100 + number)).await;
    }
    keep(store, UserId(40), new("new", 1_000)).await;
    let sweep = async |now_ms, limit| store.sweep(now_ms, limit).await.unwrap();
    assert!(!sweep(KEPT_FOR_MS, 2).await, "none has run out");
    assert!(sweep(104 + KEPT_FOR_MS, 2).await, "there may be more");
    assert!(sweep(104 + KEPT_FOR_MS, 2).await);
    assert!(!sweep(104 + KEPT_FOR_MS, 2).await);
    // Read at a time at which none had run out.
    let mut left = Vec::new();
    for number in 0..5 {
        left.extend(kept(store, UserId(40 + number), 1_000).await);
    }
    assert_eq!(left, ["new"]);
}

/// Many senders at once, and a reader that acknowledges the last message of each list.
pub(crate) async fn no_message_is_forgotten_unseen(store: &impl MetadataStore) {
    const SENT: usize = 40;
    let send = |number: usize| keep(store, ANN, new(&number.to_string(), 10));
    let senders = join_all((0..SENT).map(send));
    let reader = async {
        let mut seen = Vec::new();
        for _ in 0..SENT {
            let listed = store.kept_messages(ANN, 10).await.unwrap();
            if let Some(last) = listed.last() {
                store.acknowledge_messages(ANN, last.message_id).await.unwrap();
            }
            seen.extend(listed.into_iter().map(|kept| kept.message));
        }
        seen
    };
    let (ids, mut seen) = tokio::join!(senders, reader);
    seen.extend(kept(store, ANN, 10).await);
    seen.sort_by_key(|number| number.parse::<usize>().unwrap());
    let all: Vec<_> = (0..SENT).map(|number| number.to_string()).collect();
    assert_eq!((ids.len(), seen), (SENT, all));
}
