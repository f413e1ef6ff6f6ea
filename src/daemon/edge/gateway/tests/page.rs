//! Tests of the pages.

use std::collections::BTreeSet;
use std::path::Path;

use super::client::{get, request};
use super::rig::Rig;
use crate::daemon::edge::gateway::page::assets::{ASSETS, Asset};

/// The pages, and the folder that their addresses are relative to.
const PAGES: [(&str, &str); 5] = [
    ("/", "/"),
    ("/?stream=7", "/"),
    ("/stream/7", "/stream/"),
    ("/overlay/7", "/overlay/"),
    ("/moderate/7", "/moderate/"),
];

fn page_scripts() -> impl Iterator<Item = &'static Asset> {
    ASSETS.iter().filter(|asset| asset.path.starts_with("page/") && asset.path.ends_with(".js"))
}

/// The texts between a beginning and a quotation mark.
fn quoted<'a>(text: &'a str, beginning: &'a str) -> impl Iterator<Item = &'a str> {
    text.split(beginning).skip(1).filter_map(|rest| rest.split('"').next())
}

/// Resolves a relative address as browsers do.
fn resolve(folder: &str, relative: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in relative.split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[tokio::test]
async fn the_page_has_a_policy_that_allows_nothing_else() {
    let rig = Rig::start().await;
    let pages = PAGES.map(|(path, _)| (path.to_owned(), "text/html; charset=utf-8"));
    let files = ASSETS.iter().map(|asset| {
        let is_style = asset.path.ends_with(".css");
        let content_type =
            if is_style { "text/css; charset=utf-8" } else { "text/javascript; charset=utf-8" };
        (format!("/{}", asset.path), content_type)
    });
    for (path, content_type) in pages.into_iter().chain(files) {
        let reply = get(rig.address, &path).await;
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
    for (path, _) in PAGES {
        let html = get(rig.address, path).await.body;
        assert!(!html.contains("://"), "{path}: an address of another host");
        for inline in ["style=", "onclick=", "<style", "<script>"] {
            assert!(!html.contains(inline), "{path}: {inline} would break the policy");
        }
    }
    for asset in ASSETS.iter().filter(|asset| asset.path.starts_with("page/")) {
        assert!(!asset.text.contains("://"), "{}: an address of another host", asset.path);
    }
    for asset in ASSETS {
        for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!asset.text.contains(markup), "{}: {markup}", asset.path);
        }
    }
}

/// The page may be below any path of a site, and the site's root is another program then.
#[tokio::test]
async fn the_page_names_no_address_from_the_root_of_a_site() {
    let rig = Rig::start().await;
    for quote in ['"', '\'', '`'] {
        let from_root = format!("{quote}/");
        for (path, _) in PAGES {
            let html = get(rig.address, path).await.body;
            assert!(!html.contains(&from_root), "{path}: {from_root}");
        }
        for asset in page_scripts() {
            assert!(!asset.text.contains(&from_root), "{}: {from_root}", asset.path);
        }
    }
}

#[tokio::test]
async fn everything_that_a_page_loads_is_served() {
    let rig = Rig::start().await;
    let served: BTreeSet<String> = ASSETS.iter().map(|asset| format!("/{}", asset.path)).collect();
    for (path, folder) in PAGES {
        let html = get(rig.address, path).await.body;
        let loaded: Vec<_> = quoted(&html, "href=\"").chain(quoted(&html, "src=\"")).collect();
        let files: Vec<_> = loaded.into_iter().filter(|address| *address != "data:,").collect();
        assert!(files.len() > 2, "{path} loads its files: {files:?}");
        for file in files {
            let file = resolve(folder, file);
            assert!(served.contains(&file), "{path}: {file}");
        }
    }
    for asset in ASSETS {
        let folder = asset.path.rsplit_once('/').unwrap().0;
        for imported in quoted(asset.text, " from \"") {
            let file = resolve(folder, imported);
            assert!(served.contains(&file), "{}: {file}", asset.path);
        }
    }
}

#[test]
fn every_file_of_the_pages_is_built_in() {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    let mut found = BTreeSet::new();
    for folder in ["client", "client/transports", "page"] {
        for entry in std::fs::read_dir(web.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.ends_with(".js") || name.ends_with(".css") {
                found.insert(format!("{folder}/{name}"));
            }
        }
    }
    let built_in: BTreeSet<_> = ASSETS.iter().map(|asset| asset.path.to_owned()).collect();
    assert_eq!(found, built_in);
}

#[tokio::test]
async fn a_kept_file_is_not_sent_again() {
    let rig = Rig::start().await;
    for path in ["/", "/moderate/7", "/page/viewer.js"] {
        let tag = get(rig.address, path).await.header("etag").unwrap().to_owned();
        for kept in [tag.clone(), format!("\"other\", W/{tag}")] {
            let header = format!("If-None-Match: {kept}");
            let reply = request(rig.address, &format!("GET {path}"), &[&header], b"").await;
            assert_eq!((reply.status, &*reply.body), (304, ""), "{path} {kept}");
            assert_eq!(reply.header("etag"), Some(&*tag));
        }
        let line = format!("GET {path}");
        let reply = request(rig.address, &line, &["If-None-Match: \"x\""], b"").await;
        assert_eq!(reply.status, 200);
    }
}

/// The same path is that of a socket, and a handshake is tested with the others.
#[tokio::test]
async fn people_at_the_path_of_a_stream_get_the_page() {
    let rig = Rig::start().await;
    let page = get(rig.address, "/stream/4").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    let socket = request(rig.address, "GET /stream/4", &["Upgrade: websocket"], b"").await;
    assert_eq!((socket.status, &*socket.code()), (426, "bad_handshake"));
    for path in ["/stream/x", "/overlay/0", "/moderate/9223372036854775808"] {
        let reply = get(rig.address, path).await;
        assert_eq!((reply.status, &*reply.code()), (400, "bad_request"), "{path}");
    }
    for path in ["/page/none.js", "/client/../page/viewer.js", "/client/test/support.js"] {
        assert_eq!(get(rig.address, path).await.code(), "not_found", "{path}");
    }
    let posted = request(rig.address, "POST /stream/4", &[], b"").await;
    assert_eq!((posted.status, &*posted.code()), (405, "method_not_allowed"));
}

/// Positions, ranges and reconnects are the matter of the client library, whose tests hold them.
#[test]
fn the_page_leaves_the_protocol_to_the_library() {
    for asset in page_scripts() {
        for own in ["WebSocket", "EventSource", "fetch(", "JSON.parse", "XMLHttpRequest"] {
            assert!(!asset.text.contains(own), "{}: {own}", asset.path);
        }
    }
}

/// A browser that blocks site data throws on every access, which must not stop the page.
#[test]
fn the_page_expects_that_storage_throws() {
    for asset in ASSETS {
        for blocked in ["localStorage", "indexedDB", "document.cookie", "caches."] {
            assert!(!asset.text.contains(blocked), "{}: {blocked}", asset.path);
        }
    }
    let users: Vec<_> =
        ASSETS.iter().filter(|asset| asset.text.contains("sessionStorage")).collect();
    let [keeper] = users[..] else { panic!("one file uses the storage: {users:?}") };
    let uses: Vec<_> = keeper.text.match_indices("sessionStorage").collect();
    assert_eq!(uses.len(), 3);
    for (at, _) in uses {
        let function = keeper.text[..at].rfind("function ").unwrap();
        let before = &keeper.text[function..at];
        assert!(before.contains("try {") && !before.contains("catch"), "{before}");
    }
}
