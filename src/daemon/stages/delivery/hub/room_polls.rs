//! The poll of a stream, as the hub tells it to viewers: whole when it opens, when it closes and
//! when a vote was counted after that; between these its votes, at most once per second. All of it
//! goes one way and in order, so that no viewer has fewer votes at the end than others.

use std::sync::Arc;

use super::Hub;
use crate::daemon::stages::delivery::frame::Lane;
use crate::protocol::PollState;
use crate::protocol::message::ServerMessage;

/// The latest poll that viewers of a stream were told.
#[derive(Debug)]
pub(super) struct ToldPoll(Option<PollState>);

impl ToldPoll {
    /// Viewers that join are told a poll in their welcome.
    pub(super) fn new(state: Option<PollState>) -> Self {
        Self(state)
    }

    /// Returns the poll, if it is open.
    pub(super) fn open(&self) -> Option<Arc<PollState>> {
        self.0.as_ref().filter(|state| !state.closed).cloned().map(Arc::new)
    }

    /// Takes the present state, and returns the message for viewers, if something has changed.
    /// Votes never become fewer: a store that was not read lately has none. A poll that has closed
    /// stays closed.
    fn update(&mut self, state: Option<PollState>) -> Option<ServerMessage> {
        let mut state = state?;
        let sum = |state: &PollState| state.votes.iter().sum::<u64>();
        let told = self.0.as_ref().filter(|told| told.poll.poll_id == state.poll.poll_id);
        let mut is_whole = true;
        if let Some(told) = told {
            if sum(&state) < sum(told) {
                state.votes.clone_from(&told.votes);
            }
            state.closed |= told.closed;
            if (told.closed, &told.votes) == (state.closed, &state.votes) {
                return None;
            }
            is_whole = state.closed;
        }
        self.0 = Some(state.clone());
        if is_whole {
            return Some(ServerMessage::Poll(Arc::new(state)));
        }
        let PollState { poll, votes, .. } = state;
        Some(ServerMessage::PollVotes { poll_id: poll.poll_id, votes })
    }
}

impl Hub {
    /// Tells viewers of polls that have opened, have closed, or have new votes.
    pub(super) fn tell_polls(&mut self) {
        let mut changed = Vec::new();
        for (stream_id, feed) in &mut self.feeds {
            let state = self.parts.polls.state(*stream_id);
            changed.extend(feed.poll.update(state).map(|told| (*stream_id, told)));
        }
        for (stream_id, message) in changed {
            self.send(stream_id, Lane::Control, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RoomPoll;

    fn state(poll_id: u64, votes: [u64; 2], closed: bool) -> Option<PollState> {
        let options = vec!["a".into(), "b".into()];
        let question = "?".into();
        let poll = RoomPoll { poll_id, question, options, opened_at: 1, closes_at: 2 };
        Some(PollState { poll, closed, votes: votes.to_vec() })
    }

    fn whole(poll_id: u64, votes: [u64; 2], closed: bool) -> Option<ServerMessage> {
        state(poll_id, votes, closed).map(|state| ServerMessage::Poll(state.into()))
    }

    #[test]
    fn polls_are_told_whole_and_votes_apart() {
        let mut told = ToldPoll::new(None);
        assert!(told.update(None).is_none() && told.open().is_none());
        assert_eq!(told.update(state(1, [0, 0], false)), whole(1, [0, 0], false));
        assert_eq!(told.update(state(1, [0, 0], false)), None);
        let votes = ServerMessage::PollVotes { poll_id: 1, votes: vec![0, 3] };
        assert_eq!(told.update(state(1, [0, 3], false)), Some(votes));
        assert_eq!(told.open().unwrap().votes, [0, 3]);
        assert_eq!(told.update(state(1, [0, 0], false)), None, "votes do not become fewer");
        assert_eq!(told.update(state(1, [0, 0], true)), whole(1, [0, 3], true));
        assert!(told.open().is_none());
        assert_eq!(told.update(state(1, [0, 0], true)), None);
        assert_eq!(told.update(state(1, [1, 3], true)), whole(1, [1, 3], true), "counted late");
        assert_eq!(told.update(state(1, [1, 4], false)), whole(1, [1, 4], true), "a clock back");
        assert_eq!(told.update(state(2, [0, 0], false)), whole(2, [0, 0], false));
    }
}
