//! JSON for readers whose numbers have 53 bits.
//!
//! Always holds: each integer that is written here is within ±[`MAX_SAFE_INTEGER`]. Ids are strings
//! and times are far below that bound, but counters of a cluster that runs for long, such as bytes
//! sent, may exceed it; they are written as the bound. Everything that another program may read
//! goes through this module: messages to viewers, answers over HTTP and on the admin socket, the
//! output of `lc`, and recordings.

mod objects;

use std::fmt::Display;
use std::io;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::ser::{CompactFormatter, Formatter};
use serde_json::{Serializer, Value};
use serde_path_to_error::{Path, Segment};

use self::objects::Objects;
use super::ids::MAX_SAFE_INTEGER;

/// Returns the value as JSON.
///
/// # Errors
/// A map has keys that are no strings, or the type's own error.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    let mut json = Vec::with_capacity(128);
    value.serialize(&mut Serializer::with_formatter(&mut json, SafeIntegers))?;
    Ok(json)
}

/// Returns the value as JSON text.
///
/// # Errors
/// Those of [`to_vec`].
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<String> {
    String::from_utf8(to_vec(value)?).map_err(serde::ser::Error::custom)
}

/// Reads a value. An error of the fields names the one that is wrong, at any depth.
///
/// # Errors
/// The text is not JSON, or does not fit the type; see [`misfit`].
pub fn from_str<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(with_field);
    match read.and_then(|value| reader.end().map(|()| value)) {
        // A number where a word must be is a mistake of grammar to this reader.
        Err(error) if error.is_syntax() => match serde_json::from_str::<Value>(text) {
            Ok(value) => from_value(value),
            Err(_) => Err(error),
        },
        // This reader takes arrays for structures, and may find an error inside of one.
        Ok(_) if text.contains('[') => from_value(serde_json::from_str(text)?),
        Err(error) if error.is_data() && text.contains('[') => {
            match serde_json::from_str::<Value>(text).and_then(from_value::<T>) {
                Err(other) if other.is_data() => Err(other),
                _ => Err(error),
            }
        }
        read => read,
    }
}

/// Reads a value from parsed JSON, as [`from_str`] does from text.
///
/// # Errors
/// The JSON does not fit the type; see [`misfit`].
pub fn from_value<T: DeserializeOwned>(value: Value) -> serde_json::Result<T> {
    serde_path_to_error::deserialize(Objects(value)).map_err(with_field)
}

/// Puts the path of the field in front of an error.
fn with_field(error: serde_path_to_error::Error<serde_json::Error>) -> serde_json::Error {
    let told = in_field(None, error.path(), misfit(error.inner()));
    let error = error.into_inner();
    if error.is_data() { serde_json::Error::custom(told) } else { error }
}

/// Reads the value of a field from parsed JSON, and refuses an array in the place of a structure.
///
/// # Errors
/// Those of [`read_field`].
pub(crate) fn read_object<T: DeserializeOwned>(name: &str, value: Value) -> serde_json::Result<T> {
    read_field(name, Objects(value))
}

/// Reads the value of a field in any format. The error begins with the field's name.
///
/// # Errors
/// The value does not fit the type.
pub(crate) fn read_field<'de, T, D>(name: &str, value: D) -> Result<T, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    serde_path_to_error::deserialize(value).map_err(|error| {
        let told = misfit_text(&error.inner().to_string());
        D::Error::custom(in_field(Some(name), error.path(), told))
    })
}

