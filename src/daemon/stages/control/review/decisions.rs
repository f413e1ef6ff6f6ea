//! Decisions of moderation and of moderators, and the users whose comments are removed most.
//!
//! Decisions on items of the review queue come from the metadata store, all others from
//! `moderation_events`. The latest of both are kept in memory and read when somebody asks, at most
//! once per [`READ_INTERVAL`], however many ask. When full, the oldest are forgotten. A read
//! takes the newest records of each partition, [`MAX_REMOVALS`] altogether: what came in a long
//! time without a question, beyond that, is not known. A deletion that was taken back is neither
//! listed nor counted; the audit log has both. To train on, a restored comment is listed as
//! accepted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::daemon::engines::eventlog::pages::pages;
use crate::daemon::engines::eventlog::{LogError, SharedLog, Topic};
use crate::daemon::engines::metadata::DecidedReview;
use crate::daemon::stages::control::{Control, ControlError, ControlParts};
use crate::protocol::admin::{EXPIRED, ModerationDecision, Offender, ReviewEvidence, names_person};
use crate::protocol::events::{CommentModerated, CommentRestored, Decision, Event};
use crate::protocol::{CommentId, UserId};

/// The log and the store are read at most this often.
const READ_INTERVAL: Duration = Duration::from_secs(1);
/// Decisions that are kept with their texts.
const MAX_DECISIONS: usize = 2_000;
/// Removals that are kept, to count them by user.
const MAX_REMOVALS: usize = 20_000;
/// Decided items of the review queue that are kept.
const MAX_REVIEWS: usize = 1_000;
/// Comments whose deletion was taken back that are kept, the latest.
const MAX_RESTORED: usize = 2_000;
/// Offenders are counted over this time.
const HOUR_MS: u64 = 3_600_000;

/// The latest decisions.
#[derive(Debug, Default)]
pub(crate) struct RecentDecisions {
    /// Locked while the log and the store are read, so that they are read once.
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    read_at: Option<Instant>,
    /// By partition, the offset to read next.
    next: BTreeMap<u32, u64>,
    /// Oldest first.
    decisions: VecDeque<CommentModerated>,
    /// Oldest first.
    removals: VecDeque<Removal>,
    /// When the deletion of a comment was taken back, oldest first.
    restored: VecDeque<(CommentId, u64)>,
    /// The comments whose deletion was taken back and whose texts are known, as accepted by the
    /// person who did that, oldest first. Those that were deleted in bulk are left out: nobody has
    /// looked at each of them.
    accepted: VecDeque<CommentModerated>,
    /// Newest first.
    reviews: Vec<DecidedReview>,
}

/// A comment that was removed.
#[derive(Debug, Clone)]
struct Removal {
    comment_id: CommentId,
    user_id: UserId,
    name: Option<Arc<str>>,
    reason: Arc<str>,
    at: u64,
}

/// The new records of one partition.
struct ReadOn {
    partition: u32,
    next: u64,
    events: Vec<ModerationEvent>,
}

enum ModerationEvent {
    Decided(CommentModerated),
    Restored(CommentRestored),
}

impl ModerationEvent {
    fn at(&self) -> u64 {
        match self {
            Self::Decided(decided) => decided.timestamp,
            Self::Restored(restored) => restored.timestamp,
        }
    }
}

impl Kept {
    /// Adds the decisions that were made since the last time. After an error nothing has changed.
    async fn read_on(&mut self, parts: &ControlParts) -> Result<(), ControlError> {
        if self.read_at.is_some_and(|at| at.elapsed() < READ_INTERVAL) {
            return Ok(());
        }
        let log = &parts.log;
        let reviews = parts.metadata.decided_reviews(None, MAX_REVIEWS).await?;
        let partitions = log.partitions(Topic::ModerationEvents);
        let most_each = (MAX_REMOVALS as u64).div_ceil(u64::from(partitions.max(1)));
        let read = (0..partitions).map(|partition| {
            let from = self.next.get(&partition).copied().unwrap_or(0);
            read_partition(log, partition, from, most_each)
        });
        let read = try_join_all(read).await?;
        let mut new = Vec::new();
        for ReadOn { partition, next, events } in read {
            self.next.insert(partition, next);
            new.extend(events);
        }
        // A user has one partition, so a deletion stays before what takes it back.
        new.sort_by_key(ModerationEvent::at);
        for event in new {
            match event {
                ModerationEvent::Decided(decided) => self.add(decided),
                ModerationEvent::Restored(restored) => self.take_back(&restored),
            }
        }
        self.reviews = reviews;
        self.read_at = Some(Instant::now());
        Ok(())
    }

