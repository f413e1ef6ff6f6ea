//! One poller between its requests: a viewer of delivery whose messages wait in a pipe.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use crate::daemon::base::pipe::PipeReader;
use crate::daemon::edge::gateway::farewell::Farewell;
use crate::daemon::edge::gateway::poll_sessions::events::PolledMessages;
use crate::daemon::edge::gateway::poll_sessions::since::{SessionId, Since};
use crate::protocol::StreamPosition;

/// Time in which further messages join the first one that a poll has waited for. Without it each
/// batch of a busy stream would cost every poller a request.
const GATHER: Duration = Duration::from_millis(200);
/// The longest wait for the `welcome` of a new session.
const WELCOME_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct PollSession {
    id: SessionId,
    mailbox: tokio::sync::Mutex<PolledPipe>,
    /// The number of polls so far: a new one ends the one that waits.
    polls: watch::Sender<u64>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct PolledPipe {
    reader: PipeReader,
    /// After the last answer. `None` before the `welcome`.
    position: Option<StreamPosition>,
    /// Answers with messages so far.
    answers: u32,
    /// The messages of the last answer, until the client shows that it has them. Bounded as the
    /// pipe is.
    unconfirmed: VecDeque<Bytes>,
}

#[derive(Debug)]
struct Seen {
    waiting: u32,
    /// The end of the last poll.
    last: Instant,
}

/// A request of a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Poll {
    /// The number of the last answer that the client has received.
    pub(crate) confirmed: u32,
    pub(crate) wait: Duration,
}

/// The answer to a poll.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PollAnswer {
    pub(crate) since: Since,
    /// Messages in JSON, separated by commas; perhaps none.
    pub(crate) messages: Vec<u8>,
    /// Nothing follows: the session is over.
    pub(crate) is_last: bool,
}

/// Why a session does not answer a poll.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum PollFailure {
    /// A newer poll of the session has taken its turn.
    Displaced,
    /// The client has not received the last answers. It resumes from its position.
    TooOld,
    /// The viewer is not welcomed: the stream is not ready in time.
    NotWelcomed,
}

/// Counts a poll as waiting while it exists.
struct Waiting<'a>(&'a PollSession);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut seen = self.0.seen.lock();
        seen.waiting -= 1;
        seen.last = Instant::now();
    }
}

impl PollSession {
    pub(super) fn new(id: SessionId, reader: PipeReader) -> Self {
        Self {
            id,
            mailbox: tokio::sync::Mutex::new(PolledPipe {
                reader,
                position: None,
                answers: 0,
                unconfirmed: VecDeque::new(),
            }),
            polls: watch::Sender::new(0),
            seen: Mutex::new(Seen { waiting: 0, last: Instant::now() }),
        }
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    /// Reports whether nobody has polled for `time`.
    pub(super) fn is_silent_for(&self, time: Duration) -> bool {
        let seen = self.seen.lock();
        seen.waiting == 0 && seen.last.elapsed() >= time
    }

    /// Waits for messages. An answer that the client may not have received is repeated at once.
    /// The first poll of a session waits for `welcome` instead.
    ///
    /// # Errors
    /// See [`PollFailure`]. Nothing is lost then.
    pub(crate) async fn poll(
        &self,
        poll: Poll,
        farewell: &Farewell,
    ) -> Result<PollAnswer, PollFailure> {
        self.seen.lock().waiting += 1;
        let _waiting = Waiting(self);
        let mut turn = 0;
        self.polls.send_modify(|polls| {
            *polls += 1;
            turn = *polls;
        });
        let mut polls = self.polls.subscribe();
        let mut displaced = pin!(async move {
            // Fails only when the session is gone, which this poll keeps.
            let _ = polls.wait_for(|latest| *latest != turn).await;
        });
        tokio::select! {
            biased;
            () = &mut displaced => Err(PollFailure::Displaced),
            answered = self.answer(poll, farewell) => answered,
        }
    }

    /// May be cancelled: nothing is taken before the answer is complete.
    async fn answer(&self, poll: Poll, farewell: &Farewell) -> Result<PollAnswer, PollFailure> {
        let mut mailbox = self.mailbox.lock().await;
        if poll.confirmed == mailbox.answers {
            mailbox.unconfirmed.clear();
        } else if mailbox.unconfirmed.is_empty()
            || poll.confirmed.wrapping_add(1) != mailbox.answers
        {
            return Err(PollFailure::TooOld);
        } else {
            return mailbox.repeat(self.id).ok_or(PollFailure::TooOld);
        }
        let is_first = mailbox.position.is_none();
        let wait = if is_first { WELCOME_TIMEOUT } else { poll.wait };
        let until = Instant::now() + wait;
        let gather = if is_first || wait.is_zero() { Duration::ZERO } else { GATHER };
        let reader = &mut mailbox.reader;
        let waiting = async {
            if timeout_at(until, reader.readable()).await.is_ok() {
                let _ = timeout(gather, reader.filled()).await;
            }
        };
        let is_stopping = tokio::select! {
            biased;
            () = farewell.due() => true,
            () = waiting => false,
        };
        let bye = is_stopping.then(|| farewell.event());
        mailbox.take(self.id, bye).ok_or(PollFailure::NotWelcomed)
    }
}

impl PolledPipe {
    /// Takes what waits, and `bye` behind it. Returns `None` before the `welcome`.
    fn take(&mut self, session: SessionId, bye: Option<Bytes>) -> Option<PollAnswer> {
        let is_last = self.reader.is_last() || bye.is_some();
        let mut taken = self.reader.take();
        taken.extend(bye);
        let PolledMessages { json, position } = PolledMessages::read(&taken);
        self.position = position.or(self.position);
        if !taken.is_empty() {
            self.answers = self.answers.wrapping_add(1);
            self.unconfirmed = taken;
        }
        Some(PollAnswer { since: self.since(session)?, messages: json, is_last })
    }

    /// Returns the last answer again.
    fn repeat(&self, session: SessionId) -> Option<PollAnswer> {
        let PolledMessages { json, .. } = PolledMessages::read(&self.unconfirmed);
        let is_last = self.reader.is_finished();
        Some(PollAnswer { since: self.since(session)?, messages: json, is_last })
    }

    fn since(&self, session: SessionId) -> Option<Since> {
        Some(Since { position: self.position?, session, answer: self.answers })
    }
}

#[cfg(test)]
mod tests;
