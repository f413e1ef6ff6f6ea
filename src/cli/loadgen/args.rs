//! The command line of `lc loadgen`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::cli::arguments::path;
use crate::client::Endpoint;
use crate::loadgen::{Threshold, WireForm};
use crate::protocol::StreamId;
use crate::protocol::admin::TransportKind;
use crate::protocol::message::Encoding;
use crate::protocol::quantity::{parse_count, parse_duration};

/// Put a stream under load and measure what its viewers receive.
///
/// Latency counts from the time at which a comment is due, so a server that stalls is charged for
/// every comment it keeps waiting. Exit codes: 0 success, 1 the run failed, 2 a --fail-if condition
/// held, 64 wrong usage.
#[derive(Debug, Clone, Args)]
pub struct LoadgenArgs {
    /// Where to connect, as ws://host:port; several share the viewers. Default: the local daemon
    #[arg(long, value_name = "WS_URL", num_args = 1..)]
    pub url: Vec<Endpoint>,

    #[arg(long, value_name = "ID", default_value = "1")]
    pub stream: StreamId,

    /// Connections that watch
    #[arg(long, value_name = "N", default_value = "100", value_parser = parse_count)]
    pub viewers: u64,

    /// Connect no viewers, to measure ingest only
    #[arg(long, conflicts_with = "viewers")]
    pub no_viewers: bool,

    /// Users who comment, each over its own connection
    #[arg(long, value_name = "N", default_value = "10", value_parser = parse_senders)]
    pub senders: u64,

    /// Comments per second of all senders together [default: 100]
    #[arg(long, value_name = "N", value_parser = parse_count, conflicts_with = "replay")]
    pub rate: Option<u64>,

    /// Send a recording instead of generated comments
    #[arg(long, value_name = "FILE", value_parser = path)]
    pub replay: Option<PathBuf>,

    /// Speed of the replay, as a multiple of the recorded speed
    #[arg(long, value_name = "X", default_value = "1", value_parser = parse_speed, requires = "replay")]
    pub speed: f64,

    /// How long to send [default: 30s, or the length of the recording]
    #[arg(long, value_name = "T", allow_hyphen_values = true, value_parser = parse_duration)]
    pub duration: Option<Duration>,

    /// Connections opened per second
    #[arg(long, value_name = "N", default_value = "2000", value_parser = parse_positive)]
    pub connect_rate: u64,

    /// Percentage of viewers that never read
    #[arg(long, value_name = "P", default_value = "0", value_parser = parse_percent)]
    pub slow_percent: f64,

    /// The transport of viewers; several, as in websocket,sse,poll, share the viewers. Server-sent
    /// events and long polls carry JSON; senders use WebSockets
    #[arg(long, value_enum, default_value = "websocket", value_delimiter = ',')]
    pub transport: Vec<TransportArg>,

    /// The form of messages over WebSocket; several, as in json,msgpack+deflate, share the viewers.
    /// With +deflate viewers offer permessage-deflate and read it as any client does; senders' own
    /// connections are not compressed
    #[arg(long, value_enum, default_value = "json", value_delimiter = ',')]
    pub encoding: Vec<EncodingArg>,

    /// Reactions per second of all senders together
    #[arg(long, value_name = "N", default_value = "0", value_parser = parse_count)]
    pub reactions_rate: u64,

    /// Drop all viewers' connections at this time and reconnect them at once from their positions;
    /// may be given more than once
    #[arg(long, value_name = "T", allow_hyphen_values = true,
        value_parser = parse_duration, conflicts_with = "no_viewers")]
    pub storm_at: Vec<Duration>,

    /// Processes that hold the viewers [default: as many as descriptors need and processors serve]
    #[arg(long, value_name = "N", value_parser = parse_processes)]
    pub processes: Option<u64>,

    /// Loopback addresses to connect from, 127.0.0.2 and on [default: as many as ports need]
    #[arg(long, value_name = "N", value_parser = parse_sources)]
    pub source_addresses: Option<u32>,

    /// How long to wait for outstanding messages after the last comment
    #[arg(long, value_name = "T", default_value = "5s", allow_hyphen_values = true,
        value_parser = parse_duration)]
    pub grace: Duration,

    /// Give each viewer its own token, for streams that are closed to anonymous viewers
    #[arg(long)]
    pub viewer_tokens: bool,

    /// Make tokens with the secret in this file instead of asking the daemon
    #[arg(long, value_name = "FILE", value_parser = path)]
    pub signing_key: Option<PathBuf>,

    /// Accept any certificate, as of lcd --dev-tls
    #[arg(long)]
    pub insecure: bool,

    /// Exit with 2 if this holds of the report, as in lost>0 or p99>100ms; may be given more than
    /// once
    #[arg(long, value_name = "EXPR")]
    pub fail_if: Vec<Threshold>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EncodingArg {
    Json,
    Msgpack,
    #[value(name = "json+deflate")]
    JsonDeflate,
    #[value(name = "msgpack+deflate")]
    MsgpackDeflate,
}

