//! The document while routes are added to it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::operation::Operation;
use super::schemas::{NamedSchemas, Schemas, rename};
use super::tag::Tag;

const ABOUT: &str = "Live comments over HTTP, for viewers and moderators. Comments, votes, \
    reactions, room changes and moderation acts can also be sent over a WebSocket, \
    `GET /ws/{stream_id}`, whose messages `docs/protocol.md` describes.\n\nA token is a JWT. Stream, \
    user and comment ids are strings, because they may be larger than the numbers that JavaScript \
    represents exactly. Times are in milliseconds since the Unix epoch. Fields, error codes and \
    operations may be added; clients ignore those that they do not know.\n\nErrors are problem \
    details (RFC 9457) with a stable `code`. Those with `retry_after_ms` may go away by waiting; \
    `Retry-After` repeats the time in whole seconds. Only a request head that is not HTTP or too \
    large is refused without a body.";

/// The description of an API.
#[derive(Debug)]
pub(crate) struct Document {
    /// Operations by method, by path.
    paths: BTreeMap<String, Map<String, Value>>,
    schemas: Schemas,
    /// The path below which viewers find theirs; empty if that is the root of the site.
    base_path: String,
}

impl Document {
    /// Begins the document of a node with this `gateway.base_path`.
    pub(crate) fn new(base_path: &str) -> Self {
        Self { paths: BTreeMap::new(), schemas: Schemas::new(), base_path: base_path.to_owned() }
    }

    /// Adds what `describe` says of a method of a path.
    pub(super) fn add(
        &mut self,
        method: &str,
        path: &str,
        describe: impl FnOnce(&mut Operation<'_>),
    ) {
        let mut operation = Operation::new(path, &self.base_path, &mut self.schemas);
        describe(&mut operation);
        let operation = operation.finish();
        self.paths.entry(path.to_owned()).or_default().insert(method.to_owned(), operation);
    }

    /// Returns the whole document.
    pub(super) fn finish(self) -> Value {
        // A proxy may put a node without a base path below one. The address of the document then
        // tells where the others are.
        let server = if self.base_path.is_empty() { "." } else { self.base_path.as_str() };
        let servers =
            json!([{ "url": server, "description": "The node that serves this document." }]);
        let NamedSchemas { by_name: schemas, renamed } = self.schemas.finish();
        let mut paths = self.paths;
        for operation in paths.values_mut().flat_map(|methods| methods.values_mut()) {
            for part in ["parameters", "requestBody"] {
                if let Some(sent) = operation.get_mut(part) {
                    rename(sent, &renamed);
                }
            }
        }
        let tags = Tag::ALL.map(|tag| json!({ "name": tag.name(), "description": tag.text() }));
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Live comments",
                "version": env!("CARGO_PKG_VERSION"),
                "description": ABOUT,
                "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
            },
            "servers": servers,
            "tags": tags,
            "paths": paths,
            "components": {
                "schemas": schemas,
                "securitySchemes": {
                    "bearer": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
                    "query_token": {
                        "type": "apiKey",
                        "in": "query",
                        "name": "token",
                        "description": "For clients that cannot set headers, such as the \
                            `EventSource` of browsers.",
                    },
                },
            },
        })
    }
}
