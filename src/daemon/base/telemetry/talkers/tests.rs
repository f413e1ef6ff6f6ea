//! The sketches beside exact counts, on a paused clock.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::facts::UserEstimate;
use super::halves::{HALF, Turn};
use super::space_saving::SpaceSaving;
use super::*;
use crate::daemon::testing::comments::sample_comment;
use crate::protocol::Role;
use crate::protocol::admin::MOST_COUNTED_USERS;

const PLACES: usize = 8;

fn counted(keys: &[u64]) -> BTreeMap<u64, u64> {
    let mut counts = BTreeMap::new();
    keys.iter().for_each(|key| *counts.entry(*key).or_default() += 1);
    counts
}

/// Few keys often and many keys seldom, as users are.
fn keys() -> impl Strategy<Value = Vec<u64>> {
    prop::collection::vec(prop_oneof![0_u64..6, 0_u64..40], 0..400)
}

proptest! {
    #[test]
    fn a_sketch_has_the_frequent_and_bounds_the_rest(keys in keys()) {
        let mut sketch = SpaceSaving::<u64, (), PLACES>::new();
        keys.iter().for_each(|key| { sketch.add(*key); });
        prop_assert_eq!(sketch.additions(), keys.len() as u64);
        let exact = counted(&keys);
        for key in 0..40 {
            let truth = exact.get(&key).copied().unwrap_or(0);
            let estimate = sketch.estimate(key);
            prop_assert!(estimate.count >= truth, "{key}: {estimate:?}, truth {truth}");
            prop_assert!(estimate.at_least() <= truth, "{key}: {estimate:?}, truth {truth}");
            let is_frequent = truth * PLACES as u64 > keys.len() as u64;
            prop_assert!(!is_frequent || sketch.get(key).is_some(), "{key} has {truth}");
        }
        prop_assert!(sketch.floor() * PLACES as u64 <= keys.len() as u64);
    }

    #[test]
    fn two_halves_promise_the_same_of_their_time(parts in prop::collection::vec(keys(), 1..5)) {
        let mut halves = Halves::<u64, (), PLACES>::new();
        for (index, part) in parts.iter().enumerate() {
            halves.turn(if index == 0 { Turn::Nothing } else { Turn::Half });
            part.iter().for_each(|key| { halves.now.add(*key); });
        }
        let latest = &parts[parts.len().saturating_sub(2)..];
        let all = latest.concat();
        let exact = counted(&all);
        let listed = halves.keys();
        prop_assert_eq!(halves.additions(), all.len() as u64);
        for key in 0..40 {
            let truth = exact.get(&key).copied().unwrap_or(0);
            let estimate = halves.estimate(key);
            prop_assert!(estimate.count >= truth && estimate.at_least() <= truth);
            let is_frequent = truth * PLACES as u64 > all.len() as u64;
            prop_assert!(!is_frequent || listed.contains(&key), "{key} has {truth}");
        }
    }

    #[test]
    fn a_short_text_is_the_text_or_its_beginning(text in "\\PC{0,30}") {
        let short = ShortName::of(&text);
        let shown = short.as_str();
        prop_assert!(shown.len() <= 25);
        match shown.strip_suffix('…') {
            _ if shown == text => {}
            Some(beginning) => prop_assert!(text.starts_with(beginning) && text.len() > 25),
            None => prop_assert!(false, "{shown:?} of {text:?}"),
        }
    }

    /// Users of the same 16 bits of a hash are one; three pairs of them do not happen.
    #[test]
    fn few_users_are_counted_within_a_twentieth(
        users in prop::collection::btree_set(any::<u64>(), 0..=MOST_COUNTED_USERS as usize),
    ) {
        let mut estimate = UserEstimate::default();
        users.iter().for_each(|user| estimate.add(UserId(*user)));
        let truth = users.len() as u64;
        prop_assert!(estimate.count() <= truth);
        prop_assert!(estimate.count() + 2 + truth / 20 >= truth, "{}", estimate.count());
    }

    #[test]
    fn users_of_both_are_estimated_once(
        ours in prop::collection::btree_set(1_u64..5_000, 0..60),
        theirs in prop::collection::btree_set(1_u64..5_000, 0..60),
    ) {
        let estimate = |users: &std::collections::BTreeSet<u64>| {
            let mut estimate = UserEstimate::default();
            users.iter().for_each(|user| estimate.add(UserId(*user)));
            estimate
        };
        let all = ours.union(&theirs).copied().collect();
        prop_assert_eq!(estimate(&ours).union(&estimate(&theirs)), estimate(&all));
    }
}

