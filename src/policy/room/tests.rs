use proptest::prelude::*;

use super::*;
use crate::protocol::room::tests::rules;

const NOW_MS: u64 = 1_700_000_000_000;

/// A comment without closures, so that it can be generated.
#[derive(Debug, Clone, Copy)]
struct Sample {
    role: Role,
    standing: Standing,
    since_last_ms: Option<u64>,
    since_said_ms: Option<u64>,
    is_emotes_only: bool,
    has_link: bool,
}

const PLAIN: Sample = Sample {
    role: Role::Viewer,
    standing: Standing { subscriber: false, follower_since: None, account_created: None },
    since_last_ms: None,
    since_said_ms: None,
    is_emotes_only: false,
    has_link: false,
};

fn judge_at(now_ms: u64, rules: &RoomRules, sample: &Sample) -> Result<(), RoomRefusal> {
    let text =
        TextFacts { is_emotes_only: &|| sample.is_emotes_only, has_link: &|| sample.has_link };
    let Sample { role, standing, since_last_ms, since_said_ms, .. } = *sample;
    check(rules, &RoomComment { role, standing, now_ms, since_last_ms, since_said_ms, text })
}

fn judge(rules: &RoomRules, sample: &Sample) -> Result<(), RoomRefusal> {
    judge_at(NOW_MS, rules, sample)
}

fn passed() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(0_u64..4_000_000)
}

fn sample() -> impl Strategy<Value = Sample> {
    let since = proptest::option::of(NOW_MS - 4_000_000..NOW_MS + 1_000);
    (any::<bool>(), since, passed(), passed(), any::<bool>(), any::<bool>()).prop_map(
        |(subscriber, follower_since, since_last_ms, since_said_ms, is_emotes_only, has_link)| {
            let standing = Standing { subscriber, follower_since, account_created: None };
            let role = Role::Viewer;
            Sample { role, standing, since_last_ms, since_said_ms, is_emotes_only, has_link }
        },
    )
}

proptest! {
    #[test]
    fn an_open_room_allows_every_comment(sample in sample()) {
        prop_assert_eq!(judge(&RoomRules::default(), &sample), Ok(()));
    }

    #[test]
    fn staff_is_exempt_from_all_rules(rules in rules(), sample in sample()) {
        for role in [Role::Moderator, Role::Broadcaster, Role::Admin] {
            prop_assert_eq!(judge(&rules, &Sample { role, ..sample }), Ok(()));
        }
    }

    /// A user who waits as told is not refused again.
    #[test]
    fn the_wait_that_is_told_suffices(rules in rules(), sample in sample()) {
        let Err(refusal) = judge(&rules, &sample) else { return Ok(()) };
        let Some(wait_ms) = refusal.wait_ms() else { return Ok(()) };
        prop_assert!(wait_ms > 0);
        let later = |passed: Option<u64>| passed.map(|ms| ms + wait_ms);
        let waited = Sample {
            since_last_ms: later(sample.since_last_ms),
            since_said_ms: later(sample.since_said_ms),
            ..sample
        };
        let again = judge_at(NOW_MS + wait_ms, &rules, &waited);
        prop_assert_eq!(again, Ok(()), "{:?}", refusal);
        // One millisecond less does not.
        let early = Sample {
            since_last_ms: sample.since_last_ms.map(|ms| ms + wait_ms - 1),
            since_said_ms: sample.since_said_ms.map(|ms| ms + wait_ms - 1),
            ..sample
        };
        let early = judge_at(NOW_MS + wait_ms - 1, &rules, &early);
        let same = |other: RoomRefusal| {
            std::mem::discriminant(&other) == std::mem::discriminant(&refusal)
        };
        prop_assert!(early.is_err_and(same), "{:?} {:?}", refusal, early);
    }

    /// A rule more never allows a comment that was refused.
    #[test]
    fn stricter_rules_allow_no_more(rules in rules(), sample in sample()) {
        let stricter = RoomRules { no_links: true, subscribers_only: true, ..rules };
        if judge(&rules, &sample).is_err() {
            prop_assert!(judge(&stricter, &sample).is_err());
        }
    }
}

