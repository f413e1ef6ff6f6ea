//! Carries out what moderators do in their rooms over their connections.

use std::collections::{HashSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::api::public_body;
use crate::daemon::base::handoff::{RoomChange, RoomRequest, ViewerSink};
use crate::daemon::stages::control::{Actor, Control, ControlError};
use crate::protocol::error_code::{ErrorBody, RETRY_AFTER_MS};
use crate::protocol::message::ServerMessage;
use crate::protocol::{ErrorCode, StreamId};

/// Changes that are made at one time, each of another stream.
const MAX_AT_ONCE: usize = 16;
/// Changes that wait for an earlier one of their stream.
const MAX_OF_STREAM: usize = 16;
/// Changes of all streams that wait.
const MAX_WAITING: usize = 256;
/// The time that changes which have begun may still take when the node stops.
const GRACE: Duration = Duration::from_secs(5);

/// Makes the changes of a stream one after another, those of different streams at once, and answers
/// delivery. Its queues are bounded; changes that find them full are answered `overloaded`.
#[derive(Debug)]
pub struct RoomTask {
    requests: mpsc::Receiver<RoomRequest>,
    control: Control,
    sink: Arc<dyn ViewerSink>,
}

/// The changes that are made or wait.
#[derive(Debug, Default)]
struct RoomQueue {
    /// Oldest first.
    waiting: VecDeque<RoomRequest>,
    /// The streams of the changes that are being made.
    busy: HashSet<StreamId>,
}

impl RoomQueue {
    /// Adds a change, or returns it if too many wait.
    fn push(&mut self, request: RoomRequest) -> Result<(), RoomRequest> {
        let of_stream = self.waiting.iter().filter(|it| it.stream_id == request.stream_id).count();
        if of_stream >= MAX_OF_STREAM || self.waiting.len() >= MAX_WAITING {
            return Err(request);
        }
        self.waiting.push_back(request);
        Ok(())
    }

    /// Takes the oldest change that may begin now.
    fn begin(&mut self) -> Option<RoomRequest> {
        if self.busy.len() >= MAX_AT_ONCE {
            return None;
        }
        let may_begin = |request: &RoomRequest| !self.busy.contains(&request.stream_id);
        let request =
            self.waiting.iter().position(may_begin).and_then(|at| self.waiting.remove(at));
        self.busy.extend(request.as_ref().map(|request| request.stream_id));
        request
    }

    fn finish(&mut self, stream_id: StreamId) {
        self.busy.remove(&stream_id);
    }
}

impl RoomTask {
    pub(super) fn new(
        requests: mpsc::Receiver<RoomRequest>,
        control: Control,
        sink: Arc<dyn ViewerSink>,
    ) -> Self {
        Self { requests, control, sink }
    }

    /// Runs until `stop`, or until delivery has ended. Changes that have begun are finished, and
    /// those that wait are answered `shutting_down`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut queue = RoomQueue::default();
        let mut running = FuturesUnordered::new();
        loop {
            while let Some(request) = queue.begin() {
                let stream_id = request.stream_id;
                // In a task of its own, so that the end of this one does not cut it off.
                let change = tokio::spawn(answer(self.control.clone(), self.sink.clone(), request));
                running.push(async move {
                    // Answered, unless the process ends.
                    let _ = change.await;
                    stream_id
                });
            }
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                Some(stream_id) = running.next() => queue.finish(stream_id),
                request = self.requests.recv() => {
                    let Some(request) = request else { break };
                    if let Err(request) = queue.push(request) {
                        let text = "more changes of the room are waiting than allowed; send it again";
                        self.refuse(request, ErrorCode::Overloaded, text);
                    }
                }
            }
        }
        self.requests.close();
        while let Some(request) =
            queue.waiting.pop_front().or_else(|| self.requests.try_recv().ok())
        {
            self.refuse(
                request,
                ErrorCode::ShuttingDown,
                "the node takes no more changes of rooms",
            );
        }
        let changes = finish_within_grace(running).await;
        if changes > 0 {
            tracing::warn!(changes, "changes of rooms are not finished");
        }
    }

    fn refuse(&self, request: RoomRequest, code: ErrorCode, text: &str) {
        let error = ErrorBody::new(code, text).retry_after_ms(RETRY_AFTER_MS);
        self.sink.room_changed(request.connection, request.client_ref, Err(error));
    }
}

/// Waits for changes that have begun, and returns how many of them did not end in [`GRACE`].
async fn finish_within_grace(mut running: FuturesUnordered<impl Future>) -> usize {
    let finished = async { while running.next().await.is_some() {} };
    // The number says whether the time was long enough.
    let _ = tokio::time::timeout(GRACE, finished).await;
    running.len()
}

/// Makes a change and answers delivery, also if the change panics: the sender waits for it.
async fn answer(control: Control, sink: Arc<dyn ViewerSink>, request: RoomRequest) {
    let connection = request.connection;
    let client_ref = request.client_ref.clone();
    let stream_id = request.stream_id;
    let outcome = AssertUnwindSafe(carry_out(control, request)).catch_unwind().await;
    let outcome = outcome.unwrap_or_else(|_| {
        // The message of a panic may quote a comment.
        tracing::error!(%stream_id, "a change of a room panicked");
        Err(ErrorBody::new(ErrorCode::Internal, "the daemon's log says more"))
    });
    sink.room_changed(connection, client_ref, outcome);
}

/// Makes a change as over HTTP.
async fn carry_out(control: Control, request: RoomRequest) -> Result<ServerMessage, ErrorBody> {
    let RoomRequest { stream_id, identity, change, client_ref, .. } = request;
    let made: Result<_, ControlError> = match &change {
        RoomChange::Settings(patch) => {
            control.update_room(&Actor::bearer(&identity), stream_id, patch).await
        }
        RoomChange::Act(act) => control.moderate(&identity, stream_id, act).await,
    };
    made.map(|_| change.ack(client_ref)).map_err(public_body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::edge::gateway::tests::rooms::slow;

    fn began(queue: &mut RoomQueue) -> Option<String> {
        queue.begin().map(|request| request.client_ref.unwrap().to_string())
    }

    #[test]
    fn a_slow_change_delays_only_its_own_stream() {
        let mut queue = RoomQueue::default();
        for request in [slow(1, "a"), slow(1, "b"), slow(2, "c")] {
            queue.push(request).unwrap();
        }
        assert_eq!(began(&mut queue).as_deref(), Some("a"));
        assert_eq!(began(&mut queue).as_deref(), Some("c"));
        assert_eq!(began(&mut queue), None);
        queue.finish(StreamId(1));
        assert_eq!(began(&mut queue).as_deref(), Some("b"));
        for _ in 0..MAX_OF_STREAM {
            queue.push(slow(1, "more")).unwrap();
        }
        assert!(queue.push(slow(1, "too much")).is_err());
        assert!(queue.push(slow(3, "d")).is_ok(), "there is room for others");
    }

    #[tokio::test(start_paused = true)]
    async fn only_changes_that_do_not_end_are_counted() {
        let after = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
        let of = |ends: &[u64]| ends.iter().map(|seconds| after(*seconds)).collect();
        assert_eq!(finish_within_grace(of(&[0, 1, 4])).await, 0);
        assert_eq!(finish_within_grace(of(&[0, 1, 60])).await, 1);
    }
}
