//! Promises about views that operators share.

use super::{actions, audit};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::MetadataStore;
use crate::protocol::admin::{MAX_SAVED_VIEWS, SavedView, TableSettings, ViewSettings};

pub(crate) fn saved_view(name: &str, filter: &str, saved_at: u64) -> SavedView {
    let table = TableSettings {
        table: "streams".to_owned(),
        filter: filter.to_owned(),
        sort: Some("in/s".to_owned()),
        inverted: true,
        hidden: vec!["p99".to_owned()],
    };
    SavedView {
        name: name.to_owned(),
        settings: ViewSettings {
            view: "streams".to_owned(),
            window_ms: 60_000,
            tables: vec![table],
        },
        saved_by: "ann".to_owned(),
        saved_at,
    }
}

pub(crate) async fn saved_views_are_kept_by_name(store: &impl MetadataStore) {
    assert_eq!(store.saved_views().await.unwrap(), []);
    for (name, at) in [("final", 1), ("a'\"", 2), ("决赛", 3)] {
        let view = saved_view(name, "in>1k and title~\"a'b\"", at);
        store.save_view(view, audit(at, "save_view")).await.unwrap();
    }
    let newer = saved_view("final", "late>1%", 4);
    store.save_view(newer.clone(), audit(4, "save_view")).await.unwrap();
    let views = store.saved_views().await.unwrap();
    let names: Vec<_> = views.iter().map(|view| view.name.as_str()).collect();
    assert_eq!(names, ["a'\"", "final", "决赛"], "by name");
    assert_eq!(views[1], newer, "the later one replaces the earlier");
    store.forget_view("a'\"", audit(5, "forget_view")).await.unwrap();
    let unknown = store.forget_view("a'\"", audit(6, "forget_view")).await;
    assert!(matches!(unknown, Err(StoreError::NotFound("saved view"))), "{unknown:?}");
    assert_eq!(store.saved_views().await.unwrap().len(), 2);
    let expected = ["forget_view", "save_view", "save_view", "save_view", "save_view"];
    assert_eq!(actions(store).await, expected, "no entry without a change");
}

pub(crate) async fn saved_views_are_bounded(store: &impl MetadataStore) {
    for number in 0..MAX_SAVED_VIEWS {
        let view = saved_view(&format!("view-{number}"), "", 1);
        store.save_view(view, audit(1, "save_view")).await.unwrap();
    }
    let more = saved_view("one-more", "", 2);
    let refused = store.save_view(more.clone(), audit(2, "save_view")).await;
    assert!(matches!(refused, Err(StoreError::Full("saved view"))), "{refused:?}");
    assert_eq!(actions(store).await.len(), MAX_SAVED_VIEWS, "no entry without a change");
    store.save_view(saved_view("view-0", "new", 3), audit(3, "save_view")).await.unwrap();
    store.forget_view("view-1", audit(4, "forget_view")).await.unwrap();
    store.save_view(more, audit(5, "save_view")).await.unwrap();
    assert_eq!(store.saved_views().await.unwrap().len(), MAX_SAVED_VIEWS);
}
