//! Resume: a viewer that was away catches up with history pages, then follows the ring of its
//! stream.

use crate::daemon::base::handoff::ConnectionId;
use crate::daemon::stages::delivery::catch_up::CatchUpRequest;
use crate::daemon::stages::delivery::mailbox::CatchUpPage;
use crate::daemon::stages::delivery::worker::Worker;
use crate::daemon::stages::delivery::worker::viewer::Flags;

impl Worker {
    /// Reports whether the ring continues without a hole where the viewer stands.
    fn ring_covers(&self, slot: usize) -> bool {
        let viewer = &self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        viewer.seq >= stream.covered_to
            || stream.oldest_seq().is_some_and(|oldest| oldest.saturating_sub(1) <= viewer.seq)
    }

    /// Ends catching up: from here on the ring serves the viewer, without the frames it was sent
    /// already. A hole between its position and the ring is announced as a gap.
    fn follow_ring(&mut self, slot: usize) {
        let ring_covers = self.ring_covers(slot);
        let viewer = &mut self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        viewer.flags.clear(Flags::CATCHING_UP);
        viewer.cursor = stream.cursor_after(viewer.seq);
        if !ring_covers {
            let oldest = stream.oldest_seq().unwrap_or(stream.covered_to + 1);
            viewer.enqueue_gap(stream.stream_id, stream.epoch, oldest.saturating_sub(1));
        }
    }

    /// Restarts a viewer at the head of the stream and tells it so. Its position is from a log
    /// that has lost its end.
    fn restart_at_head(&mut self, slot: usize) {
        let viewer = &mut self.viewers[slot];
        viewer.seq = self.streams[viewer.stream as usize].covered_to;
        self.welcome(slot);
        self.follow_ring(slot);
    }

    /// Requests the next history page. If the queue is full, a timer tries again.
    pub(crate) fn request_page(&mut self, slot: usize) {
        if self.viewers[slot].extras().page_requested {
            return;
        }
        let connection = self.connection_id(slot);
        let viewer = &self.viewers[slot];
        let stream = &self.streams[viewer.stream as usize];
        let request = CatchUpRequest {
            connection,
            stream_id: stream.stream_id,
            after: viewer.seq,
            until: stream.covered_to,
            floor: stream.covered_to.saturating_sub(self.parts.delivery.resume_comments as u64),
            form: viewer.form,
            user: viewer.user_id(),
        };
        match self.parts.history.try_send(request) {
            Ok(()) => self.viewers[slot].extras().page_requested = true,
            Err(_) => self.timers.retry_page(connection),
        }
    }

    /// Queues a history page, and switches to the ring when the page reaches it.
    pub(crate) fn deliver_page(&mut self, connection: ConnectionId, page: &CatchUpPage) {
        let Some(slot) = self.slot_of(connection) else { return };
        let viewer = &mut self.viewers[slot];
        viewer.extras().page_requested = false;
        if viewer.flags.has(Flags::CLOSING) {
            return;
        }
        // The viewer has skipped ahead since it asked.
        if !viewer.flags.has(Flags::CATCHING_UP) || page.after != viewer.seq {
            self.write_pending(slot);
            return;
        }
        let progress = page.covered_to > viewer.seq;
        viewer.seq = viewer.seq.max(page.covered_to);
        for frame in page.frames.iter() {
            viewer.enqueue_page(frame.clone());
        }
        // Up to the position of the stream when the viewer asked, only the history is used. The
        // ring still holds comments deleted before that, whose deletions are not sent again.
        let caught_up = viewer.seq >= page.until;
        self.add_delivered_comments(page.comments);
        if page.beyond_end {
            self.restart_at_head(slot);
        } else if caught_up && self.ring_covers(slot) || !progress {
            // Without progress the history is gone: the ring begins with a gap.
            self.follow_ring(slot);
        }
        self.write_pending(slot);
    }
}
