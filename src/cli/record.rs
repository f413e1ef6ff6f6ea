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
mod tests {
    use super::*;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use crate::loadgen::recording::{self, RecordingReader};
    use crate::protocol::admin::RuleLevel;
    use crate::protocol::message::CommentsBatch;
    use crate::protocol::{Epoch, UserId};

    fn comment(seq: u64) -> SequencedComment {
        SequencedComment {
            comment_id: CommentId::from_unix_ticks(17_000_000_000_000_000 + seq, 7, [1; 6]),
            user_id: UserId(seq),
            name: format!("user{seq}").into(),
            message: format!("text {seq}").into(),
            created_at: 1_700_000_000_000 + seq * 100,
            seq,
            badges: Default::default(),
            parent_id: None,
        }
    }

    fn rules() -> RulesInForce {
        let all = RuleLevel { from_per_second: 0.0, sample_rate: SampleRate::ALL };
        RulesInForce {
            throttle: vec![all],
            hysteresis: 0.8,
            step_down_after_ms: 5_000,
            egress_bytes_per_second: 0,
        }
    }

    fn deleted(seq: u64, at_ms: u64) -> StreamEvent {
        let reason = "spam".to_owned();
        StreamEvent::Deleted { id: comment(seq).comment_id, reason, at_ms }
    }

    async fn record(path: &Path, sent: Vec<StreamEvent>) -> u64 {
        let writer = RecordingWriter::create(path).unwrap();
        let mut recorder = Recorder::new(writer, "stream 7".to_owned(), false);
        recorder.rules = Some(rules());
        let (events, received) = mpsc::channel(16);
        let publish = async {
            for event in sent {
                events.send(event).await.unwrap();
            }
            drop(events);
        };
        let (written, ()) = tokio::join!(recorder.write(received), publish);
        written.unwrap();
        recorder.finish().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn events_keep_order_and_their_times() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["chat.lcr", "chat.jsonl", "chat.jsonl.gz"] {
            let path = dir.path().join(name);
            let quarter = SampleRate::from_share(0.25).unwrap();
            let start = comment(1).created_at;
            let throttle =
                StreamEvent::Throttle { sample_rate: quarter, fixed: true, at_ms: start + 150 };
            let sent = vec![
                StreamEvent::Comment(comment(1)),
                StreamEvent::Comment(comment(2)),
                throttle,
                deleted(2, start + 300),
                StreamEvent::Incomplete("items are missing".to_owned()),
                StreamEvent::Comment(comment(5)),
                // Of a comment before the recording, and by a clock that is behind.
                deleted(9, start - 1),
            ];
            assert_eq!(record(&path, sent).await, 3);
            let comments = recording::read(&path).unwrap().comments;
            let comments: Vec<_> =
                comments.iter().map(|c| (c.ts_ms, &*c.user, c.moderation.as_deref())).collect();
            let expected =
                [(0, "user1", None), (100, "user2", Some("delete")), (400, "user5", None)];
            assert_eq!(comments, expected);
            let mut reader = RecordingReader::open(&path).unwrap();
            let mut times = Vec::new();
            while let Some(event) = reader.next_event().unwrap() {
                times.push(event.ts_ms());
                match event {
                    RecordedEvent::Header(header) => {
                        assert_eq!(header.started_at_ms, Some(start));
                        assert_eq!(header.source, "stream 7");
                        assert_eq!(header.rules, Some(rules()));
                    }
                    RecordedEvent::Throttle(throttle) => {
                        assert_eq!((throttle.sample_rate, throttle.fixed), (quarter, true));
                    }
                    RecordedEvent::Deletion(deletion) => {
                        assert_eq!(deletion.reason.as_deref(), Some("spam"));
                    }
                    RecordedEvent::Comment(_) => {}
                }
            }
            let expected = [None, Some(0), Some(100), Some(150), Some(300), Some(400), Some(400)];
            assert_eq!(times, expected);
        }
    }

