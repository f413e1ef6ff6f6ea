use serde_json::{Value, json};

use super::plan::CommentPlan;
use super::*;
use crate::daemon::stages::control::fakes::{STARTED_MS, World, operator};
use crate::protocol::admin::{
    SanctionKind, SanctionRequest, ThrottleRequest, UnbanRequest, UserRef,
};
use crate::protocol::stream::{StreamPatch, StreamState};
use crate::protocol::throttle::{FixedRate, SampleRate};
use crate::protocol::{NodeId, StreamId};

fn entry(audit_id: u64, action: &str, detail: Value) -> AuditEntry {
    let target = if action.contains("ban") || action == "timeout" { "user 42" } else { "stream 1" };
    AuditEntry {
        audit_id,
        at: audit_id * 1_000,
        actor: "ann".to_owned(),
        action: action.to_owned(),
        target: target.to_owned(),
        detail,
        undoes: None,
        undone_by: None,
    }
}

/// Plans to take back one of the entries, which are given oldest first.
fn planned(id: u64, entries: &[AuditEntry]) -> Result<Plan, String> {
    let newest_first: Vec<_> = entries.iter().rev().cloned().collect();
    let entry = entries.iter().find(|entry| entry.audit_id == id).unwrap();
    plan(entry, &newest_first, 100_000)
}

fn ban(duration_ms: Option<u64>) -> Value {
    json!({"user": "ann", "reason": "spam", "note": null, "duration_ms": duration_ms})
}

#[test]
fn the_sanction_before_comes_back() {
    let lift = SanctionPlan::Lift { user_id: UserId(42), kind: SanctionKind::Ban, stream_id: None };
    let lift = Plan::Sanctions(lift);
    let first = entry(1, "ban", ban(None));
    assert_eq!(planned(1, std::slice::from_ref(&first)), Ok(lift.clone()));
    let longer = entry(2, "ban", ban(Some(500_000)));
    let planned_restore = planned(2, &[first.clone(), longer]);
    let Ok(Plan::Sanctions(SanctionPlan::Restore { sanctions: restored, .. })) = planned_restore
    else {
        panic!("the first ban had no end")
    };
    assert_eq!((restored[0].expires_at, restored[0].created_at), (None, 1_000));
    let over = entry(1, "ban", ban(Some(50_000)));
    assert_eq!(planned(2, &[over, entry(2, "ban", ban(None))]), Ok(lift.clone()));
    let lifted = entry(2, "unban", json!({"user": "ann", "note": null}));
    assert_eq!(planned(3, &[first.clone(), lifted, entry(3, "ban", ban(None))]), Ok(lift.clone()));
    let timeout = entry(1, "timeout", ban(Some(500_000)));
    assert_eq!(planned(2, &[timeout, entry(2, "ban", ban(None))]), Ok(lift.clone()));
    let undone = [
        first,
        AuditEntry { target: "user 42".to_owned(), ..entry(2, "undo", json!({"undoes": 1})) },
        entry(3, "ban", ban(None)),
    ];
    assert_eq!(planned(3, &undone), Ok(lift), "the first one was taken back");
}

#[test]
fn only_the_last_change_is_taken_back_and_once() {
    let throttle =
        |id, rate: Value| entry(id, "throttle", json!({"stream_id": 1, "sample_rate": rate}));
    let entries = [throttle(1, json!(0.5)), throttle(2, json!(0.1))];
    let rate = SampleRate::from_share(0.5);
    let fixed = rate.map(FixedRate::from);
    let plan = Plan::Throttle { stream_id: StreamId(1), fixed };
    assert_eq!(planned(2, &entries), Ok(plan));
    assert!(planned(1, &entries).unwrap_err().contains("entry 2 has changed it again"));
    let undone = [throttle(1, json!(0.5)), entry(2, "undo", json!({"undoes": 1}))];
    assert!(planned(1, &undone).unwrap_err().contains("entry 2 has taken it back already"));
    let auto = Plan::Throttle { stream_id: StreamId(1), fixed: None };
    assert_eq!(planned(1, &entries[..1]), Ok(auto));
}

#[test]
fn changes_are_taken_back_one_after_the_other() {
    let throttle =
        |id, rate: Value| entry(id, "throttle", json!({"stream_id": 1, "sample_rate": rate}));
    let undo = |id, undoes| entry(id, "undo", json!({"undoes": undoes, "action": "throttle"}));
    let auto = Ok(Plan::Throttle { stream_id: StreamId(1), fixed: None });
    let first = [throttle(1, json!(0.5)), throttle(2, json!(0.1)), undo(3, 2)];
    assert_eq!(planned(1, &first), auto, "the second is out of the way");
    let again = [&first[..], &[throttle(4, json!(0.2))]].concat();
    assert!(planned(1, &again).unwrap_err().contains("entry 4 has changed it again"));
    let both = [&first[..], &[undo(4, 1), throttle(5, json!(0.2))]].concat();
    assert!(planned(1, &both).unwrap_err().contains("entry 4 has taken it back already"));
    assert_eq!(planned(5, &both), auto);
}

