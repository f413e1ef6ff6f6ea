//! The description of one method of a path.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde_json::{Map, Value, json};

use super::errors::{BODY_ERRORS, TOKEN_ERRORS};
use super::schemas::{Schemas, without_links};
use super::tag::Tag;
use crate::protocol::error_code::{ProblemDetails, Retry};
use crate::protocol::ids::MAX_SAFE_INTEGER;
use crate::protocol::{ErrorCode, Role};

/// One operation. The module of its handler describes it.
#[derive(Debug)]
pub(crate) struct Operation<'a> {
    schemas: &'a mut Schemas,
    base_path: &'a str,
    fields: Map<String, Value>,
    text: String,
    parameters: Vec<Value>,
    responses: BTreeMap<u16, Value>,
    errors: BTreeMap<u16, BTreeSet<&'static str>>,
}

impl<'a> Operation<'a> {
    pub(super) fn new(path: &str, base_path: &'a str, schemas: &'a mut Schemas) -> Self {
        let mut operation = Self {
            schemas,
            base_path,
            fields: Map::new(),
            text: String::new(),
            parameters: Vec::new(),
            responses: BTreeMap::new(),
            errors: BTreeMap::new(),
        };
        // A node with `gateway.forwarded_header` answers with it before it looks at the path.
        operation.errors(&[ErrorCode::BadForwarding]);
        for name in path.split('{').skip(1).filter_map(|rest| rest.split('}').next()) {
            let PathParameter { schema, text } = PathParameter::named(name);
            operation.parameter("path", name, schema, &text).errors(&[ErrorCode::BadRequest]);
        }
        if path.contains("{stream_id}") {
            operation.errors(&[ErrorCode::UnknownStream]);
        }
        operation
    }

    /// Says that the path is not below the base path of the site, as those of viewers are.
    pub(crate) fn at_root(&mut self) -> &mut Self {
        if !self.base_path.is_empty() {
            self.fields.insert("servers".to_owned(), json!([{ "url": "/" }]));
        }
        self
    }

    /// Names the operation: its group, its unique id, and a sentence without a full stop.
    pub(crate) fn named(&mut self, tag: Tag, id: impl Into<String>, summary: &str) -> &mut Self {
        self.fields.insert("tags".to_owned(), json!([tag.name()]));
        self.fields.insert("operationId".to_owned(), json!(id.into()));
        self.fields.insert("summary".to_owned(), json!(summary));
        self
    }

