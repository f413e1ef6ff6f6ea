//! `lc loadgen` against a real daemon, in one process and in several.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests print what they measured")]
#![allow(clippy::unwrap_used)]

use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Daemon, PATIENCE};

/// Turns sampling off, so that every comment must arrive.
const SHOW_ALL: &str = "broadcast.throttle = [{ from_per_second = 0.0, sample_rate = 1.0 }]";
const VIEWERS: u64 = 60;
const COMMENTS: u64 = 100;

fn command(daemon: &Daemon, scheme: &str, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lc"));
    let url = format!("{scheme}://{}", daemon.address);
    command.arg("--data-dir").arg(daemon.data_dir()).args(["loadgen", "--url", &url]);
    command.args(arguments.split_whitespace());
    command
}

fn report(output: &Output) -> Value {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    serde_json::from_slice(&output.stdout).unwrap()
}

fn run(daemon: &Daemon, scheme: &str, arguments: &str) -> Value {
    let load = format!("--viewers {VIEWERS} --rate 50 --duration 2s --senders 4 {arguments}");
    report(&command(daemon, scheme, &load).output().unwrap())
}

#[test]
fn several_processes_report_what_one_does() {
    let daemon = Daemon::start(SHOW_ALL);
    let mut keys: Vec<Vec<String>> = Vec::new();
    for processes in [1, 2, 3] {
        let report = run(
            &daemon,
            "ws",
            &format!("--processes {processes} --encoding json,msgpack --source-addresses 3"),
        );
        assert_eq!(report["generator"]["processes"], processes);
        for (figure, value) in [
            ("connected", VIEWERS),
            ("published", COMMENTS),
            ("acked", COMMENTS),
            ("expected", COMMENTS * VIEWERS),
            ("delivered", COMMENTS * VIEWERS),
            ("lost", 0),
            ("skipped", 0),
            ("duplicated", 0),
            ("out_of_order", 0),
            ("malformed", 0),
            ("disconnected", 0),
        ] {
            assert_eq!(report[figure], value, "{figure} of {processes}: {report}");
        }
        assert!(report["latency_ms"]["p99"].is_f64(), "{report}");
        keys.push(report.as_object().unwrap().keys().cloned().collect());
    }
    assert!(keys.windows(2).all(|pair| pair[0] == pair[1]), "{keys:?}");
}

#[test]
fn deflate_viewers_miss_nothing_through_storms() {
    for deflate in ["shared", "single"] {
        let daemon = Daemon::start(&format!(
            "{SHOW_ALL}\ndelivery.deflate = \"{deflate}\"\ndelivery.deflate_key_frames = 8"
        ));
        let load = "--encoding json+deflate,msgpack+deflate,json --storm-at 1s --processes 2";
        let report = run(&daemon, "ws", load);
        for (figure, value) in [
            ("delivered", COMMENTS * VIEWERS),
            ("reconnects", VIEWERS),
            ("lost", 0),
            ("skipped", 0),
            ("duplicated", 0),
            ("malformed", 0),
            ("disconnected", 0),
        ] {
            assert_eq!(report[figure], value, "{figure}, {deflate}: {report}");
        }
    }
    let daemon = Daemon::start("delivery.deflate = \"off\"");
    let load = "--encoding json+deflate --viewers 5 --rate 5 --duration 1s --senders 1";
    let output = command(&daemon, "ws", load).output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    assert!(String::from_utf8_lossy(&printed).contains("did not agree to permessage-deflate"));
}

#[test]
fn a_storm_misses_nothing_over_tls_too() {
    for (config, scheme, arguments) in [
        (SHOW_ALL.to_owned(), "ws", "--processes 2"),
        (format!("{SHOW_ALL}\ngateway.dev_tls = true"), "wss", "--processes 2 --insecure"),
    ] {
        let daemon = Daemon::start(&config);
        let report = run(&daemon, scheme, &format!("--storm-at 1s {arguments}"));
        assert_eq!(report["storms"][0]["viewers"], VIEWERS, "{report}");
        assert_eq!(report["storms"][0]["back"], VIEWERS, "{report}");
        assert_eq!(report["reconnects"], VIEWERS, "{report}");
        assert_eq!(report["delivered"], COMMENTS * VIEWERS, "{report}");
        assert_eq!(report["lost"], 0, "{report}");
        assert_eq!(report["skipped"], 0, "{report}");
    }
}

#[test]
fn viewers_of_each_transport_miss_nothing() {
    for (tls, scheme, arguments) in
        [("", "ws", ""), ("\ngateway.dev_tls = true", "wss", "--insecure")]
    {
        for transports in ["sse", "poll", "websocket,sse,poll"] {
            let daemon = Daemon::start(&format!("{SHOW_ALL}{tls}"));
            let load = format!("--transport {transports} --storm-at 1s {arguments}");
            let report = run(&daemon, scheme, &load);
            for (figure, value) in [
                ("connected", VIEWERS),
                ("delivered", COMMENTS * VIEWERS),
                ("reconnects", VIEWERS),
                ("lost", 0),
                ("skipped", 0),
                ("duplicated", 0),
                ("out_of_order", 0),
                ("malformed", 0),
                ("disconnected", 0),
            ] {
                assert_eq!(report[figure], value, "{figure}, {transports}: {report}");
            }
        }
    }
}

/// Viewers connect faster than the rate allows twice: at the start and after the storm.
#[test]
fn all_viewers_return_within_the_connection_rate() {
    for (tls, scheme, arguments) in
        [("", "ws", ""), ("gateway.dev_tls = true", "wss", "--insecure")]
    {
        let limit = "gateway.connections_per_second = 20\ngateway.connection_burst = 10";
        let daemon = Daemon::start(&format!("{SHOW_ALL}\n{limit}\n{tls}"));
        let load = format!("--processes 2 --storm-at 500ms {arguments}");
        let report = run(&daemon, scheme, &load);
        for (figure, value) in [
            ("connected", VIEWERS),
            ("reconnects", VIEWERS),
            ("delivered", COMMENTS * VIEWERS),
            ("lost", 0),
            ("skipped", 0),
            ("duplicated", 0),
            ("disconnected", 0),
        ] {
            assert_eq!(report[figure], value, "{figure}: {report}");
        }
        let refused = report["connect_refused"]["connection_rate"].as_u64().unwrap();
        // Except for the burst all viewers were refused both times, most of them once, because each
        // gets its own time to retry.
        assert!((VIEWERS / 2..=4 * VIEWERS).contains(&refused), "{report}");
        assert_eq!(report["connect_failed"], serde_json::json!({}), "{report}");
        let back_ms = report["storms"][0]["all_back_ms"].as_f64().unwrap();
        assert!(back_ms >= 2000.0, "50 viewers beyond the burst at 20 per second: {report}");
    }
}

/// Kills the process when dropped, even if the test fails.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn wait_for_connections(daemon: &Daemon, wanted: u64) {
    let reached = async {
        loop {
            let status: live_comments::protocol::admin::Status =
                daemon.admin().get("/v1/status").await.unwrap();
            if status.connections == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, reached).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_end_with_their_parent() {
    let daemon = Daemon::start(SHOW_ALL);
    let load = "--viewers 40 --rate 10 --duration 10m --senders 2 --processes 2";
    let child =
        command(&daemon, "ws", load).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut child = KillOnDrop(child);
    wait_for_connections(&daemon, 42).await;
    child.0.kill().unwrap();
    wait_for_connections(&daemon, 0).await;
}