    fn add(&mut self, decided: CommentModerated) {
        // A flagged comment is decided by a person; until then it is in the review queue.
        if decided.decision == Decision::Flag {
            return;
        }
        if decided.decision.deletes() {
            if self.removals.len() == MAX_REMOVALS {
                self.removals.pop_front();
            }
            self.removals.push_back(Removal {
                comment_id: decided.comment_id,
                user_id: decided.user_id,
                name: decided.text.as_ref().map(|text| text.name.clone()),
                reason: decided.reason.clone(),
                at: decided.timestamp,
            });
        }
        if self.decisions.len() == MAX_DECISIONS {
            self.decisions.pop_front();
        }
        self.decisions.push_back(decided);
    }

    fn take_back(&mut self, restored: &CommentRestored) {
        let CommentRestored { comment_id, timestamp: at, stays_hidden, .. } = *restored;
        let stands = |decision| stays_hidden && decision == Decision::ShadowBan;
        let is_taken_back = |event: &CommentModerated| {
            event.comment_id == comment_id && event.decision.deletes() && !stands(event.decision)
        };
        let first = self.decisions.iter().find(|event| is_taken_back(event));
        let accepted = first.filter(|event| !event.in_bulk).map(|event| CommentModerated {
            decision: Decision::Accept,
            decided_by: restored.restored_by.clone(),
            timestamp: at,
            ..event.clone()
        });
        self.decisions.retain(|event| !is_taken_back(event));
        // One that is still hidden from others is still removed.
        if stays_hidden {
            return;
        }
        if let Some(accepted) = accepted {
            if self.accepted.len() == MAX_RESTORED {
                self.accepted.pop_front();
            }
            self.accepted.push_back(accepted);
        }
        self.removals.retain(|removal| removal.comment_id != comment_id);
        if self.restored.len() == MAX_RESTORED {
            self.restored.pop_front();
        }
        self.restored.push_back((comment_id, at));
    }

    /// Returns whether the decision on an item of the review queue still counts.
    fn counts(&self, review: &DecidedReview) -> bool {
        let DecidedReview { item, verdict } = review;
        let is_later = |(comment_id, at): &(CommentId, u64)| {
            *comment_id == item.comment_id && *at >= verdict.at
        };
        !verdict.decision.deletes() || !self.restored.iter().any(is_later)
    }
}

/// Reads the events of a partition from an offset on, and of these only the newest.
async fn read_partition(
    log: &SharedLog,
    partition: u32,
    from: u64,
    most: u64,
) -> Result<ReadOn, LogError> {
    let topic = Topic::ModerationEvents;
    let bounds = log.bounds(topic, partition).await?;
    let start = from.max(bounds.earliest).max(bounds.end.saturating_sub(most));
    let mut new = Vec::new();
    let mut pages = pin!(pages(log, topic, partition, start..bounds.end));
    while let Some(page) = pages.try_next().await? {
        let events = page.records.iter().map(|record| Event::decode(&record.payload));
        // A record that is no event is skipped: nothing here depends on a single one.
        new.extend(events.filter_map(|event| match event {
            Ok(Event::CommentModerated(decided)) => Some(ModerationEvent::Decided(decided)),
            Ok(Event::CommentRestored(restored)) => Some(ModerationEvent::Restored(restored)),
            Ok(Event::CommentSubmitted(_)) | Err(_) => None,
        }));
    }
    Ok(ReadOn { partition, next: bounds.end, events: new })
}