    /// Adds sentences to the description.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        if !self.text.is_empty() {
            self.text.push(' ');
        }
        self.text.push_str(text);
        self
    }

    /// Says that the caller needs a token with at least this role.
    pub(crate) fn needs_token(&mut self, role: Role) -> &mut Self {
        self.fields.insert("security".to_owned(), json!([{ "bearer": [] }]));
        self.errors(TOKEN_ERRORS).errors(&[ErrorCode::NotAuthenticated]);
        if role > Role::Viewer {
            let text = format!("Needs the role {role} or a higher one.");
            self.text(&text).errors(&[ErrorCode::Forbidden]);
        }
        self
    }

    /// Says that the caller may send a token. One that is sent must be valid.
    pub(crate) fn may_have_token(&mut self) -> &mut Self {
        self.fields.insert("security".to_owned(), json!([{}, { "bearer": [] }]));
        self.errors(TOKEN_ERRORS)
    }

    /// Says that the caller may send a token in the header or in the query.
    pub(crate) fn may_have_query_token(&mut self) -> &mut Self {
        let ways = json!([{}, { "bearer": [] }, { "query_token": [] }]);
        self.fields.insert("security".to_owned(), ways);
        self.errors(TOKEN_ERRORS)
    }

    /// Adds a parameter of the query, which may be left out.
    pub(crate) fn query(&mut self, name: &str, schema: Value, text: &str) -> &mut Self {
        self.parameter("query", name, schema, text).errors(&[ErrorCode::BadRequest])
    }

    /// Adds a header, which may be left out.
    pub(crate) fn header(&mut self, name: &str, schema: Value, text: &str) -> &mut Self {
        self.parameter("header", name, schema, text)
    }

    fn parameter(&mut self, place: &str, name: &str, schema: Value, text: &str) -> &mut Self {
        let mut parameter = json!({
            "name": name, "in": place, "required": place == "path", "description": text,
        });
        parameter["schema"] = schema;
        self.parameters.push(parameter);
        self
    }

    /// Says that the body is JSON of this type.
    pub(crate) fn body<T: JsonSchema>(&mut self) -> &mut Self {
        let schema = self.schemas.sent::<T>();
        self.body_of(schema)
    }

    /// Says that the body has the fields of a variant of this enum.
    ///
    /// # Panics
    /// There is no such variant. Documents are made when a node starts, so no request meets this.
    pub(crate) fn body_of_variant<T: JsonSchema>(&mut self, name: &str) -> &mut Self {
        let schema = self.schemas.sent_inline::<T>();
        let variants = schema["oneOf"].as_array().map(Vec::as_slice).unwrap_or_default();
        let variant = variants.iter().find(|variant| !variant["properties"][name].is_null());
        let Some(variant) = variant else { panic!("there is no variant `{name}` to describe") };
        if let Some(text) = variant["description"].as_str() {
            let text = without_links(text);
            self.text(&text);
        }
        self.body_of(variant["properties"][name].clone())
    }

    /// Says that the body, which is described before, may be left out.
    pub(crate) fn body_may_be_absent(&mut self) -> &mut Self {
        self.fields["requestBody"]["required"] = json!(false);
        self
    }

    fn body_of(&mut self, schema: Value) -> &mut Self {
        let mut body = json!({ "required": true, "content": { "application/json": {} } });
        body["content"]["application/json"]["schema"] = schema;
        self.fields.insert("requestBody".to_owned(), body);
        self.errors(BODY_ERRORS)
    }

    /// Says that a successful answer is JSON of this type.
    pub(crate) fn answer<T: JsonSchema>(&mut self, status: u16, text: &str) -> &mut Self {
        let schema = self.schemas.answered::<T>();
        self.answer_as(status, "application/json", schema, text)
    }

    /// Says that a successful answer is of a media type other than JSON.
    pub(crate) fn answer_as(
        &mut self,
        status: u16,
        media_type: &str,
        schema: Value,
        text: &str,
    ) -> &mut Self {
        let response = self.responses.entry(status).or_insert_with(|| json!({ "content": {} }));
        response["description"] = json!(text);
        response["content"][media_type]["schema"] = schema;
        self
    }

    /// Says that the answer 200, which is described before, has an `ETag`, with which a client may
    /// ask whether its copy is still current.
    pub(crate) fn revalidated_by_etag(&mut self) -> &mut Self {
        let tag = || json!({ "type": "string" });
        self.header("If-None-Match", tag(), "The `ETag` of an earlier answer.")
            .empty(304, "The earlier answer is still current.");
        for status in [200, 304] {
            self.answer_header(status, "ETag", tag(), "The tag of this answer.");
            self.answer_header(status, "Cache-Control", tag(), "How long it may be cached.");
        }
        self
    }

    /// Says that an answer has no body.
    pub(crate) fn empty(&mut self, status: u16, text: &str) -> &mut Self {
        self.responses.insert(status, json!({ "description": text }));
        self
    }

    /// Says that answers with this status, which are described before, may have a header.
    pub(crate) fn answer_header(
        &mut self,
        status: u16,
        name: &str,
        schema: Value,
        text: &str,
    ) -> &mut Self {
        let response = self.responses.entry(status).or_insert_with(|| json!({}));
        response["headers"][name] = json!({ "description": text });
        response["headers"][name]["schema"] = schema;
        self
    }

    /// Says that the operation may be answered with these errors.
    pub(crate) fn errors(&mut self, codes: &[ErrorCode]) -> &mut Self {
        for code in codes {
            self.errors.entry(code.http_status()).or_default().insert(code.as_str());
        }
        self
    }

    /// Returns the operation as the document has it.
    pub(super) fn finish(self) -> Value {
        let Self { schemas, mut fields, text, parameters, mut responses, errors, .. } = self;
        for (status, codes) in errors {
            responses.insert(status, error_response(schemas, status, &codes));
        }
        if !text.is_empty() {
            fields.insert("description".to_owned(), json!(text));
        }
        if !parameters.is_empty() {
            fields.insert("parameters".to_owned(), json!(parameters));
        }
        let responses: Map<_, _> =
            responses.into_iter().map(|(status, value)| (status.to_string(), value)).collect();
        fields.insert("responses".to_owned(), json!(responses));
        Value::Object(fields)
    }
}

