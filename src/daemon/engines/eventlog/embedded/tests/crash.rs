//! `kill -9` at random times. A child process appends, consumes and commits, and prints what was
//! acknowledged until it is killed. The log must then hold every acknowledged record, once, in
//! order.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{ChildStdout, Stdio};
use std::sync::mpsc::Sender;
use std::time::Duration;

use bytesize::ByteSize;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::{open, segment_files};
use crate::daemon::base::config::EventLogConfig;
use crate::daemon::engines::eventlog::{
    ConsumerGroup, NewRecord, Position, Record, SharedLog, StartAt, Topic,
};

const TOPIC: Topic = Topic::CommentEvents;
const DIRECTORY: &str = "LCD_TEST_CRASH_DIRECTORY";
const ROUND: &str = "LCD_TEST_CRASH_ROUND";
const KEYS: u64 = 4;
const GROUP: ConsumerGroup = ConsumerGroup::Archiver;
/// A child that is not killed ends by itself.
const CHILD_LIFETIME: Duration = Duration::from_secs(60);

fn config() -> EventLogConfig {
    // Small, so that segments are often created.
    EventLogConfig { segment_bytes: ByteSize::kib(64), ..EventLogConfig::default() }
}

fn print_line(line: &str) {
    // Flushed, because the buffer of a killed process is lost.
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Appends numbered records of a key and prints the number acknowledged.
async fn append_forever(log: SharedLog, round: u64, key: u64) {
    let mut rng = StdRng::seed_from_u64(round * KEYS + key);
    let mut number = 0;
    loop {
        let batch: Vec<_> = (0..rng.random_range(1..60_u64))
            .map(|_| {
                let padding = "x".repeat(rng.random_range(0..300));
                let text = format!("{round} {key} {number} {padding}");
                number += 1;
                NewRecord { key, timestamp_ms: number, payload: text.into() }
            })
            .collect();
        log.append(TOPIC, batch).await.unwrap();
        print_line(&format!("acked {round} {key} {number}"));
    }
}

/// Consumes, commits, and prints the committed offsets.
async fn consume_forever(log: SharedLog) {
    let mut consumer = log.consume(TOPIC, GROUP, StartAt::Earliest).await.unwrap();
    loop {
        let polled = consumer.poll(100, Duration::from_secs(1)).await.unwrap();
        if let Some(last) = polled.records.last() {
            let offset = last.position.offset + 1;
            consumer.commit(&[Position { partition: 0, offset }]).await.unwrap();
            print_line(&format!("committed {offset}"));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child process of a test"]
async fn child_that_is_killed() {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY).expect("started by its test"));
    let round = std::env::var(ROUND).unwrap().parse().unwrap();
    let log = open(&directory, &config());
    for key in 0..KEYS {
        tokio::spawn(append_forever(log.clone(), round, key));
    }
    tokio::spawn(consume_forever(log));
    tokio::time::sleep(CHILD_LIFETIME).await;
}

/// The output of the children.
#[derive(Debug, Default)]
struct ChildOutput {
    /// Number of acknowledged records, by round and key.
    acked: BTreeMap<(u64, u64), u64>,
    committed: u64,
}

impl ChildOutput {
    /// Reads a line. Returns whether it is about the log and not from the test program.
    fn parse_line(&mut self, line: &str) -> bool {
        let words: Vec<_> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse::<u64>().unwrap();
        match words.first() {
            Some(&"acked") => {
                self.acked.insert((number(1), number(2)), number(3));
            }
            Some(&"committed") => self.committed = number(1),
            _ => return false,
        }
        true
    }
}

/// Reads the complete lines of a child's output. A line without an end was cut by the kill.
fn read_lines(stdout: ChildStdout, lines: &Sender<String>) {
    let mut reader = BufReader::new(stdout);
    let mut line = String::new();
    while reader.read_line(&mut line).unwrap() > 0 && line.ends_with('\n') {
        lines.send(std::mem::take(&mut line)).unwrap();
    }
}

/// Runs a child and kills it `after` its first acknowledgement.
fn run_and_kill(directory: &Path, round: u64, after: Duration, output: &mut ChildOutput) {
    let mut child = super::child("crash::child_that_is_killed")
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let (sender, lines) = std::sync::mpsc::channel();
    let reading = std::thread::spawn(move || read_lines(stdout, &sender));
    while !output.parse_line(&lines.recv_timeout(CHILD_LIFETIME).expect("a child that appends")) {}
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reading.join().unwrap();
    for line in lines {
        output.parse_line(&line);
    }
}

/// Adds an unfinished write behind the last record, as a power failure can leave it.
fn tear(directory: &Path, rng: &mut StdRng) {
    let path = segment_files(directory).pop().unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    if bytes.len() < crate::daemon::engines::eventlog::embedded::segment::HEADER_BYTES as usize {
        // Killed while the segment was created: no record is written before its header is durable.
        return;
    }
    let mut torn = Vec::new();
    let payload = vec![b'y'; 200].into();
    let new = NewRecord { key: 99, timestamp_ms: 0, payload };
    crate::daemon::engines::eventlog::embedded::record::encode(&mut torn, 1 << 40, 0, &new);
    torn.truncate(rng.random_range(1..torn.len()));
    bytes.extend_from_slice(&torn);
    std::fs::write(path, bytes).unwrap();
}

async fn read_everything(log: &SharedLog) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut offset = 1;
    loop {
        let page = log.read_partition(TOPIC, 0, offset, 10_000).await.unwrap();
        records.extend(page.records);
        if page.at_end {
            return records;
        }
        offset = page.next_offset;
    }
}

/// Checks the log against the output of the children. Returns the number of records.
async fn check(log: &SharedLog, output: &ChildOutput) -> usize {
    let records = read_everything(log).await;
    let mut next: BTreeMap<(u64, u64), u64> = BTreeMap::new();
    for (place, record) in records.iter().enumerate() {
        assert_eq!(record.position.offset, place as u64 + 1, "offsets are dense");
        let text = String::from_utf8(record.payload.to_vec()).unwrap();
        let mut words = text.split(' ').map(|word| word.parse::<u64>());
        let mut number = || words.next().unwrap().unwrap();
        let round = number();
        let key = number();
        let number = number();
        let wanted = next.entry((round, key)).or_default();
        assert_eq!(
            number, *wanted,
            "of key {key} in round {round}: lost, repeated or out of order"
        );
        *wanted += 1;
    }
    for (name, acked) in &output.acked {
        let there = next.get(name).copied().unwrap_or(0);
        assert!(there >= *acked, "{name:?}: {acked} acknowledged, {there} there");
    }
    let committed = log.committed(TOPIC, GROUP).await.unwrap();
    let committed = committed.first().map_or(0, |position| position.offset);
    assert!((output.committed..=records.len() as u64 + 1).contains(&committed));
    records.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acked_records_survive_kill_9_at_any_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut rng = StdRng::seed_from_u64(9);
    let mut output = ChildOutput::default();
    let mut epochs = BTreeSet::new();
    for round in 0..12 {
        let after = Duration::from_micros(rng.random_range(0..60_000));
        tokio::task::block_in_place(|| {
            run_and_kill(directory.path(), round, after, &mut output);
        });
        if round % 2 == 1 {
            tear(directory.path(), &mut rng);
        }
        let log = open(directory.path(), &config());
        epochs.insert(log.epoch());
        let records = check(&log, &output).await;
        println!(
            "round {round}: {records} records, {} segments",
            segment_files(directory.path()).len()
        );
        log.close().await.unwrap();
    }
    assert_eq!(epochs.len(), 1);
    assert!(output.committed > 1 && output.acked.len() >= 12);
}