impl Control {
    /// Returns at most `limit` decisions made before a time (milliseconds since the Unix epoch), or
    /// the latest, newest first; of the latest, at most 1,000. Of those that no person made, the
    /// latest 2,000 are known.
    pub async fn decisions(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ModerationDecision>, ControlError> {
        self.listed_decisions(before, limit, false).await
    }

    /// Returns the same to train on: with the comments whose deletion was taken back, of which the
    /// latest 2,000 are known, as accepted.
    pub async fn decisions_for_training(
        &self,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ModerationDecision>, ControlError> {
        self.listed_decisions(before, limit, true).await
    }

    async fn listed_decisions(
        &self,
        before: Option<u64>,
        limit: usize,
        with_restored: bool,
    ) -> Result<Vec<ModerationDecision>, ControlError> {
        let earlier_reviews = match before {
            Some(_) => Some(self.parts.metadata.decided_reviews(before, limit).await?),
            None => None,
        };
        let mut kept = self.recent.kept.lock().await;
        kept.read_on(&self.parts).await?;
        let latest = || kept.reviews.iter().take(limit).cloned().collect();
        let mut reviews: Vec<_> = earlier_reviews.unwrap_or_else(latest);
        reviews.retain(|review| kept.counts(review));
        let mut decisions: Vec<_> = reviews.into_iter().map(of_review).collect();
        // A decision on a comment that was shown is in the log as well; an event that was appended
        // twice is there twice.
        let mut known: HashSet<_> =
            decisions.iter().map(|decided| (decided.comment_id, decided.decision)).collect();
        let earlier = |event: &&CommentModerated| before.is_none_or(|end| event.timestamp < end);
        let newest_first = kept.decisions.iter().rev().filter(earlier);
        let new = newest_first.filter(|event| known.insert((event.comment_id, event.decision)));
        decisions.extend(new.take(limit).map(of_event));
        if with_restored {
            let newest_first = kept.accepted.iter().rev().filter(earlier);
            decisions.extend(newest_first.take(limit).map(of_event));
        }
        drop(kept);
        decisions.sort_by_key(|one| Reverse((one.decided_at, one.comment_id.sort_key())));
        decisions.truncate(limit);
        Ok(decisions)
    }

    /// Returns at most `limit` users whose comments were removed in the last hour, most first. Of
    /// the removals, the latest 20,000 are counted.
    pub async fn offenders(&self, limit: usize) -> Result<Vec<Offender>, ControlError> {
        let since = self.parts.clock.now_ms().saturating_sub(HOUR_MS);
        let mut kept = self.recent.kept.lock().await;
        kept.read_on(&self.parts).await?;
        let mut counted = HashSet::new();
        let mut users: BTreeMap<UserId, Offender> = BTreeMap::new();
        let mut count = |removal: Removal| {
            if removal.at < since || !counted.insert(removal.comment_id) {
                return;
            }
            let offender = users.entry(removal.user_id).or_insert_with(|| Offender {
                user_id: removal.user_id,
                name: None,
                removed: 0,
                reason: String::new(),
                last_at: 0,
            });
            offender.removed += 1;
            if removal.at >= offender.last_at {
                offender.last_at = removal.at;
                offender.reason = removal.reason.as_ref().to_owned();
                offender.name = removal.name.as_deref().map(str::to_owned);
            }
        };
        let counted_reviews = kept.reviews.iter().filter(|review| kept.counts(review));
        counted_reviews.filter_map(removal_of).for_each(&mut count);
        kept.removals.iter().cloned().for_each(&mut count);
        drop(kept);
        let mut offenders: Vec<_> = users.into_values().collect();
        offenders.sort_by_key(|user| (Reverse((user.removed, user.last_at)), user.user_id));
        offenders.truncate(limit);
        Ok(offenders)
    }
}

fn of_review(review: DecidedReview) -> ModerationDecision {
    let reason = review.reason().to_owned();
    let DecidedReview { item, verdict } = review;
    let ReviewEvidence { stage, score, scores, model } = item.evidence;
    ModerationDecision {
        comment_id: item.comment_id,
        stream_id: item.stream_id,
        user_id: item.user_id,
        name: Some(item.name),
        message: Some(item.message),
        decision: verdict.decision,
        reason,
        by_person: names_person(&verdict.by),
        in_bulk: false,
        decided_by: verdict.by,
        decided_at: verdict.at,
        stage,
        score,
        scores,
        model,
    }
}

fn of_event(event: &CommentModerated) -> ModerationDecision {
    let text = event.text.as_ref();
    let evidence = text.and_then(|text| text.evidence.as_ref());
    let ReviewEvidence { stage, score, scores, model } =
        evidence.map(ReviewEvidence::from).unwrap_or_default();
    ModerationDecision {
        comment_id: event.comment_id,
        stream_id: event.stream_id,
        user_id: event.user_id,
        name: text.map(|text| text.name.as_ref().to_owned()),
        message: text.map(|text| text.message.as_ref().to_owned()),
        decision: event.decision,
        reason: event.reason.as_ref().to_owned(),
        decided_by: event.decided_by.as_ref().to_owned(),
        by_person: names_person(&event.decided_by),
        in_bulk: event.in_bulk,
        decided_at: event.timestamp,
        stage,
        score,
        scores,
        model,
    }
}

/// Returns the removal of an item of the review queue, if it was rejected. That nobody looked at it
/// in time is no offence.
fn removal_of(review: &DecidedReview) -> Option<Removal> {
    let DecidedReview { item, verdict } = review;
    let has_expired = review.reason() == EXPIRED && !names_person(&verdict.by);
    (verdict.decision.deletes() && !has_expired).then(|| Removal {
        comment_id: item.comment_id,
        user_id: item.user_id,
        name: Some(item.name.as_str().into()),
        reason: review.reason().into(),
        at: verdict.at,
    })
}
