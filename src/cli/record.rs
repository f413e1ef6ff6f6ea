//! `lc record STREAM`: writes what is said on a stream as it is said.
//!
//! In: the daemon's tail of a stream, or, with `--url`, what a viewer of it is shown. Out: a recording
//! ([`super::recording`]) in a file or on standard output. Always holds: lines are in the order of the
//! stream, their times relative to the first. A comment is held for a moment before it is written, so
//! that its line can say that moderation removed it. When full: more than [`MAX_HELD`] held comments are
//! written at once.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use ahash::AHashMap;
use clap::Args;
use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::context::Context;
use super::recording::{RecordedComment, RecordingWriter};
use crate::client::admin::{AdminClient, AdminError};
use crate::client::viewer::{
    ConnectError, Position, Reconnect, SeqRange, ViewerConnection, ViewerOptions,
};
use crate::client::{Endpoint, Trust};
use crate::loadgen::stop_on_interrupt;
use crate::protocol::admin::TailItem;
use crate::protocol::events::Decision;
use crate::protocol::{CommentId, SequencedComment, ServerMessage, StreamId};

/// Comments held at most.
const MAX_HELD: usize = 100_000;
/// Items that may wait to be written; a full channel makes the reader of the stream wait.
const QUEUE_ITEMS: usize = 4096;
/// Between two attempts to find a daemon that went away.
const RETRY: Duration = Duration::from_secs(1);
/// What a line says of a comment that moderation removed.
const DELETED: &str = "delete";

/// Record a stream's comments as JSON lines, for lc replay and lc loadgen --replay.
///
/// Ends with Ctrl-C or after --duration. Exit codes: 0 well, 1 could not run, 64 wrong usage.
#[derive(Debug, Clone, Args)]
pub struct RecordArgs {
    #[arg(value_name = "STREAM")]
    pub stream: StreamId,

