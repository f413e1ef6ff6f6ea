//! Settings of servers over the socket.

use async_trait::async_trait;

use super::*;
use crate::daemon::engines::server_settings::{
    RedisSettings, ServerSettings, SettingsReader, Unread,
};

/// A server that tells what it is given.
#[derive(Debug)]
struct TestServer(Result<ServerSettings, String>);

#[async_trait]
impl SettingsReader for TestServer {
    fn server(&self) -> String {
        "Redis 10.0.3.11:6379".to_owned()
    }

    async fn read(&self) -> Result<ServerSettings, String> {
        self.0.clone()
    }
}

async fn served(settings: Result<ServerSettings, String>) -> Served {
    Served::with_servers(vec![Arc::new(TestServer(settings))]).await
}

fn results(answer: &Cluster<DoctorFinding>) -> Vec<(&str, CheckResult)> {
    let items = answer.items.iter();
    items.map(|finding| (finding.check.as_str(), finding.result)).collect()
}

#[tokio::test]
async fn settings_are_judged_for_the_node_that_is_named() {
    let redis = RedisSettings {
        address: "10.0.3.11:6379".to_owned(),
        version: Some("7.2.4".to_owned()),
        timeout_s: Some(5),
        unread: vec![Unread {
            settings: "tcp-backlog".to_owned(),
            reason: "CONFIG GET: NOPERM".to_owned(),
        }],
        ..RedisSettings::default()
    };
    let served = served(Ok(ServerSettings::Redis(redis))).await;
    let answer: Cluster<DoctorFinding> = served.get("/v1/doctor").await;
    let expected = [
        ("redis timeout", CheckResult::Degraded),
        ("redis", CheckResult::NotChecked),
        ("redis", CheckResult::Well),
    ];
    assert_eq!(results(&answer), expected);
    let of_node: Cluster<DoctorFinding> = served.get("/v1/doctor?node=a").await;
    assert_eq!(of_node, answer);
    let (status, body) = served.send("GET", "/v1/doctor?node=no%0Asuch", "").await.whole().await;
    let error: ProblemDetails = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, error.code), (404, ErrorCode::NotFound));
    assert!(error.detail.starts_with("no node `no"), "{}", error.detail);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_no_error() {
    let served = served(Err("no answer within 2 s".to_owned())).await;
    let answer: Cluster<DoctorFinding> = served.get("/v1/doctor").await;
    assert_eq!(results(&answer), [("server", CheckResult::NotChecked)]);
    assert_eq!(answer.items[0].what, "Redis 10.0.3.11:6379");
    let embedded: Cluster<DoctorFinding> = Served::new().await.get("/v1/doctor").await;
    assert_eq!(embedded.items, []);
}
