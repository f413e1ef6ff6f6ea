//! The Moderation view.

use super::*;
use crate::protocol::admin::{ModerationDecision, Offender, ReviewEvidence};
use crate::protocol::events::Decision;

fn by_models(number: u64) -> ReviewEvidence {
    let toxicity = 0.5 + number as f64 / 100.0;
    ReviewEvidence {
        stage: Some("models".to_owned()),
        score: Some(toxicity),
        scores: [("spam".to_owned(), 0.02), ("toxicity".to_owned(), toxicity)].into(),
        model: Some("3".to_owned()),
    }
}

fn reviewing() -> Console {
    let mut console = at(fed(samples::healthy), Place::View(View::Moderation));
    let now = console.now_ms();
    let item = |number: u64| {
        let held = comment(number, &format!("new_user{number}"), "is this allowed?");
        ReviewItem {
            comment_id: held.comment_id,
            stream_id: StreamId(7),
            user_id: held.user_id,
            name: held.name.to_string(),
            message: held.message.to_string(),
            reason: "toxicity".into(),
            flagged_at: now - number * 7_000,
            held: number.is_multiple_of(2),
            shadowed: number == 3,
            badges: Default::default(),
            parent_id: None,
            evidence: if number.is_multiple_of(4) {
                ReviewEvidence::default()
            } else {
                by_models(number)
            },
            // The claim on the fourth has run out.
            claimed_by: (2..=5).contains(&number).then(|| {
                let name = if number == 5 { "ann (uid 1000)" } else { "bob (uid 1001)" };
                name.to_owned()
            }),
            claim_expires_at: Some(if number == 4 { now } else { now + 41_000 }),
            claimed_by_you: number == 5,
            alike: 16,
        }
    };
    console.side.reviews = (1..=17).map(item).collect();
    let decided = |number: u64| ModerationDecision {
        comment_id: comment(100 + number, "", "").comment_id,
        stream_id: StreamId(7),
        user_id: UserId(4_700 + number),
        name: Some(format!("user_{number}")),
        message: Some("cheap followers at …".to_owned()),
        decision: if number == 2 { Decision::Accept } else { Decision::Reject },
        reason: "link".to_owned(),
        decided_by: if number.is_multiple_of(2) { "bob (uid 1001)" } else { "rules" }.to_owned(),
        by_person: number.is_multiple_of(2),
        in_bulk: false,
        decided_at: now - number * 5_000,
        stage: None,
        score: None,
        scores: Default::default(),
        model: None,
    };
    console.side.decisions = (1..=12).map(decided).collect();
    let offender = |number: u64| Offender {
        user_id: UserId(4_700 + number),
        name: Some(format!("user_{number}")),
        removed: 10 - number,
        reason: "link".to_owned(),
        last_at: now - number * 60_000,
    };
    console.side.offenders = (1..=3).map(offender).collect();
    console
}

#[test]
fn moderation_with_seventeen_to_review() {
    insta::assert_snapshot!(screens(&reviewing()));
}

#[test]
fn a_long_queue_takes_the_rows_left_blank() {
    let mut console = reviewing();
    let item = console.side.reviews[0].clone();
    console.side.reviews = (1..=22)
        .map(|number| {
            let comment_id = comment(number, "", "").comment_id;
            ReviewItem { comment_id, message: format!("message {number}."), ..item.clone() }
        })
        .collect();
    console.side.decisions.truncate(2);
    let shown = screen(&console, SIZES[2]);
    assert!(shown.contains("message 22.") && !shown.contains(" more"), "{shown}");
    assert!(shown.contains("decided 2") && shown.contains("user_3"), "{shown}");
    console.side.decisions.clear();
    console.side.offenders.clear();
    let shown = screen(&console, SIZES[2]);
    assert!(shown.contains("decided 0") && shown.contains("none"), "{shown}");
}

#[test]
fn a_long_queue_is_counted_in_the_overview() {
    let feed = (0..=60).map(samples::healthy).map(|mut snapshot| {
        snapshot.moderation.queued = 1_234;
        snapshot
    });
    let shown = screen(&console(feed), SIZES[2]);
    assert!(shown.contains("1.2k to review"), "{shown}");
}

#[test]
fn who_holds_what_is_seen_at_every_size() {
    let mut console = reviewing();
    for size in SIZES {
        let shown = screen(&console, size);
        assert!(shown.contains("to review 17 · oldest 1:59"), "{shown}");
        // The narrowest has no room for the whole title.
        let whole = size.0 < 80 || shown.contains("oldest 1:59 · you hold 1, bob 2");
        assert!(whole && shown.contains("‖ bob: i"), "{shown}");
    }
    for panel in ["decided 12", "offenders, 1 h: 3"] {
        press(&mut console, KeyCode::Tab.into());
        let shown = screen(&console, SIZES[0]);
        assert!(shown.contains(panel), "{shown}");
    }
    console.veiled = true;
    for size in SIZES {
        let shown = screen(&console, size);
        for secret in ["user_1", "new_user", "followers", "allowed"] {
            assert!(!shown.contains(secret), "{secret}: {shown}");
        }
    }
}

#[test]
fn scores_of_a_comment_to_review_are_seen() {
    let mut console = reviewing();
    console.table_mut(Panel::Reviews).selected = None;
    for size in [SIZES[1], SIZES[2], SIZES[3]] {
        let shown = screen(&console, size);
        for part in ["models", "0.51", "toxicity 0.51, spam 0.02", "held", "hidden"] {
            assert!(shown.contains(part), "{part} at {size:?}: {shown}");
        }
    }
}

#[test]
fn figures_of_moderation_stand_beside_the_hour() {
    let console = at(fed(samples::healthy), Place::View(View::Moderation));
    for size in [SIZES[1], SIZES[3]] {
        let shown = screen(&console, size);
        assert!(shown.contains("k/min  flagged 1.2 % (0.20 % before)  rejected"), "{shown}");
        assert!(shown.contains(" behind ") && shown.contains(" comments"), "{shown}");
    }
    assert!(screen(&console, SIZES[3]).contains("131/min  models"));
}
