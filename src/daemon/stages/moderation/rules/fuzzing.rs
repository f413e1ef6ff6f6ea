//! The fuzz targets of the rules: lists of blocked words, and links.

use super::fold::Reading;
use super::links::AllowedHosts;
use super::{RulesStage, seller};
use crate::daemon::base::config::RulesConfig;
use crate::daemon::stages::moderation::pipeline::Subject;
use crate::fuzzing::scratch::Scratch;
use crate::protocol::events::Decision;
use crate::protocol::{Comment, CommentId, Role, StreamId, UserId};

/// Longer comments are refused before moderation.
const MAX_COMMENT_CHARS: usize = 500;

/// A file of blocked words, and behind the first zero byte a comment.
pub fn word_list(data: &[u8]) {
    let mut parts = data.splitn(2, |byte| *byte == 0);
    let [list, comment] = [(); 2].map(|()| parts.next().unwrap_or_default());
    let list = String::from_utf8_lossy(list);
    let scratch = Scratch::new();
    let file = scratch.write("words.txt", list.as_bytes());
    let config = RulesConfig { blocked_words_file: Some(file), ..RulesConfig::default() };
    let Ok(stage) = RulesStage::new(&config) else { return };
    let comment: String =
        String::from_utf8_lossy(comment).chars().take(MAX_COMMENT_CHARS).collect();
    let found = is_blocked(&stage, &comment);
    assert_eq!(is_blocked(&stage, &comment), found, "the same text is judged alike");
    for word in list.lines().filter(|line| is_plain_word(line)) {
        assert!(is_blocked(&stage, word), "{word} is listed and passes");
        assert!(is_blocked(&stage, &format!("so {word} then")), "{word} passes within a text");
        assert!(is_blocked(&stage, &word.to_uppercase()), "{word} passes in capitals");
    }
    let none = scratch.write("none.txt", b"# none\n\n");
    let config = RulesConfig { blocked_words_file: Some(none), ..RulesConfig::default() };
    let stage = RulesStage::new(&config).expect("an empty list is a list");
    assert!(!is_blocked(&stage, &comment), "an empty list blocks nothing");
}

/// A word of which no reading is in doubt.
fn is_plain_word(line: &str) -> bool {
    (4..=20).contains(&line.len()) && line.bytes().all(|byte| byte.is_ascii_lowercase())
}

fn is_blocked(stage: &RulesStage, message: &str) -> bool {
    let comment = Comment {
        stream_id: StreamId(1),
        comment_id: CommentId::from_unix_ticks(17_000_000_000_000_000, 1, [1; 6]),
        user_id: UserId(1),
        name: "ann".into(),
        message: message.into(),
        created_at: 1_700_000_000_000,
        badges: Default::default(),
        parent_id: None,
    };
    let finding = stage.judge(&Subject {
        comment: &comment,
        role: Some(Role::Viewer),
        lowered: 0.0,
        raised: 0.0,
        deadline: None,
    });
    finding.decision == Decision::Reject && finding.reason == super::reason::BLOCKED_WORD
}

/// A comment that may have links.
pub fn link_rule(data: &[u8]) {
    let text: String = String::from_utf8_lossy(data).chars().take(MAX_COMMENT_CHARS).collect();
    let none = AllowedHosts::new(&[]);
    let found = none.first_forbidden(&text);
    let offer = seller::find_offer(&Reading::new(&text), &none);
    assert_ne!(offer.as_deref(), Some(""));
    assert_ne!(found.as_deref(), Some(""));
    // An address that cannot be read is not allowed, whatever is listed.
    if let Some(host) = found.as_ref().filter(|host| url::Host::parse(host).is_ok()) {
        let allowing = AllowedHosts::new(std::slice::from_ref(host));
        assert_ne!(allowing.first_forbidden(&text).as_ref(), Some(host), "it is allowed");
    }
    for planted in [
        format!("{text} https://evil.example.net/x"),
        format!("https://evil.example.net/x {text}"),
        format!("{text} evil-host.com {text}"),
    ] {
        assert!(none.first_forbidden(&planted).is_some(), "{planted:?} has a link");
    }
    let allowing = AllowedHosts::new(&["example.org".to_owned()]);
    if found.is_none() {
        // No bracketed dot joins these words with the address.
        let with_allowed = format!("{text} | https://example.org/ | {text}");
        assert_eq!(allowing.first_forbidden(&with_allowed), None, "{with_allowed:?}");
    }
}
