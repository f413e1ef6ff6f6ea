//! Messages to users, tokens, and how users are named.

use super::*;

#[tokio::test]
async fn direct_messages_and_announcements_are_delivered() {
    let world = World::new().await;
    world.registry.place(42, "a").await;
    let message = " hello ".to_owned();
    let direct = DirectRequest { user: user("ann"), message: message.clone() };
    let outcome = world.control.direct(&operator(), &direct).await.unwrap();
    assert_eq!(outcome.connections, Some(2));
    let announce = AnnounceRequest { stream_id: StreamId(1), message };
    world.control.announce(&operator(), &announce).await.unwrap();
    assert_eq!(
        world.journal.lines(),
        ["a: direct 42 moderator: hello", "bus 1: Announcement { message: \"hello\" }"]
    );
}

#[tokio::test]
async fn messages_are_kept_until_they_are_acknowledged() {
    let world = World::new().await;
    let send = async |message: &str| {
        let direct = DirectRequest { user: user("ann"), message: message.to_owned() };
        world.control.direct(&operator(), &direct).await.unwrap()
    };
    let away = send("first").await;
    assert_eq!((away.connections, away.kept), (Some(0), true));
    world.registry.place(42, "a").await;
    let present = send("second").await;
    assert_eq!((present.connections, present.kept), (Some(2), false));
    let kept = world.control.kept_messages(UserId(42)).await.unwrap();
    assert_eq!((kept.len(), &*kept[0].message, &*kept[0].from), (2, "first", "moderator"));
    assert_eq!(kept[1].message, "second", "a connection may be dead");
    world.control.acknowledge_messages(UserId(42), kept[1].message_id).await.unwrap();
    assert!(world.control.kept_messages(UserId(42)).await.unwrap().is_empty());
}

#[tokio::test]
async fn minted_tokens_have_consecutive_users() {
    let world = World::new().await;
    let request = TokenRequest {
        user_id: UserId(10),
        name: "v".to_owned(),
        role: Role::Viewer,
        ttl_ms: 60_000,
        comments_per_minute: None,
        count: 3,
        standing: Default::default(),
        account_created: None,
        stream_roles: Default::default(),
    };
    let minted = world.control.mint(&operator(), &request, &minter()).await.unwrap();
    assert_eq!(minted.tokens, ["10/v10/60", "11/v11/60", "12/v12/60"]);
    let one = TokenRequest { count: 1, ..request.clone() };
    assert_eq!(world.control.mint(&operator(), &one, &minter()).await.unwrap().tokens, ["10/v/60"]);
    assert_eq!(world.metadata.audits()[0].target, "users 10 to 12");
    assert!(!world.metadata.dump().contains("10/v"), "the audit log must not hold tokens");
}

#[tokio::test]
async fn tokens_of_many_users_are_one_audit_entry() {
    let world = World::new().await;
    let user = |n: u64| TokenUser { user_id: UserId(n * n), name: format!(" u{n} ") };
    let request = UserTokensRequest {
        users: (1..=2_000).map(user).collect(),
        role: Role::Viewer,
        ttl_ms: 60_000,
        comments_per_minute: Some(0),
    };
    let minted = world.control.mint_for_users(&operator(), &request, &minter()).await.unwrap();
    assert_eq!(minted.tokens.len(), 2_000);
    assert_eq!(minted.tokens[1], "4/u2/60");
    let audits = world.metadata.audits();
    assert_eq!(audits.len(), 1);
    assert_eq!((audits[0].action.as_str(), audits[0].target.as_str()), ("token", "2000 users"));
    assert_eq!(audits[0].detail["users"], 2_000);
    let wrong = [vec![], vec![TokenUser { user_id: UserId(0), name: "ann".to_owned() }]];
    for users in wrong {
        let request = UserTokensRequest { users, ..request.clone() };
        let refused = world.control.mint_for_users(&operator(), &request, &minter()).await;
        assert!(matches!(refused, Err(ControlError::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(world.metadata.audits().len(), 1);
}

#[tokio::test]
async fn users_are_found_by_id_or_unique_name() {
    let world = World::new().await;
    let who = world.control.who(&user("ann")).await.unwrap();
    assert_eq!((who.user_id, who.name.as_deref()), (UserId(42), Some("ann")));
    for written in [" ann ", "ann\u{200B}", "ann\u{2800}"] {
        assert_eq!(world.control.who(&user(written)).await.unwrap().user_id, UserId(42));
    }
    let stranger = world.control.who(&user("99")).await.unwrap();
    assert_eq!((stranger.user_id, stranger.name), (UserId(99), None));
    for (text, code, said) in [
        ("nobody", ErrorCode::NotFound, "nobody named `nobody`"),
        ("twin", ErrorCode::BadRequest, "2 users: id:7, id:8"),
        ("0", ErrorCode::BadRequest, "not a user id"),
        ("99999999999999999999", ErrorCode::BadRequest, "not a user id"),
        ("", ErrorCode::BadRequest, "1 to 64 characters"),
        ("\u{3164}", ErrorCode::BadRequest, "1 to 64 characters"),
        ("a\u{1b}b", ErrorCode::BadRequest, "1 to 64 characters"),
    ] {
        let body = world.control.who(&user(text)).await.unwrap_err().body();
        assert_eq!(body.code, code, "{text:?}");
        assert!(body.message.contains(said), "{}", body.message);
    }
}

#[tokio::test]
async fn the_reason_of_a_deletion_is_one_word() {
    let world = World::new().await;
    for reason in ["reported by ann@example.org", "Spam", "", &"x".repeat(33)] {
        let refused = world.control.delete(&operator(), &delete(2, Some(reason))).await;
        let body = refused.unwrap_err().body();
        assert!(body.message.contains("`note`"), "{reason:?}: {}", body.message);
    }
    assert_eq!(world.metadata.audits(), []);
}
