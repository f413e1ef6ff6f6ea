//! `/openapi.json` and the running server: the document is OpenAPI 3.1, requests that schemathesis
//! makes from it, without a token and with several, are answered as it says, and each operation
//! succeeds for one of the callers.

#![allow(clippy::unwrap_used, reason = "a test panics where a program would report")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::Duration;

use live_comments::protocol::Role;
use serde_json::{Value, json};

use crate::support::python::python_program;
use crate::support::{Daemon, http};

/// Without limits that would keep most requests from reaching their handlers.
const DAEMON: &str = "[gateway]\nmax_connections_per_user = 0\n\
    [ingest]\ncomments_per_minute = { viewer = 0, moderator = 0, broadcaster = 0, admin = 0 }\n\
    [messages]\nbetween_users = true\nper_minute = 0\n\
    [reactions]\nper_second = 0\n";

/// Paths and bodies name what there is. A comment must answer an earlier one, which a schema cannot
/// say.
///
/// A valid request may be refused for the state of its stream (409), or for what its text says
/// (422); callers without the role are told so. Where a schema cannot say all that is asked of a
/// request, valid ones may be refused in any documented way: that `epoch` and `seq` come together,
/// that a change names something other than null, that times and languages are in order, that a
/// start is to come, that a term is named once, that an act fits the state of its comment or user,
/// that a moment is one of the stream, that a whole number has no decimal point. Rooms that
/// moderators have changed may refuse comments.
const SCHEMATHESIS: &str = r#"
seed = 1
request-timeout = 35
max-stream-events = 1

[dictionaries]
streams = { values = ["1", "2", "3"] }
users = { values = ["id:45"] }
reactions = { values = ["fire"] }
spans = { values = [86400000] }
user_ids = { values = ["42", "45"] }
comments = { values = COMMENTS }
polls = { values = POLLS }
entries = { values = ENTRIES }

[parameters]
"path.stream_id" = { dictionary = "streams", probability = 0.9 }
"path.user_id" = { dictionary = "user_ids", probability = 0.9 }
"path.comment_id" = { dictionary = "comments", probability = 0.9 }
"path.poll_id" = { dictionary = "polls", probability = 0.9 }
"body.parent_id" = { dictionary = "comments", probability = 1.0 }
"body.comment_id" = { dictionary = "comments", probability = 0.9 }
"body.user" = { dictionary = "users", probability = 0.9 }
"body.reaction" = { dictionary = "reactions", probability = 0.9 }
"body.last_ms" = { dictionary = "spans", probability = 0.9 }
"body.audit_id" = { dictionary = "entries", probability = 0.9 }

[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "404", "409", "422", REFUSALS]

[[operations]]
include-tag = ["moderation", "watching"]
checks.positive_data_acceptance.enabled = false
# A new stream has nothing to clear.
checks.ensure_resource_availability.enabled = false

[[operations]]
include-operation-id = [
    "change_stream", "change_room", "change_terms", "clear_room", "create_stream", "list_comments",
    "submit_comment", "send_message", "acknowledge_messages", "vote",
]
checks.positive_data_acceptance.enabled = false
"#;

/// Acts that this test itself carries out, too: each needs a comment, user or entry in a state that
/// the requests before it may have changed.
const BY_HAND: [&str; 13] = [
    "clear_room",
    "clear_user",
    "timeout",
    "unban",
    "shadow",
    "unshadow",
    "ban",
    "undo",
    "pin",
    "unpin",
    "delete",
    "approve",
    "reject",
];

/// Sends what must succeed. Returns the answer.
async fn done(daemon: &Daemon, token: &str, method: &str, path: &str, body: Value) -> Value {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", &*bearer)];
    let (status, answer) = http(daemon, method, path, &headers, Some(&body.to_string())).await;
    assert!((200..300).contains(&status), "{method} {path}: {answer}");
    answer
}

