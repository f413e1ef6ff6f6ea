use proptest::prelude::*;
use serde_json::json;

use super::*;

fn time() -> impl Strategy<Value = Option<u64>> {
    proptest::option::of(10_000_u64..3_600_000)
}

pub(crate) fn rules() -> impl Strategy<Value = RoomRules> {
    (time(), time(), any::<bool>(), any::<bool>(), time(), any::<bool>()).prop_map(
        |(slow_ms, followers_ms, subscribers_only, emotes_only, unique_ms, no_links)| RoomRules {
            slow_ms,
            followers_ms,
            subscribers_only,
            emotes_only,
            unique_ms,
            no_links,
        },
    )
}

fn languages() -> impl Strategy<Value = Option<LanguagePolicy>> {
    let some = proptest::sample::subsequence(Language::ALL.to_vec(), 1..5);
    let policy = |allowed| LanguagePolicy { allowed, action: LanguageAction::Reject };
    proptest::option::of(some.prop_map(policy))
}

fn settings() -> impl Strategy<Value = RoomSettings> {
    let timeouts = proptest::collection::vec(1_000_u64..9_000, 0..3);
    let delay = proptest::option::of(1_000_u64..30_000);
    (rules(), any::<bool>(), timeouts, languages(), delay).prop_map(
        |(rules, shield, mut timeouts_ms, languages, delay_ms)| {
            timeouts_ms.sort_unstable();
            timeouts_ms.dedup();
            let of_rules = RoomSettings { rules, shield, timeouts_ms, ..RoomSettings::default() };
            RoomSettings { languages, delay_ms, ..of_rules }
        },
    )
}

/// A patch that names each field or leaves it out.
fn patch() -> impl Strategy<Value = RoomPatch> {
    (settings(), any::<[bool; 10]>()).prop_map(|(settings, named)| {
        let rules = settings.rules;
        RoomPatch {
            slow_ms: named[0].then_some(rules.slow_ms),
            followers_ms: named[1].then_some(rules.followers_ms),
            subscribers_only: named[2].then_some(rules.subscribers_only),
            emotes_only: named[3].then_some(rules.emotes_only),
            unique_ms: named[4].then_some(rules.unique_ms),
            no_links: named[5].then_some(rules.no_links),
            shield: named[6].then_some(settings.shield),
            timeouts_ms: named[7].then_some(settings.timeouts_ms),
            languages: named[8].then_some(settings.languages),
            delay_ms: named[9].then_some(settings.delay_ms),
            ..RoomPatch::default()
        }
    })
}

fn patched(before: &RoomSettings, patch: RoomPatch) -> RoomSettings {
    let mut after = before.clone();
    after.apply(patch);
    after
}

proptest! {
    #[test]
    fn a_patch_can_be_taken_back(before in settings(), patch in patch()) {
        let back = patch.back_to(&before);
        let after = patched(&before, patch);
        prop_assert_eq!(patched(&after, back), before);
    }

    #[test]
    fn json_carries_settings_and_patches(settings in settings(), patch in patch()) {
        let text = serde_json::to_string(&settings).unwrap();
        prop_assert_eq!(serde_json::from_str::<RoomSettings>(&text).unwrap(), settings);
        let text = serde_json::to_string(&patch).unwrap();
        prop_assert_eq!(&serde_json::from_str::<RoomPatch>(&text).unwrap(), &patch);
        prop_assert_eq!(patch.check().is_ok(), patch != RoomPatch::default());
    }

    #[test]
    fn shield_mode_loosens_no_rule(settings in settings()) {
        let shielded = RoomSettings { shield: true, ..settings.clone() }.in_force();
        prop_assert_eq!(shielded.stricter(settings.rules), shielded);
        prop_assert_eq!(shielded.stricter(SHIELD), shielded);
        let open = RoomSettings { shield: false, ..settings.clone() };
        prop_assert_eq!(open.in_force(), settings.rules);
    }
}

#[test]
fn null_ends_a_rule_and_absence_keeps_it() {
    let read = |value| serde_json::from_value::<RoomPatch>(value);
    let slow = RoomSettings {
        rules: RoomRules { slow_ms: Some(30_000), ..RoomRules::default() },
        ..RoomSettings::default()
    };
    let kept = patched(&slow, read(json!({ "no_links": true })).unwrap());
    assert_eq!((kept.rules.slow_ms, kept.rules.no_links), (Some(30_000), true));
    let ended = patched(&kept, read(json!({ "slow_ms": null })).unwrap());
    assert_eq!((ended.rules.slow_ms, ended.rules.no_links), (None, true));
    assert!(read(json!({ "slow": 5 })).is_err(), "a misspelt field is an error");
    assert_eq!(serde_json::to_value(RoomSettings::default()).unwrap(), json!({ "rules": {} }));
}

