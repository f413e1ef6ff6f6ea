//! `lc record STREAM`: records the comments of a stream as they are published.
//!
//! In: the daemon's tail of a stream, or with `--url` the messages to a viewer. Out: a recording
//! ([`crate::loadgen::recording`]) in a file or on standard output. Always holds: lines are in the
//! order of the stream, and their times are relative to the first. When full: at most
//! [`MAX_QUEUED_EVENTS`] events wait for the file, and then the stream is not read.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::arguments::path;
use super::context::Context;
use super::output::{OutputError, note};
use super::stop::stop_on_signal;
use crate::client::admin::{AdminClient, AdminError};
use crate::client::viewer::{
    ConnectError, Position, Reconnect, SeqRange, ViewerConnection, ViewerOptions,
};
use crate::client::{Endpoint, Trust};
use crate::loadgen::recording::{
    RECORDING_VERSION, RecordedComment, RecordedDeletion, RecordedEvent, RecordedThrottle,
    RecordingError, RecordingHeader, RecordingWriter,
};
use crate::protocol::admin::{RulesInForce, TailItem};
use crate::protocol::events::Decision;
use crate::protocol::quantity::counted;
use crate::protocol::throttle::SampleRate;
use crate::protocol::{CommentId, SequencedComment, ServerMessage, StreamId};

/// Events that may wait to be written. A full queue makes the reader of the stream wait.
const MAX_QUEUED_EVENTS: usize = 4096;
/// Pause between attempts to reach a daemon that went away.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Interval at which a file is flushed. A recording that is killed loses as much.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);
/// After a signal only the events in hand are left to write.
const PATIENCE: Duration = Duration::from_secs(10);

/// Record a stream: its comments, deletions and throttle changes.
///
/// Ends with Ctrl-C, SIGTERM, SIGHUP or SIGQUIT, or after --duration, and the file is complete. One
/// that was killed is readable up to the last seconds. Exit codes: 0 success, 1 the recording
/// failed, 64 wrong usage.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    #[arg(value_name = "STREAM")]
    pub stream: StreamId,

    /// A new file: compressed and seekable as .lcr, gzip as .gz, otherwise JSON lines [default:
    /// JSON lines on standard output]
    #[arg(long, short, value_name = "FILE", value_parser = path)]
    pub output: Option<PathBuf>,

    /// Record what a viewer at this address receives, instead of asking the local daemon
    #[arg(long, value_name = "WS_URL")]
    pub url: Option<Endpoint>,

    /// How long to record [default: until Ctrl-C]
    #[arg(long, value_name = "T", allow_hyphen_values = true,
        value_parser = crate::protocol::quantity::parse_duration)]
    pub duration: Option<Duration>,

    /// Accept any certificate, as of lcd --dev-tls
    #[arg(long)]
    pub insecure: bool,
}

/// An event on a stream that matters to its recording.
#[derive(Debug)]
enum StreamEvent {
    Comment(SequencedComment),
    Deleted {
        id: CommentId,
        reason: String,
        at_ms: u64,
    },
    Throttle {
        sample_rate: SampleRate,
        fixed: bool,
        at_ms: u64,
    },
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
            None => tail(context.admin(), args.stream, &events).await,
        }
    };
    let writer = match &args.output {
        Some(path) => RecordingWriter::create(path)?,
        None => RecordingWriter::stdout(),
    };
    let source_name = match &args.url {
        Some(endpoint) => format!("stream {} of {endpoint}", args.stream),
        None => format!("stream {}", args.stream),
    };
    let mut recorder = Recorder::new(writer, source_name, args.output.is_none());
    if args.url.is_none() {
        // A daemon that does not tell its rules is recorded without them.
        let rules = stop.run_until_cancelled(context.admin().get("/v1/rules")).await;
        recorder.rules = rules.and_then(Result::ok);
    }
    let end = async {
        match args.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = source => ended,
        written = recorder.write(received) => written,
        () = stop.cancelled() => Ok(()),
        () = end => Ok(()),
    };
    let result = end_recording(recorder, ended, args.output.as_deref());
    result.map_err(|error| if args.output.is_none() { on_stdout(error) } else { error })
}

