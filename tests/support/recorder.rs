//! Viewers that resume from their position whenever their connection breaks, on another edge if
//! their own is down, and record what they were shown and when.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use live_comments::client::Endpoint;
use live_comments::client::viewer::{ViewerConnection, ViewerOptions};
use live_comments::protocol::{
    CommentId, Epoch, Seq, SequencedComment, ServerMessage, StreamId, StreamPosition,
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

const RETRY_PAUSE: Duration = Duration::from_millis(200);
const JOIN_TIMEOUT: Duration = Duration::from_secs(5);

/// The messages that one viewer received.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// In the order of arrival.
    pub comments: Vec<ShownComment>,
    /// Deletions may arrive before their comments.
    pub deleted: HashSet<CommentId>,
    pub gaps: Vec<(Seq, Seq)>,
    pub reconnects: u64,
    /// Descriptions of broken promises.
    pub violations: Vec<String>,
    /// The position of the first `welcome` of each epoch.
    pub joined: Vec<StreamPosition>,
    ids: HashMap<CommentId, Seq>,
    position: Option<StreamPosition>,
    /// The last comment of this epoch.
    last: Seq,
}

#[derive(Debug)]
pub(crate) struct ShownComment {
    pub epoch: Epoch,
    pub seq: Seq,
    pub id: CommentId,
    pub at: Instant,
}

impl Seen {
    /// Returns whether it has joined at least once.
    pub(crate) fn is_watching(&self) -> bool {
        self.position.is_some()
    }

    /// Records a `welcome`. In another epoch the old position means nothing.
    fn welcome(&mut self, at: StreamPosition) {
        if self.position.is_some_and(|position| position.epoch == at.epoch) {
            return;
        }
        if self.joined.iter().any(|before| before.epoch == at.epoch) {
            self.violations.push(format!("epoch {} came back", at.epoch));
        }
        self.joined.push(at);
        self.position = Some(at);
        self.last = 0;
    }
}

#[derive(Clone)]
pub(crate) struct RecordingViewer {
    pub stream_id: StreamId,
    pub edges: Vec<SocketAddr>,
    /// Index of the edge it joins first.
    pub edge: usize,
    pub seen: Arc<Mutex<Seen>>,
    pub stop: CancellationToken,
}

impl RecordingViewer {
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
                self.seen.lock().welcome(position);
                loop {
                    tokio::select! {
                        message = connection.next() => match message {
                            Ok(message) => self.record(message),
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

    fn record(&self, message: ServerMessage) {
        let now = Instant::now();
        let mut seen = self.seen.lock();
        let Some(mut position) = seen.position else { return };
        match message {
            ServerMessage::Comments(batch) if !batch.echo => {
                if batch.epoch != position.epoch {
                    let text = format!("epoch {} in {}", batch.epoch, position.epoch);
                    seen.violations.push(text);
                }
                if batch.from_seq != position.seq + 1 {
                    let text = format!("{} does not join {}", batch.from_seq, position.seq);
                    seen.violations.push(text);
                }
                position.seq = batch.to_seq;
                for comment in batch.comments {
                    if seen.last >= comment.seq {
                        let from = batch.from_seq;
                        let to = batch.to_seq;
                        let text = format!("{} is out of order in {from}..={to}", comment.seq);
                        seen.violations.push(text);
                    }
                    if let Some(before) = seen.ids.insert(comment.comment_id, comment.seq) {
                        let SequencedComment { seq, comment_id, .. } = &comment;
                        let text = format!("{comment_id} again at {seq}, first at {before}");
                        seen.violations.push(text);
                    }
                    seen.last = comment.seq;
                    seen.comments.push(ShownComment {
                        epoch: batch.epoch,
                        seq: comment.seq,
                        id: comment.comment_id,
                        at: now,
                    });
                }
            }
            ServerMessage::Gap { from_seq, to_seq, .. } => {
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
