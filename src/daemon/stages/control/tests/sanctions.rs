//! Bans and timeouts, and whom they reach.

use super::*;

#[tokio::test]
async fn a_ban_reaches_all_nodes_before_connections_close() {
    let world = World::new().await;
    world.registry.place(42, "a").await;
    world.registry.place(42, "b").await;
    let outcome = world.control.ban(&operator(), &sanction("ann", None)).await.unwrap();
    assert_eq!(
        world.journal.lines(),
        [
            "a: sanctions read",
            "ban stored",
            "a: sanctions read",
            "b: ReloadSanctions",
            "c: ReloadSanctions",
            "a: disconnect 42 banned (you are banned: spam)",
            "b: Disconnect { user_id: UserId(42), code: Banned, stream_id: None }",
        ]
    );
    assert_eq!(outcome.user_id, Some(UserId(42)));
    assert_eq!(outcome.connections, Some(3), "two here and one on b");
    assert!(world.sanctions.check_ban(UserScope::everywhere(UserId(42))).is_some());
    let bans = world.control.bans().await.unwrap();
    assert_eq!((bans[0].name.as_deref(), bans[0].reason.as_deref()), (Some("ann"), Some("spam")));
    assert_eq!(bans[0].created_by, "op (uid 0)");

    world.control.unban(&operator(), &lifting("42", None)).await.unwrap();
    assert!(world.sanctions.check_ban(UserScope::everywhere(UserId(42))).is_none());
    let again = world.control.unban(&operator(), &lifting("42", None)).await.unwrap_err();
    assert_eq!(again.body().code, ErrorCode::NotFound);
}

#[tokio::test]
async fn a_stream_that_requires_tokens_is_told_to_all_nodes() {
    let world = World::new().await;
    let patch = StreamPatch { anonymous: Some(false), ..StreamPatch::default() };
    let outcome = world.control.update_stream(&operator(), StreamId(1), &patch).await.unwrap();
    let lines = world.journal.lines();
    assert!(lines.contains(&"a: close anonymous of 1: token_required".to_owned()), "{lines:?}");
    for node in ["b", "c"] {
        let reload = format!("{node}: ReloadStream {{ stream_id: StreamId(1) }}");
        assert!(lines.contains(&reload), "{lines:?}");
    }
    assert_eq!(outcome.connections, Some(1), "those that it closed");
}

#[tokio::test(start_paused = true)]
async fn a_silent_node_is_named_and_delays_little() {
    let world = World::new().await;
    world.registry.silence("c");
    world.registry.place(42, "b").await;
    let started = Instant::now();
    let outcome = world.control.ban(&operator(), &sanction("42", None)).await.unwrap();
    assert_eq!(outcome.unreachable, [NodeId::new("c")]);
    assert!(world.journal.lines().iter().any(|line| line.starts_with("b: Disconnect")));
    assert!(started.elapsed() <= Duration::from_secs(3));
}

