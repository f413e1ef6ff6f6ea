//! Comments that are deleted or approved.

use super::*;

#[tokio::test]
async fn deletion_finds_comments_in_the_store_and_the_log() {
    let world = World::new().await;
    let archived = ArchivedComment {
        comment: submitted(StreamId(1), 1, "archived").comment,
        seq: 0,
        shadow: false,
    };
    world.comments.write_rows(&[archived], &[]).await.unwrap();
    world.comment(2, "fresh");
    (10..3_000).for_each(|number| drop(world.comment(number, "noise")));

    let outcome = world.control.delete(&operator(), &delete(1, Some("off_topic"))).await.unwrap();
    assert_eq!(&*outcome.deletion.unwrap().reason, "off_topic");
    let outcome = world.control.delete(&operator(), &delete(2, None)).await.unwrap();
    assert_eq!(&*outcome.deletion.unwrap().reason, "moderator", "a note is not for viewers");
    let unknown = world.control.delete(&operator(), &delete(9_999, None)).await.unwrap_err();
    assert_eq!(unknown.body().code, ErrorCode::NotFound);

    let mut decided = Vec::new();
    for event in events(&world, Topic::CommentEvents) {
        if let Event::CommentModerated(event) = event {
            assert_eq!((event.stream_id, event.user_id), (StreamId(1), UserId(42)));
            decided.push((event.comment_id, event.decision));
        }
    }
    let rejected = Decision::Reject;
    assert_eq!(decided, [(comment_id(1), rejected), (comment_id(2), rejected)]);
    let kept = events(&world, Topic::ModerationEvents);
    let text = |event: &Event| match event {
        Event::CommentModerated(event) => event.text.clone().map(|text| text.message.to_string()),
        Event::CommentSubmitted(_) | Event::CommentRestored(_) => None,
    };
    let texts: Vec<_> = kept.iter().map(text).collect();
    assert_eq!(texts, [Some("archived".to_owned()), Some("fresh".to_owned())]);
}

#[tokio::test]
async fn a_comment_store_that_is_down_delays_no_deletion() {
    let world = World::new().await;
    world.comment(2, "fresh");
    world.comments.set_down(true);
    world.control.delete(&operator(), &delete(2, None)).await.unwrap();
    let unknown = world.control.delete(&operator(), &delete(3, None)).await.unwrap_err();
    assert_eq!(unknown.body().code, ErrorCode::StoreUnavailable, "it may well be in the store");
}

#[tokio::test]
async fn a_held_comment_is_published_only_when_approved() {
    let world = World::new().await;
    for (number, held) in [(1, true), (2, true), (3, false), (4, false)] {
        world.queue_review(number, held).await;
    }
    world.control.approve(&operator(), &decision(1)).await.unwrap();
    world.control.reject(&operator(), &decision(2)).await.unwrap();
    world.control.approve(&operator(), &decision(3)).await.unwrap();
    let rejected = world.control.reject(&operator(), &decision(4)).await.unwrap();
    assert_eq!(rejected.deletion.unwrap().comment_id, comment_id(4));
    let events = events(&world, Topic::CommentEvents);
    let [Event::CommentSubmitted(released), Event::CommentModerated(removed)] = events.as_slice()
    else {
        panic!("{events:?}");
    };
    assert!(released.screened && !released.shadow);
    assert_eq!((&*released.comment.message, released.comment.created_at), ("hm", STARTED_MS));
    assert_eq!(removed.comment_id, comment_id(4));
    let twice = world.control.approve(&operator(), &decision(1)).await.unwrap_err().body();
    assert_eq!(twice.code, ErrorCode::ReviewDecided);
    assert!(twice.message.contains("was approved by op (uid 0)"), "{}", twice.message);
}
