//! Each change leaves one audit entry and is published in the end; saved views.

use super::*;

/// Every changing operation, by the action its audit entry has.
async fn change(world: &World, action: &str) -> Result<(), ControlError> {
    let control = &world.control;
    let op = &operator();
    match action {
        "ban" => control.ban(op, &sanction("42", None)).await.map(drop),
        "timeout" => control.timeout(op, &sanction("42", Some(5_000))).await.map(drop),
        "unban" => control.unban(op, &lifting("42", None)).await.map(drop),
        "kick" => control.kick(op, &about("42")).await.map(drop),
        "dm" => {
            let request = DirectRequest { user: user("42"), message: "hi".to_owned() };
            control.direct(op, &request).await.map(drop)
        }
        "announce" => {
            let request = AnnounceRequest { stream_id: StreamId(1), message: "hi".to_owned() };
            control.announce(op, &request).await.map(drop)
        }
        "delete" => control.delete(op, &delete(5, None)).await.map(drop),
        "throttle" => {
            let request =
                ThrottleRequest { stream_id: StreamId(1), sample_rate: None, for_ms: None };
            control.throttle(op, &request).await.map(drop)
        }
        "drain" => {
            let request = DrainRequest { undo: true, ..DrainRequest::default() };
            control.drain(op, &request).await.map(drop)
        }
        "acknowledge" => {
            let request = AcknowledgeRequest { problem: "store_missing".to_owned() };
            control.acknowledge(op, &request).await.map(drop)
        }
        "approve" => control.approve(op, &decision(6)).await.map(drop),
        "reject" => control.reject(op, &decision(7)).await.map(drop),
        "restore" => {
            let request = RestoreRequest { comment_id: comment_id(9), note: None };
            control.restore(op, &request).await.map(drop)
        }
        "create_stream" => control.create_stream(op, &NewStream::default()).await.map(drop),
        "update_stream" => {
            let patch = StreamPatch { anonymous: Some(false), ..StreamPatch::default() };
            control.update_stream(op, StreamId(1), &patch).await.map(drop)
        }
        "delete_stream" => control.delete_stream(op, StreamId(1)).await.map(drop),
        "room" => {
            let patch = RoomPatch { no_links: Some(true), ..RoomPatch::default() };
            control.update_room(op, StreamId(1), &patch).await.map(drop)
        }
        "token" => {
            let request = TokenRequest {
                user_id: UserId(1),
                name: "v".to_owned(),
                role: Role::Viewer,
                ttl_ms: 60_000,
                comments_per_minute: None,
                count: 1,
                standing: Default::default(),
                account_created: None,
                stream_roles: Default::default(),
            };
            control.mint(op, &request, &minter()).await.map(drop)
        }
        other => panic!("no change is called {other}"),
    }
}

const CHANGES: [&str; 18] = [
    "timeout",
    "ban",
    "unban",
    "kick",
    "dm",
    "announce",
    "delete",
    "throttle",
    "drain",
    "acknowledge",
    "approve",
    "reject",
    "restore",
    "create_stream",
    "update_stream",
    "room",
    "token",
    "delete_stream",
];

async fn world_to_change() -> World {
    let world = World::new().await;
    world.comment(5, "bad");
    world.comment(9, "deleted");
    world.reject_by_rules(9);
    for number in [6, 7] {
        world.queue_review(number, false).await;
    }
    world
}

#[tokio::test]
async fn every_change_leaves_one_audit_entry() {
    let world = world_to_change().await;
    for (index, action) in CHANGES.into_iter().enumerate() {
        change(&world, action).await.unwrap();
        let audits = world.metadata.audits();
        assert_eq!(audits.len(), index + 1, "{action}");
        let entry = &audits[index];
        assert_eq!((&*entry.action, &*entry.actor), (action, "op (uid 0)"));
        assert!(!entry.target.is_empty() && entry.detail.is_object(), "{entry:?}");
        assert!(entry.at >= STARTED_MS);
    }
}

#[tokio::test]
async fn without_the_metadata_store_nothing_changes() {
    for action in CHANGES {
        let world = world_to_change().await;
        change(&world, "ban").await.unwrap();
        let before = world.state();
        world.metadata.set_down(true);
        let body = change(&world, action).await.unwrap_err().body();
        assert_eq!(body.code, ErrorCode::StoreUnavailable, "{action}");
        assert!(body.code.retry() && body.retry_after_ms.is_some());
        assert_eq!(world.state(), before, "{action}");
    }
}

