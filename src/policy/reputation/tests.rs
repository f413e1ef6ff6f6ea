use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const HALF_LIFE_MS: u64 = 7 * 24 * 3_600_000;

const RULES: ReputationRules = ReputationRules {
    half_life_ms: HALF_LIFE_MS,
    most_lowered: 0.2,
    new_account_ms: 3 * 24 * 3_600_000,
    new_account_lowered: 0.05,
};

fn count(cause: &str, points: f64, at: u64) -> PointChange {
    let amount = PointAmount::Exactly(points);
    PointChange { cause: cause.to_owned(), amount, text: None, at, replaces: false }
}

fn replace(cause: &str, points: f64, at: u64) -> PointChange {
    PointChange { replaces: true, ..count(cause, points, at) }
}

/// A user with the causes that were counted, as a store keeps them.
#[derive(Debug, Default)]
struct User {
    reputation: Reputation,
    causes: BTreeMap<String, CountedCause>,
}

impl User {
    fn change(&mut self, change: &PointChange) {
        let before = self.causes.get(&change.cause);
        if let Some(counted) = self.reputation.change(before, change, HALF_LIFE_MS) {
            self.causes.insert(change.cause.clone(), counted);
        }
    }

    fn points(&self, now_ms: u64) -> f64 {
        self.reputation.points_at(now_ms, HALF_LIFE_MS)
    }
}

#[test]
fn points_halve_in_each_half_life() {
    let mut user = User::default();
    user.change(&count("a", 4.0, 1_000));
    assert_eq!(user.points(1_000), 4.0);
    assert!((user.points(1_000 + HALF_LIFE_MS) - 2.0).abs() < 1e-9);
    assert!((user.points(1_000 + 3 * HALF_LIFE_MS) - 0.5).abs() < 1e-9);
    assert_eq!(user.points(1_000 + 7 * HALF_LIFE_MS), 0.0, "the rest is negligible");
    assert_eq!(user.points(500), 4.0, "a clock that is behind changes nothing");
}

#[test]
fn a_cause_counts_once() {
    let mut user = User::default();
    user.change(&count("a", 1.0, 1_000));
    user.change(&count("a", 1.0, 2_000));
    assert_eq!(user.causes.len(), 1);
    assert!((user.points(2_000) - 1.0).abs() < 1e-5);
    user.change(&replace("a", 0.0, 3_000));
    assert_eq!(user.points(3_000), 0.0);
    user.change(&count("a", 1.0, 4_000));
    assert_eq!(user.points(4_000), 0.0, "a comment that is read again after the undo");
    user.change(&replace("a", 1.0, 5_000));
    assert_eq!(user.points(5_000), 1.0, "a person decides again");
}

#[test]
fn a_second_removal_costs_no_less() {
    let mut user = User::default();
    user.change(&count("a", Offence::RemovedAgain.points(), 0));
    user.change(&replace("a", Offence::Removed.points(), 0));
    assert_eq!(user.points(0), 1.5, "a person deletes what a stage had hidden");
    user.change(&replace("a", Offence::Removed.points(), HALF_LIFE_MS));
    assert_eq!(user.points(HALF_LIFE_MS), 1.0, "0.75 were left");
    user.change(&replace("a", APPROVAL, HALF_LIFE_MS));
    assert_eq!(user.points(HALF_LIFE_MS), 0.0);
}

#[test]
fn forgiving_is_taken_back_exactly() {
    let mut user = User::default();
    user.change(&count("a", 5.0, 0));
    let forgiven = PointAmount::Forgiven;
    user.change(&PointChange { amount: forgiven, ..replace("entry 7", 0.0, HALF_LIFE_MS) });
    assert_eq!((user.points(HALF_LIFE_MS), user.reputation.since), (0.0, None));
    user.change(&count("b", 1.0, HALF_LIFE_MS));
    user.change(&replace("entry 7", 0.0, 2 * HALF_LIFE_MS));
    assert!((user.points(2 * HALF_LIFE_MS) - (1.25 + 0.5)).abs() < 1e-9);
}

#[test]
fn approvals_make_up_for_removals() {
    let mut user = User::default();
    user.change(&replace("a", APPROVAL, 0));
    assert_eq!(user.points(0), 0.0, "nobody gets a stock of good will");
    user.change(&count("b", Offence::Removed.points(), 0));
    user.change(&replace("c", APPROVAL, 0));
    user.change(&replace("d", APPROVAL, 0));
    assert_eq!(user.points(0), 0.0);
}

#[test]
fn points_have_a_beginning() {
    let mut user = User::default();
    user.change(&count("a", 1.0, 1_000));
    user.change(&count("b", 1.0, 2_000));
    assert_eq!(user.reputation.since, Some(1_000));
    user.change(&count("c", 1.0, 20 * HALF_LIFE_MS));
    assert_eq!(user.reputation.since, Some(20 * HALF_LIFE_MS), "what was before is forgotten");
}

#[test]
fn removed_texts_are_recognized_until_restored() {
    let mut user = User::default();
    let removed = |cause: &str, text: &str| {
        let text = text_key(text);
        PointChange { text, ..count(cause, 1.0, 0) }
    };
    user.change(&removed("a", "cheap followers here"));
    user.change(&removed("b", "lol"));
    assert!(user.reputation.repeats("CHEAP followers, here!!"));
    assert!(!user.reputation.repeats("lol") && !user.reputation.repeats("cheap follower"));
    user.change(&replace("a", 0.0, 0));
    assert!(!user.reputation.repeats("cheap followers here"), "it was no offence");
    for number in 0..20 {
        user.change(&removed(&format!("{number}"), &format!("removed text {number}")));
    }
    assert_eq!(user.reputation.texts.len(), MAX_TEXTS);
}