/// A parameter in the path of an operation.
struct PathParameter {
    schema: Value,
    text: String,
}

impl PathParameter {
    /// Returns the parameter with that name.
    ///
    /// # Panics
    /// There is none. Documents are made when a node starts, so no request meets this.
    fn named(name: &str) -> Self {
        match name {
            "stream_id" => Self::id("stream"),
            "user_id" => Self::id("user"),
            "comment_id" => Self {
                schema: json!({ "type": "string", "format": "uuid" }),
                text: "The id of the comment.".to_owned(),
            },
            "poll_id" => Self {
                schema: json!({ "type": "integer", "minimum": 0, "maximum": MAX_SAFE_INTEGER }),
                text: "The id of the poll.".to_owned(),
            },
            other => panic!("the path parameter `{other}` is not described"),
        }
    }

    fn id(thing: &str) -> Self {
        Self {
            schema: json!({
                "type": "string", "pattern": "^[1-9][0-9]{0,18}$", "examples": ["1"],
            }),
            text: format!("The id of the {thing}: a whole number from 1 to {}.", i64::MAX),
        }
    }
}

/// Returns the description of the errors of one status. Codes may be added, so others are valid
/// too.
fn error_response(schemas: &mut Schemas, status: u16, codes: &BTreeSet<&'static str>) -> Value {
    let details = schemas.answered::<ProblemDetails>();
    let these = json!({
        "properties": {
            "status": { "const": status },
            "code": { "anyOf": [{ "enum": codes }, { "type": "string" }] },
        },
    });
    let lines: Vec<_> = codes
        .iter()
        .filter_map(|text| ErrorCode::from_text(text))
        .map(|code| format!("- `{code}`: {}", code.meaning()))
        .collect();
    let mut response = json!({
        "description": lines.join("\n"),
        "content": { ProblemDetails::CONTENT_TYPE: { "schema": { "allOf": [details, these] } } },
    });
    let is_timed = |text: &&str| {
        ErrorCode::from_text(text).is_some_and(|code| code.retry_rule() != Retry::Never)
    };
    if codes.iter().any(is_timed) {
        response["headers"]["Retry-After"] = json!({
            "description": "`retry_after_ms` in whole seconds, rounded up, if there is one.",
            "schema": { "type": "integer", "minimum": 0 },
        });
    }
    if status == 401 {
        response["headers"]["WWW-Authenticate"] = json!({
            "description": "The scheme of tokens: `Bearer`.",
            "schema": { "type": "string" },
        });
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ModerationAct;

    #[test]
    #[should_panic(expected = "the path parameter `name` is not described")]
    fn a_path_parameter_must_be_described() {
        Operation::new("/api/{name}", "", &mut Schemas::new());
    }

    #[test]
    #[should_panic(expected = "there is no variant `shout` to describe")]
    fn a_body_of_no_variant_is_found_at_the_start() {
        let mut schemas = Schemas::new();
        Operation::new("/", "", &mut schemas).body_of_variant::<ModerationAct>("shout");
    }
}
