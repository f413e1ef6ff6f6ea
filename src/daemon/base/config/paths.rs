//! The settings that are paths.
//!
//! Always holds: no path is taken literally where its writer thought of a shell. `~` is the home
//! directory; a variable is an error, because its value here may be another than in a shell.

use std::path::{Component, Path, PathBuf};

use super::Config;

/// Returns every setting that is a path and is set, with its key.
fn settings(config: &mut Config) -> Vec<(&'static str, &mut PathBuf)> {
    let Config {
        node, gateway, auth, kafka, redis, cassandra, postgres, moderation, admin, ..
    } = config;
    let mut paths = vec![
        ("node.data_dir", &mut node.data_dir),
        ("node.admin_socket", &mut node.admin_socket),
        ("auth.signing_key", &mut auth.signing_key),
    ];
    paths.extend(auth.keys.iter_mut().map(|key| ("auth.keys.file", &mut key.file)));
    if let Some(tls) = &mut gateway.tls {
        paths.push(("gateway.tls.certificate", &mut tls.certificate));
        paths.push(("gateway.tls.key", &mut tls.key));
    }
    let mut optional: Vec<(&'static str, Option<&mut PathBuf>)> = vec![
        ("auth.jwks_ca", auth.jwks_ca.as_mut()),
        ("redis.password_file", redis.password_file.as_mut()),
        ("cassandra.password_file", cassandra.password_file.as_mut()),
        ("cassandra.tls_ca", cassandra.tls_ca.as_mut()),
        ("postgres.password_file", postgres.password_file.as_mut()),
        ("moderation.rules.blocked_words_file", moderation.rules.blocked_words_file.as_mut()),
        ("moderation.model.file", moderation.model.file.as_mut()),
        ("moderation.model.calibration", moderation.model.calibration.as_mut()),
        ("moderation.hook.token_file", moderation.hook.token_file.as_mut()),
        ("moderation.hook.signing_key_file", moderation.hook.signing_key_file.as_mut()),
        ("moderation.hook.tls_ca", moderation.hook.tls_ca.as_mut()),
        ("admin.certificate", admin.certificate.as_mut()),
        ("admin.key", admin.key.as_mut()),
        ("admin.client_ca", admin.client_ca.as_mut()),
    ];
    if let Some(tls) = &mut kafka.tls {
        optional.push(("kafka.tls.ca", tls.ca.as_mut()));
        optional.push(("kafka.tls.certificate", tls.certificate.as_mut()));
        optional.push(("kafka.tls.key", tls.key.as_mut()));
    }
    if let Some(sasl) = &mut kafka.sasl {
        paths.push(("kafka.sasl.password_file", &mut sasl.password_file));
    }
    paths.extend(optional.into_iter().filter_map(|(key, path)| Some((key, path?))));
    paths
}

/// Expands the home directory in every path.
pub(super) fn expand_all(config: &mut Config) -> Result<(), String> {
    for (key, path) in settings(config) {
        *path = expand(path).map_err(|problem| format!("`{key}`: {problem}"))?;
    }
    Ok(())
}

fn expand(path: &Path) -> Result<PathBuf, String> {
    crate::protocol::paths::expand_home(path, std::env::var_os("HOME").map(PathBuf::from))
        .and_then(refuse_variables)
}

fn refuse_variables(path: PathBuf) -> Result<PathBuf, String> {
    let is_variable =
        |component: Component<'_>| component.as_os_str().to_string_lossy().starts_with('$');
    let first = path.components().next();
    if first.is_some_and(is_variable) {
        return Err(format!(
            "{} begins with a variable, which only a shell replaces: write the whole path, or ~ for \
             the home directory",
            path.display()
        ));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::base::config::{KafkaSasl, KafkaTls, KeyAlgorithm, KeyConfig, TlsConfig};

    fn full() -> Config {
        let path = || PathBuf::from("~/x");
        let mut config = Config::default();
        config.node.data_dir = path();
        config.node.admin_socket = path();
        config.auth.signing_key = path();
        config.auth.jwks_ca = Some(path());
        config.auth.keys =
            vec![KeyConfig { algorithm: KeyAlgorithm::HS256, file: path(), kid: None }];
        config.gateway.tls = Some(TlsConfig { certificate: path(), key: path() });
        config.redis.password_file = Some(path());
        config.cassandra.password_file = Some(path());
        config.cassandra.tls_ca = Some(path());
        config.postgres.password_file = Some(path());
        config.moderation.rules.blocked_words_file = Some(path());
        config.moderation.model.file = Some(path());
        config.moderation.model.calibration = Some(path());
        config.moderation.hook.token_file = Some(path());
        config.moderation.hook.signing_key_file = Some(path());
        config.moderation.hook.tls_ca = Some(path());
        config.admin.certificate = Some(path());
        config.admin.key = Some(path());
        config.admin.client_ca = Some(path());
        config.kafka.tls =
            Some(KafkaTls { ca: Some(path()), certificate: Some(path()), key: Some(path()) });
        config.kafka.sasl = Some(KafkaSasl {
            mechanism: "PLAIN".to_owned(),
            username: String::new(),
            password_file: path(),
        });
        config
    }

    #[test]
    fn every_path_setting_is_expanded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/daemon/base/config");
        let mut fields = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let code = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let is_path = |line: &&str| {
                line.starts_with("    pub ")
                    && (line.ends_with(": PathBuf,") || line.ends_with(": Option<PathBuf>,"))
            };
            // The flags of the command line end in the settings.
            let code = code.split_once("pub struct Overrides").map_or(&*code, |(before, _)| before);
            fields += code.lines().filter(is_path).count();
        }
        let mut config = full();
        assert_eq!(settings(&mut config).len(), fields, "a path setting is not in the list");
        expand_all(&mut config).unwrap();
        let home = std::env::var("HOME").unwrap();
        for (key, path) in settings(&mut config) {
            assert_eq!(path, &Path::new(&home).join("x"), "{key}");
        }
    }

    #[test]
    fn shell_variables_are_refused() {
        let mut config = Config::default();
        config.node.data_dir = "$HOME/lcd".into();
        let error = expand_all(&mut config).unwrap_err();
        assert!(error.contains("node.data_dir") && error.contains("whole path"), "{error}");
        config.node.data_dir = "/srv/$lcd".into();
        expand_all(&mut config).unwrap();
        assert_eq!(config.node.data_dir, Path::new("/srv/$lcd"));
    }
}