#[test]
fn new_accounts_lower_less_each_hour() {
    let day = 24 * 3_600_000;
    let by_age = |age_ms| RULES.shift(0.0, Some(age_ms)).lowered();
    assert_eq!(by_age(0), 0.05);
    assert!((by_age(day) - 0.05 * 2.0 / 3.0).abs() < 1e-9);
    assert_eq!((by_age(3 * day), RULES.shift(0.0, None).lowered()), (0.0, 0.0));
    let at_the_most = RULES.shift(MAX_POINTS, Some(0));
    assert!(at_the_most.lowered() <= RULES.most_lowered);
}

#[test]
fn a_crowd_raises_only_the_flag_threshold() {
    let toxicity = Thresholds { flag: 0.5, reject: 0.7 };
    assert_eq!(toxicity.shifted(0.0, 0.0), toxicity);
    assert_eq!(toxicity.shifted(0.125, 0.0), Thresholds { flag: 0.375, reject: 0.575 });
    let raised = toxicity.shifted(0.0, 0.1);
    assert!((raised.flag - 0.6).abs() < 1e-6 && raised.reject == 0.7);
    assert_eq!(toxicity.shifted(0.0, 0.9), Thresholds { flag: 0.7, reject: 0.7 });
    assert_eq!(toxicity.shifted(0.9, 0.0), Thresholds { flag: 0.0, reject: 0.0 });
    let both = toxicity.shifted(0.25, 0.125);
    assert_eq!(both.flag, 0.375);
    assert_eq!(both.reject, toxicity.shifted(0.25, 0.0).reject, "as in a calm stream");
}

/// A change at most a day after the one before, of one of few causes.
fn changes() -> impl Strategy<Value = Vec<PointChange>> {
    let amount = prop_oneof![
        4 => (-1.0..8.0).prop_map(PointAmount::Exactly),
        1 => Just(PointAmount::Forgiven),
    ];
    let change = (0..6_u8, amount, 0..86_400_000_u64, any::<bool>());
    proptest::collection::vec(change, 0..40).prop_map(|changes| {
        let mut at = 0;
        let mut made = Vec::new();
        for (cause, amount, pause, replaces) in changes {
            at += pause;
            let cause = cause.to_string();
            made.push(PointChange { cause, amount, text: None, at, replaces });
        }
        made
    })
}

proptest! {
    #[test]
    fn points_are_the_sum_of_their_causes(changes in changes()) {
        let mut user = User::default();
        for change in &changes {
            user.change(&PointChange { replaces: false, ..change.clone() });
        }
        let now_ms = user.reputation.at;
        let left = |cause: &CountedCause| decayed(cause.points, now_ms - cause.at, HALF_LIFE_MS);
        let sum: f64 = user.causes.values().map(left).sum();
        prop_assert!((user.reputation.points - sum).abs() < 1e-6, "{user:?}");
    }

    #[test]
    fn points_stay_within_bounds(changes in changes()) {
        let mut user = User::default();
        for change in &changes {
            user.change(change);
            prop_assert!((0.0..=MAX_POINTS).contains(&user.reputation.points));
        }
        let before = user.reputation.clone();
        for change in changes.iter().filter(|change| user.causes.contains_key(&change.cause)) {
            let again = PointChange { replaces: false, ..change.clone() };
            let known = user.causes.get(&change.cause);
            prop_assert_eq!(user.reputation.change(known, &again, HALF_LIFE_MS), None);
        }
        prop_assert_eq!(&user.reputation, &before);
    }

    #[test]
    fn points_decay_to_none(changes in changes()) {
        let mut user = User::default();
        changes.iter().for_each(|change| user.change(change));
        let mut earlier = user.points(user.reputation.at);
        for half_lives in 1..=KEPT_HALF_LIVES {
            let later = user.points(user.reputation.at + half_lives * HALF_LIFE_MS);
            prop_assert!(later <= earlier);
            earlier = later;
        }
        prop_assert_eq!(earlier, 0.0);
        prop_assert_eq!(RULES.shift(earlier, None).lowered(), 0.0);
    }

    #[test]
    fn more_points_never_lower_less(
        points in 0.0..MAX_POINTS,
        more in 0.0..MAX_POINTS,
        age_ms in proptest::option::of(0..400_000_000_u64),
    ) {
        let less = RULES.shift(points, age_ms).lowered();
        let greater = RULES.shift(points + more, age_ms).lowered();
        prop_assert!(greater >= less - 1e-12);
        prop_assert!((0.0..=RULES.most_lowered + 1e-12).contains(&greater));
        prop_assert!(RULES.shift(points, Some(u64::MAX)).lowered() <= less + 1e-12);
    }

    #[test]
    fn a_shifted_flag_is_never_above_the_rejection(
        lowered in 0.0_f32..1.0,
        raised in 0.0_f32..1.0,
    ) {
        let toxicity = Thresholds { flag: 0.5, reject: 0.7 };
        let shifted = toxicity.shifted(lowered, raised);
        prop_assert!(shifted.flag <= shifted.reject + 1e-6 && shifted.reject <= 0.7);
        prop_assert_eq!(shifted.reject, toxicity.shifted(lowered, 0.0).reject);
    }
}