#[test]
fn a_share_that_has_ended_is_not_fixed_again() {
    let throttle = |id: u64, for_ms: Option<u64>| {
        entry(id, "throttle", json!({"stream_id": 1, "sample_rate": 0.5, "for_ms": for_ms}))
    };
    // The entries are of 1 s and 2 s, and the time is 100 s.
    let planned_for = |for_ms| planned(2, &[throttle(1, Some(for_ms)), throttle(2, None)]);
    let stream_id = StreamId(1);
    assert_eq!(planned_for(50_000), Ok(Plan::Throttle { stream_id, fixed: None }));
    let rate = SampleRate::from_share(0.5).unwrap();
    let fixed = Some(FixedRate { rate, until_ms: Some(201_000) });
    assert_eq!(planned_for(200_000), Ok(Plan::Throttle { stream_id, fixed }));
}

#[test]
fn an_undo_tells_what_is_so_now() {
    let throttle = |id: u64, share: Value, for_ms: Option<u64>| {
        let detail = json!({"stream_id": 1, "sample_rate": share, "for_ms": for_ms});
        entry(id, "throttle", detail)
    };
    let now_of = |id, entries: &[AuditEntry]| planned(id, entries).unwrap().now().unwrap();
    let auto = "the throttle decides about stream 1 again";
    // The entries are of 1 s and 2 s, and the time is 100 s: what lasts 30 s is over.
    let over = throttle(1, json!(0.25), Some(30_000));
    assert_eq!(now_of(1, std::slice::from_ref(&over)), auto);
    assert_eq!(now_of(2, &[over, throttle(2, Value::Null, None)]), auto);
    let lasting = [throttle(1, json!(0.25), None), throttle(2, json!(0.1), Some(30_000))];
    assert_eq!(now_of(2, &lasting), "stream 1 shows 25% again, until it is set to auto");
    let ends = [throttle(1, json!(0.25), Some(600_000)), throttle(2, Value::Null, None)];
    assert_eq!(now_of(2, &ends), "stream 1 shows 25% again, until 1970-01-01 00:10:01 UTC");
    let bans = [entry(1, "ban", ban(None)), entry(2, "ban", ban(Some(500_000)))];
    assert_eq!(now_of(1, &bans[..1]), "the ban is lifted");
    assert_eq!(now_of(2, &bans), "the ban without an end is in force again");
}

#[test]
fn a_batch_is_taken_back_by_its_entries() {
    let ban_of_42 = entry(1, "ban", ban(None));
    let batch = |target: &str| AuditEntry {
        target: target.to_owned(),
        ..entry(2, "batch", json!({"entries": [1, 7]}))
    };
    let plan = Ok(Plan::Batch { entries: vec![1, 7] });
    assert_eq!(planned(2, &[batch("entries 1 to 7")]), plan);
    let undone = AuditEntry {
        target: "user 42".to_owned(),
        ..entry(3, "undo", json!({"undoes": 2, "action": "batch"}))
    };
    let error = planned(2, &[batch("user 42"), undone.clone()]).unwrap_err();
    assert!(error.contains("entry 3 has taken it back already"), "{error}");
    let lift = SanctionPlan::Lift { user_id: UserId(42), kind: SanctionKind::Ban, stream_id: None };
    let of_another = [ban_of_42, undone];
    assert_eq!(planned(1, &of_another), Ok(Plan::Sanctions(lift)), "that concerns no ban");
    let wrong = entry(2, "batch", json!({"entries": "all"}));
    assert!(planned(2, &[wrong]).is_err());
}

#[test]
fn a_stream_gets_back_what_was_changed_only() {
    let created = json!({
        "stream_id": 1, "title": "Lobby", "state": "live", "anonymous": true, "moderation": "off",
    });
    let entries = [
        entry(1, "create_stream", created),
        entry(2, "update_stream", json!({"title": "Final"})),
        entry(3, "throttle", json!({"stream_id": 1, "sample_rate": 0.5})),
        entry(4, "update_stream", json!({"title": "Finale", "state": "ended"})),
    ];
    let patch = StreamPatch {
        title: Some("Final".to_owned()),
        state: Some(StreamState::Live),
        ..StreamPatch::default()
    };
    assert_eq!(planned(4, &entries), Ok(Plan::Stream { stream_id: StreamId(1), patch }));
    assert!(planned(4, &entries[1..]).unwrap_err().contains("does not tell"));
}

