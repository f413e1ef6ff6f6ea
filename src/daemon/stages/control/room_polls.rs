//! Opens and closes polls, and lists their results. Votes are counted elsewhere: they are no
//! changes by operators.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::StoreError;
use crate::daemon::engines::metadata::NewPoll;
use crate::daemon::engines::registry::NodeCommand;
use crate::protocol::admin::{ClosePollRequest, OpenPollRequest, Outcome, audit_action};
use crate::protocol::quantity::show_duration;
use crate::protocol::room_poll::{
    LONGEST_POLL_MS, MAX_OPTION_CHARS, MAX_QUESTION_CHARS, OPTIONS, SHORTEST_POLL_MS,
};
use crate::protocol::stream::Stream;
use crate::protocol::{PollState, StreamId};

impl Control {
    /// Opens a poll on a stream. Viewers are told; it closes by itself.
    ///
    /// # Errors
    /// [`ControlError::PollOpen`] while one is open.
    pub async fn open_poll(
        &self,
        actor: &Actor,
        stream_id: StreamId,
        request: &OpenPollRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let new = checked(request)?;
        self.require_stream(stream_id).await?;
        let target = format!("stream {stream_id}");
        let entry = self.entry(actor, audit_action::OPEN_POLL, target, request);
        let opened = self.parts.metadata.open_poll(stream_id, new, entry).await;
        let (audit_id, stream) = opened.map_err(|error| match error {
            StoreError::Exists(_) => ControlError::PollOpen(stream_id),
            other => other.into(),
        })?;
        let results = self.command_all_nodes(NodeCommand::ReloadStream { stream_id }).await;
        Ok(poll_outcome(stream, outcome(audit_id, results, started)))
    }

    /// Closes the open poll of a stream before its time. Viewers are told.
    ///
    /// # Errors
    /// [`ControlError::NoPollOpen`].
    pub async fn close_poll(
        &self,
        actor: &Actor,
        stream_id: StreamId,
        request: &ClosePollRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        validate::operator_note(request.note.as_deref())?;
        self.require_stream(stream_id).await?;
        let target = format!("stream {stream_id}");
        let entry = self.entry(actor, audit_action::CLOSE_POLL, target, request);
        let closed = self.parts.metadata.close_poll(stream_id, entry).await;
        let (audit_id, stream) = closed.map_err(|error| match error {
            StoreError::NotFound(_) => ControlError::NoPollOpen(stream_id),
            other => other.into(),
        })?;
        let results = self.command_all_nodes(NodeCommand::ReloadStream { stream_id }).await;
        Ok(poll_outcome(stream, outcome(audit_id, results, started)))
    }

    /// Returns the latest polls of a stream with their votes, newest first. Concurrent callers
    /// share one read.
    pub async fn polls(
        &self,
        stream_id: StreamId,
        limit: usize,
    ) -> Result<Arc<[PollState]>, ControlError> {
        let read = || self.clone().read_polls(stream_id, limit);
        self.polls.join(PollsKey { stream_id, limit }, read).await
    }

    async fn read_polls(
        self,
        stream_id: StreamId,
        limit: usize,
    ) -> Result<Arc<[PollState]>, ControlError> {
        self.require_stream(stream_id).await?;
        let polls = self.parts.metadata.polls(stream_id, limit).await?;
        let ids: Vec<_> = polls.iter().map(|poll| poll.poll_id).collect();
        let votes = self.parts.metadata.poll_votes(&ids).await?;
        let now_ms = self.parts.clock.now_ms();
        let with_votes = polls.into_iter().map(|poll| {
            let of_poll = votes.iter().find(|votes| votes.poll_id == poll.poll_id);
            let votes = of_poll.map_or(&[][..], |votes| &votes.by_option[..]);
            PollState::at(poll, votes, now_ms)
        });
        Ok(with_votes.collect())
    }
}

/// Adds the stream whose poll was opened or closed, and that poll, which may be closed.
fn poll_outcome(stream: Stream, base: Outcome) -> Outcome {
    let poll_id = stream.poll.as_ref().map(|poll| poll.poll_id);
    Outcome { stream: Some(stream), poll_id, ..base }
}

/// A list of polls that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct PollsKey {
    stream_id: StreamId,
    limit: usize,
}

