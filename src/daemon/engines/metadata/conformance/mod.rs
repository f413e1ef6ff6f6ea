//! What every engine of the metadata store must do. [`conformance!`] makes one test of each promise
//! for an engine; it takes an async function that opens an empty store and returns it with whatever
//! must outlive it, and for an engine on a real server the attribute that says so.

pub(crate) mod review;
pub(crate) mod sanctions;
pub(crate) mod streams;
pub(crate) mod users;

use serde_json::json;

use super::{MetadataStore, NewAudit};

macro_rules! conformance {
    ($open:path) => {
        $crate::daemon::engines::metadata::conformance::conformance!($open, cfg(test));
    };
    ($open:path, $attribute:meta) => {
        $crate::daemon::engines::metadata::conformance::conformance!($open, $attribute;
            streams::a_stream_gets_the_next_id_or_the_one_it_asks_for,
            streams::a_patch_changes_what_it_names,
            streams::when_a_stream_ended_is_kept,
            streams::every_change_of_a_stream_has_an_entry_about_it,
            streams::throttle_overrides_are_kept_with_their_audit,
            users::the_newest_name_of_a_user_wins,
            users::users_of_a_name_come_last_seen_first,
            sanctions::a_sanction_replaces_one_of_its_kind,
            sanctions::sanctions_in_force_come_newest_first,
            sanctions::only_what_is_in_force_can_be_lifted,
            review::items_wait_in_order_and_are_queued_once,
            review::a_decision_takes_an_item_off_for_good,
            review::audit_entries_come_newest_first_as_they_were,
        );
    };
    ($open:path, $attribute:meta; $($topic:ident::$promise:ident),* $(,)?) => {
        $(
            #[tokio::test]
            #[$attribute]
            async fn $promise() {
                let (store, _guard) = $open().await;
                $crate::daemon::engines::metadata::conformance::$topic::$promise(&store).await;
            }
        )*
    };
}
pub(crate) use conformance;

pub(crate) fn audit(at: u64, action: &'static str) -> NewAudit {
    NewAudit {
        at,
        actor: "ann".to_owned(),
        action,
        target: "user 42".to_owned(),
        detail: json!({ "at": at }),
    }
}

/// The actions of all audit entries, newest first.
async fn actions(store: &impl MetadataStore) -> Vec<String> {
    store.audit_log(1000).await.unwrap().into_iter().map(|entry| entry.action).collect()
}