/// Makes three streams: a live one, a closed one, and one that has ended.
async fn furnish(daemon: &Daemon) {
    let admin = daemon.token_of(1, "ann", Role::Admin);
    for stream in [
        json!({"stream_id": "2", "title": "closed", "anonymous": false}),
        json!({"stream_id": "3", "title": "over", "state": "ended"}),
    ] {
        done(daemon, &admin, "POST", "/api/streams", stream).await;
    }
}

/// The parts of a stream that requests name, as TOML.
struct Furniture {
    comments: String,
    polls: String,
    entries: String,
}

/// Brings the first stream into a state in which all of its operations can succeed: comments, among
/// them some that wait for review, a reply, an open poll, an act to take back, and a message that
/// is stored for the viewer of the tests.
async fn furnish_stream(daemon: &Daemon) -> Furniture {
    let admin = daemon.token_of(1, "ann", Role::Admin);
    let author = daemon.token(45, "dan");
    let act = async |name: &str, body: Value| {
        let path = format!("/api/streams/1/moderation/{name}");
        let bearer = format!("Bearer {admin}");
        http(daemon, "POST", &path, &[("authorization", &*bearer)], Some(&body.to_string())).await
    };
    let open = json!({"state": "live", "anonymous": true, "moderation": "async"});
    done(daemon, &admin, "PATCH", "/api/streams/1", open).await;
    let rules = json!({
        "slow_ms": null, "followers_ms": null, "subscribers_only": false, "emotes_only": false,
        "unique_ms": null, "no_links": false, "shield": false, "languages": null, "delay_ms": null,
    });
    done(daemon, &admin, "PATCH", "/api/streams/1/room", rules).await;
    let terms = json!({"add": [{"term": "doubtful", "action": "flag"}]});
    done(daemon, &admin, "PATCH", "/api/streams/1/room/terms", terms).await;
    for user in ["id:42", "id:45"] {
        act("unban", json!({"user": user})).await;
        act("unshadow", json!({"user": user})).await;
    }
    let comments = "/api/streams/1/comments";
    let mut ids = Vec::new();
    for number in 0..8 {
        let body = json!({"message": format!("comment {number}")});
        let created = done(daemon, &author, "POST", comments, body).await;
        ids.push(created["comment_id"].as_str().unwrap().to_owned());
    }
    let reply = json!({"message": "a reply", "parent_id": ids[0]});
    done(daemon, &author, "POST", comments, reply).await;
    for number in 0..4 {
        let body = json!({"message": format!("a doubtful comment {number}")});
        let created = done(daemon, &author, "POST", comments, body).await;
        ids.push(created["comment_id"].as_str().unwrap().to_owned());
    }
    // They are told to reviewers after they are published.
    let bearer = format!("Bearer {admin}");
    let headers = [("authorization", &*bearer)];
    for _ in 0..40 {
        let queue = "/api/streams/1/moderation/queue";
        let (_, queue) = http(daemon, "GET", queue, &headers, None).await;
        if ids[8..].iter().all(|id| queue.to_string().contains(id)) {
            break;
        }
        // Earlier callers may have made a rule by which they are not flagged.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    act("close_poll", json!({})).await;
    let poll = json!({"question": "Who?", "options": ["a", "b"], "duration_ms": 86_400_000});
    let (_, opened) = act("open_poll", poll).await;
    let poll_id = opened["audit_id"].as_u64().unwrap();
    let (status, sent) = act("message", json!({"user": "id:42", "message": "hello"})).await;
    assert_eq!(status, 200, "{sent}");
    let mut entries = Vec::new();
    for user in 100..104 {
        let (_, banned) = act("ban", json!({"user": format!("id:{user}")})).await;
        entries.push(banned["audit_id"].as_u64().unwrap());
    }
    Furniture {
        comments: format!("{ids:?}"),
        polls: format!("[{poll_id}]"),
        entries: format!("{entries:?}"),
    }
}

/// Carries out the acts of [`BY_HAND`] on a stream that was just furnished. In the end its comments
/// are deleted.
async fn act_by_hand(daemon: &Daemon, furniture: &Furniture) {
    let admin = daemon.token_of(1, "ann", Role::Admin);
    let ids: Vec<String> = serde_json::from_str(&furniture.comments).unwrap();
    let must = async |name: &str, body: Value| {
        let path = format!("/api/streams/1/moderation/{name}");
        done(daemon, &admin, "POST", &path, body).await
    };
    let of_comment = |id: &String| json!({"comment_id": id});
    must("pin", of_comment(&ids[0])).await;
    must("unpin", json!({})).await;
    must("delete", of_comment(&ids[0])).await;
    must("approve", of_comment(&ids[8])).await;
    must("reject", of_comment(&ids[9])).await;
    must("timeout", json!({"user": "id:45", "duration_ms": 60_000})).await;
    must("unban", json!({"user": "id:45"})).await;
    must("shadow", json!({"user": "id:45"})).await;
    must("unshadow", json!({"user": "id:45"})).await;
    let banned = must("ban", json!({"user": "id:105"})).await;
    must("undo", json!({"audit_id": banned["audit_id"]})).await;
    must("clear_user", json!({"user": "id:45", "last_ms": 60_000})).await;
    let other = daemon.token(46, "eve");
    let more = json!({"message": "of somebody else"});
    done(daemon, &other, "POST", "/api/streams/1/comments", more).await;
    must("clear_room", json!({"last_ms": 60_000})).await;
}

/// A caller, and the statuses by which it may be told that it lacks a token or a role.
struct Caller {
    name: &'static str,
    token: Option<String>,
    refusals: &'static str,
    arguments: &'static [&'static str],
}