impl From<EncodingArg> for WireForm {
    fn from(arg: EncodingArg) -> Self {
        use EncodingArg::{Json, JsonDeflate, Msgpack, MsgpackDeflate};
        let encoding = match arg {
            Json | JsonDeflate => Encoding::Json,
            Msgpack | MsgpackDeflate => Encoding::Msgpack,
        };
        Self { encoding, deflate: matches!(arg, JsonDeflate | MsgpackDeflate) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TransportArg {
    Websocket,
    Sse,
    Poll,
}

impl From<TransportArg> for TransportKind {
    fn from(arg: TransportArg) -> Self {
        match arg {
            TransportArg::Websocket => Self::Websocket,
            TransportArg::Sse => Self::Sse,
            TransportArg::Poll => Self::Poll,
        }
    }
}

/// Parses a speed above 0.
pub(crate) fn parse_speed(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('x').parse::<f64>() {
        Ok(speed) if speed.is_finite() && speed > 0.0 => Ok(speed),
        _ => Err(format!("`{text}` is not a speed: write a number above 0, such as 20 or 0.5")),
    }
}

fn parse_percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err(format!("`{text}` is not a percentage: write a number from 0 to 100")),
    }
}

fn parse_positive(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        0 => Err("it must be at least 1".to_owned()),
        count => Ok(count),
    }
}

fn parse_processes(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        count @ 1..=1024 => Ok(count),
        _ => Err(format!("`{text}` processes: write a number from 1 to 1024")),
    }
}

fn parse_sources(text: &str) -> Result<u32, String> {
    match parse_count(text)? {
        count @ 1..=1_000_000 => Ok(count as u32),
        _ => Err(format!("`{text}` addresses: write a number from 1 to 1M")),
    }
}

fn parse_senders(text: &str) -> Result<u64, String> {
    match parse_count(text)? {
        count @ 1..=10_000 => Ok(count),
        _ => Err(format!("`{text}` senders: write a number from 1 to 10000")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: LoadgenArgs,
    }

    fn parse(line: &str) -> Result<LoadgenArgs, String> {
        let words = std::iter::once("loadgen").chain(line.split_whitespace());
        Line::try_parse_from(words).map(|line| line.args).map_err(|error| error.to_string())
    }

    #[test]
    fn documented_options_are_parsed() {
        let args = parse(
            "--url ws://a:1 ws://b:2 --stream 7 --viewers 10k --senders 20 --replay chat.jsonl.gz \
             --speed 20 --duration 10m --connect-rate 1k --slow-percent 1 --encoding msgpack \
             --fail-if lost>0 --fail-if p99>100ms",
        )
        .unwrap();
        assert_eq!(args.url.len(), 2);
        assert_eq!((args.viewers, args.senders, args.connect_rate), (10_000, 20, 1_000));
        assert_eq!((args.speed, args.slow_percent), (20.0, 1.0));
        assert_eq!(args.duration, Some(Duration::from_secs(600)));
        assert_eq!(args.fail_if.len(), 2);
        assert_eq!(args.encoding, [EncodingArg::Msgpack]);
        let args = parse(
            "--encoding json,msgpack+deflate --storm-at 10s --storm-at 1m --reactions-rate 50 --processes 4 \
             --source-addresses 8",
        )
        .unwrap();
        assert_eq!(args.encoding, [EncodingArg::Json, EncodingArg::MsgpackDeflate]);
        assert_eq!(args.storm_at, [Duration::from_secs(10), Duration::from_secs(60)]);
        assert_eq!((args.reactions_rate, args.processes), (50, Some(4)));
        assert_eq!(args.source_addresses, Some(8));
        let args = parse("").unwrap();
        assert_eq!((args.viewers, args.stream, args.rate), (100, StreamId(1), None));
    }

    #[test]
    fn wrong_usage_names_the_right_one() {
        for (line, expected) in [
            ("--viewers many", "write 1000, 10k"),
            ("--rate 5 --replay chat.jsonl", "cannot be used with"),
            ("--speed 2", "--replay"),
            ("--replay f --speed 0", "above 0"),
            ("--slow-percent 101", "from 0 to 100"),
            ("--fail-if loss>0", "figures:"),
            ("--url localhost", "write ws://host:port"),
            ("--senders 0", "from 1 to 10000"),
            ("--connect-rate 0", "at least 1"),
            ("--processes 0", "from 1 to 1024"),
            ("--source-addresses 0", "from 1 to 1M"),
            ("--encoding json,xml", "msgpack"),
            ("--transport sse,telnet", "websocket"),
            ("--viewers 5 --no-viewers", "cannot be used with"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
