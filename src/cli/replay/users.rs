//! The users of a replay: one connection each, the most recent ones at the same time.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use ahash::{AHashMap, AHashSet};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::GRACE;
use super::operator::ReplayedIds;
use super::overlay::PlayedComment;
use crate::cli::output::note;
use crate::client::viewer::ViewerOptions;
use crate::loadgen::{
    OutgoingComment, OutgoingMessage, QUEUE_COMMENTS, RunClock, Sender, Submissions,
};
use crate::protocol::admin::TokenUser;
use crate::protocol::{UserId, text};

/// The name of users whose recorded name no token can have.
const UNNAMED: &str = "replayed user";
/// Comments without an answer from which on a replay at full speed waits.
const MAX_UNANSWERED: u64 = 1_000;
/// The time between two looks at the answers while it waits.
const ANSWER_POLL: Duration = Duration::from_millis(2);

/// Returns the users with the names that their tokens have. Their tokens are made together, so that
/// they are one entry of the audit log.
pub(super) fn token_users(users: &AHashMap<UserId, Arc<str>>) -> Vec<TokenUser> {
    let user = |(user_id, name): (&UserId, &Arc<str>)| TokenUser {
        user_id: *user_id,
        name: token_name(name),
    };
    users.iter().map(user).collect()
}

/// Returns the name that a recorded user has in its token. A recording may have a name that no
/// token can have: a longer one is cut, and one of control characters or of nothing visible is
/// replaced.
fn token_name(recorded: &str) -> String {
    // Characters that the normal form leaves out do not count, so the cut comes after it.
    let normal = text::normalize_label(recorded).unwrap_or_default();
    let cut: String = normal.chars().take(text::MAX_NAME_CHARS).collect();
    // The cut may have left a joiner or a space at the end.
    text::name(&cut).map_or_else(|_| UNNAMED.to_owned(), Cow::into_owned)
}

/// The users of a recording. At most `connections` of them are connected.
pub(super) struct ReplayUsers {
    options: ViewerOptions,
    tokens: HashMap<UserId, String>,
    connections: usize,
    run_id: u32,
    pub(super) submissions: Arc<Submissions>,
    connected: AHashMap<UserId, ConnectedUser>,
    /// All users that have commented.
    seen: AHashSet<UserId>,
    /// Comments sent so far.
    pub(super) comments: u64,
    tasks: JoinSet<()>,
    failures: Arc<ConnectFailures>,
    /// Comments that were given up while acks were waited for.
    given_up: u64,
    /// Told which comments are replayed, if deletions are played back.
    ids: Option<Arc<ReplayedIds>>,
}

struct ConnectedUser {
    queue: mpsc::Sender<OutgoingMessage>,
    /// Value of [`ReplayUsers::comments`] at the user's last comment.
    last_comment: u64,
}

/// Warns of the first failure to connect and counts all.
#[derive(Debug, Default)]
struct ConnectFailures {
    count: AtomicU64,
}

impl ConnectFailures {
    fn record(&self, user: &str, error: &dyn std::fmt::Display) {
        if self.count.fetch_add(1, Relaxed) == 0 {
            note(&format!("warning: {user} could not connect: {error}"));
        }
    }
}

impl ReplayUsers {
    pub(super) fn new(
        options: ViewerOptions,
        tokens: HashMap<UserId, String>,
        connections: usize,
    ) -> Self {
        Self {
            options,
            tokens,
            connections,
            run_id: rand::random(),
            submissions: Arc::new(Submissions::without_viewers(RunClock::start())),
            connected: AHashMap::new(),
            seen: AHashSet::new(),
            comments: 0,
            tasks: JoinSet::new(),
            failures: Arc::default(),
            given_up: 0,
            ids: None,
        }
    }

    /// Tells `ids` the answers to all comments, from the first one on.
    pub(super) fn remember_in(&mut self, ids: Arc<ReplayedIds>) {
        let submissions = Submissions::without_viewers(RunClock::start());
        self.submissions = Arc::new(submissions.with_listener(ids.clone()));
        self.ids = Some(ids);
    }

    /// Returns the number of comments without an answer, apart from those given up.
    fn unanswered(&self) -> u64 {
        let answered = self.submissions.acks() + self.submissions.rejections() + self.given_up;
        self.comments.saturating_sub(answered)
    }