    /// A new file, compressed if its name ends in .gz [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Record what a viewer there is shown, instead of asking the local daemon
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

/// What happens on a stream.
#[derive(Debug)]
enum Item {
    Comment(SequencedComment),
    Deleted(CommentId),
    /// Something is missing from here on, and why.
    Incomplete(String),
}

/// Records until interrupted.
///
/// # Errors
/// Where there is nothing to record from, or the file cannot be written.
pub async fn run(args: RecordArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let stop = stop_on_interrupt();
    let (items, received) = mpsc::channel(QUEUE_ITEMS);
    let source = async {
        match &args.url {
            Some(endpoint) => watch(&args, endpoint.clone(), &items).await,
            None => tail(AdminClient::new(context.socket.clone()), args.stream, &items).await,
        }
    };
    let writer = match &args.output {
        Some(path) => RecordingWriter::create(path)?,
        None => RecordingWriter::stdout(),
    };
    let mut tape = Tape::new(writer, args.hold);
    let end = async {
        match args.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = source => ended,
        written = tape.write(received) => written,
        () = stop.cancelled() => Ok(()),
        () = end => Ok(()),
    };
    let comments = tape.finish()?;
    eprintln!("recorded {comments} comments");
    ended.map(|()| ExitCode::SUCCESS)
}

/// Follows the daemon's own tail, also over its restarts.
async fn tail(
    client: AdminClient,
    stream: StreamId,
    items: &mpsc::Sender<Item>,
) -> anyhow::Result<()> {
    let path = format!("/v1/tail/{stream}");
    let mut connected = false;
    loop {
        match client.lines::<TailItem>(&path).await {
            Ok(mut lines) => {
                connected = true;
                while let Some(line) = lines.next().await {
                    let Ok(item) = line else { break };
                    if let Some(item) = Item::from_tail(item) {
                        items.send(item).await?;
                    }
                }
            }
            Err(AdminError::NotRunning { .. } | AdminError::Broken(_)) if connected => {
                tokio::time::sleep(RETRY).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        }
        let text = "the daemon ended the tail; what is said until it is back is missing";
        items.send(Item::Incomplete(text.to_owned())).await?;
        tokio::time::sleep(RETRY).await;
    }
}

impl Item {
    fn from_tail(item: TailItem) -> Option<Self> {
        match item {
            TailItem::Comment(comment) => Some(Self::Comment(comment)),
            TailItem::Moderated { comment_id, decision: Decision::Reject, .. } => {
                Some(Self::Deleted(comment_id))
            }
            TailItem::Moderated { .. } => None,
            TailItem::Missed { items } => {
                Some(Self::Incomplete(format!("{items} items came too fast and are missing")))
            }
        }
    }
}

/// Follows the stream as an anonymous viewer, coming back to its position when cut off.
async fn watch(
    args: &RecordArgs,
    endpoint: Endpoint,
    items: &mpsc::Sender<Item>,
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
                            for item in shown(message, &mut at) {
                                items.send(item).await?;
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

/// A server that never was there is an error; one that went away is waited for.
fn retry_wait(
    error: ConnectError,
    reconnect: &mut Reconnect,
    was_there: bool,
) -> Result<Duration, ConnectError> {
    match reconnect.after_failure(&error) {
        Some(wait) if was_there => Ok(wait),
        _ => Err(error),
    }
}

/// What a message to a viewer means for the recording.
fn shown(message: ServerMessage, position: &mut Position) -> Vec<Item> {
    let mut items = Vec::new();
    let mut missing = |range: Option<SeqRange>| {
        if let Some(range) = range {
            let text = format!("what lies from seq {} to {} is missing", range.from, range.to);
            items.push(Item::Incomplete(text));
        }
    };
    match message {
        ServerMessage::Comments(batch) => {
            let before = position.seq();
            let Some(range) = SeqRange::new(batch.from_seq, batch.to_seq) else { return items };
            missing(position.advance(range).hole);
            let new = batch.comments.into_iter().filter(|comment| comment.seq > before);
            items.extend(new.map(Item::Comment));
        }
        ServerMessage::Gap { from_seq, to_seq } => {
            let Some(range) = SeqRange::new(from_seq, to_seq) else { return items };
            let advance = position.advance(range);
            missing(advance.hole);
            missing(advance.fresh);
        }
        ServerMessage::CommentDeleted(deletion) => items.push(Item::Deleted(deletion.comment_id)),
        _ => {}
    }
    items
}

/// Comments on their way into the recording.
#[derive(Debug)]
struct Tape {
    writer: RecordingWriter,
    hold: Duration,
    /// `created_at` of the first comment.
    began_at: Option<u64>,
    written: u64,
    held: VecDeque<Held>,
    /// Position of a held comment, counted from the first of the recording.
    by_id: AHashMap<CommentId, u64>,
}

#[derive(Debug)]
struct Held {
    due: Instant,
    comment_id: CommentId,
    line: RecordedComment,
}

impl Tape {
    fn new(writer: RecordingWriter, hold: Duration) -> Self {
        Self {
            writer,
            hold,
            began_at: None,
            written: 0,
            held: VecDeque::new(),
            by_id: AHashMap::new(),
        }
    }

    /// Takes items until their source ends.
    async fn write(&mut self, mut items: mpsc::Receiver<Item>) -> anyhow::Result<()> {
        loop {
            let due = self.held.front().map(|held| held.due);
            tokio::select! {
                item = items.recv() => match item {
                    Some(item) => self.take(item)?,
                    None => return Ok(()),
                },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                    self.release(Instant::now())?;
                    self.writer.flush()?;
                }
            }
        }
    }

    fn take(&mut self, item: Item) -> anyhow::Result<()> {
        match item {
            Item::Comment(comment) => {
                let began_at = *self.began_at.get_or_insert(comment.created_at);
                let line = RecordedComment {
                    ts_ms: comment.created_at.saturating_sub(began_at),
                    user: comment.name,
                    text: comment.message,
                    moderation: None,
                    moderation_s: None,
                };
                let comment_id = comment.comment_id;
                self.by_id.insert(comment_id, self.written + self.held.len() as u64);
                self.held.push_back(Held { due: Instant::now() + self.hold, comment_id, line });
                if self.held.len() > MAX_HELD {
                    self.write_oldest()?;
                }
            }
            Item::Deleted(comment_id) => {
                // One that is written already, or was never seen, stays as it is.
                if let Some(number) = self.by_id.get(&comment_id)
                    && let Some(held) = self.held.get_mut((number - self.written) as usize)
                {
                    held.line.moderation = Some(DELETED.to_owned());
                }
            }
            Item::Incomplete(text) => eprintln!("warning: {text}"),
        }
        Ok(())
    }

    /// Writes all that was held long enough.
    fn release(&mut self, now: Instant) -> anyhow::Result<()> {
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

    /// Writes the rest, and says how many comments it were in all.
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
    use crate::cli::recording;
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
    async fn comments_are_written_in_order_with_what_moderation_did_in_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.jsonl.gz");
        let writer = RecordingWriter::create(&path).unwrap();
        let mut tape = Tape::new(writer, Duration::from_secs(2));
        let (items, received) = mpsc::channel(16);
        let say = async {
            items.send(Item::Comment(comment(1))).await.unwrap();
            items.send(Item::Comment(comment(2))).await.unwrap();
            items.send(Item::Deleted(comment(2).comment_id)).await.unwrap();
            tokio::time::sleep(Duration::from_secs(5)).await;
            items.send(Item::Deleted(comment(1).comment_id)).await.unwrap();
            items.send(Item::Comment(comment(5))).await.unwrap();
            drop(items);
        };
        let (written, ()) = tokio::join!(tape.write(received), say);
        written.unwrap();
        assert_eq!(tape.held.len(), 1, "the others were due");
        assert_eq!(tape.finish().unwrap(), 3);
        let lines = recording::read(&path).unwrap();
        let told: Vec<_> =
            lines.iter().map(|l| (l.ts_ms, &*l.user, l.moderation.as_deref())).collect();
        assert_eq!(
            told,
            [(0, "user1", None), (100, "user2", Some("delete")), (400, "user5", None)]
        );
    }

    #[test]
    fn a_viewer_records_each_comment_once_and_says_what_is_missing() {
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
        let mut tell = |message| -> Vec<String> {
            let text = |item| match item {
                Item::Comment(comment) => comment.message.to_string(),
                Item::Deleted(_) => "deleted".to_owned(),
                Item::Incomplete(text) => text,
            };
            shown(message, &mut position).into_iter().map(text).collect()
        };
        assert_eq!(tell(batch(11, 12, &[11, 12])), ["text 11", "text 12"]);
        assert_eq!(tell(batch(12, 13, &[12, 13])), ["text 13"]);
        let gap = ServerMessage::Gap { from_seq: 14, to_seq: 20 };
        assert_eq!(tell(gap), ["what lies from seq 14 to 20 is missing"]);
        let hole = tell(batch(25, 25, &[25]));
        assert_eq!(hole, ["what lies from seq 21 to 24 is missing", "text 25"]);
    }
}