#[test]
fn few_users_are_counted_one_by_one() {
    let mut estimate = UserEstimate::default();
    for users in 1..=MOST_COUNTED_USERS {
        for _ in 0..3 {
            estimate.add(UserId(users));
        }
        assert_eq!(estimate.count(), users);
    }
    for users in MOST_COUNTED_USERS + 1..100 {
        estimate.add(UserId(users));
        assert!(estimate.count() > MOST_COUNTED_USERS, "it is told as an estimate");
    }
}

#[test]
fn users_are_estimated_from_one_to_many() {
    for users in [0, 1, 2, 3, 38, 200, 5_000, 100_000_u64] {
        let mut estimate = UserEstimate::default();
        (1..=users).for_each(|user| estimate.add(UserId(user)));
        let off = estimate.count().abs_diff(users) as f64 / users.max(1) as f64;
        assert!(off < 0.25, "{} instead of {users}", estimate.count());
    }
}

#[test]
fn a_stream_takes_less_than_twenty_kilobytes() {
    let bytes = size_of::<StreamSketch>();
    assert!(bytes < 20_000, "{bytes} B");
    assert!(MAX_STREAMS * bytes < 3_840_000);
}

fn comment(stream: u64, user: u64, text: &str) -> Comment {
    Comment {
        stream_id: StreamId(stream),
        user_id: UserId(user),
        name: format!("user_{user}").into(),
        message: text.into(),
        ..sample_comment(user)
    }
}

fn says(sketches: &TalkerSketches, user: u64, text: &str) {
    sketches.record_comment(&comment(7, user, text), Instant::now());
}

fn stream_7(sketches: &TalkerSketches) -> Talkers {
    sketches.of_stream(StreamId(7), Instant::now()).expect("it is counted")
}

#[tokio::test(start_paused = true)]
async fn who_says_most_is_first_with_what_was_removed() {
    let sketches = TalkerSketches::default();
    for number in 0..20 {
        says(&sketches, 4711, &format!("number {number}"));
        says(&sketches, 100 + number, "hello");
    }
    sketches.record_removal(StreamId(7), UserId(4711));
    sketches.record_removal(StreamId(7), UserId(9));
    sketches.record_removal(StreamId(8), UserId(4711));
    let answer = stream_7(&sketches);
    let first = &answer.talkers[0];
    assert_eq!((first.user_id, first.name.as_str()), (UserId(4711), "user_4711"));
    assert_eq!((first.said, first.error, first.removed), (20, 0, 1));
    assert_eq!((answer.said, answer.talkers.len()), (40, 21));
    assert_eq!(sketches.of_stream(StreamId(8), Instant::now()), None);
}

#[tokio::test(start_paused = true)]
async fn one_text_of_many_users_is_found() {
    let sketches = TalkerSketches::default();
    for user in 1..=38 {
        let text = if user % 2 == 0 { "Cheap followers!!" } else { "cheap  FOLLOWERS" };
        says(&sketches, user, text);
    }
    ('b'..='u')
        .zip(1..)
        .for_each(|(letter, user)| says(&sketches, user, &format!("only {letter}")));
    let answer = stream_7(&sketches);
    let first = &answer.texts[0];
    assert_eq!((answer.texts.len(), first.said, first.text.as_str()), (1, 38, "cheap  FOLLOWERS"));
    assert_eq!((first.users, first.users_are_estimated()), (38, false));
    assert_eq!((first.new, first.id), (first.users, alike_key("cheap followers")));
}