#[test]
fn times_out_of_range_are_named() {
    for (patch, field) in [
        (json!({}), "patch"),
        (json!({ "slow_ms": 999 }), "slow_ms"),
        (json!({ "slow_ms": 3_600_001 }), "slow_ms"),
        (json!({ "followers_ms": 91_u64 * 86_400_000 }), "followers_ms"),
        (json!({ "unique_ms": 9_999 }), "unique_ms"),
        (json!({ "timeouts_ms": [60_000, 60_000] }), "timeouts_ms"),
        (json!({ "timeouts_ms": [1] }), "timeouts_ms"),
        (json!({ "languages": { "allowed": [] } }), "languages"),
        (json!({ "delay_ms": 30_001 }), "delay_ms"),
        (json!({ "timeouts_ms": [1_000, 2_000, 3_000, 4_000, 5_000, 6_000, 7_000] }), {
            "timeouts_ms"
        }),
    ] {
        let patch: RoomPatch = serde_json::from_value(patch).unwrap();
        assert_eq!(patch.check().unwrap_err().field, field, "{patch:?}");
    }
    let patch: RoomPatch = serde_json::from_value(json!({ "followers_ms": 0 })).unwrap();
    assert_eq!(patch.check(), Ok(()));
}

#[test]
fn rules_and_changes_read_as_sentences() {
    let shield = RoomSettings { shield: true, ..RoomSettings::default() };
    let texts = shield.in_force().texts();
    assert_eq!(texts, ["slow mode 30s", "no text twice in 10m", "no links"]);
    let patch = RoomPatch {
        slow_ms: Some(None),
        followers_ms: Some(Some(600_000)),
        timeouts_ms: Some(vec![60_000, 600_000]),
        ..RoomPatch::default()
    };
    let texts = patch.texts();
    assert_eq!(texts, ["slow mode is off", "followers of 10m only", "timeouts are 1m, 10m"]);
}

/// Patches that name one setting each, by its name.
fn patches_of_one_setting() -> Vec<(String, RoomPatch)> {
    let all = json!({
        "slow_ms": 1_000,
        "followers_ms": 0,
        "subscribers_only": true,
        "emotes_only": true,
        "unique_ms": 10_000,
        "no_links": true,
        "shield": true,
        "timeouts_ms": [1_000],
        "checks": { "down": "hold" },
        "languages": null,
        "delay_ms": 1_000,
    });
    let patch: RoomPatch = serde_json::from_value(all.clone()).unwrap();
    assert_eq!(serde_json::to_value(patch).unwrap(), all);
    let all: serde_json::Map<String, serde_json::Value> = serde_json::from_value(all).unwrap();
    let one = |(name, value): (String, serde_json::Value)| {
        let patch = serde_json::from_value(json!({ &name: value })).unwrap();
        (name, patch)
    };
    all.into_iter().map(one).collect()
}

#[test]
fn only_patches_of_the_same_setting_overlap() {
    let patches = patches_of_one_setting();
    for (name, patch) in &patches {
        assert_eq!(patch.texts().len(), 1, "{name}");
        for (other_name, other) in &patches {
            assert_eq!(patch.overlaps(other), name == other_name, "{name}, {other_name}");
        }
    }
}

#[test]
fn an_empty_patch_is_told_all_settings() {
    let problem = RoomPatch::default().check().unwrap_err().problem;
    for (name, _) in patches_of_one_setting() {
        assert!(problem.contains(&name), "{name}: {problem}");
    }
}

#[test]
fn words_change_each_setting() {
    let written = words::RULES.iter().map(|rule| {
        let patch = RoomPatch::of_words(rule.name, &["off"]).unwrap();
        serde_json::to_value(patch).unwrap().as_object().unwrap().keys().next().cloned().unwrap()
    });
    let written: std::collections::BTreeSet<_> = written.collect();
    for (name, _) in patches_of_one_setting() {
        // Options change those.
        assert_eq!(written.contains(&name), name != "checks", "{name}");
    }
}
