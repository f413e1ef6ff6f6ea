//! The schemas of the types of requests and answers.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use schemars::generate::GenTransform;
use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::protocol::ErrorCode;
use crate::protocol::ids::MAX_SAFE_INTEGER;

/// `[text](place in the crate)`, or `[text]`.
static LINK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\[([^\[\]]+)\](?:\([^()]*\))?").expect("it is valid"));

/// The place of schemas in the document.
const PLACE: &str = "/components/schemas";

/// The schemas that were asked for so far. A type has one for requests and one for answers: a field
/// with a default may be left out of the former only.
#[derive(Debug)]
pub(super) struct Schemas {
    sent: SchemaGenerator,
    answered: SchemaGenerator,
}

/// Schemas by name, and the new names of those of requests that have the name of another one.
pub(super) struct NamedSchemas {
    pub(super) by_name: Map<String, Value>,
    pub(super) renamed: BTreeMap<String, String>,
}

impl Schemas {
    pub(super) fn new() -> Self {
        let settings = |transforms: Vec<Box<dyn GenTransform>>| {
            SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = Cow::Borrowed(PLACE);
                settings.meta_schema = None;
                settings.transforms = transforms;
            })
        };
        let sent: Vec<Box<dyn GenTransform>> = vec![Box::new(RecursiveTransform(adapt))];
        let answered: Vec<Box<dyn GenTransform>> =
            vec![Box::new(RecursiveTransform(adapt)), Box::new(RecursiveTransform(open))];
        Self {
            sent: settings(sent).for_deserialize().into_generator(),
            answered: settings(answered).for_serialize().into_generator(),
        }
    }

    /// Returns the schema of a type in a request, or a reference to it.
    pub(super) fn sent<T: JsonSchema>(&mut self) -> Value {
        self.sent.subschema_for::<T>().into()
    }

    /// Returns the schema of a type in a request itself.
    pub(super) fn sent_inline<T: JsonSchema>(&mut self) -> Value {
        T::json_schema(&mut self.sent).into()
    }

    /// Returns the schema of a type in an answer, or a reference to it.
    pub(super) fn answered<T: JsonSchema>(&mut self) -> Value {
        self.answered.subschema_for::<T>().into()
    }

    /// Returns all schemas that were referred to.
    pub(super) fn finish(mut self) -> NamedSchemas {
        let mut by_name = self.answered.take_definitions(true);
        if let Some(codes) = by_name.get_mut(&*ErrorCode::schema_name()) {
            // Codes may be added.
            *codes = json!({ "anyOf": [codes.take(), { "type": "string" }] });
        }
        let mut sent = self.sent.take_definitions(true);
        let differs = |name: &String, schema: &Value| {
            by_name.get(name).is_some_and(|answered| answered != schema)
        };
        let mut renamed: BTreeMap<_, _> = sent
            .iter()
            .filter(|(name, schema)| differs(name, schema))
            .map(|(name, _)| (name.clone(), sent_name(name)))
            .collect();
        // A schema that refers to one that differs differs too.
        loop {
            let is_new = |(name, schema): &(&String, &Value)| {
                by_name.contains_key(*name)
                    && !renamed.contains_key(*name)
                    && refers_to(schema, &renamed)
            };
            let more: Vec<_> = sent
                .iter()
                .filter(is_new)
                .map(|(name, _)| (name.clone(), sent_name(name)))
                .collect();
            if more.is_empty() {
                break;
            }
            renamed.extend(more);
        }
        for schema in sent.values_mut() {
            rename(schema, &renamed);
        }
        for (name, schema) in sent {
            by_name.insert(renamed.get(&name).cloned().unwrap_or(name), schema);
        }
        NamedSchemas { by_name, renamed }
    }
}

/// Returns the name of the schema of a type in requests, if the one in answers differs.
fn sent_name(name: &str) -> String {
    format!("{name}Sent")
}

/// Returns the name of the schema that an object refers to.
fn target(fields: &Map<String, Value>) -> Option<&str> {
    fields.get("$ref").and_then(Value::as_str).and_then(|target| target.rsplit('/').next())
}

/// Returns whether there is a reference to one of these schemas below a value.
fn refers_to(value: &Value, names: &BTreeMap<String, String>) -> bool {
    match value {
        Value::Object(fields) => {
            target(fields).is_some_and(|name| names.contains_key(name))
                || fields.values().any(|value| refers_to(value, names))
        }
        Value::Array(items) => items.iter().any(|item| refers_to(item, names)),
        _ => false,
    }
}

/// Names the new schemas in the references below a value.
pub(super) fn rename(value: &mut Value, renamed: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => {
            if let Some(new) = target(fields).and_then(|name| renamed.get(name)) {
                fields.insert("$ref".to_owned(), json!(format!("#{PLACE}/{new}")));
            }
            fields.values_mut().for_each(|value| rename(value, renamed));
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, renamed)),
        _ => {}
    }
}

/// Makes a schema of Rust one of the protocol: integers without an upper bound get that of the
/// protocol, and texts lose links into the documentation of the crate.
fn adapt(schema: &mut Schema) {
    if let Some(text) = schema.get("description").and_then(Value::as_str) {
        let text = without_links(text);
        schema.insert("description".to_owned(), json!(text));
    }
    let is_unsigned = schema.get("format").and_then(Value::as_str) == Some("uint64");
    if is_unsigned && schema.get("maximum").is_none() {
        schema.insert("maximum".to_owned(), json!(MAX_SAFE_INTEGER));
    }
}

/// Allows fields that are not known in an answer: they may be added.
fn open(schema: &mut Schema) {
    if schema.get("additionalProperties") == Some(&json!(false)) {
        schema.remove("additionalProperties");
    }
}

/// Returns a text of the documentation of the crate without its links.
pub(super) fn without_links(text: &str) -> String {
    LINK.replace_all(text, "$1").into_owned()
}

#[cfg(test)]
#[allow(dead_code, reason = "only the schemas of these types are used")]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    /// Differs, because requests may leave out its field.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        #[serde(default)]
        number: u64,
    }

    /// Differs only by its reference.
    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Outer {
        inner: Vec<Inner>,
    }

    #[test]
    fn each_way_refers_to_its_own_schemas() {
        let mut schemas = Schemas::new();
        schemas.sent::<Outer>();
        schemas.answered::<Outer>();
        let NamedSchemas { by_name, renamed } = schemas.finish();
        assert_eq!(renamed.keys().collect::<Vec<_>>(), ["Inner", "Outer"]);
        let inner = |outer: &str| by_name[outer]["properties"]["inner"]["items"]["$ref"].clone();
        assert_eq!(inner("Outer"), "#/components/schemas/Inner");
        assert_eq!(inner("OuterSent"), "#/components/schemas/InnerSent");
        assert_eq!(by_name["InnerSent"]["additionalProperties"], false);
        assert!(by_name["Inner"]["additionalProperties"].is_null(), "fields may be added");
    }
}
