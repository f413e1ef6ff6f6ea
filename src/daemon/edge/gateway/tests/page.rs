//! Tests of the viewer page.

use super::client::get;
use super::rig::Rig;

#[tokio::test]
async fn the_page_has_a_policy_that_allows_nothing_else() {
    let rig = Rig::start().await;
    for (path, content_type) in [
        ("/", "text/html; charset=utf-8"),
        ("/?stream=7", "text/html; charset=utf-8"),
        ("/viewer.js", "text/javascript; charset=utf-8"),
        ("/viewer.css", "text/css; charset=utf-8"),
    ] {
        let reply = get(rig.address, path).await;
        assert_eq!((reply.status, reply.header("content-type")), (200, Some(content_type)));
        let policy = reply.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
}

#[tokio::test]
async fn the_page_loads_nothing_and_never_sets_markup() {
    let rig = Rig::start().await;
    let html = get(rig.address, "/").await.body;
    let script = get(rig.address, "/viewer.js").await.body;
    let style = get(rig.address, "/viewer.css").await.body;
    for text in [&html, &script, &style] {
        assert!(!text.contains("://"), "an address of another host");
    }
    for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
        assert!(!script.contains(markup), "{markup}");
    }
    for inline in ["style=", "onclick=", "<style", "<script>"] {
        assert!(!html.contains(inline), "{inline} would break the policy");
    }
}
