//! A bounded queue of encoded messages, from a delivery worker to the task that answers a viewer
//! over HTTP.
//!
//! In: whole messages, in order. Out: the same messages. Always holds: a message is taken whole or
//! not at all; its bytes are shared, never copied. When full, at [`PIPE_BYTES`]: the writer is
//! refused, and told once when there is room again. A single message of any size fits into an
//! empty pipe, so that a viewer always gets on.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Bytes that wait for the reader, as much as the kernel holds for a socket.
pub const PIPE_BYTES: usize = 64 * 1024;

/// Told when the writer may write again, and when the reader is gone.
type OnRoom = Arc<dyn Fn() + Send + Sync>;

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    readable: Notify,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<Bytes>,
    bytes: usize,
    writer_gone: bool,
    reader_gone: bool,
    /// The writer was refused and has not been told yet that there is room.
    refused: bool,
    on_room: Option<OnRoom>,
}

/// The worker's end. Dropping it lets the reader take what is left, and then ends it.
pub struct PipeWriter(Arc<Shared>);

/// The task's end. Dropping it makes further writes fail.
pub struct PipeReader(Arc<Shared>);

impl std::fmt::Debug for PipeWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PipeWriter")
    }
}

impl std::fmt::Debug for PipeReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PipeReader")
    }
}

/// Returns both ends of an empty pipe.
pub fn pipe() -> (PipeWriter, PipeReader) {
    let shared = Arc::<Shared>::default();
    (PipeWriter(shared.clone()), PipeReader(shared))
}

impl PipeWriter {
    /// Sets the function that is called when there is room after a refusal, and when the reader is
    /// gone. It must not block.
    pub fn notify_with(&self, on_room: impl Fn() + Send + Sync + 'static) {
        let on_room: OnRoom = Arc::new(on_room);
        let mut queue = self.0.queue.lock();
        queue.on_room = Some(on_room.clone());
        let is_late = queue.reader_gone;
        drop(queue);
        if is_late {
            on_room();
        }
    }

    /// # Errors
    /// `BrokenPipe` if the reader is gone.
    pub fn check_reader(&self) -> io::Result<()> {
        let is_gone = self.0.queue.lock().reader_gone;
        if is_gone { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(()) }
    }

    /// Adds messages as far as they fit. Returns the number of bytes taken.
    ///
    /// # Errors
    /// `BrokenPipe` if the reader is gone.
    pub fn write<'a>(&self, messages: impl IntoIterator<Item = &'a Bytes>) -> io::Result<usize> {
        let mut queue = self.0.queue.lock();
        if queue.reader_gone {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let before = queue.bytes;
        for message in messages.into_iter().filter(|message| !message.is_empty()) {
            if queue.bytes > 0 && queue.bytes + message.len() > PIPE_BYTES {
                queue.refused = true;
                break;
            }
            queue.bytes += message.len();
            queue.messages.push_back(message.clone());
        }
        let taken = queue.bytes - before;
        drop(queue);
        if taken > 0 {
            self.0.readable.notify_one();
        }
        Ok(taken)
    }
}

impl Drop for PipeWriter {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.writer_gone = true;
        queue.on_room = None;
        drop(queue);
        self.0.readable.notify_one();
    }
}

impl PipeReader {
    /// Resolves once there is a message, or nothing follows any more.
    pub async fn readable(&mut self) {
        self.wait_until(|queue| !queue.messages.is_empty() || queue.writer_gone).await;
    }

    /// Resolves once half of the pipe is full, or nothing follows any more.
    pub async fn filled(&mut self) {
        self.wait_until(|queue| queue.bytes >= PIPE_BYTES / 2 || queue.writer_gone).await;
    }

    async fn wait_until(&mut self, holds: impl Fn(&Queue) -> bool) {
        while !holds(&self.0.queue.lock()) {
            self.0.readable.notified().await;
        }
    }

    /// Takes all messages that wait, perhaps none.
    pub fn take(&mut self) -> VecDeque<Bytes> {
        let mut queue = self.0.queue.lock();
        queue.bytes = 0;
        let messages = std::mem::take(&mut queue.messages);
        let was_refused = std::mem::replace(&mut queue.refused, false);
        let on_room = queue.on_room.clone().filter(|_| was_refused);
        drop(queue);
        if let Some(on_room) = on_room {
            on_room();
        }
        messages
    }

    /// Reports whether nothing waits and nothing follows.
    pub fn is_finished(&self) -> bool {
        let queue = self.0.queue.lock();
        queue.writer_gone && queue.messages.is_empty()
    }

    /// Reports whether nothing follows what waits.
    pub fn is_last(&self) -> bool {
        self.0.queue.lock().writer_gone
    }
}

impl Drop for PipeReader {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.reader_gone = true;
        queue.messages = VecDeque::new();
        let on_room = queue.on_room.take();
        drop(queue);
        if let Some(on_room) = on_room {
            on_room();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::FutureExt as _;

    use super::*;

    fn counted(writer: &PipeWriter) -> Arc<AtomicU32> {
        let calls = Arc::<AtomicU32>::default();
        let counter = calls.clone();
        writer.notify_with(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        calls
    }

    #[test]
    fn full_pipe_refuses_and_tells_of_room_once() {
        let (writer, mut reader) = pipe();
        let calls = counted(&writer);
        let half = Bytes::from(vec![b'x'; PIPE_BYTES / 2]);
        assert_eq!(writer.write([&half, &half, &half]).unwrap(), PIPE_BYTES);
        assert_eq!(writer.write([&half]).unwrap(), 0);
        assert_eq!(calls.load(Ordering::Relaxed), 0);
        let taken = reader.take();
        assert_eq!(taken.len(), 2);
        assert_eq!(taken[0].as_ptr(), half.as_ptr(), "shared, not copied");
        reader.take();
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        let large = Bytes::from(vec![b'x'; 2 * PIPE_BYTES]);
        assert_eq!(writer.write([&large]).unwrap(), large.len(), "alone it fits");
    }

    #[tokio::test]
    async fn reader_takes_what_is_left_behind() {
        let (writer, mut reader) = pipe();
        assert!(reader.readable().now_or_never().is_none());
        writer.write([&Bytes::from_static(b"bye")]).unwrap();
        drop(writer);
        reader.readable().await;
        assert!(reader.is_last() && !reader.is_finished());
        assert_eq!(reader.take(), [Bytes::from_static(b"bye")]);
        reader.readable().await;
        assert!(reader.is_finished());
    }

    #[test]
    fn lost_reader_breaks_the_pipe() {
        let (writer, reader) = pipe();
        let calls = counted(&writer);
        drop(reader);
        assert_eq!(calls.load(Ordering::Relaxed), 1);
        let error = writer.write([&Bytes::from_static(b"x")]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
    }
}
