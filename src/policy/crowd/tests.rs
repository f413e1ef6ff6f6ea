use proptest::prelude::*;

use super::*;
use crate::policy::reputation::Thresholds;

const RULES: CrowdRules = CrowdRules { most_raised: 0.1 };
const TOXICITY: Thresholds = Thresholds { flag: 0.5, reject: 0.7 };

fn comment(user: u64, at_ms: u64, is_loud: bool, is_high: bool) -> CrowdComment {
    CrowdComment { user_id: UserId(user), at_ms, is_loud, is_high }
}

/// Ten minutes of ordinary chat: 20 comments a second, one of twenty loud, one of a hundred high.
fn calm() -> (CrowdMood, u64) {
    let mut mood = CrowdMood::default();
    let mut at_ms = 0;
    for number in 0..12_000_u64 {
        at_ms = number * 50;
        mood.add(&comment(number % 700, at_ms, number % 20 == 0, number % 100 == 0));
    }
    (mood, at_ms)
}

/// Returns whether a comment with this score is flagged.
fn is_flagged(mood: &CrowdMood, comment: &CrowdComment, score: f32) -> bool {
    score >= TOXICITY.shifted(0.0, mood.raised(comment, &RULES) as f32).flag
}

#[test]
fn a_crowd_that_shouts_is_not_flagged() {
    let (mut mood, goal_ms) = calm();
    let first = comment(9_999, goal_ms, true, true);
    assert!(is_flagged(&mood, &first, 0.55), "the stream is calm");
    for number in 0..400_u64 {
        mood.add(&comment(1_000 + number, goal_ms + number * 10, number % 5 != 0, number % 3 == 0));
    }
    let shout = comment(9_999, goal_ms + 4_000, true, true);
    assert!(!is_flagged(&mood, &shout, 0.58));
    let calm_insult = comment(9_999, goal_ms + 4_000, false, true);
    assert!(is_flagged(&mood, &calm_insult, 0.58), "it is raised by half as much at most");
    let later = comment(9_999, goal_ms + 60_000, true, true);
    assert!(is_flagged(&mood, &later, 0.55), "the goal is a minute ago");
}

#[test]
fn an_abuser_in_a_calm_stream_is_flagged() {
    let (mut mood, start_ms) = calm();
    for number in 0..200 {
        let shout = comment(5 + number % 5, start_ms + number * 100, true, true);
        assert!(is_flagged(&mood, &shout, 0.5), "comment {number}");
        mood.add(&shout);
    }
}

#[test]
fn a_raid_lets_no_insult_pass() {
    let (mut mood, start_ms) = calm();
    let mut highest: f64 = 0.0;
    for number in 0..6_000_u64 {
        let insult = comment(10_000 + number, start_ms + number * 20, true, true);
        let raised = mood.raised(&insult, &RULES);
        highest = highest.max(raised);
        let shifted = TOXICITY.shifted(0.0, raised as f32);
        assert!(shifted.flag <= 0.6 + 1e-6 && shifted.reject == 0.7);
        mood.add(&insult);
    }
    assert!(highest > 0.09, "the bound is what holds: {highest}");
}

#[test]
fn a_long_raid_in_calm_letters_becomes_usual() {
    let (mut mood, start_ms) = calm();
    let mut at_first: f64 = 0.0;
    let mut last = 0.0;
    for number in 0..60_000_u64 {
        let insult = comment(10_000 + number, start_ms + number * 20, false, number % 2 == 0);
        last = mood.raised(&insult, &RULES);
        at_first = at_first.max(last);
        mood.add(&insult);
    }
    assert!((0.04..=0.05).contains(&at_first), "half of the most: {at_first}");
    assert_eq!(last, 0.0, "after 20 minutes");
}

#[test]
fn a_stream_that_always_shouts_is_calm() {
    let mut mood = CrowdMood::default();
    let mut last = 0.0;
    for number in 0..12_000_u64 {
        let shout = comment(number % 700, number * 50, true, false);
        last = mood.raised(&shout, &RULES);
        mood.add(&shout);
    }
    assert_eq!(last, 0.0, "after ten minutes");
}

#[test]
fn a_long_raid_in_capitals_becomes_usual() {
    let (mut mood, start_ms) = calm();
    let mut at_first: f64 = 0.0;
    let mut last = 0.0;
    for number in 0..60_000_u64 {
        let insult = comment(10_000 + number, start_ms + number * 20, true, number % 2 == 0);
        last = mood.raised(&insult, &RULES);
        at_first = at_first.max(last);
        mood.add(&insult);
    }
    assert!(at_first > 0.09, "{at_first}");
    assert_eq!(last, 0.0, "after 20 minutes");
}

#[test]
fn shouting_is_capitals_or_stretched_letters() {
    for loud in ["GOOOAL", "LETS GO Team", "nooooo", "what!!!!", "ТЫ ГДЕ", "😂😂😂😂"]
    {
        assert!(is_loud(loud), "{loud}");
    }
    for calm in ["lol", "GG", "OK", "Nice goal, USA", "that was 10000", "so... well", "", "東京"]
    {
        assert!(!is_loud(calm), "{calm}");
    }
}

#[test]
fn runs_may_be_longer_in_a_crowd() {
    assert_eq!(allowed_run(20, 0.0), 20);
    assert_eq!(allowed_run(20, 0.1), 40);
    assert_eq!(allowed_run(20, 5.0), 40);
}

proptest! {
    #[test]
    fn the_most_is_never_passed(
        comments in proptest::collection::vec(
            (0..50_u64, 0..2_000_u64, any::<bool>(), any::<bool>()), 0..300),
        most_raised in 0.0..0.3,
    ) {
        let mut mood = CrowdMood::default();
        let mut at_ms = 0;
        for (user, pause_ms, is_loud, is_high) in comments {
            at_ms += pause_ms;
            let comment = comment(user, at_ms, is_loud, is_high);
            let rules = CrowdRules { most_raised };
            let raised = mood.raised(&comment, &rules);
            prop_assert!((0.0..=most_raised).contains(&raised));
            let calm = mood.raised(&CrowdComment { is_loud: false, ..comment }, &rules);
            prop_assert!(calm <= raised && calm <= most_raised / 2.0 + 1e-12);
            mood.add(&comment);
        }
    }

    #[test]
    fn few_users_never_are_a_crowd(
        comments in proptest::collection::vec((0..5_u64, 0..500_u64), 0..400),
    ) {
        let mut mood = CrowdMood::default();
        let mut at_ms = 0;
        for (user, pause_ms) in comments {
            at_ms += pause_ms;
            let shout = comment(user, at_ms, true, true);
            prop_assert_eq!(mood.raised(&shout, &RULES), 0.0);
            mood.add(&shout);
        }
    }
}
