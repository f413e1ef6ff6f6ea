//! `lc record STREAM`: records the comments of a stream as they are published.
//!
//! In: the daemon's tail of a stream, or with `--url` the messages to a viewer. Out: a recording
//! ([`crate::loadgen::recording`]) in a file or on standard output. Always holds: lines are in the
//! order of the stream, and their times are relative to the first. A comment is held for a moment
//! before it is written, so that its line can say that moderation removed it. When full: the oldest
//! of more than [`MAX_HELD`] held comments are written early.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ahash::AHashMap;
use clap::Args;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::arguments::path;
use super::context::Context;
use super::output::{OutputError, note};
use super::stop::stop_on_signal;
use crate::client::admin::{AdminClient, AdminError};
use crate::client::viewer::{
    ConnectError, Position, Reconnect, SeqRange, ViewerConnection, ViewerOptions,
};
use crate::client::{Endpoint, Trust};
use crate::loadgen::recording::{RecordedComment, RecordingError, RecordingWriter};
use crate::protocol::admin::TailItem;
use crate::protocol::events::Decision;
use crate::protocol::quantity::counted;
use crate::protocol::{CommentId, SequencedComment, ServerMessage, StreamId};

/// Comments that may be held.
const MAX_HELD: usize = 100_000;
/// Events that may wait to be written. A full queue makes the reader of the stream wait.
const MAX_QUEUED_EVENTS: usize = 4096;
/// Pause between attempts to reach a daemon that went away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// After a signal only the held comments are left to write.
const PATIENCE: Duration = Duration::from_secs(10);
/// The `mod` of a comment that moderation removed.
const DELETED: &str = "delete";

/// Record a stream's comments as JSON lines, for lc replay and lc loadgen --replay.
///
/// Ends with Ctrl-C, SIGTERM, SIGHUP or SIGQUIT, or after --duration, and the file is complete. One
/// that was killed is readable up to the last seconds. Exit codes: 0 success, 1 the recording
/// failed, 64 wrong usage.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    #[arg(value_name = "STREAM")]
    pub stream: StreamId,

    /// A new file, compressed if its name ends in .gz [default: standard output]
    #[arg(long, short, value_name = "FILE", value_parser = path)]
    pub output: Option<PathBuf>,

    /// Record what a viewer at this address receives, instead of asking the local daemon
    #[arg(long, value_name = "WS_URL")]
    pub url: Option<Endpoint>,

    /// How long to record [default: until Ctrl-C]
    #[arg(long, value_name = "T", value_parser = crate::protocol::quantity::parse_duration)]
    pub duration: Option<Duration>,

    /// How long to wait for moderation before a comment is written
    #[arg(long, value_name = "T", default_value = "2s",
          value_parser = crate::protocol::quantity::parse_duration)]
    pub hold: Duration,

    /// Accept any certificate, as of lcd --dev-tls
    #[arg(long)]
    pub insecure: bool,
}

/// An event on a stream that matters to its recording.
#[derive(Debug)]
enum StreamEvent {
    Comment(SequencedComment),
    Deleted(CommentId),
    /// Comments are missing from here on, for this reason.
    Incomplete(String),
}

/// Records until interrupted.
///
/// # Errors
/// The stream cannot be read, or the file cannot be written.
pub async fn run(args: RecordArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signal(PATIENCE);
    let (events, received) = mpsc::channel(MAX_QUEUED_EVENTS);
    let source = async {
        match &args.url {
            Some(endpoint) => watch(&args, endpoint.clone(), &events).await,
            None => tail(AdminClient::new(context.socket.clone()), args.stream, &events).await,
        }
    };
    let writer = match &args.output {
        Some(path) => RecordingWriter::create(path)?,
        None => RecordingWriter::stdout(),
    };
    let mut buffer = RecordingBuffer::new(writer, args.hold);
    let end = async {
        match args.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = source => ended,
        written = buffer.write(received) => written,
        () = stop.cancelled() => Ok(()),
        () = end => Ok(()),
    };
    let finished = buffer.finish();
    if let Ok(comments) = &finished {
        note(&format!("recorded {}", counted(*comments, "comment")));
    }
    let result = ended.and(finished.map(|_| ExitCode::SUCCESS));
    result.map_err(|error| if args.output.is_none() { on_stdout(error) } else { error })
}

