//! The API answers any token with a stable code.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::client::request;
use super::rig::Rig;

#[test]
fn any_text_as_a_token_is_refused_with_a_code() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rig = runtime.block_on(Rig::start());
    let mut runner = TestRunner::new(Config { cases: 64, ..Config::default() });
    runner
        .run(&"[!-~]{1,64}(\\.[!-~]{0,64}){0,3}", |text| {
            let header = format!("Authorization: Bearer {text}");
            let headers = [header.as_str(), "Content-Type: application/json"];
            let reply = runtime.block_on(request(
                rig.address,
                "POST /api/streams/1/comments",
                &headers,
                b"{\"message\":\"hi\"}",
            ));
            prop_assert_eq!(reply.status, 401, "{:?}", reply);
            prop_assert!(reply.code().starts_with("token_"), "{:?}", reply);
            Ok(())
        })
        .unwrap();
}