#[test]
fn a_deletion_is_taken_back_to_what_was_before() {
    let id = "78353400-e590-11f1-8007-010101010101";
    let comment_id = id.parse().unwrap();
    let about = |audit_id, action: &str, detail: Value| AuditEntry {
        target: format!("comment {id}"),
        ..entry(audit_id, action, detail)
    };
    let delete = |audit_id| about(audit_id, "delete", json!({"comment_id": id}));
    let restored =
        |stays_hidden| Ok(Plan::Comment(CommentPlan::Restore { comment_id, stays_hidden }));
    let restore = restored(false);
    assert_eq!(planned(1, &[delete(1)]), restore);
    let hidden = about(1, "delete", json!({"comment_id": id, "was_hidden": true}));
    assert_eq!(planned(1, &[hidden]), restored(true));
    let again = [delete(1), about(2, "restore", json!({})), delete(3)];
    assert_eq!(planned(3, &again), restore);
    let error = planned(1, &again[..2]).unwrap_err();
    assert!(error.contains("entry 2 has restored the comment already"), "{error}");
    let stays = |by| Ok(Plan::Comment(CommentPlan::StaysDeleted { by }));
    assert_eq!(planned(2, &[delete(1), delete(2)]), stays(Some(1)));
    let by_rules = about(1, "delete", json!({"comment_id": id, "was_deleted": true}));
    assert_eq!(planned(1, &[by_rules]), stays(None));
    let reopen = |deleted_by| Ok(Plan::Comment(CommentPlan::Reopen { comment_id, deleted_by }));
    let reject = |audit_id| about(audit_id, "reject", json!({"comment_id": id}));
    assert_eq!(planned(1, &[reject(1)]), reopen(None));
    assert_eq!(planned(2, &[delete(1), reject(2)]), reopen(Some(1)));
    let of_user = entry(9, "delete_of_user", json!({"entries": [1, 2]}));
    assert_eq!(planned(9, &[of_user]), Ok(Plan::Batch { entries: vec![1, 2] }));
    let odd = AuditEntry { target: "comment 7".to_owned(), ..delete(1) };
    assert!(planned(1, &[odd]).unwrap_err().contains("names nothing"));
}

#[test]
fn what_cannot_be_taken_back_says_why() {
    for action in ["announce", "approve", "hide", "restore", "kick", "undo", "ack_alert"] {
        let error = planned(1, &[entry(1, action, json!({}))]).unwrap_err();
        assert!(error.starts_with(&format!("{action} cannot be taken back: ")), "{error}");
    }
    let hidden = planned(1, &[entry(1, "hide", json!({}))]).unwrap_err();
    assert!(hidden.contains("lc delete removes it for its author too"), "{hidden}");
    let saved = planned(1, &[entry(1, "save_view", json!({}))]).unwrap_err();
    assert!(saved.ends_with(": `:forget NAME` in lc top removes the view"), "{saved}");
}

#[test]
fn a_drain_is_taken_back_on_its_node() {
    let drain = |id, undo: bool| AuditEntry {
        target: "node edge-2".to_owned(),
        ..entry(id, "drain", json!({"undo": undo}))
    };
    let node = NodeId::new("edge-2");
    let back = |undo| Ok(Plan::Drain { node: node.clone(), undo });
    assert_eq!(planned(1, &[drain(1, false)]), back(true));
    assert_eq!(planned(2, &[drain(1, false), drain(2, true)]), back(false));
    let again = planned(1, &[drain(1, false), drain(2, true)]).unwrap_err();
    assert!(again.contains("entry 2 has changed it again"), "{again}");
}

#[tokio::test]
async fn an_undone_ban_is_lifted_on_every_node() {
    let world = World::new().await;
    let ann = UserRef("id:42".to_owned());
    let request = SanctionRequest {
        user: ann.clone(),
        stream_id: None,
        reason: None,
        note: None,
        duration_ms: None,
    };
    let banned = world.control.ban(&operator(), &request).await.unwrap();
    let undo = UndoRequest { audit_id: banned.audit_id, note: None };
    let outcome = world.control.undo(&operator(), &undo).await.unwrap();
    assert_eq!(outcome.user_id, Some(UserId(42)));
    assert_eq!(world.control.bans().await.unwrap(), []);
    let again = world.control.undo(&operator(), &undo).await.unwrap_err();
    assert!(matches!(again, ControlError::NotUndoable { .. }), "{again}");
    let log = world.control.audit_log(10).await.unwrap();
    let links: Vec<_> = log.iter().map(|entry| (entry.undoes, entry.undone_by)).collect();
    assert_eq!(links, [(Some(banned.audit_id), None), (None, Some(outcome.audit_id))]);
}

