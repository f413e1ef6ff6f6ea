use super::*;
use crate::daemon::base::config::RulesConfig;
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::metadata::conformance::audit;
use crate::daemon::engines::metadata::in_memory::{InMemoryMetadata, stream};
use crate::daemon::stages::moderation::rules::{RulesStage, reason};
use crate::daemon::stages::moderation::samples::comment;
use crate::daemon::stages::moderation::{Stage as _, Subject};
use crate::protocol::Role;
use crate::protocol::room::{Language, LanguagePolicy};
use crate::protocol::stream::ModerationMode;

struct Bench {
    store: Arc<InMemoryMetadata>,
    streams: Streams,
    stage: RulesStage,
}

impl Bench {
    /// Streams 1 and 2; the whole site blocks `siteword`.
    async fn new() -> Self {
        let store = Arc::new(InMemoryMetadata::default());
        store.put_stream(stream(1, ModerationMode::Async));
        store.put_stream(stream(2, ModerationMode::Async));
        let streams = Streams::load(store.clone()).await.unwrap();
        let config = RulesConfig {
            blocked_words: vec!["siteword".into()],
            blocked_word_action: crate::daemon::base::config::RuleAction::Flag,
            ..RulesConfig::default()
        };
        let stage = RulesStage::new(&config).unwrap().with_rooms(streams.clone());
        Self { store, streams, stage }
    }

    async fn change(&self, add: &[(&str, TermAction)], remove: &[&str]) {
        let add =
            add.iter().map(|(term, action)| RoomTerm { term: (*term).to_owned(), action: *action });
        let remove = remove.iter().map(|term| (*term).to_owned()).collect();
        let patch = TermsPatch { add: add.collect(), remove };
        self.store.change_terms(StreamId(1), &patch, audit(1, "terms")).await.unwrap();
        self.streams.reload().await.unwrap();
    }

    async fn set_languages(&self, allowed: &[Language], action: LanguageAction) {
        let mut changed = stream(1, ModerationMode::Async);
        changed.room.languages = Some(LanguagePolicy { allowed: allowed.to_vec(), action });
        self.store.put_stream(changed);
        self.streams.reload().await.unwrap();
    }

    async fn check(&self, stream: u64, role: Role, text: &str) -> (Decision, &'static str) {
        let comment = comment(stream, 2, text);
        let subject = Subject {
            comment: &comment,
            role: Some(role),
            lowered: 0.0,
            raised: 0.0,
            deadline: None,
        };
        let finding = self.stage.check(&subject).await;
        let explained = self.stage.explain(&subject).await;
        assert_eq!(explained.finding, finding, "{text}");
        (finding.decision, finding.reason)
    }
}

const ACCEPTED: (Decision, &str) = (Decision::Accept, "");

#[tokio::test]
async fn terms_hold_in_their_room_alone() {
    let bench = Bench::new().await;
    let viewer = Role::Viewer;
    assert_eq!(bench.check(1, viewer, "spoiler").await, ACCEPTED);
    bench.change(&[("spoiler", TermAction::Reject), ("loser", TermAction::Flag)], &[]).await;
    let rejected = (Decision::Reject, reason::ROOM_TERM);
    assert_eq!(bench.check(1, viewer, "a sp0iler here").await, rejected);
    assert_eq!(bench.check(2, viewer, "a sp0iler here").await, ACCEPTED);
    assert_eq!(bench.check(1, Role::Moderator, "spoiler").await, ACCEPTED);
    let flagged = (Decision::Flag, reason::ROOM_TERM);
    assert_eq!(bench.check(1, viewer, "you loser").await, flagged);
    assert_eq!(bench.check(1, viewer, "loser spoiler").await, rejected, "the most severe");
    assert_eq!(bench.check(1, viewer, "siteword spoiler").await, rejected);
    let of_site = (Decision::Flag, reason::BLOCKED_WORD);
    assert_eq!(bench.check(1, viewer, "siteword").await, of_site);
    bench.change(&[("loser", TermAction::ShadowBan)], &["spoiler"]).await;
    assert_eq!(bench.check(1, viewer, "a sp0iler here").await, ACCEPTED);
    let hidden = (Decision::ShadowBan, reason::ROOM_TERM);
    assert_eq!(bench.check(1, viewer, "you loser").await, hidden);
}

#[tokio::test]
async fn terms_are_compiled_once_per_change() {
    let bench = Bench::new().await;
    let rules = RoomRulesOfText::new(bench.streams.clone(), Vec::new());
    bench.change(&[("spoiler", TermAction::Reject)], &[]).await;
    let lists = || {
        let terms = bench.streams.room_terms(StreamId(1)).unwrap();
        rules.lists(StreamId(1), terms)
    };
    let first = lists();
    bench.streams.reload().await.unwrap();
    assert!(Arc::ptr_eq(&first, &lists()));
    bench.change(&[("other", TermAction::Reject)], &[]).await;
    assert!(!Arc::ptr_eq(&first, &lists()));
    bench.change(&[], &["other", "spoiler"]).await;
    assert_eq!(bench.streams.room_terms(StreamId(1)), None);
}

#[tokio::test]
async fn a_foreign_language_gets_the_action_of_its_room() {
    let bench = Bench::new().await;
    let german = "das war heute wirklich ein sehr schönes Spiel von euch allen";
    let english = "that was a really beautiful game by all of you today";
    assert_eq!(bench.check(1, Role::Viewer, german).await, ACCEPTED);
    bench.set_languages(&[Language::En], LanguageAction::Flag).await;
    let flagged = (Decision::Flag, reason::LANGUAGE);
    assert_eq!(bench.check(1, Role::Viewer, german).await, flagged);
    assert_eq!(bench.check(2, Role::Viewer, german).await, ACCEPTED);
    for text in [english, "gut gemacht", "gg", "\u{1F525}", "hahaha PogChamp KEKW"] {
        assert_eq!(bench.check(1, Role::Viewer, text).await, ACCEPTED, "{text}");
    }
    bench.set_languages(&[Language::En], LanguageAction::Reject).await;
    let rejected = (Decision::Reject, reason::LANGUAGE);
    assert_eq!(bench.check(1, Role::Viewer, "привет всем").await, rejected);
    bench.set_languages(&[Language::De, Language::En], LanguageAction::Reject).await;
    assert_eq!(bench.check(1, Role::Viewer, german).await, ACCEPTED);
}

#[test]
fn a_term_that_cannot_be_matched_is_refused() {
    let patch = |term: &str| TermsPatch {
        add: vec![RoomTerm { term: term.to_owned(), action: TermAction::Reject }],
        remove: Vec::new(),
    };
    assert!(check_terms(&patch("word")).is_ok() && check_terms(&patch("\u{1F4A9}")).is_ok());
    assert_eq!(check_terms(&patch("***")), Err(BadWord("***".to_owned())));
}
