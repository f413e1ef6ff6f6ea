//! Promises about the blocked terms of rooms.

use super::{actions, audit};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::{BEFORE, MetadataStore};
use crate::protocol::StreamId;
use crate::protocol::room::{MAX_ROOM_TERMS, RoomTerm, TermAction, TermsPatch};
use crate::protocol::stream::NewStream;

fn term(term: &str, action: TermAction) -> RoomTerm {
    RoomTerm { term: term.to_owned(), action }
}

async fn create_two(store: &impl MetadataStore) {
    for _ in 0..2 {
        store.create_stream(NewStream::default(), audit(1, "create")).await.unwrap();
    }
}

pub(crate) async fn terms_of_rooms_are_kept_and_audited(store: &impl MetadataStore) {
    create_two(store).await;
    let both = [StreamId(1), StreamId(2)];
    assert_eq!(store.room_terms(&both).await.unwrap(), []);
    let change = async |stream, add: &[RoomTerm], remove: &[&str]| {
        let remove = remove.iter().map(|term| (*term).to_owned()).collect();
        let patch = TermsPatch { add: add.to_vec(), remove };
        store.change_terms(StreamId(stream), &patch, audit(2, "terms")).await
    };
    let emoji = term("\u{1F4A9}", TermAction::Flag);
    let word = term("word", TermAction::Reject);
    let flagged = term("word", TermAction::Flag);
    let first = change(1, &[word.clone(), emoji.clone()], &[]).await.unwrap();
    assert_eq!(first.terms, [word.clone(), emoji.clone()]);
    change(2, std::slice::from_ref(&word), &[]).await.unwrap();
    let second = change(1, std::slice::from_ref(&flagged), &["\u{1F4A9}"]).await.unwrap();
    assert_eq!(second.terms, std::slice::from_ref(&flagged));
    let all = [(StreamId(1), flagged), (StreamId(2), word.clone())];
    assert_eq!(store.room_terms(&both).await.unwrap(), all);
    assert_eq!(store.room_terms(&both[1..]).await.unwrap(), all[1..], "of one room");
    assert_eq!(store.room_terms(&[]).await.unwrap(), []);
    let before = async |audit_id| {
        let entry = store.audit_entry(audit_id).await.unwrap().unwrap();
        serde_json::from_value::<Vec<RoomTerm>>(entry.detail[BEFORE].clone()).unwrap()
    };
    assert_eq!(before(first.audit_id).await, []);
    assert_eq!(before(second.audit_id).await, [word.clone(), emoji]);
    let unknown = change(9, &[word], &[]).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("stream"))), "{unknown:?}");
    assert_eq!(actions(store).await, ["terms", "terms", "terms", "create", "create"]);
}

/// Of two moderators who remove one term at once, one is told that it is not there.
pub(crate) async fn a_term_is_removed_once(store: &impl MetadataStore) {
    create_two(store).await;
    let patch = |add: &[&str], remove: &[&str]| TermsPatch {
        add: add.iter().map(|added| term(added, TermAction::Reject)).collect(),
        remove: remove.iter().map(|term| (*term).to_owned()).collect(),
    };
    let change =
        async |patch: TermsPatch| store.change_terms(StreamId(1), &patch, audit(2, "terms")).await;
    change(patch(&["a", "b"], &[])).await.unwrap();
    let (one, other) = tokio::join!(change(patch(&[], &["a"])), change(patch(&["c"], &["a"])));
    let [Ok(_), Err(refused)] = (if one.is_ok() { [one, other] } else { [other, one] }) else {
        panic!("exactly one of them removes it");
    };
    assert!(matches!(refused, StoreError::NotATerm(ref term) if term == "a"), "{refused:?}");
    let before = store.room_terms(&[StreamId(1)]).await.unwrap();
    for remove in [["b", "nothing"], ["nothing", "b"]] {
        let refused = change(patch(&["new"], &remove)).await.unwrap_err();
        assert!(!refused.is_failure(), "{refused:?}");
        assert!(matches!(refused, StoreError::NotATerm(ref term) if term == "nothing"));
    }
    assert_eq!(store.room_terms(&[StreamId(1)]).await.unwrap(), before);
    assert_eq!(actions(store).await, ["terms", "terms", "create", "create"]);
}

pub(crate) async fn each_change_of_terms_has_a_new_version(store: &impl MetadataStore) {
    create_two(store).await;
    assert_eq!(store.terms_versions().await.unwrap(), []);
    let change = async |stream, add: &[RoomTerm], remove: &[&str]| {
        let remove = remove.iter().map(|term| (*term).to_owned()).collect();
        let patch = TermsPatch { add: add.to_vec(), remove };
        store.change_terms(StreamId(stream), &patch, audit(2, "terms")).await.unwrap();
        store.terms_versions().await.unwrap()
    };
    let word = term("word", TermAction::Reject);
    let first = change(2, std::slice::from_ref(&word), &[]).await;
    assert!(matches!(first[..], [(StreamId(2), _)]), "{first:?}");
    let second = change(1, &[word], &[]).await;
    assert!(matches!(second[..], [(StreamId(1), _), last] if last == first[0]), "{second:?}");
    let third = change(2, &[], &["word"]).await;
    assert_eq!(third[0], second[0], "the other room is unchanged");
    assert!(third[1].1 > second[1].1, "a room without terms has a version: {third:?}");
}

pub(crate) async fn terms_of_a_room_are_bounded(store: &impl MetadataStore) {
    create_two(store).await;
    let numbered = |number: usize| term(&format!("word{number:03}"), TermAction::Reject);
    let most = TermsPatch { add: (0..MAX_ROOM_TERMS).map(numbered).collect(), remove: Vec::new() };
    store.change_terms(StreamId(1), &most, audit(2, "terms")).await.unwrap();
    let one_more = TermsPatch { add: vec![numbered(999)], remove: Vec::new() };
    let refused = store.change_terms(StreamId(1), &one_more, audit(3, "terms")).await;
    assert!(matches!(refused, Err(StoreError::Full(_))), "{refused:?}");
    store.change_terms(StreamId(2), &one_more, audit(4, "terms")).await.unwrap();
    let in_place = TermsPatch { remove: vec!["word000".to_owned()], ..one_more };
    let changed = store.change_terms(StreamId(1), &in_place, audit(5, "terms")).await.unwrap();
    assert_eq!(changed.terms.len(), MAX_ROOM_TERMS);
    assert_eq!(actions(store).await, ["terms", "terms", "terms", "create", "create"]);
}