/// Runs schemathesis for a caller. Returns the requests that it made, in the form of HAR.
fn run(daemon: &Daemon, caller: &Caller, furniture: &Furniture) -> Value {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("schemathesis.toml");
    let settings = SCHEMATHESIS
        .replace("COMMENTS", &furniture.comments)
        .replace("POLLS", &furniture.polls)
        .replace("ENTRIES", &furniture.entries)
        .replace("REFUSALS", caller.refusals);
    std::fs::write(&config, settings).unwrap();
    let report = directory.path().join("requests.har");
    let mut command = Command::new(python_program("schemathesis"));
    command.arg("--config-file").arg(&config).arg("--no-color").arg("run");
    command.arg(daemon.url("/openapi.json")).arg("--url").arg(daemon.url(""));
    // All checks run; named here, they would run in spite of the settings of operations.
    command.args(["--continue-on-failure", "--no-shrink"]);
    command.args(["--report", "har", "--report-har-path"]).arg(&report);
    command.args(caller.arguments);
    if let Some(token) = &caller.token {
        command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    }
    let output = command
        .current_dir(directory.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "as {}: {text}", caller.name);
    serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap()
}

/// The operations of a document, and those that have succeeded.
struct Operations {
    document: Value,
    succeeded: BTreeSet<String>,
}

impl Operations {
    /// Returns the operation of a request, if it has a path and a method of the document.
    fn of_request(&self, request: &Value) -> Option<&Value> {
        let url = request["url"].as_str().unwrap();
        let path = url.split('/').skip(3).collect::<Vec<_>>().join("/");
        let path: Vec<_> = path.split(['?', '#']).next().unwrap().split('/').collect();
        let fits = |template: &&String| {
            let parts: Vec<_> = template.trim_start_matches('/').split('/').collect();
            parts.len() == path.len()
                && parts.iter().zip(&path).all(|(part, of)| part.starts_with('{') || part == of)
        };
        let templates = self.document["paths"].as_object().unwrap();
        let template =
            templates.keys().filter(fits).min_by_key(|text| text.matches('{').count())?;
        let method = request["method"].as_str().unwrap().to_ascii_lowercase();
        templates[template].get(&method)
    }

