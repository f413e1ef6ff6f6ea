//! People who watch: each comes back with its position whenever its connection breaks, to another
//! edge if its own is gone, and writes down what it was shown and when.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use live_comments::client::Endpoint;
use live_comments::client::viewer::{ViewerConnection, ViewerOptions};
use live_comments::protocol::{
    CommentId, Seq, SequencedComment, ServerMessage, StreamId, StreamPosition,
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const RETRY_PAUSE: Duration = Duration::from_millis(200);
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// What one viewer saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// In the order they came. A client remembers deletions, which may come before their comments.
    pub comments: Vec<(Seq, CommentId, Instant)>,
    pub deleted: HashSet<CommentId>,
    pub gaps: Vec<(Seq, Seq)>,
    pub reconnects: u64,
    /// What must never happen, in words.
    pub wrongs: Vec<String>,
    ids: HashMap<CommentId, Seq>,
    position: Option<StreamPosition>,
}

impl Seen {
    /// Whether it was let in at least once.
    pub(crate) fn is_watching(&self) -> bool {
        self.position.is_some()
    }
}

#[derive(Clone)]
pub(crate) struct Spectator {
    pub stream_id: StreamId,
    pub edges: Vec<SocketAddr>,
    /// Which of them it prefers.
    pub edge: usize,
    pub seen: Arc<Mutex<Seen>>,
    pub stop: CancellationToken,
}

impl Spectator {
    pub(crate) async fn run(self) {
        let mut edge = self.edge;
        while !self.stop.is_cancelled() {
            let address = self.edges[edge % self.edges.len()];
            let endpoint = Endpoint::plain(&address.ip().to_string(), address.port());
            let resume = self.seen.lock().position;
            let options = ViewerOptions { resume, ..ViewerOptions::new(endpoint, self.stream_id) };
            if let Ok(Ok((mut connection, welcome))) =
                timeout(JOIN_TIMEOUT, ViewerConnection::join(&options)).await
            {
                let position = StreamPosition { epoch: welcome.epoch, seq: welcome.seq };
                let before = self.seen.lock().position.get_or_insert(position).epoch;
                if before != welcome.epoch {
                    self.wrong(format!("the epoch changed from {before} to {}", welcome.epoch));
                }
                loop {
                    tokio::select! {
                        message = connection.next() => match message {
                            Ok(message) => self.take_in(message),
                            Err(_) => break,
                        },
                        () = self.stop.cancelled() => return,
                    }
                }
            }
            self.seen.lock().reconnects += 1;
            edge += 1;
            let _ = timeout(RETRY_PAUSE, self.stop.cancelled()).await;
        }
    }

    fn wrong(&self, what: String) {
        self.seen.lock().wrongs.push(what);
    }

    fn take_in(&self, message: ServerMessage) {
        let now = Instant::now();
        let mut seen = self.seen.lock();
        let Some(mut position) = seen.position else { return };
        match message {
            ServerMessage::Comments(batch) if !batch.echo => {
                if batch.from_seq != position.seq + 1 {
                    let text = format!("{} does not join {}", batch.from_seq, position.seq);
                    seen.wrongs.push(text);
                }
                position.seq = batch.to_seq;
                for comment in batch.comments {
                    if seen.comments.last().is_some_and(|(last, ..)| *last >= comment.seq) {
                        let (from, to) = (batch.from_seq, batch.to_seq);
                        let text = format!("{} comes out of order in {from}..={to}", comment.seq);
                        seen.wrongs.push(text);
                    }
                    if let Some(before) = seen.ids.insert(comment.comment_id, comment.seq) {
                        let SequencedComment { seq, comment_id, .. } = &comment;
                        let text = format!("{comment_id} again at {seq}, first at {before}");
                        seen.wrongs.push(text);
                    }
                    seen.comments.push((comment.seq, comment.comment_id, now));
                }
            }
            ServerMessage::Gap { from_seq, to_seq } => {
                position.seq = to_seq;
                seen.gaps.push((from_seq, to_seq));
            }
            ServerMessage::CommentDeleted(deletion) => {
                seen.deleted.insert(deletion.comment_id);
            }
            _ => {}
        }
        seen.position = Some(position);
    }
}