/// Returns why a value does not fit, behind the path of the field in which it was found.
fn in_field(name: Option<&str>, path: &Path, told: String) -> String {
    let mut names: Vec<String> = name.map(str::to_owned).into_iter().collect();
    for segment in path {
        match (segment, names.last_mut()) {
            (Segment::Map { key }, _) => names.push(key.clone()),
            (Segment::Seq { index }, Some(list)) => list.push_str(&format!("[{index}]")),
            (Segment::Seq { index }, None) => names.push(format!("[{index}]")),
            (Segment::Enum { .. } | Segment::Unknown, _) => {}
        }
    }
    if names.last().is_some_and(|last| told.starts_with(&format!("there is no `{last}` here"))) {
        names.pop();
    }
    // A field that is read with `read_field` has named itself, and those inside of it.
    let is_told = |path: &str| {
        let rest = told.strip_prefix('`').and_then(|rest| rest.strip_prefix(path));
        let inside = rest.and_then(|rest| rest.split_once("`: ")).map(|(inside, _)| inside);
        inside.is_some_and(|inside| inside.is_empty() || inside.starts_with(['.', '[']))
    };
    if let Some(before) = (0..names.len()).find(|first| is_told(&names[*first..].join("."))) {
        let before: String = names[..before].iter().map(|name| format!("{name}.")).collect();
        return format!("`{before}{}", &told[1..]);
    }
    if names.is_empty() { told } else { format!("`{}`: {told}", names.join(".")) }
}

/// Returns why JSON does not fit a type, for people that send it.
pub fn misfit(error: &serde_json::Error) -> String {
    misfit_text(&error.to_string())
}

/// Returns why a field does not fit its type, as [`misfit`] does, behind the name of the field. A
/// text that [`misfit`] or this function has made is left as it is.
pub(crate) fn field_misfit(name: &str, error: &impl Display) -> String {
    format!("`{name}`: {}", misfit_text(&error.to_string()))
}

/// Returns the error text of any format for people: that of serde names types of Rust.
pub(crate) fn misfit_text(text: &str) -> String {
    let text = without_place(text);
    if text.starts_with("wrong msgpack marker ") {
        return "the value has the wrong type".to_owned();
    }
    if let Some(field) = text.strip_prefix("missing field ") {
        return format!("{field} is missing");
    }
    let (found, expected) = text.rsplit_once(", expected ").unwrap_or((text, ""));
    let expected = expected.strip_prefix("one of ").unwrap_or(expected);
    if let Some(field) = found.strip_prefix("unknown field ") {
        let fields = if expected.is_empty() { "none" } else { expected };
        let field = field.split(", there are no fields").next().unwrap_or(field);
        return format!("there is no {field} here; the fields are {fields}");
    }
    if let Some(word) = found.strip_prefix("unknown variant ") {
        return format!("{word} is unknown; the words are {expected}");
    }
    if expected == "map with a single key" {
        return "the object must have exactly one field".to_owned();
    }
    let value =
        found.strip_prefix("invalid type: ").or_else(|| found.strip_prefix("invalid value: "));
    let Some(value) = value.filter(|_| !expected.is_empty()) else { return text.to_owned() };
    format!("{} is not {}", in_json(value), in_json(expected))
}

/// Returns the text without ` at line 1 column 2` at its end.
fn without_place(text: &str) -> &str {
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match text.rsplit_once(" at line ") {
        Some((before, place)) if place.split(" column ").all(is_number) => before,
        _ => text,
    }
}

/// Returns the words for a type that serde names.
fn in_json(named: &str) -> &str {
    const OBJECTS: [&str; 5] = [
        "struct ",
        "enum ",
        "internally tagged enum ",
        "adjacently tagged enum ",
        "struct variant ",
    ];
    match named {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number from 0",
        "f32" | "f64" => "a number",
        "sequence" | "a sequence" => "an array",
        "map" | "a map" => "an object",
        "string or map" => "a word or an object",
        "variant identifier" | "field identifier" => "a word",
        other if OBJECTS.iter().any(|kind| other.starts_with(kind)) => "an object",
        other => other,
    }
}

/// Writes compact JSON. Integers beyond the bound become the bound.
struct SafeIntegers;

impl SafeIntegers {
    fn write<W: io::Write + ?Sized>(writer: &mut W, value: i128) -> io::Result<()> {
        let bound = MAX_SAFE_INTEGER as i64;
        let value = i64::try_from(value)
            .map_or(if value < 0 { -bound } else { bound }, |value| value.clamp(-bound, bound));
        CompactFormatter.write_i64(writer, value)
    }
}

