//! One viewer's connection without a WebSocket: server-sent events, or one long poll after the
//! other. Everything but the requests and the reading of answers is that of [`super::connection`].

use super::ViewerPool;
use super::connection::Flow;
use super::messages::PoolEvent;
use super::viewer::ViewerState;
use crate::client::viewer::{AnswerError, Fallback, FallbackAnswer, FallbackReader};
use crate::protocol::admin::TransportKind;

impl<E: FnMut(PoolEvent) -> bool> ViewerPool<E> {
    /// Sends the request for the events, or the first poll.
    pub(super) fn begin_fallback(&mut self, index: usize) {
        let reader = self.fallback(index).reader();
        self.viewers[index].state = ViewerState::Joining;
        let _ = self.send_fallback(index, Box::new(reader));
    }

    pub(super) fn fallback(&self, index: usize) -> Fallback<'_> {
        let number = index as u64;
        Fallback {
            endpoint: &self.plan.viewer_plan.endpoints[self.plan.endpoint(number)],
            stream: self.plan.viewer_plan.stream,
            token: self.plan.token(number),
            resume: self.ledger.lock().position(index),
            polls: self.plan.transport(number) == TransportKind::Poll,
        }
    }

    /// Handles bytes of an answer.
    pub(super) fn on_answer(
        &mut self,
        index: usize,
        mut reader: Box<FallbackReader>,
        bytes: &[u8],
    ) -> Flow {
        let now = self.clock.now();
        match reader.read(bytes, |message| self.on_message(index, message, now)) {
            Ok(FallbackAnswer::Open) => {
                self.viewers[index].fallback = Some(reader);
                Flow::Continue(())
            }
            Ok(FallbackAnswer::PollAgain) => self.send_fallback(index, reader),
            Ok(FallbackAnswer::Stopped) => Flow::Break(()),
            Err(error) => {
                self.on_refused(index, error);
                Flow::Break(())
            }
        }
    }

    fn send_fallback(&mut self, index: usize, reader: Box<FallbackReader>) -> Flow {
        let request = match self.fallback(index).request(&reader) {
            Ok(request) => request,
            Err(error) => {
                self.on_connect_failed(index, &error);
                return Flow::Break(());
            }
        };
        let viewer = &mut self.viewers[index];
        viewer.fallback = Some(reader);
        let sent = viewer.transport.as_mut().map(|transport| transport.write_short(&request));
        if let Some(Err(error)) = sent {
            self.on_broken(index, &error);
            return Flow::Break(());
        }
        Flow::Continue(())
    }

    fn on_refused(&mut self, index: usize, error: AnswerError) {
        if self.viewers[index].is_connected() {
            self.on_lost(index, error.into());
        } else {
            let error = error.at(self.url(index));
            self.on_connect_failed(index, &error);
        }
    }
}