#[tokio::test]
async fn while_the_registry_is_down_all_nodes_get_commands() {
    let world = World::new().await;
    world.registry.set_down(true);
    world.control.kick(&operator(), &about("42")).await.unwrap();
    assert_eq!(
        world.journal.lines(),
        [
            "a: disconnect 42 kicked",
            "b: Disconnect { user_id: UserId(42), code: Kicked, stream_id: None }",
            "c: Disconnect { user_id: UserId(42), code: Kicked, stream_id: None }",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_by_itself_and_closes_nothing() {
    let world = World::new().await;
    world.registry.place(42, "a").await;
    world.control.timeout(&operator(), &sanction("42", Some(10_000))).await.unwrap();
    assert!(!world.journal.lines().iter().any(|line| line.contains("isconnect")));
    assert_eq!(world.sanctions.check(UserId(42), StreamId(1)).unwrap().remaining_ms, Some(10_000));
    tokio::time::advance(Duration::from_secs(11)).await;
    assert!(world.sanctions.check(UserId(42), StreamId(1)).is_none());
    assert!(world.control.bans().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_timeout_of_a_banned_user_changes_nothing() {
    let world = World::new().await;
    world.control.ban(&operator(), &sanction("42", Some(86_400_000))).await.unwrap();
    let before = world.state();
    let refused = world.control.timeout(&operator(), &sanction("42", Some(10_000))).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, ControlError::StaysBanned { .. }), "{error}");
    assert!(error.to_string().contains("the ban until 2023-11-15"), "{error}");
    assert_eq!(world.state(), before);
}

fn sanction_on(stream_id: u64, duration_ms: Option<u64>) -> SanctionRequest {
    let stream_id = Some(StreamId(stream_id));
    SanctionRequest { stream_id, ..sanction("42", duration_ms) }
}

#[tokio::test]
async fn a_ban_on_a_stream_closes_connections_there() {
    let world = World::new().await;
    world.registry.place(42, "a").await;
    world.registry.place(42, "b").await;
    let outcome = world.control.ban(&operator(), &sanction_on(1, None)).await.unwrap();
    assert_eq!(outcome.stream_id, Some(StreamId(1)));
    let lines = world.journal.lines();
    for line in [
        "a: disconnect 42 of 1 banned (you are banned: spam)",
        "b: Disconnect { user_id: UserId(42), code: Banned, stream_id: Some(StreamId(1)) }",
    ] {
        assert!(lines.contains(&line.to_owned()), "{lines:?}");
    }
    let is_banned = |who| world.sanctions.check_ban(who).is_some();
    assert!(is_banned(UserScope::on(UserId(42), StreamId(1))));
    assert!(!is_banned(UserScope::everywhere(UserId(42))));
    let before = world.state();
    let unknown = world.control.ban(&operator(), &sanction_on(9, None)).await.unwrap_err();
    assert_eq!(unknown.body().code, ErrorCode::UnknownStream);
    let refused = world.control.timeout(&operator(), &sanction_on(1, Some(10_000))).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, ControlError::StaysBanned { .. }), "{error}");
    assert_eq!(world.state(), before);
    world.control.timeout(&operator(), &sanction("42", Some(10_000))).await.unwrap();
}

#[tokio::test]
async fn an_unban_names_what_stays_in_force() {
    let world = World::new().await;
    let unban = async |stream_id: Option<u64>| {
        world.control.unban(&operator(), &lifting("42", stream_id.map(StreamId))).await
    };
    let code = |error: ControlError| error.body().code;
    world.control.ban(&operator(), &sanction_on(1, None)).await.unwrap();
    let elsewhere = unban(None).await.unwrap_err();
    assert!(elsewhere.to_string().contains("the ban on stream 1 without an end"), "{elsewhere}");
    assert_eq!(code(elsewhere), ErrorCode::NotFound);
    world.control.ban(&operator(), &sanction("42", None)).await.unwrap();
    let lifted = unban(Some(1)).await.unwrap();
    assert_eq!(lifted.stream_id, Some(StreamId(1)));
    assert_eq!(lifted.left_out, ["the ban without an end stays in force"]);
    let everywhere = unban(Some(1)).await.unwrap_err();
    assert!(matches!(everywhere, ControlError::SanctionedEverywhere { .. }), "{everywhere}");
    assert_eq!(code(everywhere), ErrorCode::Forbidden);
    assert!(unban(None).await.unwrap().left_out.is_empty());
    assert_eq!(code(unban(None).await.unwrap_err()), ErrorCode::NotFound);
    let undo = UndoRequest { audit_id: lifted.audit_id, note: None };
    let undone = world.control.undo(&operator(), &undo).await.unwrap();
    let now = "the ban on stream 1 without an end is in force again";
    assert_eq!(undone.now.as_deref(), Some(now), "the later unban was on all streams");
    let bans = world.control.bans().await.unwrap();
    assert_eq!((bans.len(), bans[0].stream_id), (1, Some(StreamId(1))));
}

#[tokio::test]
async fn a_shorter_ban_says_which_ban_it_replaces() {
    let world = World::new().await;
    let first = world.control.ban(&operator(), &sanction("42", None)).await.unwrap();
    assert_eq!(first.replaced, None);
    let second = world.control.ban(&operator(), &sanction("42", Some(60_000))).await.unwrap();
    let replaced = second.replaced.unwrap();
    assert_eq!((replaced.kind, replaced.expires_at), (SanctionKind::Ban, None));
    let audits = world.metadata.audits();
    assert_eq!(audits[1].detail["replaces"]["created_by"], "op (uid 0)");
    assert_eq!(audits[1].detail["duration_ms"], 60_000);
    let undo = UndoRequest { audit_id: second.audit_id, note: None };
    world.control.undo(&operator(), &undo).await.unwrap();
    assert_eq!(world.control.bans().await.unwrap()[0].expires_at, None);
    let third = world.control.ban(&operator(), &sanction("42", Some(60_000))).await.unwrap();
    world.control.ban(&operator(), &sanction("42", None)).await.unwrap();
    let undo = UndoRequest { audit_id: third.audit_id + 1, note: None };
    world.control.undo(&operator(), &undo).await.unwrap();
    let bans = world.control.bans().await.unwrap();
    assert!(bans[0].expires_at.is_some(), "an entry with `replaces` can be read: {bans:?}");
}