    /// Checks the codes of errors against the document, and notes the operations that succeeded.
    fn read(&mut self, requests: &Value) {
        let entries = requests["log"]["entries"].as_array().unwrap();
        let mut succeeded = BTreeSet::new();
        for entry in entries {
            let Some(operation) = self.of_request(&entry["request"]) else { continue };
            let response = &entry["response"];
            let status = response["status"].as_u64().unwrap();
            if (200..300).contains(&status) {
                succeeded.insert(operation["operationId"].as_str().unwrap().to_owned());
            }
            let content = &response["content"];
            if content["mimeType"] != "application/problem+json" {
                continue;
            }
            let text = content["text"].as_str().unwrap_or_default();
            let Ok(error) = serde_json::from_str::<Value>(text) else { continue };
            let documented = &operation["responses"][status.to_string()]["content"];
            let schema = &documented["application/problem+json"]["schema"]["allOf"][1];
            let codes = &schema["properties"]["code"]["anyOf"][0]["enum"];
            let is_documented = codes.as_array().is_some_and(|all| all.contains(&error["code"]));
            assert!(is_documented, "{}: {error}", operation["operationId"]);
        }
        self.succeeded.extend(succeeded);
    }

    /// Returns the ids of operations that have not succeeded.
    fn left(&self) -> BTreeSet<&str> {
        let paths = self.document["paths"].as_object().unwrap().values();
        let operations = paths.flat_map(|methods| methods.as_object().unwrap().values());
        let ids = operations.map(|operation| operation["operationId"].as_str().unwrap());
        ids.filter(|id| !self.succeeded.contains(*id)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_as_the_document_says() {
    let daemon = Daemon::start(DAEMON);
    furnish(&daemon).await;
    let before = daemon.log().len();
    let (status, document) = http(&daemon, "GET", "/openapi.json", &[], None).await;
    assert_eq!(status, 200);
    // Schemathesis leaves out the document.
    let by_hand = BY_HAND.map(|name| format!("moderate_{name}"));
    let succeeded = by_hand.into_iter().chain(["get_openapi".to_owned()]).collect();
    let mut operations = Operations { document, succeeded };
    let admin = daemon.token_of(44, "ada", Role::Admin);
    let moderator = daemon.token_of(43, "mia", Role::Moderator);
    let callers = [
        Caller {
            name: "nobody",
            token: None,
            refusals: r#""401""#,
            arguments: &["--max-examples", "10"],
        },
        Caller {
            name: "viewer",
            token: Some(daemon.token(42, "bea")),
            refusals: r#""403""#,
            arguments: &["--max-examples", "15"],
        },
        Caller {
            name: "moderator",
            token: Some(moderator),
            refusals: r#""403""#,
            arguments: &["--max-examples", "15"],
        },
        // The other requests would find no stream after its end.
        Caller {
            name: "admin",
            token: Some(admin.clone()),
            refusals: r#""2xx""#,
            arguments: &["--max-examples", "15", "--exclude-operation-id", "delete_stream"],
        },
        Caller {
            name: "admin, deleting",
            token: Some(admin),
            refusals: r#""2xx""#,
            arguments: &["--max-examples", "15", "--include-operation-id", "delete_stream"],
        },
    ];
    act_by_hand(&daemon, &furnish_stream(&daemon).await).await;
    let mut made = BTreeMap::new();
    for caller in callers {
        let furniture = furnish_stream(&daemon).await;
        let requests = run(&daemon, &caller, &furniture);
        made.insert(caller.name, requests["log"]["entries"].as_array().unwrap().len());
        operations.read(&requests);
    }
    assert_eq!(operations.left(), BTreeSet::new(), "no request succeeded; made: {made:?}");
    let log = daemon.log().split_off(before);
    assert!(!log.contains("panicked") && !log.contains(" ERROR "), "{log}");
}

#[tokio::test]
async fn the_document_is_valid_openapi() {
    let daemon = Daemon::start("");
    let (status, document) = http(&daemon, "GET", "/openapi.json", &[], None).await;
    assert_eq!((status, document["openapi"].as_str()), (200, Some("3.1.0")));
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let output = Command::new(python_program("openapi-spec-validator"))
        .args(["--validation-errors", "all"])
        .arg(&file)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{text}");
}
