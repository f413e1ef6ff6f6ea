//! The description of the HTTP API in OpenAPI 3.1, and the routes that it is made with.
//!
//! In: routes, each with its handler and its description. Out: a router, and the document that is
//! served at `/openapi.json`.
//!
//! Always holds: a route that is made with [`Routes`] is in the document with its method, and
//! nothing else is. Schemas are those of the types that handlers read and write; error codes are
//! those of [`ErrorCode`](crate::protocol::ErrorCode). Nodes of a version with the role `edge`
//! serve the same document, apart from the base path of their site; other nodes describe only their
//! own paths.

#[cfg(test)]
mod checked;
mod document;
mod errors;
mod operation;
mod routes;
mod schemas;
mod served;
mod tag;

#[cfg(test)]
pub(super) use checked::refuse_undocumented;
pub(super) use document::Document;
pub(super) use errors::{ADMISSION_ERRORS, CHANGE_ERRORS, STORE_ERRORS};
pub(super) use operation::Operation;
pub(super) use routes::Routes;
pub(super) use served::{ServedDocument, describe, show};
pub(super) use tag::Tag;