#[tokio::test(start_paused = true)]
async fn what_is_old_fades_in_two_steps() {
    let sketches = TalkerSketches::default();
    (1..=5).for_each(|user| says(&sketches, user, "gg"));
    tokio::time::advance(HALF).await;
    (4..=6).for_each(|user| says(&sketches, user, "gg"));
    let answer = stream_7(&sketches);
    assert_eq!((answer.said, answer.window_ms), (8, 300_000));
    assert_eq!((answer.texts[0].users, answer.texts[0].new), (6, 1));
    assert_eq!(answer.talkers[0].said, 2);
    tokio::time::advance(HALF).await;
    let answer = stream_7(&sketches);
    let users: Vec<_> = answer.talkers.iter().map(|talker| talker.user_id.0).collect();
    assert_eq!((users, answer.texts[0].new), (vec![4, 5, 6], 0));
    tokio::time::advance(HALF * 3).await;
    assert_eq!(stream_7(&sketches), Talkers::none_of(StreamId(7)));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_stream_gives_its_place_to_another() {
    let sketches = TalkerSketches::default();
    let add = |stream| sketches.record_comment(&comment(stream, 1, "hi"), Instant::now());
    let is_counted = |stream| sketches.of_stream(StreamId(stream), Instant::now()).is_some();
    let all = MAX_STREAMS as u64;
    (1..=all).for_each(add);
    add(all + 1);
    assert!(!is_counted(all + 1), "no stream is quiet");
    tokio::time::advance(QUIET).await;
    (2..=all).for_each(add);
    add(all + 1);
    assert!(is_counted(all + 1) && !is_counted(1));
    sketches.forget(&[StreamId(2), StreamId(3)]);
    assert_eq!(sketches.streams.lock().len(), MAX_STREAMS - 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_reported_while_it_is_asked_for() {
    let sketches = TalkerSketches::default();
    let now = Instant::now();
    let most = MAX_REQUESTED as u64;
    (1..=most + 1).for_each(|stream| sketches.request(StreamId(stream), now));
    sketches.request(StreamId(3), now);
    let requested: Vec<_> = sketches.requested(now).iter().map(|stream| stream.0).collect();
    let latest: Vec<_> = [2].into_iter().chain(4..=most + 1).chain([3]).collect();
    assert_eq!(requested, latest);
    sketches.request(StreamId(4), now + REPORTED_FOR / 2);
    assert_eq!(sketches.requested(now + REPORTED_FOR), [StreamId(4)]);
}

#[tokio::test(start_paused = true)]
async fn refusals_are_counted_by_stream_and_user() {
    let sketches = TalkerSketches::default();
    let identity = |user| Identity {
        user_id: UserId(user),
        name: "zed_k".into(),
        role: Role::Viewer,
        everywhere: Role::Viewer,
        avatar: None,
        comments_per_minute: None,
        standing: Default::default(),
    };
    assert_eq!(sketches.refused_users(Instant::now()), []);
    for stream in [7, 7, 8] {
        sketches.record_refusal(StreamId(stream), &identity(1), Instant::now());
    }
    (2..60).for_each(|user| {
        sketches.record_refusal(StreamId(7), &identity(user), Instant::now());
    });
    let rows = sketches.refused_users(Instant::now());
    assert_eq!(rows.len(), MAX_REPORTED_REFUSED);
    let first = RefusedUser {
        stream_id: StreamId(7),
        user_id: UserId(1),
        name: "zed_k".to_owned(),
        refused: 2,
    };
    assert_eq!(rows[0], first);
    tokio::time::advance(HALF * 2).await;
    assert_eq!(sketches.refused_users(Instant::now()), []);
}