#[test]
fn each_rule_refuses_with_its_name_and_wait() {
    let open = RoomRules::default();
    let cases = [
        (RoomRules { subscribers_only: true, ..open }, PLAIN, RoomRefusal::SubscribersOnly),
        (
            RoomRules { followers_ms: Some(0), ..open },
            PLAIN,
            RoomRefusal::FollowersOnly { wait_ms: None },
        ),
        (
            RoomRules { followers_ms: Some(600_000), ..open },
            Sample {
                standing: Standing {
                    subscriber: false,
                    follower_since: Some(NOW_MS - 200_000),
                    account_created: None,
                },
                ..PLAIN
            },
            RoomRefusal::FollowersOnly { wait_ms: Some(400_000) },
        ),
        (RoomRules { emotes_only: true, ..open }, PLAIN, RoomRefusal::EmotesOnly),
        (
            RoomRules { no_links: true, ..open },
            Sample { has_link: true, ..PLAIN },
            RoomRefusal::Links,
        ),
        (
            RoomRules { slow_ms: Some(30_000), ..open },
            Sample { since_last_ms: Some(12_000), ..PLAIN },
            RoomRefusal::Slow { wait_ms: 18_000 },
        ),
        (
            RoomRules { unique_ms: Some(60_000), ..open },
            Sample { since_said_ms: Some(1), ..PLAIN },
            RoomRefusal::SaidBefore { wait_ms: 59_999 },
        ),
    ];
    for (rules, sample, refusal) in cases {
        assert_eq!(judge(&rules, &sample), Err(refusal));
        assert_eq!(judge(&open, &sample), Ok(()));
    }
}

#[test]
fn subscribers_need_not_follow() {
    let rules =
        RoomRules { followers_ms: Some(600_000), subscribers_only: true, ..RoomRules::default() };
    let subscriber = Standing { subscriber: true, follower_since: None, account_created: None };
    assert_eq!(judge(&rules, &Sample { standing: subscriber, ..PLAIN }), Ok(()));
    let any_follower = RoomRules { followers_ms: Some(0), ..RoomRules::default() };
    let just_now =
        Standing { subscriber: false, follower_since: Some(NOW_MS + 5), account_created: None };
    assert_eq!(judge(&any_follower, &Sample { standing: just_now, ..PLAIN }), Ok(()));
}

#[test]
fn nobody_is_told_a_wait_that_does_not_help() {
    let rules = RoomRules {
        followers_ms: Some(600_000),
        slow_ms: Some(30_000),
        unique_ms: Some(60_000),
        no_links: true,
        ..RoomRules::default()
    };
    let standing = Standing { follower_since: Some(NOW_MS - 590_000), ..PLAIN.standing };
    let follower = Sample { standing, ..PLAIN };
    let with_link = Sample { has_link: true, ..follower };
    assert_eq!(judge(&rules, &with_link), Err(RoomRefusal::Links));
    let new = RoomRefusal::FollowersOnly { wait_ms: Some(10_000) };
    assert_eq!(judge(&rules, &follower), Err(new));
    let hasty = Sample { since_last_ms: Some(12_000), ..follower };
    assert_eq!(judge(&rules, &hasty), Err(RoomRefusal::Slow { wait_ms: 18_000 }));
    let repeating = Sample { since_said_ms: Some(12_000), ..hasty };
    assert_eq!(judge(&rules, &repeating), Err(RoomRefusal::SaidBefore { wait_ms: 48_000 }));
    let equal = Sample { since_said_ms: Some(42_000), ..hasty };
    assert_eq!(judge(&rules, &equal), Err(RoomRefusal::Slow { wait_ms: 18_000 }));
}
