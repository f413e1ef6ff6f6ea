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
