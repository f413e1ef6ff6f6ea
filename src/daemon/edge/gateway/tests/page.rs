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

/// The page may be below any path of a site, and the site's root is another program then.
#[tokio::test]
async fn the_page_names_no_address_from_the_root_of_a_site() {
    let rig = Rig::start().await;
    let html = get(rig.address, "/").await.body;
    let script = get(rig.address, "/viewer.js").await.body;
    for quote in ['"', '\'', '`'] {
        for text in [&html, &script] {
            let from_root = format!("{quote}/");
            assert!(!text.contains(&from_root), "{from_root}");
        }
    }
    for named in ["\"viewer.css\"", "\"viewer.js\""] {
        assert!(html.contains(named), "{named}");
    }
    // Both are resolved against the page.
    assert_eq!(script.matches("new URL(`").count(), 2, "the API and the socket");
    assert_eq!(script.matches(", base)").count(), 2);
}

/// The position is that of the latest `welcome`, which also comes after `auth`, and is not moved by
/// an echo: what lies before an echo may still come, and would be missed after a reconnect.
#[tokio::test]
async fn the_page_resumes_from_what_it_has_received() {
    let rig = Rig::start().await;
    let script = get(rig.address, "/viewer.js").await.body;
    let body_of = |handler: &str| {
        let start = script.find(&format!("\n  {handler}(")).unwrap();
        let end = script[start..].find("\n  },").unwrap();
        &script[start..start + end]
    };
    let welcome = body_of("welcome");
    let sets = "\n    position = { epoch: message.epoch, seq: message.seq };";
    assert!(welcome.contains(sets), "it is set without a condition: {welcome}");
    let comments = body_of("comments");
    assert_eq!(comments.matches("position =").count(), 1);
    assert!(comments.contains("if (!batch.echo) position ="), "{comments}");
}

/// A browser that blocks site data throws on every access, which must not stop the page.
#[tokio::test]
async fn the_page_expects_that_storage_throws() {
    let rig = Rig::start().await;
    let script = get(rig.address, "/viewer.js").await.body;
    for blocked in ["localStorage", "indexedDB", "document.cookie", "caches."] {
        assert!(!script.contains(blocked), "{blocked}");
    }
    let uses: Vec<_> = script.match_indices("sessionStorage").collect();
    assert_eq!(uses.len(), 3);
    for (at, _) in uses {
        let function = script[..at].rfind("\nfunction ").unwrap();
        let before = &script[function..at];
        assert!(before.contains("try {") && !before.contains("catch"), "{before}");
    }
}