/// Checks a poll, and brings its texts into their normal form.
fn checked(request: &OpenPollRequest) -> Result<NewPoll, ControlError> {
    let OpenPollRequest { question, options, duration_ms, note } = request;
    validate::operator_note(note.as_deref())?;
    let question = validate::line("question", question, MAX_QUESTION_CHARS)?;
    if !OPTIONS.contains(&options.len()) {
        let problem = format!("must be {} to {} texts", OPTIONS.start(), OPTIONS.end());
        return Err(ControlError::Invalid { field: "options", problem });
    }
    let mut checked: Vec<Arc<str>> = Vec::with_capacity(options.len());
    for option in options {
        let option = validate::line("options", option, MAX_OPTION_CHARS)?;
        if checked.iter().any(|other| **other == *option) {
            let problem = "must be different texts".to_owned();
            return Err(ControlError::Invalid { field: "options", problem });
        }
        checked.push(option.into());
    }
    if !(SHORTEST_POLL_MS..=LONGEST_POLL_MS).contains(duration_ms) {
        let shortest = show_duration(SHORTEST_POLL_MS);
        let longest = show_duration(LONGEST_POLL_MS);
        let problem = format!("must be {shortest} to {longest}, not {duration_ms} ms");
        return Err(ControlError::Invalid { field: "duration_ms", problem });
    }
    Ok(NewPoll { question: question.into(), options: checked, duration_ms: *duration_ms })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::daemon::engines::metadata::{PollVote, RoomLife as _};
    use crate::daemon::stages::control::fakes::{STARTED_MS, World, operator};
    use crate::protocol::room::RoomPatch;
    use crate::protocol::stream::StreamPatch;
    use crate::protocol::{Role, UserId};

    const STREAM: StreamId = StreamId(1);

    fn request(question: &str, options: &[&str], duration_ms: u64) -> OpenPollRequest {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        OpenPollRequest { question: question.to_owned(), options, duration_ms, note: None }
    }

    #[tokio::test(start_paused = true)]
    async fn a_poll_closes_by_itself_and_keeps_its_votes() {
        let world = World::new().await;
        let new = request("<b>Who\u{200B} wins?</b>", &["red", " blue "], 60_000);
        let opened = world.control.open_poll(&operator(), STREAM, &new).await.unwrap();
        assert_eq!(opened.poll_id, Some(opened.audit_id));
        let lines = world.journal.lines();
        assert!(lines.iter().any(|line| line.starts_with("b: ReloadStream")), "{lines:?}");
        let again = world.control.open_poll(&operator(), STREAM, &new).await.unwrap_err();
        assert_eq!(again.body().code.as_str(), "poll_open");
        let vote = PollVote { user_id: UserId(42), option: 1, at_ms: STARTED_MS };
        world.metadata.count_votes(opened.poll_id.unwrap(), &[vote]).await.unwrap();
        let polls = async || world.control.polls(STREAM, 9).await.unwrap();
        let state = polls().await[0].clone();
        assert_eq!((&*state.poll.options[1], state.closed), ("blue", false));
        assert_eq!(state.votes, [0, 1]);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(polls().await[0].closed);
        let close = ClosePollRequest::default();
        let closed = world.control.close_poll(&operator(), STREAM, &close).await.unwrap_err();
        assert_eq!(closed.body().code.as_str(), "not_found");
        let opened = world.control.open_poll(&operator(), STREAM, &new).await.unwrap();
        let closed = world.control.close_poll(&operator(), STREAM, &close).await.unwrap();
        assert_eq!(closed.poll_id, opened.poll_id);
        assert!(polls().await.iter().all(|state| state.closed));
        assert_eq!(polls().await[1].votes, [0, 1], "results are kept");
    }

    #[tokio::test(start_paused = true)]
    async fn outcomes_show_a_poll_only_while_it_is_open() {
        let world = World::new().await;
        let shown = |outcome: Outcome| outcome.stream.unwrap().poll.map(|poll| poll.poll_id);
        let changed = async || {
            let slow = RoomPatch { slow_ms: Some(Some(5_000)), ..RoomPatch::default() };
            let room = world.control.update_room(&operator(), STREAM, &slow).await.unwrap();
            let title = StreamPatch { title: Some("cup".to_owned()), ..StreamPatch::default() };
            let stream = world.control.update_stream(&operator(), STREAM, &title).await.unwrap();
            [shown(room), shown(stream)]
        };
        let new = request("Who wins?", &["red", "blue"], 60_000);
        let opened = world.control.open_poll(&operator(), STREAM, &new).await.unwrap();
        let poll_id = opened.poll_id;
        assert_eq!((shown(opened), changed().await), (poll_id, [poll_id; 2]));
        let close = ClosePollRequest::default();
        let closed = world.control.close_poll(&operator(), STREAM, &close).await.unwrap();
        assert_eq!((shown(closed), changed().await), (poll_id, [None; 2]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_bad_poll_is_refused_by_its_field() {
        let world = World::new().await;
        let before = world.state();
        let long = "x".repeat(201);
        for (new, field) in [
            (request("", &["a", "b"], 60_000), "`question`"),
            (request(&long, &["a", "b"], 60_000), "`question`"),
            (request("a\u{1b}[2J", &["a", "b"], 60_000), "`question`"),
            (request("?", &["a"], 60_000), "`options`"),
            (request("?", &["a"; 11], 60_000), "`options`"),
            (request("?", &["a", "a "], 60_000), "`options`"),
            (request("?", &["a", "\u{7}"], 60_000), "`options`"),
            (request("?", &["a", &long[..81]], 60_000), "`options`"),
            (request("?", &["a", "b"], 9_999), "`duration_ms`"),
            (request("?", &["a", "b"], 86_400_001), "`duration_ms`"),
        ] {
            let error = world.control.open_poll(&operator(), STREAM, &new).await.unwrap_err();
            assert_eq!(error.body().code.as_str(), "bad_message", "{error}");
            assert!(error.to_string().starts_with(field), "{error}");
        }
        let new = json!({"question": "?", "options": ["a", "b"], "duration_ms": 60_000});
        let elsewhere = world.moderate((100, Role::Moderator), StreamId(9), "open_poll", new).await;
        assert_eq!(elsewhere.unwrap_err().body().code.as_str(), "unknown_stream");
        assert_eq!(world.state(), before);
    }
}
