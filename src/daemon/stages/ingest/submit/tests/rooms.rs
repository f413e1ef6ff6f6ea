//! Comments under the rules of their rooms.

use super::*;
use crate::daemon::engines::metadata::MetadataStore as _;
use crate::daemon::engines::metadata::conformance::audit;
use crate::daemon::engines::reservations::ClaimKey;
use crate::protocol::room::RoomRules;

const ANN: UserId = UserId(7);
const BOB: UserId = UserId(8);
const SLOW: RoomRules = RoomRules {
    slow_ms: Some(30_000),
    followers_ms: None,
    subscribers_only: false,
    emotes_only: false,
    unique_ms: None,
    no_links: false,
};

impl Stage {
    async fn set_rules(&self, rules: RoomRules) {
        for (stream_id, mode) in [(LIVE, ModerationMode::Async), (SCREENED, ModerationMode::Sync)] {
            let mut changed = stream(stream_id.0, mode);
            changed.room.rules = rules;
            self.store.put_stream(changed);
        }
        self.streams.reload().await.unwrap();
    }

    /// Lifts the shadow on [`SHADOWED`].
    async fn end_shadow(&self) {
        let entry = audit(1, "unshadow");
        self.store.lift_shadows(SHADOWED, &[Some(LIVE)], entry).await.unwrap();
        self.sanctions.reload().await.unwrap();
    }

    /// Sends a comment. Returns the code and the wait of a refusal.
    async fn say(&mut self, user_id: UserId, text: &str) -> Result<(), (ErrorCode, Option<u64>)> {
        self.say_as(user_id, Role::Viewer, text).await
    }

    async fn say_as(
        &mut self,
        user_id: UserId,
        role: Role,
        text: &str,
    ) -> Result<(), (ErrorCode, Option<u64>)> {
        let mut comment = submission(LIVE, text, None);
        comment.identity = identity(user_id, role);
        self.send(vec![comment]).await;
        let outcome = self.replies.recv().await.unwrap().outcome;
        outcome.map(drop).map_err(|error| (error.code, error.retry_after_ms))
    }
}

/// Claims over nodes, each held by the first comment.
#[derive(Debug, Default, Clone)]
struct FirstClaimWins {
    held: Arc<parking_lot::Mutex<AHashMap<(ClaimKey, u64), CommentId>>>,
    /// The id that each comment with a ref has on another node.
    elsewhere: Option<CommentId>,
}

#[async_trait]
impl Reservations for FirstClaimWins {
    async fn reserve(&self, proposals: Vec<Proposal>) -> Vec<Reserved> {
        let reserved = |proposal: Proposal| Reserved {
            comment_id: self.elsewhere.unwrap_or(proposal.comment_id),
            certain: true,
        };
        proposals.into_iter().map(reserved).collect()
    }

    async fn claim(&self, claims: Vec<Claim>) -> Vec<Claimed> {
        let mut held = self.held.lock();
        let claim = |Claim { key, also_met, comment_id, for_ms }| {
            let holder = *held.entry((key, for_ms)).or_insert(comment_id);
            let other = also_met.and_then(|key| held.get(&(key, for_ms)).copied());
            let is_free = holder == comment_id && other.is_none_or(|other| other == comment_id);
            if is_free { Claimed::Free } else { Claimed::Taken { wait_ms: 12_000 } }
        };
        claims.into_iter().map(claim).collect()
    }

