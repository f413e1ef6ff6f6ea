//! The JSON schemas of types whose JSON form is not that of their fields.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::throttle::SampleRate;
use super::{CommentId, NodeId, StreamId, UserId};

macro_rules! schemas {
    ($($name:ident: $schema:tt;)*) => {
        $(impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        })*
    };
}

schemas! {
    StreamId: { "type": "string", "pattern": "^[0-9]+$" };
    UserId: { "type": "string", "pattern": "^[0-9]+$" };
    CommentId: { "type": "string", "format": "uuid" };
    NodeId: { "type": "string" };
    SampleRate: { "type": "number", "minimum": 0, "maximum": 1 };
}

/// The pattern of a text: control characters are only allowed at its edges, where those that are
/// white space are cut off.
pub(crate) const TEXT: &str = r"^[\t-\r\u0085]*[^\u0000-\u001F\u007F-\u009F]*[\t-\r\u0085]*$";

/// Returns the schema of a stream or user id in a request, where a number is accepted too.
pub(super) fn optional_sent_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "integer", "null"],
        "pattern": "^[1-9][0-9]{0,18}$",
        "minimum": 1,
        "maximum": i64::MAX,
    })
}

/// Returns the schema of the reason of a deletion.
pub(super) fn optional_public_word(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": ["string", "null"], "pattern": "^[a-z0-9_]{1,32}$" })
}

/// Returns the schema of the id of the comment that a reply answers: a UUID of version 1.
#[cfg(feature = "daemon")]
pub(crate) fn optional_parent_id(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": ["string", "null"],
        "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-1[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}$",
    })
}
