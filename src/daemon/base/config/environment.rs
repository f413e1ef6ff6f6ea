//! Settings in the environment: `LCD_SECTION__KEY`.
//!
//! Only names with a double underscore are settings. Others with the prefix belong to somebody
//! else: Kubernetes sets `LCD_PORT` and `LCD_SERVICE_HOST` in every container near a service named
//! `lcd`.
//! A value is read as the type of its field wants it, whatever it looks like: a node may be named
//! `12345`.

use std::collections::BTreeMap;
use std::ffi::OsString;

use figment::value::{Dict, Value};
use figment::{Error, Figment, Metadata, Profile, Provider, error::Kind};

use super::Config;

const PREFIX: &str = "LCD_";
const SEPARATOR: &str = "__";
/// The name of this source in the errors of figment.
pub(super) const NAME: &str = "environment";

/// A variable that has the form of a setting.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    name: String,
    path: Vec<String>,
    text: String,
}

/// The configuration of all sources.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) config: Result<Config, Box<Error>>,
    /// Variables of no setting.
    pub(super) unknown: Vec<String>,
}

/// Returns the variables of this process that have the form of settings.
///
/// # Errors
/// The name of a variable whose value is not UTF-8.
pub(super) fn variables() -> Result<Vec<Variable>, String> {
    collect(std::env::vars_os())
}

fn collect(variables: impl Iterator<Item = (OsString, OsString)>) -> Result<Vec<Variable>, String> {
    let mut found = Vec::new();
    for (name, text) in variables {
        let name = name.to_string_lossy();
        match text.into_string() {
            Ok(text) => found.extend(Variable::new(&name, text)),
            Err(text) => {
                let lossy = text.to_string_lossy().into_owned();
                if let Some(variable) = Variable::new(&name, lossy) {
                    return Err(variable.name);
                }
            }
        }
    }
    Ok(found)
}

/// Returns the variable of a setting.
pub(super) fn variable_of(path: &[String]) -> String {
    format!("{PREFIX}{} in the environment", path.join(SEPARATOR).to_uppercase())
}

impl Variable {
    fn new(name: &str, text: String) -> Option<Self> {
        let upper = name.to_ascii_uppercase();
        let setting = upper.strip_prefix(PREFIX)?;
        // Unit files and shells set a variable to nothing to unset it.
        if text.is_empty() {
            return None;
        }
        let path: Vec<_> = setting.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
        (path.len() > 1).then(|| Self { name: name.to_owned(), path, text })
    }

    /// Returns the values that the text may stand for, the likeliest first.
    fn readings(&self) -> Vec<Value> {
        let looks_like: Value = self.text.parse().unwrap_or_else(|_| self.text.clone().into());
        let list = self.text.trim().trim_start_matches('[').trim_end_matches(']');
        let items = list.split(',').map(|item| item.trim().trim_matches(['"', '\'']));
        let items = items.filter(|item| !item.is_empty()).map(Value::from);
        vec![looks_like, Value::from(self.text.clone()), Value::from(items.collect::<Vec<_>>())]
    }
}

/// A variable and the reading of it that is tried.
struct Attempt {
    variable: Variable,
    readings: Vec<Value>,
    chosen: usize,
}

/// Merges variables over the other sources. A reading that its field does not take is replaced by
/// the next one. If no reading fits, the error is that of the first whose type fits.
pub(super) fn merge(base: &Figment, variables: Vec<Variable>) -> Merged {
    let attempt = |variable: Variable| {
        let readings = variable.readings();
        Attempt { variable, readings, chosen: 0 }
    };
    let mut attempts: Vec<_> = variables.into_iter().map(attempt).collect();
    let mut unknown = Vec::new();
    let mut refusals: BTreeMap<String, Error> = BTreeMap::new();
    loop {
        let figment =
            attempts.iter().fold(base.clone(), |figment, attempt| figment.merge(Layer(attempt)));
        let error = match figment.extract::<Config>() {
            Ok(config) => return Merged { config: Ok(config), unknown },
            Err(error) => error,
        };
        if let Some(at) = attempts.iter().position(|attempt| attempt.is_unknown(&error)) {
            unknown.push(attempts.remove(at).variable.name);
            continue;
        }
        let Some(attempt) = attempts.iter_mut().find(|attempt| attempt.refused_by(&error)) else {
            return Merged { config: Err(Box::new(error)), unknown };
        };
        let name = attempt.variable.name.clone();
        let known = refusals.entry(name).or_insert_with(|| error.clone());
        // A reading of the right type says more about the value.
        if is_of_wrong_type(known) && !is_of_wrong_type(&error) {
            *known = error;
        }
        let best = known.clone();
        if attempt.chosen + 1 == attempt.readings.len() {
            return Merged { config: Err(Box::new(best)), unknown };
        }
        attempt.chosen += 1;
    }
}

fn is_of_wrong_type(error: &Error) -> bool {
    matches!(error.kind, Kind::InvalidType(..))
}

impl Attempt {
    /// Returns whether the error says that there is no such setting.
    fn is_unknown(&self, error: &Error) -> bool {
        let Kind::UnknownField(field, _) = &error.kind else { return false };
        let path = &self.variable.path;
        let section = match error.path.split_last() {
            Some((last, section)) if last == field => section,
            _ => &error.path[..],
        };
        // Deeper fields are inside the value of a known setting.
        section.len() < path.len() && path.starts_with(section) && path[section.len()] == *field
    }