/// Returns the error of a recording on standard output. A reader that has enough, as in
/// `lc record 1 | head`, is no failure.
fn on_stdout(error: anyhow::Error) -> anyhow::Error {
    match error.downcast::<RecordingError>() {
        Ok(RecordingError::File { source, .. }) => OutputError::from(source).into(),
        Ok(other) => other.into(),
        Err(other) => other,
    }
}

/// Follows the daemon's tail, across restarts of the daemon.
async fn tail(
    client: AdminClient,
    stream: StreamId,
    events: &mpsc::Sender<StreamEvent>,
) -> anyhow::Result<()> {
    let path = format!("/v1/tail/{stream}");
    let mut connected = false;
    loop {
        match client.lines::<TailItem>(&path).await {
            Ok(mut lines) => {
                connected = true;
                while let Some(line) = lines.next().await {
                    let Ok(item) = line else { break };
                    if let Some(event) = StreamEvent::from_tail(item) {
                        events.send(event).await?;
                    }
                }
            }
            Err(AdminError::NotRunning { .. } | AdminError::Broken(_)) if connected => {
                tokio::time::sleep(RETRY_PAUSE).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let text = "the daemon ended the tail; comments until it is back are missing";
        events.send(StreamEvent::Incomplete(text.to_owned())).await?;
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

impl StreamEvent {
    fn from_tail(item: TailItem) -> Option<Self> {
        match item {
            TailItem::Comment(comment) => Some(Self::Comment(comment)),
            TailItem::Moderated { comment_id, decision: Decision::Reject, .. } => {
                Some(Self::Deleted(comment_id))
            }
            TailItem::Moderated { .. } => None,
            TailItem::Missed { items } => {
                Some(Self::Incomplete(format!("{items} items arrived too fast and are missing")))
            }
        }
    }
}

/// Follows the stream as an anonymous viewer, which reconnects from its position.
async fn watch(
    args: &RecordArgs,
    endpoint: Endpoint,
    events: &mpsc::Sender<StreamEvent>,
) -> anyhow::Result<()> {
    let mut options = ViewerOptions::new(endpoint, args.stream);
    options.buffer_bytes = 64 << 10;
    if args.insecure {
        options.trust = Trust::AnyCertificate;
    }
    let mut reconnect = Reconnect::default();
    let mut position: Option<Position> = None;
    loop {
        options.resume = position.as_ref().map(Position::resume);
        let failure = match ViewerConnection::join(&options).await {
            Ok((mut connection, welcome)) => {
                reconnect.succeeded();
                let known = position.filter(|position| position.epoch() == welcome.epoch);
                let mut at = known.unwrap_or(Position::new(welcome.epoch, welcome.seq));
                let error = loop {
                    match connection.next().await {
                        Ok(ServerMessage::Bye { reconnect_after_ms, .. }) => {
                            reconnect.bye(reconnect_after_ms);
                        }
                        Ok(message) => {
                            for event in events_of(message, &mut at) {
                                events.send(event).await?;
                            }
                        }
                        Err(error) => break error,
                    }
                };
                position = Some(at);
                match reconnect.after_end(&error) {
                    Some(wait) => Ok(wait),
                    None => return Err(error.into()),
                }
            }
            Err(error) => Err(error),
        };
        let wait =
            failure.or_else(|error| retry_wait(error, &mut reconnect, position.is_some()))?;
        tokio::time::sleep(wait).await;
    }
}

/// Returns how long to wait before the next attempt. A server that was never reached is an error.
fn retry_wait(
    error: ConnectError,
    reconnect: &mut Reconnect,
    was_reached: bool,
) -> Result<Duration, ConnectError> {
    match reconnect.after_failure(&error) {
        Some(wait) if was_reached => Ok(wait),
        _ => Err(error),
    }
}

/// Returns the events that a message to a viewer stands for.
fn events_of(message: ServerMessage, position: &mut Position) -> Vec<StreamEvent> {
    let mut events = Vec::new();
    let mut missing = |range: Option<SeqRange>| {
        if let Some(range) = range {
            let text = format!("comments from seq {} to {} are missing", range.from, range.to);
            events.push(StreamEvent::Incomplete(text));
        }
    };
    match message {
        ServerMessage::Comments(batch) => {
            let before = position.seq();
            let Some(range) = SeqRange::new(batch.from_seq, batch.to_seq) else { return events };
            missing(position.advance(range).hole);
            let new = batch.comments.into_iter().filter(|comment| comment.seq > before);
            events.extend(new.map(StreamEvent::Comment));
        }
        ServerMessage::Gap { from_seq, to_seq } => {
            let Some(range) = SeqRange::new(from_seq, to_seq) else { return events };
            let advance = position.advance(range);
            missing(advance.hole);
            missing(advance.fresh);
        }
        ServerMessage::CommentDeleted(deletion) => {
            events.push(StreamEvent::Deleted(deletion.comment_id));
        }
        _ => {}
    }
    events
}

/// Holds comments until they are written.
#[derive(Debug)]
struct RecordingBuffer {
    writer: RecordingWriter,
    hold: Duration,
    /// `created_at` of the first comment.
    started_ms: Option<u64>,
    written: u64,
    held: VecDeque<HeldComment>,
    /// Number of each held comment, counted from the first of the recording.
    by_id: AHashMap<CommentId, u64>,
}

#[derive(Debug)]
struct HeldComment {
    due: Instant,
    comment_id: CommentId,
    line: RecordedComment,
}

impl RecordingBuffer {
    fn new(writer: RecordingWriter, hold: Duration) -> Self {
        Self {
            writer,
            hold,
            started_ms: None,
            written: 0,
            held: VecDeque::new(),
            by_id: AHashMap::new(),
        }
    }

    /// Applies events until their source ends.
    async fn write(&mut self, mut events: mpsc::Receiver<StreamEvent>) -> anyhow::Result<()> {
        loop {
            let due = self.held.front().map(|held| held.due);
            tokio::select! {
                event = events.recv() => match event {
                    Some(event) => self.apply(event)?,
                    None => return Ok(()),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.write_due(Instant::now())?;
                    self.writer.flush()?;
                }
            }
        }
    }

    fn apply(&mut self, event: StreamEvent) -> anyhow::Result<()> {
        match event {
            StreamEvent::Comment(comment) => {
                let started_ms = *self.started_ms.get_or_insert(comment.created_at);
                let line = RecordedComment {
                    ts_ms: comment.created_at.saturating_sub(started_ms),
                    user: comment.name,
                    user_id: Some(comment.user_id),
                    text: comment.message,
                    moderation: None,
                    moderation_s: None,
                };
                let comment_id = comment.comment_id;
                self.by_id.insert(comment_id, self.written + self.held.len() as u64);
                self.held.push_back(HeldComment {
                    due: Instant::now() + self.hold,
                    comment_id,
                    line,
                });
                if self.held.len() > MAX_HELD {
                    self.write_oldest()?;
                }
            }
            StreamEvent::Deleted(comment_id) => {
                // A comment that is already written stays as it is.
                if let Some(number) = self.by_id.get(&comment_id)
                    && let Some(held) = self.held.get_mut((number - self.written) as usize)
                {
                    held.line.moderation = Some(DELETED.to_owned());
                }
            }
            StreamEvent::Incomplete(text) => note(&format!("warning: {text}")),
        }
        Ok(())
    }

    /// Writes the comments that were held long enough.
    fn write_due(&mut self, now: Instant) -> anyhow::Result<()> {
        while self.held.front().is_some_and(|held| held.due <= now) {
            self.write_oldest()?;
        }
        Ok(())
    }

    fn write_oldest(&mut self) -> anyhow::Result<()> {
        if let Some(held) = self.held.pop_front() {
            self.by_id.remove(&held.comment_id);
            self.written += 1;
            self.writer.write(&held.line)?;
        }
        Ok(())
    }

    /// Writes the rest. Returns the number of comments in the recording.
    fn finish(mut self) -> anyhow::Result<u64> {
        while !self.held.is_empty() {
            self.write_oldest()?;
        }
        self.writer.finish()?;
        Ok(self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loadgen::recording;
    use crate::protocol::message::CommentsBatch;
    use crate::protocol::throttle::SampleRate;
    use crate::protocol::{Epoch, UserId};

    fn comment(seq: u64) -> SequencedComment {
        SequencedComment {
            comment_id: CommentId::from_unix_ticks(17_000_000_000_000_000 + seq, 7, [1; 6]),
            user_id: UserId(seq),
            name: format!("user{seq}").into(),
            message: format!("text {seq}").into(),
            created_at: 1_700_000_000_000 + seq * 100,
            seq,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn lines_keep_order_and_say_what_was_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.jsonl.gz");
        let writer = RecordingWriter::create(&path).unwrap();
        let mut buffer = RecordingBuffer::new(writer, Duration::from_secs(2));
        let (events, received) = mpsc::channel(16);
        let publish = async {
            events.send(StreamEvent::Comment(comment(1))).await.unwrap();
            events.send(StreamEvent::Comment(comment(2))).await.unwrap();
            events.send(StreamEvent::Deleted(comment(2).comment_id)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
            events.send(StreamEvent::Deleted(comment(1).comment_id)).await.unwrap();
            events.send(StreamEvent::Comment(comment(5))).await.unwrap();
            drop(events);
        };
        let (written, ()) = tokio::join!(buffer.write(received), publish);
        written.unwrap();
        assert_eq!(buffer.held.len(), 1, "the others were due");
        assert_eq!(buffer.finish().unwrap(), 3);
        let lines = recording::read(&path).unwrap().comments;
        let written: Vec<_> =
            lines.iter().map(|l| (l.ts_ms, &*l.user, l.moderation.as_deref())).collect();
        assert_eq!(
            written,
            [(0, "user1", None), (100, "user2", Some("delete")), (400, "user5", None)]
        );
    }

    #[test]
    fn a_viewer_records_once_and_reports_missing() {
        let mut position = Position::new(Epoch(1), 10);
        let batch = |from_seq, to_seq, seqs: &[u64]| {
            ServerMessage::Comments(CommentsBatch {
                epoch: Epoch(1),
                from_seq,
                to_seq,
                sample_rate: SampleRate::ALL,
                comments: seqs.iter().map(|seq| comment(*seq)).collect(),
                echo: false,
            })
        };
        let mut texts = |message| -> Vec<String> {
            let text = |event| match event {
                StreamEvent::Comment(comment) => comment.message.to_string(),
                StreamEvent::Deleted(_) => "deleted".to_owned(),
                StreamEvent::Incomplete(text) => text,
            };
            events_of(message, &mut position).into_iter().map(text).collect()
        };
        assert_eq!(texts(batch(11, 12, &[11, 12])), ["text 11", "text 12"]);
        assert_eq!(texts(batch(12, 13, &[12, 13])), ["text 13"]);
        let gap = ServerMessage::Gap { from_seq: 14, to_seq: 20 };
        assert_eq!(texts(gap), ["comments from seq 14 to 20 are missing"]);
        let hole = texts(batch(25, 25, &[25]));
        assert_eq!(hole, ["comments from seq 21 to 24 are missing", "text 25"]);
    }
}
