//! Tests of the description of the API.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::client::{get, request};
use super::rig::{Rig, token};

async fn document(rig: &Rig) -> Value {
    let reply = get(rig.address, "/openapi.json").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    reply.json()
}

#[tokio::test]
async fn the_document_is_what_it_was() {
    let rig = Rig::start().await;
    let mut document = document(&rig).await;
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    document["info"]["version"] = json!("VERSION");
    insta::assert_snapshot!(format!("{document:#}"));
}

#[tokio::test]
async fn the_document_is_revalidated_by_etag() {
    let rig = Rig::start().await;
    let first = get(rig.address, "/openapi.json").await;
    let tag = first.header("etag").unwrap();
    assert_eq!(first.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(first.header("access-control-allow-origin"), Some("*"), "for tools in a browser");
    for kept in [tag.to_owned(), format!("\"x\", W/{tag}")] {
        let kept = format!("If-None-Match: {kept}");
        let again = request(rig.address, "GET /openapi.json", &[&kept], b"").await;
        assert_eq!((again.status, again.body.as_str()), (304, ""));
        assert_eq!(again.header("etag"), Some(tag));
    }
    let other = request(rig.address, "GET /openapi.json", &["If-None-Match: \"x\""], b"").await;
    assert_eq!((other.status, other.body), (200, first.body));
}

#[tokio::test]
async fn servers_tell_the_base_path() {
    let plain = document(&Rig::start().await).await;
    assert_eq!(plain["servers"][0]["url"], ".", "a proxy may put it below a path");
    assert!(plain["paths"]["/healthz"]["get"]["servers"].is_null());
    let rig = Rig::start_with(|config| config.base_path = "/a/live".to_owned()).await;
    let below = get(rig.address, "/a/live/openapi.json").await;
    assert_eq!((below.status, below.header("access-control-allow-origin")), (200, Some("*")));
    assert_eq!(below.json(), document(&rig).await);
    assert_eq!(below.json()["servers"][0]["url"], "/a/live");
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(below.json()["paths"][path]["get"]["servers"], json!([{ "url": "/" }]));
    }
    assert!(below.json()["paths"]["/api/streams"]["get"]["servers"].is_null());
}

/// `Allow` lists the methods of a path that has a route. The client of these tests reads heads in
/// lower case.
#[tokio::test]
async fn routes_have_the_documented_methods() {
    let rig = Rig::start().await;
    let document = document(&rig).await;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let at = path
            .replace("{stream_id}", "1")
            .replace("{user_id}", "1")
            .replace("{comment_id}", "5f0e6c1e-9b6d-11ee-8c90-0242ac120002")
            .replace("{poll_id}", "1");
        assert!(!at.contains('{'), "{path} has an unknown parameter");
        let reply = request(rig.address, &format!("PUT {at}"), &[], b"").await;
        assert_eq!((reply.status, reply.code().as_str()), (405, "method_not_allowed"), "{path}");
        let allowed = reply.header("allow").unwrap().to_ascii_lowercase();
        let allowed: BTreeSet<_> = allowed.split(',').filter(|method| *method != "head").collect();
        let documented: BTreeSet<_> =
            operations.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(allowed, documented, "{path}");
    }
}

#[test]
fn only_pages_and_sockets_are_not_documented() {
    let source = include_str!("../routes.rs");
    let paths = source.split(".route(").skip(1).filter_map(|rest| rest.split('"').nth(1));
    let expected = [
        "/",
        "/overlay/{stream_id}",
        "/moderate/{stream_id}",
        "/page/{file}",
        "/client/{*file}",
        "/ws/{stream_id}",
        "/stream/{stream_id}",
    ];
    assert_eq!(paths.collect::<Vec<_>>(), expected, "the API is made with `Routes`");
}