/// Ends the recording and tells the number of its comments. A file of a stream that could not be
/// read at all is removed, because the next attempt could not create it.
fn end_recording(
    recorder: Recorder,
    ended: anyhow::Result<()>,
    path: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let is_empty = recorder.started_ms.is_none();
    let finished = recorder.finish();
    if is_empty && ended.is_err() {
        if let Some(Err(error)) = path.map(std::fs::remove_file) {
            note(&format!("warning: the empty file cannot be removed: {error}"));
        }
    } else if let Ok(comments) = &finished {
        note(&format!("recorded {}", counted(*comments, "comment")));
    }
    ended.and(finished.map(|_| ExitCode::SUCCESS))
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
    let mut shown = SampleRate::ALL;
    loop {
        match client.lines::<TailItem>(&path).await {
            Ok(mut lines) => {
                connected = true;
                // A tail begins with the share that is shown, unless viewers are shown all.
                if shown != SampleRate::ALL {
                    shown = SampleRate::ALL;
                    events.send(StreamEvent::shown(shown)).await?;
                }
                while let Some(line) = lines.next().await {
                    let Ok(item) = line else { break };
                    if let TailItem::Throttle { sample_rate, .. } = &item {
                        shown = *sample_rate;
                    }
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
    /// Returns the change to a share that viewers are told.
    fn shown(sample_rate: SampleRate) -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::Throttle { sample_rate, fixed: false, at_ms: since_1970.as_millis() as u64 }
    }

    fn from_tail(item: TailItem) -> Option<Self> {
        match item {
            // Viewers are not shown it, except one.
            TailItem::Comment(item) if item.shadow => None,
            TailItem::Comment(item) => Some(Self::Comment(item.comment)),
            TailItem::Moderated {
                comment_id: id,
                decision: Decision::Reject,
                reason,
                timestamp,
                ..
            } => Some(Self::Deleted { id, reason, at_ms: timestamp }),
            // A recording has what viewers are sent.
            TailItem::Moderated { .. } | TailItem::Restored { .. } => None,
            TailItem::Throttle { sample_rate, fixed, timestamp } => {
                Some(Self::Throttle { sample_rate, fixed, at_ms: timestamp })
            }
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
    let mut shown = SampleRate::ALL;
    loop {
        options.resume = position.as_ref().map(Position::resume);
        let failure = match ViewerConnection::join(&options).await {
            Ok((mut connection, welcome)) => {
                reconnect.succeeded();
                if shown != welcome.sample_rate {
                    shown = welcome.sample_rate;
                    events.send(StreamEvent::shown(shown)).await?;
                }
                let known = position.filter(|position| position.epoch() == welcome.epoch);
                let mut at = known.unwrap_or(Position::new(welcome.epoch, welcome.seq));
                let error = loop {
                    match connection.next().await {
                        Ok(ServerMessage::Bye { reconnect_after_ms, .. }) => {
                            reconnect.bye(reconnect_after_ms);
                        }
                        Ok(message) => {
                            if let ServerMessage::ThrottleNotification { sample_rate, .. } =
                                &message
                            {
                                shown = *sample_rate;
                            }
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
        ServerMessage::Gap { from_seq, to_seq, .. } => {
            let Some(range) = SeqRange::new(from_seq, to_seq) else { return events };
            let advance = position.advance(range);
            missing(advance.hole);
            missing(advance.fresh);
        }
        ServerMessage::CommentDeleted(deletion) => events.push(StreamEvent::Deleted {
            id: deletion.comment_id,
            reason: deletion.reason.as_ref().to_owned(),
            at_ms: deletion.timestamp,
        }),
        ServerMessage::ThrottleNotification { sample_rate, .. } => {
            events.push(StreamEvent::shown(sample_rate));
        }
        _ => {}
    }
    events
}

/// Writes events as lines.
#[derive(Debug)]
struct Recorder {
    writer: RecordingWriter,
    /// The name of the source, for the header.
    source: String,
    /// The rules of the daemon, for the header.
    rules: Option<RulesInForce>,
    /// Somebody may read the lines as they come.
    is_live: bool,
    /// Time of the first event, which the header has.
    started_ms: Option<u64>,
    comments: u64,
    unflushed: bool,
}

impl Recorder {
    fn new(writer: RecordingWriter, source: String, is_live: bool) -> Self {
        Self {
            writer,
            source,
            rules: None,
            is_live,
            started_ms: None,
            comments: 0,
            unflushed: false,
        }
    }

    /// Writes events until their source ends.
    async fn write(&mut self, mut events: mpsc::Receiver<StreamEvent>) -> anyhow::Result<()> {
        let mut flushes = tokio::time::interval(FLUSH_INTERVAL);
        loop {
            tokio::select! {
                event = events.recv() => {
                    let Some(event) = event else { return Ok(()) };
                    self.apply(event)?;
                    while let Ok(event) = events.try_recv() {
                        self.apply(event)?;
                    }
                    if self.is_live {
                        self.flush()?;
                    }
                }
                _ = flushes.tick() => self.flush()?,
            }
        }
    }

    fn flush(&mut self) -> Result<(), RecordingError> {
        if std::mem::take(&mut self.unflushed) {
            self.writer.flush()?;
        }
        Ok(())
    }

    fn apply(&mut self, event: StreamEvent) -> Result<(), RecordingError> {
        let event = match event {
            StreamEvent::Comment(comment) => {
                self.comments += 1;
                RecordedEvent::Comment(RecordedComment {
                    ts_ms: self.since_start(comment.created_at)?,
                    id: Some(comment.comment_id.to_string().into()),
                    user: comment.name,
                    user_id: Some(comment.user_id),
                    user_key: None,
                    text: comment.message,
                    moderation: None,
                    moderation_s: None,
                })
            }
            StreamEvent::Deleted { id, reason, at_ms } => {
                RecordedEvent::Deletion(RecordedDeletion {
                    ts_ms: self.since_start(at_ms)?,
                    id: id.to_string().into(),
                    reason: Some(reason),
                })
            }
            StreamEvent::Throttle { sample_rate, fixed, at_ms } => {
                let ts_ms = self.since_start(at_ms)?;
                RecordedEvent::Throttle(RecordedThrottle { ts_ms, sample_rate, fixed })
            }
            StreamEvent::Incomplete(text) => {
                note(&format!("warning: {text}"));
                return Ok(());
            }
        };
        self.unflushed = true;
        self.writer.write_event(&event)
    }

    /// Returns the time since the first event, in front of which the header is written.
    fn since_start(&mut self, at_ms: u64) -> Result<u64, RecordingError> {
        let started_ms = match self.started_ms {
            Some(started_ms) => started_ms,
            None => {
                self.started_ms = Some(at_ms);
                self.writer.write_event(&RecordedEvent::Header(RecordingHeader {
                    version: RECORDING_VERSION,
                    source: self.source.clone(),
                    started_at_ms: Some(at_ms),
                    rules: self.rules.take(),
                }))?;
                at_ms
            }
        };
        Ok(at_ms.saturating_sub(started_ms))
    }

    /// Ends the file. Returns the number of comments in the recording.
    fn finish(self) -> anyhow::Result<u64> {
        self.writer.finish()?;
        Ok(self.comments)
    }
}

#[cfg(test)]
mod tests;
