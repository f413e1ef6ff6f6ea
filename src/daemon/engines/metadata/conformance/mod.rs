//! The promises of every metadata store. `metadata_suite!(open())` tests an engine against them;
//! see [`crate::daemon::testing::engine_suite`].

mod changes;
mod grants;
mod messages;
mod reputations;
mod review;
mod review_scopes;
mod room_polls;
mod room_terms;
mod sanctions;
mod shadows;
mod streams;
mod subjects;
mod users;
mod views;
mod withdrawals;

use serde_json::json;

pub(crate) use changes::*;
pub(crate) use grants::*;
pub(crate) use messages::*;
pub(crate) use reputations::*;
pub(crate) use review::*;
pub(crate) use review_scopes::*;
pub(crate) use room_polls::*;
pub(crate) use room_terms::*;
pub(crate) use sanctions::*;
pub(crate) use shadows::*;
pub(crate) use streams::*;
pub(crate) use subjects::*;
pub(crate) use users::*;
pub(crate) use views::*;
pub(crate) use withdrawals::*;

use super::{MetadataStore, NewAudit, PendingEvent};
use crate::protocol::StreamId;

macro_rules! metadata_suite {
    ($($engine:tt)*) => {
        $crate::daemon::testing::engine_suite! {
            engine: [$($engine)*],
            promises: [$crate::daemon::engines::metadata::conformance],
                a_stream_gets_the_next_id_or_the_requested_one,
                a_patch_changes_only_the_named_fields,
                the_end_of_a_stream_is_dated_once,
                every_stream_change_is_audited,
                the_times_of_an_event_are_kept,
                a_stream_that_is_due_starts_once,
                the_id_of_a_deleted_stream_is_never_reused,
                throttle_overrides_are_kept_and_audited,
                room_settings_are_kept_and_audited,
                a_pinned_comment_is_kept_and_audited,
                one_poll_of_a_stream_is_open,
                each_user_votes_once_until_a_poll_closes,
                votes_of_closed_polls_are_swept,
                a_late_close_reopens_no_swept_poll,
                terms_of_rooms_are_kept_and_audited,
                a_term_is_removed_once,
                each_change_of_terms_has_a_new_version,
                terms_of_a_room_are_bounded,
                the_newest_name_of_a_user_wins,
                users_of_a_name_are_listed_last_seen_first,
                a_subject_keeps_its_id,
                first_uses_at_once_give_one_id,
                messages_are_kept_until_acknowledged,
                the_newest_messages_are_kept_for_a_time,
                a_sender_pushes_out_its_own_messages,
                messages_that_ran_out_are_swept,
                no_message_is_forgotten_unseen,
                a_sanction_replaces_one_of_its_kind,
                sanctions_in_force_are_listed_newest_first,
                only_sanctions_in_force_can_be_lifted,
                each_stream_has_sanctions_of_its_own,
                sanctions_are_put_with_what_they_replace,
                a_shadow_replaces_one_on_the_same_streams,
                only_shadows_in_force_can_be_lifted,
                several_shadows_have_one_entry,
                a_grant_replaces_one_on_its_stream,
                an_entry_has_the_role_that_was_there,
                only_a_given_role_can_be_revoked,
                points_of_a_cause_count_once,
                points_decay_and_are_taken_back,
                an_entry_changes_points_with_it,
                a_decision_costs_the_author_points,
                known_users_have_points_and_age,
                review_items_are_queued_once_oldest_first,
                the_queue_of_a_stream_is_read_by_itself,
                held_items_are_counted_in_a_scope,
                reviews_are_queued_in_batches,
                a_sanctioned_author_publishes_nothing,
                a_shadowed_author_publishes_for_one,
                badges_of_an_author_are_kept,
                a_decided_item_never_returns,
                a_decision_taken_back_waits_again,
                a_deletion_withdraws_what_waits,
                a_deletion_before_the_flag_counts,
                an_unchecked_item_is_reopened_for_people,
                a_claim_keeps_others_away_until_it_runs_out,
                of_two_decisions_at_once_one_is_refused,
                items_of_the_same_text_are_counted,
                decided_items_are_listed_latest_first,
                held_items_are_listed_by_kind,
                a_reopened_item_waits_since_then,
                pending_events_of_a_stream_are_known,
                audit_entries_are_listed_newest_first,
                audit_entries_are_found_by_number_and_target,
                pending_events_are_claimed_until_published,
                a_clock_that_is_ahead_lifts_no_sanction,
                saved_views_are_kept_by_name,
                saved_views_are_bounded,
        }
    };
}
pub(crate) use metadata_suite;

pub(crate) fn audit(at: u64, action: &'static str) -> NewAudit {
    NewAudit {
        at,
        actor: "ann".to_owned(),
        action,
        target: "user 42".to_owned(),
        detail: json!({ "at": at }),
        points: None,
    }
}

fn event(number: u8) -> PendingEvent {
    PendingEvent { stream_id: StreamId(u64::from(number)), payload: vec![number, 0, 0xFF] }
}

/// The actions of all audit entries, newest first.
async fn actions(store: &impl MetadataStore) -> Vec<String> {
    store.audit_log(1000).await.unwrap().into_iter().map(|entry| entry.action).collect()
}
