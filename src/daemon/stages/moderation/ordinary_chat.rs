//! The promise about ordinary chat: all stages as they ship, rules and model for both tasks, delete
//! or flag hardly a line of it.

use super::samples::comment;
use super::{Subject, build_pipeline};
use crate::classifier::samples::read_samples;
use crate::daemon::base::config::ModerationConfig;
use crate::daemon::base::status::StatusBoard;
use crate::protocol::Role;
use crate::protocol::events::Decision;

/// Recorded chats, whole. docs/models.md has the shares of the parts that the model never saw.
const CHATS: [(&str, &[u8]); 2] = [
    (
        "northernlion_fallguys",
        include_bytes!("../../../../fixtures/chat/chat_open_northernlion_fallguys.jsonl.gz"),
    ),
    (
        "chatdownloader_examples",
        include_bytes!("../../../../fixtures/chat/chat_open_chatdownloader_examples.jsonl.gz"),
    ),
];
/// Share of a chat that may be flagged or deleted.
const MOST: f64 = 0.015;

#[tokio::test]
async fn ordinary_chat_is_hardly_touched() {
    let config = ModerationConfig::default();
    let pipeline = build_pipeline(&config, &StatusBoard::default(), None).unwrap();
    for (name, chat) in CHATS {
        let lines = read_samples(chat).unwrap();
        let mut touched = Vec::new();
        for (line, user) in lines.iter().zip(1..) {
            let comment = comment(1, user, &line.text);
            let role = Some(Role::Viewer);
            let subject =
                Subject { comment: &comment, role, lowered: 0.0, raised: 0.0, deadline: None };
            let finding = pipeline.check(&subject).await.finding;
            if finding.decision != Decision::Accept {
                touched.push((finding.reason, line.text.as_str()));
            }
        }
        assert!(
            touched.len() as f64 <= MOST * lines.len() as f64,
            "{name}: {} of {} lines: {touched:?}",
            touched.len(),
            lines.len()
        );
    }
}