    async fn release(&self, claims: Vec<Claim>) {
        let mut held = self.held.lock();
        for Claim { key, also_met: _, comment_id, for_ms } in claims {
            if held.get(&(key, for_ms)) == Some(&comment_id) {
                held.remove(&(key, for_ms));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn slow_mode_tells_the_wait_and_exempts_moderators() {
    let mut stage = Stage::start().await;
    stage.set_rules(SLOW).await;
    stage.say(ANN, "one").await.unwrap();
    stage.say(BOB, "two").await.unwrap();
    tokio::time::advance(Duration::from_secs(12)).await;
    let refused = stage.say(ANN, "three").await.unwrap_err();
    assert_eq!(refused, (ErrorCode::SlowMode, Some(18_000)));
    for text in ["four", "five"] {
        stage.say_as(UserId(9), Role::Moderator, text).await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(18)).await;
    stage.say(ANN, "six").await.unwrap();
    assert!(stage.say(ANN, "seven").await.is_err());
    stage.set_rules(RoomRules::default()).await;
    stage.say(ANN, "eight").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_refused_comment_takes_no_turn() {
    let mut stage = Stage::start().await;
    stage.set_rules(SLOW).await;
    assert_eq!(stage.say(ANN, "").await.unwrap_err().0, ErrorCode::CommentEmpty);
    let refused = stage.ask(submission(SCREENED, "bad", None)).await;
    assert_eq!(refused, Err(ErrorCode::ModerationRejected));
    stage.ask(submission(SCREENED, "good", None)).await.unwrap();
    stage.log.fail_appends_with(down());
    assert_eq!(stage.say(ANN, "lost").await.unwrap_err().0, ErrorCode::LogUnavailable);
    stage.log.fail_appends_with(None);
    stage.say(ANN, "again").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_rule_of_the_text_has_its_code() {
    let mut stage = Stage::start().await;
    let open = RoomRules::default();
    stage.set_rules(RoomRules { emotes_only: true, ..open }).await;
    stage.say(ANN, "\u{1F525} :kappa:").await.unwrap();
    assert_eq!(stage.say(ANN, "words").await, Err((ErrorCode::EmotesOnly, None)));
    stage.set_rules(RoomRules { no_links: true, ..open }).await;
    stage.say(ANN, "words").await.unwrap();
    assert_eq!(stage.say(ANN, "http://x.y").await, Err((ErrorCode::LinksRefused, None)));
    stage.set_rules(RoomRules { unique_ms: Some(60_000), ..open }).await;
    stage.say(ANN, "hello there").await.unwrap();
    let again = stage.say(BOB, "Hello, THERE!").await;
    assert_eq!(again, Err((ErrorCode::SaidBefore, Some(60_000))));
    tokio::time::advance(Duration::from_secs(60)).await;
    stage.say(BOB, "hello there").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn claims_of_the_token_open_closed_rooms() {
    let mut stage = Stage::start().await;
    let now_ms = 1_700_000_000;
    let rules = RoomRules { followers_ms: Some(600_000), ..RoomRules::default() };
    stage.set_rules(rules).await;
    let with = |standing| {
        let mut comment = submission(LIVE, "hi", None);
        let known = Identity { standing, ..(*comment.identity).clone() };
        comment.identity = Arc::new(known);
        comment
    };
    let follower = |since_ms| Standing {
        subscriber: false,
        follower_since: Some(since_ms),
        account_created: None,
    };
    let subscriber = Standing { subscriber: true, follower_since: None, account_created: None };
    let refused = Err(ErrorCode::FollowersOnly);
    assert_eq!(stage.ask(with(Standing::default())).await, refused);
    assert_eq!(stage.ask(with(follower(now_ms - 1_000))).await, refused);
    stage.ask(with(follower(now_ms - 600_000))).await.unwrap();
    stage.ask(with(subscriber)).await.unwrap();
    stage.set_rules(RoomRules { subscribers_only: true, ..RoomRules::default() }).await;
    let refused = stage.ask(with(follower(1))).await;
    assert_eq!(refused, Err(ErrorCode::SubscribersOnly));
    stage.ask(with(subscriber)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn rules_hold_over_the_comments_of_all_nodes() {
    let claims = FirstClaimWins::default();
    let shared = || Some(Arc::new(claims.clone()) as SharedReservations);
    let mut first = Stage::start_with(InMemoryLog::new(), shared()).await;
    let mut second = Stage::start_with(InMemoryLog::new(), shared()).await;
    let rules = RoomRules { unique_ms: Some(60_000), ..SLOW };
    for stage in [&first, &second] {
        stage.set_rules(rules).await;
    }
    first.say(ANN, "one").await.unwrap();
    let refused = second.say(ANN, "two").await.unwrap_err();
    assert_eq!(refused, (ErrorCode::SlowMode, Some(12_000)));
    assert_eq!(second.say(ANN, "two").await.unwrap_err(), refused, "known here now");
    assert_eq!(second.say(BOB, "ONE").await.unwrap_err().0, ErrorCode::SaidBefore);
    second.say(BOB, "two").await.expect("what was refused took neither turn nor text");
    let both: Vec<_> = [first.stored().await, second.stored().await].concat();
    let texts: Vec<_> = both.iter().map(|event| &*event.comment.message).collect();
    assert_eq!(texts, ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn a_hidden_text_may_be_said_by_others() {
    let claims = FirstClaimWins::default();
    let shared = || Some(Arc::new(claims.clone()) as SharedReservations);
    let mut first = Stage::start_with(InMemoryLog::new(), shared()).await;
    let mut second = Stage::start_with(InMemoryLog::new(), shared()).await;
    for stage in [&first, &second] {
        stage.set_rules(RoomRules { unique_ms: Some(60_000), ..RoomRules::default() }).await;
    }
    first.say(SHADOWED, "gg").await.unwrap();
    for stage in [&mut first, &mut second] {
        assert_eq!(stage.say(SHADOWED, "gg").await.unwrap_err().0, ErrorCode::SaidBefore);
    }
    second.say(BOB, "gg").await.unwrap();
    assert_eq!(first.say(ANN, "gg").await.unwrap_err().0, ErrorCode::SaidBefore, "Bob said it");

    let troll = |user_id| {
        let identity = identity(user_id, Role::Viewer);
        Submission { identity, ..submission(SCREENED, "troll", None) }
    };
    first.ask(troll(ANN)).await.unwrap();
    assert_eq!(first.ask(troll(ANN)).await, Err(ErrorCode::SaidBefore));
    second.ask(troll(BOB)).await.expect("moderation has hidden the other");
}

/// A text that was said on one node is refused on another, whether or not the comment would be
/// hidden.
#[tokio::test(start_paused = true)]
async fn a_shadowed_author_is_told_what_others_are() {
    let claims = FirstClaimWins::default();
    let shared = || Some(Arc::new(claims.clone()) as SharedReservations);
    let mut first = Stage::start_with(InMemoryLog::new(), shared()).await;
    let mut second = Stage::start_with(InMemoryLog::new(), shared()).await;
    for stage in [&first, &second] {
        stage.set_rules(RoomRules { unique_ms: Some(60_000), ..RoomRules::default() }).await;
    }
    first.say(BOB, "gg").await.unwrap();
    let told = second.say(SHADOWED, "gg").await;
    assert_eq!(told, Err((ErrorCode::SaidBefore, Some(12_000))));
    assert_eq!(second.say(ANN, "gg").await, told);
    assert_eq!(claims.held.lock().len(), 1, "what was refused holds nothing");

    // The shadow ends, and what was hidden is still said for its author.
    first.say(SHADOWED, "wp").await.unwrap();
    second.end_shadow().await;
    assert_eq!(second.say(SHADOWED, "wp").await, told);
    second.say(ANN, "wp").await.expect("nobody else was shown it");
}

#[tokio::test(start_paused = true)]
async fn a_claim_of_a_lost_comment_is_released() {
    let claims = FirstClaimWins::default();
    let shared = || Some(Arc::new(claims.clone()) as SharedReservations);
    let mut first = Stage::start_with(InMemoryLog::new(), shared()).await;
    let mut second = Stage::start_with(InMemoryLog::new(), shared()).await;
    first.set_rules(SLOW).await;
    second.set_rules(SLOW).await;
    first.log.fail_appends_with(down());
    assert_eq!(first.say(ANN, "lost").await.unwrap_err().0, ErrorCode::LogUnavailable);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(claims.held.lock().len(), 0);
    second.say(ANN, "here").await.unwrap();
}

/// Two stages with slow mode. The comments with a ref of the second have another id elsewhere.
async fn stages_with_a_renamed_comment() -> [Stage; 2] {
    let claims = FirstClaimWins::default();
    let elsewhere = Some(CommentId::from_unix_ticks(17_000_000_000_000_000, 3, [3; 6]));
    let renaming = FirstClaimWins { elsewhere, ..claims.clone() };
    let first = Stage::start_with(InMemoryLog::new(), Some(Arc::new(claims))).await;
    let second = Stage::start_with(InMemoryLog::new(), Some(Arc::new(renaming))).await;
    first.set_rules(SLOW).await;
    second.set_rules(SLOW).await;
    [first, second]
}

#[tokio::test(start_paused = true)]
async fn a_refused_ref_with_another_id_may_be_sent_again() {
    let [mut first, mut second] = stages_with_a_renamed_comment().await;
    first.say(ANN, "one").await.unwrap();
    let send = || submission(LIVE, "two", Some("r"));
    second.send(vec![send(), send()]).await;
    assert_eq!(second.outcome().await, Err(ErrorCode::SlowMode));
    assert_eq!(second.outcome().await, Err(ErrorCode::SlowMode), "the repeat in its batch");
    assert_eq!(second.ask(send()).await, Err(ErrorCode::SlowMode));
}

#[tokio::test(start_paused = true)]
async fn a_lost_comment_with_another_id_frees_its_turn() {
    let [_, mut second] = stages_with_a_renamed_comment().await;
    second.log.fail_appends_with(down());
    let lost = second.ask(submission(LIVE, "lost", Some("r"))).await;
    assert_eq!(lost, Err(ErrorCode::LogUnavailable));
    second.log.fail_appends_with(None);
    second.say(ANN, "again").await.unwrap();
}