    /// Waits until fewer than [`MAX_UNANSWERED`] comments have no answer. If none comes for
    /// [`GRACE`], those are not waited for any more: their users may have no connection.
    pub(super) async fn wait_for_answers(&mut self) {
        let mut before = self.unanswered();
        let mut last_answer = Instant::now();
        while self.unanswered() >= MAX_UNANSWERED {
            tokio::time::sleep(ANSWER_POLL).await;
            let now = self.unanswered();
            if now < before {
                before = now;
                last_answer = Instant::now();
            } else if last_answer.elapsed() >= GRACE {
                self.given_up += now;
            }
        }
    }

    /// Queues a comment for its user, which is connected first if necessary.
    pub(super) async fn send(&mut self, played: PlayedComment, due: Instant) {
        let PlayedComment { user, comment: recorded, recorded_id, .. } = played;
        let number = self.comments;
        if let (Some(ids), Some(recorded_id)) = (&self.ids, recorded_id) {
            ids.remember(number, recorded_id);
        }
        let comment = OutgoingComment { number, intended: due, text: recorded.text };
        let mut comment = OutgoingMessage::Comment(comment);
        self.comments += 1;
        while self.tasks.try_join_next().is_some() {}
        if let Some(connected) = self.connected.get_mut(&user) {
            connected.last_comment = self.comments;
            match connected.queue.send(comment).await {
                Ok(()) => return,
                // The sender has ended. A new connection may succeed.
                Err(mpsc::error::SendError(returned)) => comment = returned,
            }
            self.connected.remove(&user);
        }
        self.connect(user, &recorded.user, comment).await;
    }

    async fn connect(&mut self, user: UserId, name: &Arc<str>, first: OutgoingMessage) {
        if self.connected.len() >= self.connections {
            let longest_silent = self.connected.iter().min_by_key(|(_, user)| user.last_comment);
            if let Some(longest_silent) = longest_silent.map(|(user, _)| *user) {
                // A closed queue makes the sender finish and disconnect.
                self.connected.remove(&longest_silent);
            }
        }
        self.seen.insert(user);
        let (queue, outgoing) = mpsc::channel(QUEUE_COMMENTS);
        // A new queue has room.
        if queue.send(first).await.is_ok() {
            let connected = ConnectedUser { queue, last_comment: self.comments };
            self.connected.insert(user, connected);
            self.tasks.spawn(self.run_user(user, name.clone(), outgoing));
        }
    }

    /// Returns the task of one user's connection, up to its last answer.
    fn run_user(
        &self,
        user: UserId,
        name: Arc<str>,
        outgoing: mpsc::Receiver<OutgoingMessage>,
    ) -> impl Future<Output = ()> + Send + use<> {
        let mut options = self.options.clone();
        options.token = self.tokens.get(&user).map(|token| token.clone().into());
        let run_id = self.run_id;
        let submissions = self.submissions.clone();
        let failures = self.failures.clone();
        async move {
            let sender = Sender::new(options, run_id, submissions);
            match sender.connect().await {
                // The reason for an early end is among the counted disconnects.
                Ok(connection) => drop(Box::pin(sender.run(connection, outgoing)).await),
                Err(error) => failures.record(&name, &error),
            }
        }
    }

    /// Returns a counter of the users that could not connect.
    #[cfg(test)]
    pub(super) fn failures(&self) -> impl Fn() -> u64 + use<> {
        let failures = self.failures.clone();
        move || failures.count.load(Relaxed)
    }

    /// Waits for the answers. Returns the number of users.
    pub(super) async fn finish(mut self) -> u64 {
        self.connected.clear();
        let answered = async { while self.tasks.join_next().await.is_some() {} };
        // Comments without an answer by then are counted as unanswered.
        let _ = tokio::time::timeout(GRACE, answered).await;
        self.seen.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_in_their_normal_form() {
        let long = "x".repeat(64);
        for (recorded, name) in [
            ("ann", "ann"),
            (&*format!("{}ann", "\u{200B}".repeat(64)), "ann"),
            (&*format!("{}{long}", " ".repeat(9)), &*long),
            (&*format!("{long}yz"), &*long),
            (&*format!("{} z", "x".repeat(63)), &*"x".repeat(63)),
            (&*"e\u{301}".repeat(65), &*"\u{E9}".repeat(64)),
            ("\u{200B}\u{3164}", UNNAMED),
            ("", UNNAMED),
            ("a\u{7}b", UNNAMED),
        ] {
            assert_eq!(token_name(recorded), name, "{recorded:?}");
        }
    }
}