fn save_view(name: &str) -> SaveViewRequest {
    let settings = ViewSettings { view: "streams".to_owned(), ..ViewSettings::default() };
    SaveViewRequest { name: name.to_owned(), settings }
}

#[tokio::test]
async fn views_are_kept_until_they_are_forgotten() {
    let world = World::new().await;
    let outcome = world.control.save_view(&operator(), &save_view("final")).await.unwrap();
    let views = world.control.views().await.unwrap();
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].name, "final");
    assert!(views[0].saved_at >= STARTED_MS, "{views:?}");
    let entry = world.metadata.audits().pop().unwrap();
    assert_eq!((entry.audit_id, entry.action.as_str()), (outcome.audit_id, "save_view"));
    assert_eq!(entry.target, "view final");
    let forget = ForgetViewRequest { name: "final".to_owned() };
    world.control.forget_view(&operator(), &forget).await.unwrap();
    assert_eq!(world.control.views().await.unwrap(), []);
    let unknown = world.control.forget_view(&operator(), &forget).await.unwrap_err();
    assert!(matches!(unknown, ControlError::UnknownView(name) if name == "final"));
}

#[tokio::test]
async fn views_are_bounded_in_name_size_and_number() {
    let world = World::new().await;
    let before = world.metadata.audits().len();
    let long = "x".repeat(MAX_VIEW_NAME + 1);
    for name in ["", "@final", "two words", "a\u{7}b", &long] {
        let refused = world.control.save_view(&operator(), &save_view(name)).await.unwrap_err();
        assert!(matches!(refused, ControlError::Invalid { field: "name", .. }), "{name}");
    }
    let mut large = save_view("large");
    large.settings.view = "x".repeat(MAX_VIEW_BYTES);
    let refused = world.control.save_view(&operator(), &large).await.unwrap_err();
    assert!(matches!(refused, ControlError::Invalid { field: "settings", .. }), "{refused:?}");
    assert_eq!(world.metadata.audits().len(), before, "a refused request leaves no entry");
    for number in 0..MAX_SAVED_VIEWS {
        world.control.save_view(&operator(), &save_view(&number.to_string())).await.unwrap();
    }
    let refused = world.control.save_view(&operator(), &save_view("more")).await.unwrap_err();
    assert_eq!(refused.body().code, ErrorCode::BadRequest);
    assert!(refused.to_string().contains("100 views"), "{refused}");
}

/// Makes the log refuse what it is asked, and then lets the periodic task run.
async fn is_carried_out_later(action: &str) {
    let world = world_to_change().await;
    world.queue_review(8, true).await;
    let before = world.log.events(Topic::CommentEvents).len();
    world.log.fail_appends_with(Some(LogError::Full("switched off".to_owned())));
    let deferred = match action {
        "approve" => world.control.approve(&operator(), &decision(8)).await.map(drop),
        _ => change(&world, action).await,
    };
    let body = deferred.unwrap_err().body();
    assert_eq!(body.code, ErrorCode::StorageFull, "{action}");
    assert!(body.message.starts_with("recorded as audit entry 1"), "{}", body.message);
    let stop = CancellationToken::new();
    tokio::spawn(world.control.clone().publish_pending(stop.clone()));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.log.events(Topic::CommentEvents).len(), before);
    world.log.fail_appends_with(None);
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(world.log.events(Topic::CommentEvents).len(), before + 1, "{action}: once");
    assert_eq!(world.metadata.audits().len(), 1, "{action}");
    stop.cancel();
}

#[tokio::test(start_paused = true)]
async fn a_change_the_log_refuses_is_carried_out_later() {
    for action in ["delete", "reject", "approve", "restore"] {
        is_carried_out_later(action).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_published_change_is_not_published_again() {
    let world = world_to_change().await;
    change(&world, "delete").await.unwrap();
    let events = world.log.events(Topic::CommentEvents).len();
    tokio::spawn(world.control.clone().publish_pending(CancellationToken::new()));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.log.events(Topic::CommentEvents).len(), events);
}