#[tokio::test]
async fn a_lifted_ban_and_timeout_come_back() {
    let world = World::new().await;
    let ann = UserRef("id:42".to_owned());
    let until = |duration_ms| SanctionRequest {
        stream_id: None,
        user: ann.clone(),
        reason: Some("spam".to_owned()),
        note: None,
        duration_ms,
    };
    world.control.timeout(&operator(), &until(Some(600_000))).await.unwrap();
    world.control.ban(&operator(), &until(None)).await.unwrap();
    let before = world.control.bans().await.unwrap();
    let about = UnbanRequest { user: ann.clone(), stream_id: None, note: None };
    let lifted = world.control.unban(&operator(), &about).await.unwrap();
    assert_eq!(world.control.bans().await.unwrap(), []);
    world.registry.place(42, "b").await;
    let undo = UndoRequest { audit_id: lifted.audit_id, note: None };
    let outcome = world.control.undo(&operator(), &undo).await.unwrap();
    assert!(outcome.connections.is_some());
    let lines = world.journal.lines();
    let closed = "b: Disconnect { user_id: UserId(42), code: Banned, stream_id: None }".to_owned();
    assert!(lines.contains(&closed), "the user came back while the ban was lifted: {lines:?}");
    let mut after = world.control.bans().await.unwrap();
    assert_eq!(after.len(), 2);
    after.sort_by_key(|sanction| before.iter().position(|it| it.kind == sanction.kind));
    let ends = |sanctions: &[Sanction]| {
        sanctions.iter().map(|it| (it.kind, it.expires_at)).collect::<Vec<_>>()
    };
    assert_eq!(ends(&after), ends(&before));
    assert!(after.iter().all(|sanction| sanction.created_at >= STARTED_MS));
}

#[tokio::test]
async fn an_undone_throttle_has_the_rate_from_before() {
    let world = World::new().await;
    let stream_id = StreamId(1);
    let rate = SampleRate::from_share;
    let fix = |share| ThrottleRequest { stream_id, sample_rate: rate(share), for_ms: None };
    world.control.throttle(&operator(), &fix(0.5)).await.unwrap();
    let second = world.control.throttle(&operator(), &fix(0.1)).await.unwrap();
    let undo = UndoRequest { audit_id: second.audit_id, note: None };
    world.control.undo(&operator(), &undo).await.unwrap();
    let overrides = world.control.parts().metadata.throttle_overrides().await.unwrap();
    assert_eq!(overrides, [(stream_id, rate(0.5).unwrap().into())]);
    let unknown = UndoRequest { audit_id: 999, note: None };
    let error = world.control.undo(&operator(), &unknown).await.unwrap_err();
    assert!(matches!(error, ControlError::UnknownAudit(999)));
}

#[tokio::test]
async fn a_stream_that_ends_again_dismisses_viewers() {
    let world = World::new().await;
    let stream_id = StreamId(1);
    let to = |state| StreamPatch { state: Some(state), ..StreamPatch::default() };
    let update = async |state| {
        world.control.update_stream(&operator(), stream_id, &to(state)).await.unwrap().audit_id
    };
    update(StreamState::Ended).await;
    let audit_id = update(StreamState::Live).await;
    let ended = "bus 1: Ended";
    let count = || world.journal.lines().iter().filter(|line| *line == ended).count();
    assert_eq!(count(), 1);
    let undo = UndoRequest { audit_id, note: None };
    let outcome = world.control.undo(&operator(), &undo).await.unwrap();
    assert_eq!(outcome.stream.unwrap().state, StreamState::Ended);
    assert_eq!(count(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_undo_that_failed_halfway_is_made_again() {
    let world = World::new().await;
    let control = &world.control;
    let user = UserRef("ann".to_owned());
    let request = |duration_ms| SanctionRequest {
        user: user.clone(),
        stream_id: None,
        reason: None,
        note: None,
        duration_ms,
    };
    control.timeout(&operator(), &request(Some(60_000))).await.unwrap();
    control.ban(&operator(), &request(None)).await.unwrap();
    let unban = UnbanRequest { user: user.clone(), stream_id: None, note: None };
    let lifted = control.unban(&operator(), &unban).await.unwrap();
    world.registry.place(42, "b").await;
    let undo = UndoRequest { audit_id: lifted.audit_id, note: None };
    world.metadata.fail_next("timeout");
    let failed = control.undo(&operator(), &undo).await.unwrap_err();
    assert!(matches!(failed, ControlError::Store(_)), "{failed}");
    assert_eq!(control.bans().await.unwrap(), []);
    assert_eq!(world.metadata.audits().len(), 3, "nothing was recorded");
    let undone = control.undo(&operator(), &undo).await.unwrap();
    assert_eq!(undone.connections, Some(1), "the user is disconnected");
    assert_eq!(control.bans().await.unwrap().len(), 2);
    assert_eq!(world.metadata.audits().len(), 4, "one entry for both");
}
