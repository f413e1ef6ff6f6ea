//! The Moderation view.

use super::*;

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