#[tokio::test]
async fn operations_name_their_errors() {
    let rig = Rig::start().await;
    let document = document(&rig).await;
    let responses = &document["paths"]["/api/streams/{stream_id}/comments"]["post"]["responses"];
    let codes = |status: &str| {
        let schema = &responses[status]["content"]["application/problem+json"]["schema"];
        schema["allOf"][1]["properties"]["code"]["anyOf"][0]["enum"].clone()
    };
    assert_eq!(codes("202"), json!(["held_for_review"]));
    assert_eq!(codes("429"), json!(["rate_limited", "slow_mode"]));
    assert!(codes("503").as_array().unwrap().contains(&json!("identity_unavailable")));
    assert!(responses["429"]["headers"]["Retry-After"].is_object());
    assert!(responses["404"]["headers"].is_null(), "waiting does not help");
    let act = &document["paths"]["/api/streams/{stream_id}/moderation/ban"]["post"];
    let of_act = |name: &str| {
        let path = format!("/api/streams/{{stream_id}}/moderation/{name}");
        document["paths"][path]["post"]["responses"]["409"].to_string()
    };
    assert!(of_act("open_poll").contains("poll_open"));
    assert!(of_act("approve").contains("review_claimed"));
    assert_eq!(of_act("ban"), "null");
    assert!(responses["401"]["headers"]["WWW-Authenticate"].is_object());
    let body = &act["requestBody"]["content"]["application/json"]["schema"];
    assert_eq!(body["$ref"], "#/components/schemas/SanctionActRequest");
}

#[tokio::test]
async fn references_lead_to_schemas() {
    let rig = Rig::start().await;
    let document = document(&rig).await;
    let text = document.to_string();
    let named: BTreeSet<_> = text
        .split("\"#/components/schemas/")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    assert_eq!(named, schemas.keys().map(String::as_str).collect());
    assert!(!text.contains("]("), "links into the documentation of the crate");
}

#[tokio::test]
async fn bad_paths_and_arrays_have_a_code() {
    let rig = Rig::start().await;
    for path in ["/api/streams/%FF", "/overlay/%c3%28", "/api/streams/1/comments?limit=%FF"] {
        let reply = get(rig.address, path).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_request"), "{path}");
    }
    let reply = get(rig.address, "/api/streams/%31").await;
    assert_eq!((reply.status, &reply.json()["stream_id"]), (200, &json!("1")));
    let admin = format!("Authorization: Bearer {}", token(1, "admin"));
    let headers = ["Content-Type: application/json", admin.as_str()];
    let before = rig.streams.all().len();
    for (body, told) in [
        ("[]", "an array is not an object"),
        (r#"["x"]"#, "an array is not an object"),
        (r#"{"state":7}"#, "`state`: integer `7` is not a word or an object"),
        (r#"{"anonymous":"no"}"#, "`anonymous`: string \"no\" is not a boolean"),
    ] {
        let reply = request(rig.address, "POST /api/streams", &headers, body.as_bytes()).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "bad_message"), "{body}");
        assert!(reply.json()["detail"].as_str().unwrap().ends_with(told), "{reply:?}");
    }
    assert_eq!(rig.streams.all().len(), before);
}

#[tokio::test]
async fn paths_that_open_a_viewer_refuse_head() {
    let mut rig = Rig::start().await;
    for path in ["/api/streams/1/events", "/api/streams/1/comments/poll"] {
        for method in ["HEAD", "PUT"] {
            let reply = request(rig.address, &format!("{method} {path}"), &[], b"").await;
            assert_eq!(
                (reply.status, reply.header("allow")),
                (405, Some("get")),
                "{method} {path}"
            );
        }
    }
    assert!(rig.no_viewer());
}

#[tokio::test]
async fn operations_are_in_declared_groups() {
    let rig = Rig::start().await;
    let document = document(&rig).await;
    let names = |list: &Value| -> BTreeSet<String> {
        let list = list.as_array().unwrap();
        list.iter().map(|tag| tag["name"].as_str().unwrap().to_owned()).collect()
    };
    let paths = document["paths"].as_object().unwrap().values();
    let operations = paths.flat_map(|methods| methods.as_object().unwrap().values());
    let used: BTreeSet<_> =
        operations.map(|of| of["tags"][0].as_str().unwrap().to_owned()).collect();
    assert_eq!(names(&document["tags"]), used);
}

#[tokio::test]
async fn refusals_of_tokens_name_their_scheme() {
    let rig = Rig::start().await;
    for headers in [&[][..], &["Authorization: Bearer nonsense"]] {
        let reply = request(rig.address, "POST /api/streams", headers, b"{}").await;
        assert_eq!((reply.status, reply.header("www-authenticate")), (401, Some("bearer")));
    }
}