    fn refused_by(&self, error: &Error) -> bool {
        let from_here = error.metadata.as_ref().is_some_and(|metadata| metadata.name == NAME);
        let inside = error.path.starts_with(&self.variable.path);
        // A value where a section is expected, as in LCD_NODE__NAME__X.
        let above = self.variable.path.starts_with(&error.path) && !error.path.is_empty();
        from_here && (inside || above)
    }
}

/// One variable as a source of figment.
struct Layer<'a>(&'a Attempt);

impl Provider for Layer<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(NAME)
    }

    fn data(&self) -> Result<figment::value::Map<Profile, Dict>, Error> {
        let Attempt { variable, readings, chosen } = self.0;
        let wrap = |value: Value, key: &String| Value::from(Dict::from([(key.clone(), value)]));
        let value = variable.path.iter().rev().fold(readings[*chosen].clone(), wrap);
        // A variable has at least a section and a key.
        Ok(Profile::Default.collect(value.into_dict().unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::NodeRole;

    fn load(variables: &[(&str, &str)]) -> (Result<Config, String>, Vec<String>) {
        let variables =
            variables.iter().filter_map(|(name, text)| Variable::new(name, (*text).to_owned()));
        let merged = merge(&Figment::new(), variables.collect());
        (
            merged.config.map_err(|error| format!("{}: {}", error.path.join("."), error.kind)),
            merged.unknown,
        )
    }

    #[test]
    fn variables_of_others_are_left_alone() {
        let (config, unknown) = load(&[
            ("LCD_PORT", "tcp://10.0.0.7:8080"),
            ("LCD_SERVICE_HOST", "10.0.0.7"),
            ("LCD_PORT_8080_TCP_ADDR", "10.0.0.7"),
            ("LCD_NODE", "7"),
            ("LCD_GATEWAY__MAX_CONNECTIONS", ""),
            ("LCD__CHAT_PORT", "tcp://10.0.0.7:8080"),
        ]);
        assert!(config.is_ok() && unknown.is_empty());
        let (config, mut unknown) = load(&[
            ("LCD__NODE__NAME", "x"),
            ("LCD_NODE__NAMES", "x"),
            ("LCD_GATWAY__LISTEN", "127.0.0.1:1"),
            ("LCD_NODE__NAME", "edge-1"),
        ]);
        assert_eq!(config.unwrap().node.name, "edge-1");
        unknown.sort();
        assert_eq!(unknown, ["LCD_GATWAY__LISTEN", "LCD_NODE__NAMES", "LCD__NODE__NAME"]);
    }

    #[test]
    fn the_type_of_the_field_decides() {
        for name in ["12345", "007", "true", "1e3", "[a]", "{a=1}", "0x10", "-1", "a,b"] {
            let (config, _) = load(&[("LCD_NODE__NAME", name)]);
            assert_eq!(config.unwrap().node.name, name);
        }
        let (config, _) = load(&[
            ("LCD_GATEWAY__MAX_CONNECTIONS", "77"),
            ("LCD_GATEWAY__DEV_TLS", "true"),
            ("LCD_NODE__ROLES", "edge, archiver"),
            ("LCD_REDIS__NODES", "[\"redis://a:1\", \"redis://b:2\"]"),
            ("LCD_KAFKA__BROKERS", "127.0.0.1:9092"),
            ("LCD_REACTIONS__KINDS", "[1, 2]"),
            ("LCD_INGEST__COMMENTS_PER_MINUTE__VIEWER", "5"),
            ("LCD_REDIS__PASSWORD_FILE", "42"),
            ("LCD_STORE__RETENTION", "30d"),
        ]);
        let config = config.unwrap();
        assert_eq!(config.gateway.max_connections, 77);
        assert!(config.gateway.dev_tls);
        assert_eq!(config.node.roles, [NodeRole::Edge, NodeRole::Archiver]);
        assert_eq!(config.redis.nodes, ["redis://a:1", "redis://b:2"]);
        assert_eq!(config.kafka.brokers, ["127.0.0.1:9092"]);
        assert_eq!(config.reactions.kinds, ["1", "2"]);
        assert_eq!(config.ingest.comments_per_minute.viewer, 5);
        assert_eq!(config.redis.password_file.unwrap().to_str(), Some("42"));
    }

    #[test]
    fn a_value_of_no_fitting_type_is_an_error_of_its_key() {
        for (name, text, key) in [
            ("LCD_GATEWAY__MAX_CONNECTIONS", "many", "gateway.max_connections"),
            ("LCD_GATEWAY__DEV_TLS", "maybe", "gateway.dev_tls"),
            ("LCD_STORE__RETENTION", "30", "store.retention"),
            ("LCD_AUTH__KEYS", "[{algorithm=\"HS256\",fil=\"x\"}]", "auth.keys"),
            ("LCD_NODE__NAME__X", "1", "node.name"),
        ] {
            let (config, unknown) = load(&[(name, text)]);
            let error = config.unwrap_err();
            assert!(error.starts_with(key) && unknown.is_empty(), "{name}: {error}, {unknown:?}");
        }
    }
}
