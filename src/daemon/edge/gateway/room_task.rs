//! Carries out the changes of rooms that moderators send over their connections.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::api::public_body;
use crate::daemon::base::handoff::{RoomRequest, ViewerSink};
use crate::daemon::stages::control::{Actor, Control};

/// Makes the changes one after another, as over HTTP, and answers delivery. Requests wait in a
/// bounded queue; those that find it full are answered `overloaded` by delivery.
#[derive(Debug)]
pub struct RoomTask {
    requests: mpsc::Receiver<RoomRequest>,
    control: Control,
    sink: Arc<dyn ViewerSink>,
}

impl RoomTask {
    pub(super) fn new(
        requests: mpsc::Receiver<RoomRequest>,
        control: Control,
        sink: Arc<dyn ViewerSink>,
    ) -> Self {
        Self { requests, control, sink }
    }

    /// Runs until `stop`, or until delivery has ended. A change that has begun is finished.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let request = tokio::select! {
                request = self.requests.recv() => request,
                () = stop.cancelled() => return,
            };
            let Some(RoomRequest { connection, stream_id, identity, patch, client_ref }) = request
            else {
                return;
            };
            let actor = Actor::bearer(&identity);
            let changed = self.control.update_room(&actor, stream_id, &patch).await;
            self.sink.room_changed(connection, client_ref, changed.map(drop).map_err(public_body));
        }
    }
}
