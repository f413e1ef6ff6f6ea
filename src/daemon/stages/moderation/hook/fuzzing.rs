//! The fuzz target of the answers of a review hook.

use super::answer::Answer;
use crate::protocol::events::Decision;

/// The body of an answer. What is used of it is within bounds, and a failure quotes none of it.
pub fn hook_answer(data: &[u8]) {
    let answer = match Answer::decode(data) {
        Ok(answer) => answer,
        Err(failure) => return assert_eq!(failure.reason(), "bad_answer"),
    };
    assert_eq!(Answer::decode(data).expect("it was read before"), answer);
    let Answer { decision, reason, score } = answer;
    let word = |reason: &String| reason.len() <= 32 && reason.is_ascii() && !reason.is_empty();
    assert!(reason.iter().all(word), "{reason:?}");
    assert!(score.is_none_or(|score| (0.0..=1.0).contains(&score)), "{score:?}");
    let name = format!("\"{}\"", decision.as_str());
    let known: Decision = serde_json::from_str(&name).expect("a decision has a name");
    assert_eq!(known, decision);
}
