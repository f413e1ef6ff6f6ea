//! Input of operators: requests to the admin socket, and configurations.

use std::process::Command;

use live_comments::client::admin::AdminError;

use crate::support::Daemon;

pub(super) async fn admin_requests(daemon: &Daemon) -> usize {
    let admin = daemon.admin();
    let cases = [
        ("/v1/ban", serde_json::json!({}), "bad_message"),
        ("/v1/ban", serde_json::json!({"user": 7}), "bad_message"),
        ("/v1/ban", serde_json::json!({"user": "nobody"}), "not_found"),
        ("/v1/ban", serde_json::json!({"user": "7", "colour": 1}), "bad_message"),
        ("/v1/timeout", serde_json::json!({"user": "7"}), "bad_message"),
        ("/v1/unban", serde_json::json!({"user": "7"}), "not_found"),
        ("/v1/throttle", serde_json::json!({"stream_id": 1, "sample_rate": 2.0}), "bad_message"),
        ("/v1/throttle", serde_json::json!({"stream_id": 77}), "unknown_stream"),
        ("/v1/announce", serde_json::json!({"stream_id": 1, "message": ""}), "bad_message"),
        ("/v1/delete", serde_json::json!({"comment_id": "x"}), "bad_message"),
        (
            "/v1/delete",
            serde_json::json!({"comment_id": "2f5e1c80-c6e5-11f0-8000-0242ac120002"}),
            "not_found",
        ),
        (
            "/v1/mod/approve",
            serde_json::json!({"comment_id": "2f5e1c80-c6e5-11f0-8000-0242ac120002"}),
            "not_found",
        ),
        ("/v1/tokens", serde_json::json!({"user_id": 0, "name": "x"}), "bad_message"),
        ("/v1/streams", serde_json::json!({"starts_at": 1}), "bad_message"),
        ("/v1/streams", serde_json::json!({"starts_at": -1}), "bad_message"),
        ("/v1/streams", serde_json::json!({"starts_at": "soon"}), "bad_message"),
        ("/v1/streams", serde_json::json!({"starts_at": u64::MAX}), "bad_message"),
        (
            "/v1/streams",
            serde_json::json!({"state": "live", "starts_at": 4_000_000_000_000_u64}),
            "bad_message",
        ),
        ("/v1/streams", serde_json::json!({"title": "a\u{1b}[2J"}), "bad_message"),
        ("/v1/streams", serde_json::json!({"description": "a\nb"}), "bad_message"),
        ("/v1/streams", serde_json::json!({"description": "x".repeat(2_001)}), "bad_message"),
        ("/v1/streams/1", serde_json::json!({"title": "x".repeat(201)}), "bad_message"),
        ("/v1/streams/1", serde_json::json!({"description": "\u{1b}]0;x\u{7}"}), "bad_message"),
        ("/v1/streams/1", serde_json::json!({"starts_at": 4_000_000_000_000_u64}), "bad_message"),
        ("/v1/streams/77/delete", serde_json::json!({}), "unknown_stream"),
        ("/v1/nowhere", serde_json::json!({}), "not_found"),
    ];
    let count = cases.len();
    for (path, body, code) in cases {
        match admin.post::<_, serde_json::Value>(path, &body).await {
            Err(AdminError::Refused(error)) => {
                assert_eq!(error.code.as_str(), code, "{path} {body}");
            }
            other => panic!("{path} {body}: {other:?}"),
        }
    }
    count
}

pub(super) fn configurations() -> usize {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("lcd.toml");
    let cases = [
        ("[gateway]\nlisten = \"nowhere\"", "gateway.listen"),
        ("[gatewy]", "gatewy"),
        ("[gateway]\nping_interval = \"soon\"", "gateway.ping_interval"),
        ("[gateway]\nidle_timeout = \"1s\"", "gateway.idle_timeout"),
        ("[gateway]\nproxy_protocol = true", "gateway.trusted_proxies"),
        ("[gateway]\nforwarded_header = \"forwarded\"", "gateway.trusted_proxies"),
        ("[gateway]\nforwarded_header = \"x-real-ip\"", "gateway.forwarded_header"),
        ("[gateway]\ntrusted_proxies = [\"proxy.local\"]", "proxy.local"),
        ("[gateway]\ntrusted_proxies = [\"10.0.0.0/40\"]", "10.0.0.0/40"),
        ("[gateway]\nbase_path = \"live\"", "gateway.base_path"),
        ("[gateway]\nbase_path = \"/live/\"", "gateway.base_path"),
        ("[gateway]\nbase_path = \"/a/../b\"", "gateway.base_path"),
        ("[gateway]\nbase_path = \"/<b>\"", "gateway.base_path"),
        ("[gateway]\nbase_path = \"/metrics\"", "gateway.base_path"),
        ("[broadcast]\nhysteresis = 2.0", "broadcast.hysteresis"),
        ("[node]\nroles = [\"edge\"]", "node.roles"),
        ("[gateway.tls]\ncertificate = \"/none\"\nkey = \"/none\"", "/none"),
        ("not toml at all", "TOML"),
    ];
    for (text, expected) in cases {
        std::fs::write(&file, text).unwrap();
        let data = directory.path().join("data");
        let output = Command::new(env!("CARGO_BIN_EXE_lcd"))
            .args(["--listen", "127.0.0.1:0"].iter().filter(|_| !text.contains("listen")))
            .arg("--config")
            .arg(&file)
            .arg("--data-dir")
            .arg(data)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{text}");
        assert!(said.contains(expected), "{text:?} gave {said:?}");
    }
    cases.len()
}