    #[tokio::test]
    async fn a_stream_that_cannot_be_read_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.lcr");
        for sent in [0, 1] {
            let writer = RecordingWriter::create(&path).unwrap();
            let mut recorder = Recorder::new(writer, "stream 7".to_owned(), false);
            let (events, received) = mpsc::channel(16);
            for seq in 0..sent {
                events.send(StreamEvent::Comment(comment(seq))).await.unwrap();
            }
            drop(events);
            recorder.write(received).await.unwrap();
            let refused = Err(anyhow::anyhow!("stream 7 does not exist"));
            let error = end_recording(recorder, refused, Some(&path)).unwrap_err();
            assert_eq!(error.to_string(), "stream 7 does not exist");
            assert_eq!(path.exists(), sent > 0, "what was recorded is kept");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_killed_recording_has_all_but_a_second() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["chat.lcr", "chat.jsonl", "chat.jsonl.gz"] {
            let path = dir.path().join(name);
            let writer = RecordingWriter::create(&path).unwrap();
            let mut recorder = Recorder::new(writer, "stream 7".to_owned(), false);
            let (events, received) = mpsc::channel(16);
            let publish = async {
                for seq in 1..=5 {
                    events.send(StreamEvent::Comment(comment(seq))).await.unwrap();
                }
                tokio::time::sleep(2 * FLUSH_INTERVAL).await;
                let written = recording::read(&path).unwrap();
                assert_eq!(written.comments.len(), 5, "{name}");
                drop(events);
            };
            let (written, ()) = tokio::join!(recorder.write(received), publish);
            written.unwrap();
        }
    }

    #[tokio::test]
    async fn a_restarted_daemon_may_show_all_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let listener = tokio::net::UnixListener::bind(&path).unwrap();
        let quarter = SampleRate::from_share(0.25).unwrap();
        let change = TailItem::Throttle { sample_rate: quarter, fixed: false, timestamp: 7 };
        let line = format!("{}\n", crate::protocol::json::to_string(&change).unwrap());
        let answers = Arc::new(Mutex::new(vec![String::new(), line]));
        let answer = move || {
            let lines = answers.lock().pop().unwrap_or_default();
            async move { lines }
        };
        let routes = axum::Router::new().route("/v1/tail/7", axum::routing::get(answer));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await });
        let (events, mut received) = mpsc::channel(16);
        let first_three = async {
            let mut shares = Vec::new();
            for _ in 0..3 {
                shares.push(match received.recv().await {
                    Some(StreamEvent::Throttle { sample_rate, .. }) => Some(sample_rate),
                    _ => None,
                });
            }
            shares
        };
        let shares = tokio::select! {
            ended = tail(AdminClient::new(path), StreamId(7), &events) => panic!("{ended:?}"),
            shares = first_three => shares,
        };
        assert_eq!(shares, [Some(quarter), None, Some(SampleRate::ALL)]);
        server.abort();
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
                StreamEvent::Deleted { .. } => "deleted".to_owned(),
                StreamEvent::Throttle { sample_rate, .. } => sample_rate.share().to_string(),
                StreamEvent::Incomplete(text) => text,
            };
            events_of(message, &mut position).into_iter().map(text).collect()
        };
        assert_eq!(texts(batch(11, 12, &[11, 12])), ["text 11", "text 12"]);
        assert_eq!(texts(batch(12, 13, &[12, 13])), ["text 13"]);
        let notice = ServerMessage::ThrottleNotification {
            sample_rate: SampleRate::from_share(0.5).unwrap(),
            message: String::new(),
        };
        assert_eq!(texts(notice), ["0.5"]);
        let gap = ServerMessage::Gap { from_seq: 14, to_seq: 20, history: None };
        assert_eq!(texts(gap), ["comments from seq 14 to 20 are missing"]);
        let hole = texts(batch(25, 25, &[25]));
        assert_eq!(hole, ["comments from seq 21 to 24 are missing", "text 25"]);
    }
}
