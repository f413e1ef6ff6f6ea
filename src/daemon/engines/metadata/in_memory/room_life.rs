//! The life of rooms.

use super::*;

#[async_trait]
impl RoomLife for InMemoryMetadata {
    async fn set_pinned(
        &self,
        stream_id: StreamId,
        pinned: Option<Arc<PinnedComment>>,
        only: Option<Arc<PinnedComment>>,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        let mut tables = self.call("set_pinned")?;
        let mut stream = tables.known_stream(stream_id)?.clone();
        let audit = crate::daemon::engines::metadata::room_life::pin(
            &mut stream,
            pinned,
            only.as_deref(),
            audit,
        )?;
        *tables.known_stream(stream_id)? = stream.clone();
        Ok((tables.record(audit), stream))
    }

    async fn open_poll(
        &self,
        stream_id: StreamId,
        new: NewPoll,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        let mut tables = self.call("open_poll")?;
        let mut stream = tables.known_stream(stream_id)?.clone();
        let poll_id = tables.next_audit_id();
        let poll = new.open(&stream, poll_id, &audit)?;
        tables.polls.insert(poll_id, (stream_id, poll.clone()));
        stream.poll = Some(poll.into());
        *tables.known_stream(stream_id)? = stream.clone();
        Ok((tables.record(audit), stream))
    }

    async fn close_poll(
        &self,
        stream_id: StreamId,
        audit: NewAudit,
    ) -> Result<(u64, Stream), StoreError> {
        let mut tables = self.call("close_poll")?;
        let mut stream = tables.known_stream(stream_id)?.clone();
        let poll = closed(&stream, &audit)?;
        tables.polls.insert(poll.poll_id, (stream_id, poll.clone()));
        stream.poll = Some(poll.into());
        *tables.known_stream(stream_id)? = stream.clone();
        Ok((tables.record(audit), stream))
    }

    async fn count_votes(
        &self,
        poll_id: u64,
        votes: &[PollVote],
    ) -> Result<Vec<Option<u8>>, StoreError> {
        let mut tables = self.call("count_votes")?;
        let is_swept = tables.swept_votes.contains_key(&poll_id);
        let poll = tables.polls.get(&poll_id).filter(|_| !is_swept);
        let closes_at = poll.map_or(0, |(_, poll)| poll.closes_at);
        let counted = votes.iter().map(|vote| {
            let key = (poll_id, vote.user_id);
            if vote.at_ms < closes_at {
                tables.votes.entry(key).or_insert(vote.option);
            }
            tables.votes.get(&key).copied()
        });
        Ok(counted.collect())
    }

    async fn poll_votes(&self, polls: &[u64]) -> Result<Vec<PollVotes>, StoreError> {
        let tables = self.call("poll_votes")?;
        let of_poll = |poll_id: &u64| {
            let all = tables.votes.iter().filter(|((of, _), _)| of == poll_id);
            let mut by_option = add_up(all.map(|(_, option)| (usize::from(*option), 1)));
            let swept = tables.swept_votes.get(poll_id).into_iter().flatten();
            for (option, votes) in swept.enumerate() {
                by_option.resize(by_option.len().max(option + 1), 0);
                by_option[option] += votes;
            }
            PollVotes { poll_id: *poll_id, by_option }
        };
        let all = polls.iter().map(of_poll);
        Ok(all.filter(|votes| !votes.by_option.is_empty()).collect())
    }

    async fn polls(&self, stream_id: StreamId, limit: usize) -> Result<Vec<RoomPoll>, StoreError> {
        let tables = self.call("polls")?;
        let of_stream = tables.polls.values().rev().filter(|(of, _)| *of == stream_id);
        Ok(of_stream.take(limit).map(|(_, poll)| poll.clone()).collect())
    }

    async fn keep_message(
        &self,
        user_id: UserId,
        new: NewMessage,
        audit: Option<NewAudit>,
    ) -> Result<KeptIds, StoreError> {
        let mut tables = self.call("keep_message")?;
        tables.last_message += 1;
        let message_id = tables.last_message;
        let NewMessage { from, from_user, message, sent_at } = new;
        let all = tables.messages.entry(user_id).or_default();
        all.push(KeptMessage { message_id, from, from_user, message, sent_at });
        let is_user = from_user.is_some();
        keep_newest(all, MAX_KEPT_MESSAGES, |kept| kept.from_user.is_some() == is_user);
        if is_user {
            keep_newest(all, MAX_KEPT_OF_SENDER, |kept| kept.from_user == from_user);
        }
        let audit_id = audit.map(|audit| tables.record(audit));
        Ok(KeptIds { message_id, audit_id })
    }

    async fn kept_messages(
        &self,
        user_id: UserId,
        now_ms: u64,
    ) -> Result<Vec<KeptMessage>, StoreError> {
        let tables = self.call("kept_messages")?;
        let of_user = tables.messages.get(&user_id).into_iter().flatten();
        Ok(of_user.filter(|kept| is_kept(kept, now_ms)).cloned().collect())
    }

    async fn acknowledge_messages(&self, user_id: UserId, up_to: u64) -> Result<(), StoreError> {
        let mut tables = self.call("acknowledge_messages")?;
        if let Some(all) = tables.messages.get_mut(&user_id) {
            all.retain(|kept| kept.message_id > up_to);
        }
        Ok(())
    }

    async fn sweep(&self, now_ms: u64, limit: usize) -> Result<bool, StoreError> {
        let mut tables = self.call("sweep")?;
        let mut left = limit;
        for all in tables.messages.values_mut() {
            while left > 0 && all.first().is_some_and(|kept| !is_kept(kept, now_ms)) {
                all.remove(0);
                left -= 1;
            }
        }
        let closed_ms = now_ms.saturating_sub(SWEEP_AFTER_MS);
        let is_swept = |(poll_id, _): &&(u64, UserId)| {
            tables.polls.get(poll_id).is_some_and(|(_, poll)| poll.closes_at <= closed_ms)
        };
        let swept: Vec<_> = tables.votes.keys().filter(is_swept).take(limit).copied().collect();
        for key in &swept {
            let Some(option) = tables.votes.remove(key) else { continue };
            let votes = tables.swept_votes.entry(key.0).or_default();
            let option = usize::from(option);
            votes.resize(votes.len().max(option + 1), 0);
            votes[option] += 1;
        }
        Ok(left == 0 || swept.len() == limit)
    }
}