impl Formatter for SafeIntegers {
    fn write_i64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: i64) -> io::Result<()> {
        Self::write(writer, value.into())
    }

    fn write_u64<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: u64) -> io::Result<()> {
        Self::write(writer, value.into())
    }

    fn write_i128<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: i128) -> io::Result<()> {
        Self::write(writer, value)
    }

    fn write_u128<W: io::Write + ?Sized>(&mut self, writer: &mut W, value: u128) -> io::Result<()> {
        Self::write(writer, i128::try_from(value).unwrap_or(i128::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read")]
    struct Sample {
        word: crate::protocol::room::TermAction,
        #[serde(default)]
        number: u64,
        #[serde(default)]
        list: Vec<String>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[allow(dead_code, reason = "only read")]
    struct Named {
        #[serde(deserialize_with = "read_sample")]
        sample: Sample,
    }

    fn read_sample<'de, D: Deserializer<'de>>(value: D) -> Result<Sample, D::Error> {
        read_field("sample", value)
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(tag = "kind")]
    #[allow(dead_code, reason = "only read")]
    enum Tagged {
        Sample(Sample),
    }

    #[test]
    fn a_misfit_is_told_without_types_of_rust() {
        for (text, told) in [
            ("{}", "`word` is missing"),
            (
                r#"{"word":"frobnicate"}"#,
                "`frobnicate` is unknown; the words are `reject`, `shadow_ban`, `flag`",
            ),
            (r#"{"words":1}"#, "there is no `words` here; the fields are `word`, `number`, `list`"),
            (r#"{"number":"x"}"#, "string \"x\" is not a whole number from 0"),
            (r#"{"number":-1}"#, "integer `-1` is not a whole number from 0"),
            (r#"{"list":7}"#, "integer `7` is not an array"),
            ("7", "integer `7` is not an object"),
        ] {
            let error = serde_json::from_str::<Sample>(text).unwrap_err();
            assert_eq!(misfit(&error), told);
            assert_eq!(misfit_text(told), told, "told again");
        }
        for (text, told) in [
            ("7", "integer `7` is not an object"),
            (r#"{"kind":1}"#, "integer `1` is not a word"),
            ("{}", "`kind` is missing"),
        ] {
            let error = serde_json::from_str::<Tagged>(text).unwrap_err();
            assert_eq!(misfit(&error), told);
        }
    }

    #[test]
    fn a_misfit_names_its_field_at_any_depth() {
        for (text, told) in [
            (r#"{"word":7}"#, "`word`: integer `7` is not a word or an object"),
            (
                r#"{"word":"word.x"}"#,
                "`word`: `word.x` is unknown; the words are `reject`, `shadow_ban`, `flag`",
            ),
            (r#"{"number":-1}"#, "`number`: integer `-1` is not a whole number from 0"),
            (r#"{"list":["a",7]}"#, "`list[1]`: integer `7` is not a string"),
            (r#"{"x":1}"#, "there is no `x` here; the fields are `word`, `number`, `list`"),
            (r#"{"number":1}"#, "`word` is missing"),
            ("7", "integer `7` is not an object"),
        ] {
            let error = from_str::<Sample>(text).unwrap_err();
            assert_eq!(misfit(&error), told, "{text}");
            let value = serde_json::from_str(text).unwrap();
            assert_eq!(misfit(&from_value::<Sample>(value).unwrap_err()), told, "{text}");
            let nested = format!(r#"{{"a":{text}}}"#);
            let error = from_str::<BTreeMap<String, Sample>>(&nested).unwrap_err();
            let nested = if told.starts_with('`') && !told.starts_with("`word` is") {
                format!("`a.{}", &told[1..])
            } else {
                format!("`a`: {told}")
            };
            assert_eq!(misfit(&error), nested, "{text}");
        }
        for (text, told) in [
            (r#"["flag",1,[]]"#, "an array is not an object"),
            (r#"{"a":["flag",1,[]]}"#, "`a`: an array is not an object"),
        ] {
            let error = match from_str::<Sample>(text) {
                Err(error) if text.starts_with('[') => error,
                _ => from_str::<BTreeMap<String, Sample>>(text).unwrap_err(),
            };
            assert_eq!(misfit(&error), told, "{text}");
        }
        let list = from_str::<Sample>(r#"{"word":"flag","list":["a"]}"#).unwrap();
        assert_eq!(list.list, ["a"]);
        let syntax = from_str::<Sample>(r#"{"word":"flag"} x"#).unwrap_err();
        assert!(syntax.is_syntax(), "{syntax}");
        assert!(from_str::<Sample>("{\"word\":").unwrap_err().is_eof());
    }

    #[test]
    fn a_field_that_names_itself_is_named_once() {
        for (text, told) in [
            (r#"{"sample":7}"#, "`sample`: integer `7` is not an object"),
            (
                r#"{"sample":{"word":"flag","list":7}}"#,
                "`sample.list`: integer `7` is not an array",
            ),
            (
                r#"{"sample":{"word":"flag","list":[7]}}"#,
                "`sample.list[0]`: integer `7` is not a string",
            ),
            (r#"{"sample":{}}"#, "`sample`: `word` is missing"),
            (
                r#"{"sample":{"word":"sample.x"}}"#,
                "`sample.word`: `sample.x` is unknown; the words are `reject`, `shadow_ban`, `flag`",
            ),
        ] {
            assert_eq!(misfit(&from_str::<Named>(text).unwrap_err()), told);
            let nested = format!(r#"{{"a":{text}}}"#);
            let error = from_str::<BTreeMap<String, Named>>(&nested).unwrap_err();
            assert_eq!(misfit(&error), format!("`a.{}", &told[1..]), "{nested}");
        }
    }

    #[test]
    fn only_the_place_of_an_error_is_cut_off() {
        for (text, told) in [
            ("it broke at line 1 column 20", "it broke"),
            ("`stop at line 3` is unknown", "`stop at line 3` is unknown"),
            ("`stop at line x` is unknown at line 1 column 2", "`stop at line x` is unknown"),
        ] {
            assert_eq!(misfit_text(text), told);
        }
    }

    #[test]
    fn integers_stop_at_53_bits() {
        let bound = 9_007_199_254_740_991_i64;
        for (value, expected) in [
            (json!(bound), json!(bound)),
            (json!(bound + 1), json!(bound)),
            (json!(u64::MAX), json!(bound)),
            (json!(-bound - 1), json!(-bound)),
            (json!(i64::MIN), json!(-bound)),
            (
                json!({"a": [u64::MAX, 1.5, "18446744073709551615"]}),
                json!({"a": [bound, 1.5, "18446744073709551615"]}),
            ),
        ] {
            assert_eq!(to_string(&value).unwrap(), expected.to_string());
        }
        assert_eq!(to_string(&u128::MAX).unwrap(), bound.to_string());
        assert_eq!(to_string(&i128::MIN).unwrap(), (-bound).to_string());
    }

    proptest! {
        #[test]
        fn every_integer_is_the_nearest_safe_one(unsigned: u64, signed: i64) {
            let bound = MAX_SAFE_INTEGER as i64;
            prop_assert_eq!(to_string(&unsigned).unwrap(), unsigned.min(MAX_SAFE_INTEGER).to_string());
            prop_assert_eq!(to_string(&signed).unwrap(), signed.clamp(-bound, bound).to_string());
        }

        /// Everything else is written as `serde_json` does.
        #[test]
        fn small_values_are_plain_json(texts: Vec<String>, number in -1_000_000_i64..1_000_000, real: f64) {
            let value: Value = json!({"t": texts, "n": {"x": [number, real, null, true]}});
            prop_assert_eq!(to_string(&value).unwrap(), value.to_string());
        }
    }
}
