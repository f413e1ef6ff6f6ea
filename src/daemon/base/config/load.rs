//! Merges the sources of the configuration. Flags arrive as [`Overrides`], parsed by clap.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use figment::Figment;
use figment::providers::{Format as _, Toml};
use tracing::warn;

use super::{Config, ConfigError, NodeRole, environment, paths};

/// Settings of the command line, which win over the file and the environment.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub listen: Option<SocketAddr>,
    pub data_dir: Option<PathBuf>,
    pub admin_socket: Option<PathBuf>,
    pub roles: Option<Vec<NodeRole>>,
    pub dev_tls: bool,
}

/// Reads, merges and validates the configuration. Relative paths are relative to the working
/// directory.
pub fn load(file: Option<&Path>, overrides: Overrides) -> Result<Config, ConfigError> {
    let mut figment = Figment::new();
    if let Some(path) = file {
        // Read here, because figment treats a missing file as an empty one.
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.display().to_string(), source })?;
        figment = figment.merge(Toml::string(&text));
    }
    let variables = environment::variables().map_err(|name| {
        ConfigError::Invalid(format!("{name} in the environment is not UTF-8: correct its value"))
    })?;
    let merged = environment::merge(&figment, variables);
    for unknown in merged.unknown {
        warn!("{unknown} in the environment is no setting and is ignored; docs/lcd.toml has all");
    }
    let config = merged.config.map_err(|error| explain(file, &error))?;
    let mut config = apply(config, overrides);
    paths::expand_all(&mut config).map_err(ConfigError::Invalid)?;
    super::validate::validate(&config).map_err(ConfigError::Invalid)?;
    Ok(config)
}

fn explain(file: Option<&Path>, error: &figment::Error) -> ConfigError {
    let key = error.path.join(".");
    let metadata = error.metadata.as_ref();
    let from_environment = metadata.is_some_and(|metadata| metadata.name == environment::NAME);
    let place = match (from_environment, file) {
        (true, _) => environment::variable_of(&error.path),
        (false, Some(path)) => path.display().to_string(),
        (false, None) => "the configuration".to_owned(),
    };
    let at = if key.is_empty() { String::new() } else { format!(" at `{key}`") };
    ConfigError::Invalid(format!("{place}{at}: {}", on_one_line(&error.kind.to_string())))
}

/// Returns what a parser says without the picture of the line that it shows below, and a list of
/// names without the quotes around all of it.
pub(crate) fn on_one_line(text: &str) -> String {
    let is_picture = |line: &&str| {
        line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|')
    };
    let said: Vec<_> = text.lines().filter(|line| !is_picture(line)).map(str::trim).collect();
    said.join(": ").replace("`one of `", "one of `").replace("``", "`")
}

fn apply(mut config: Config, overrides: Overrides) -> Config {
    if let Some(listen) = overrides.listen {
        config.gateway.listen = listen;
    }
    if let Some(roles) = overrides.roles {
        config.node.roles = roles;
    }
    if overrides.dev_tls {
        config.gateway.dev_tls = true;
    }
    if let Some(data_dir) = overrides.data_dir {
        config.node.data_dir = data_dir;
    }
    if config.node.data_dir.as_os_str().is_empty() {
        config.node.data_dir = default_data_dir();
    }
    if let Some(admin_socket) = overrides.admin_socket {
        config.node.admin_socket = admin_socket;
    }
    if config.node.admin_socket.as_os_str().is_empty() {
        config.node.admin_socket = config.node.data_dir.join("admin.sock");
    }
    if config.node.name.is_empty() {
        config.node.name = host_name();
    }
    config
}

/// Returns `$XDG_DATA_HOME/lcd`, else `~/.local/share/lcd`, else `/var/lib/lcd` for users without a
/// home.
pub fn default_data_dir() -> PathBuf {
    crate::protocol::paths::default_data_dir(std::env::var_os)
}

fn host_name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "lcd".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn errors_are_one_line_and_say_what_would_be_right() {
        let error = load_text("[gateway\nlisten = 1\n").unwrap_err();
        assert!(!error.contains('\n') && !error.contains("``"), "{error}");
        let words = ["line 1, column 9: invalid table header: expected", "`]`"];
        words.iter().for_each(|word| assert!(error.contains(word), "{word}: {error}"));
        let error = load_text("[gateway]\nlistn = 1\n").unwrap_err();
        assert!(error.contains("listn") && error.contains("expected one of `listen`"), "{error}");
        assert!(!error.contains("``"), "{error}");
    }

    fn load_text(text: &str) -> Result<Config, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lcd.toml");
        std::fs::write(&path, text).unwrap();
        load(Some(&path), Overrides::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_gives_the_documented_defaults() {
        let config = load_text("").unwrap();
        assert_eq!(config.gateway.auth_timeout, Duration::from_secs(5));
        assert_eq!(config.gateway.ping_interval, Duration::from_secs(30));
        assert_eq!(config.gateway.idle_timeout, Duration::from_secs(300));
        assert_eq!(config.gateway.max_message_bytes.as_u64(), 32 << 10);
        assert_eq!(config.gateway.max_connections_per_user, 20);
        assert_eq!(config.ingest.comments_per_minute.viewer, 60);
        assert_eq!(config.shutdown.deadline, Duration::from_secs(10));
    }

    #[test]
    fn errors_name_the_key() {
        for (text, expected) in [
            ("[gateway]\nlisten = 7", "gateway.listen"),
            ("[gateway]\nlisten = \"nowhere\"", "gateway.listen"),
            ("[gateway]\nport = 1", "port"),
            ("[delivery]\nfan_out_share = 0.0", "delivery.fan_out_share"),
            ("[delivery]\ncoalesce_up_to = \"1m\"", "delivery.coalesce_up_to"),
            ("[delivery]\negress_bytes_per_second = 5", "delivery.egress_bytes_per_second"),
            ("[delivery]\negress_held_up = 1.5", "delivery.egress_held_up"),
            ("[gatway]\n", "gatway"),
            ("[gateway]\nidle_timeout = \"1 parsec\"", "idle_timeout"),
            ("[gateway]\nmax_message_bytes = \"1 ton\"", "max_message_bytes"),
            ("[gateway]\nmax_message_bytes = \"4 KiB\"", "at least 14048"),
            ("[gateway]\nmax_message_bytes = \"2 MiB\"", "at most 1 MiB"),
            ("[gateway]\npong_timeout = \"0s\"", "gateway.pong_timeout"),
            (
                "[ingest]\nmax_comment_chars = 501",
                "`ingest.max_comment_bytes` must be at least 2004",
            ),
            (
                "[ingest]\nmax_comment_bytes = 1999",
                "`ingest.max_comment_bytes` must be at least 2000",
            ),
            (
                "[ingest]\nmax_comment_chars = 5000\nmax_comment_bytes = 20000",
                "`gateway.max_message_bytes` must be at least 122048",
            ),
            ("[gateway]\nmax_connections = 0", "gateway.max_connections"),
            ("[broadcast]\nthrottle = []", "broadcast.throttle"),
            ("[cassandra]\nnodes = []", "cassandra.nodes"),
            ("[cassandra]\nkeyspace = \"a\\\"b\"", "cassandra.keyspace"),
            ("[cassandra]\nkeyspace = \"7days\"", "cassandra.keyspace"),
            ("[cassandra]\nreplication_factor = 0", "cassandra.replication_factor"),
            ("[cassandra]\ntimeout = \"0s\"", "cassandra.timeout"),
            ("[cassandra]\npassword_file = \"p\"", "cassandra.username"),
            ("[node]\nroles = [\"king\"]", "roles"),
            ("[admin]\nlisten = \"127.0.0.1:1\"\nkey = \"k\"", "`admin.certificate` is needed"),
            ("[admin]\nlisten = \"127.0.0.1:1\"\ncertificate = \"c\"", "`admin.key` is needed"),
            ("[admin]\nlisten = \"nowhere\"", "admin.listen"),
            ("[admin]\nroles = { ann = \"operator\" }", "`admin.client_ca` is needed"),
            ("[admin]\nroles = { ann = \"king\" }", "admin.roles"),
            ("[auth]\naudience = \"lcd-admin\"", "auth.audience"),
            ("[cluster]\nname = \"prod eu\"", "`cluster.name` must be at most 32 letters"),
            ("[cluster]\ncolour = \"rosa\"", "cluster.colour"),
            ("[cluster]\ncolour = \"rosa\"", "`red`, `orange`"),
            ("[moderation.model]\ntoxicity_flag = 0.8", "`moderation.model.toxicity_flag` must be"),
            ("[moderation.model]\nspam_reject = 1.5", "`moderation.model.spam_flag` must be"),
            ("[moderation.model]\nspam_flag = nan", "`moderation.model.spam_flag` must be"),
            ("[moderation.model]\nexempt_users = [0]", "moderation.model.exempt_users"),
            ("[moderation.model]\nspam_action = \"ban\"", "moderation.model.spam_action"),
            ("moderation.stages = [\"ai\"]", "moderation.stages"),
            ("moderation.stages = [\"rules\", \"rules\"]", "must name each stage once"),
            ("[node\n", "TOML"),
        ] {
            let error = load_text(text).unwrap_err();
            assert!(error.contains(expected), "{text:?} gave {error:?}");
        }
    }

    #[test]
    fn every_value_out_of_range_is_named() {
        let text = "[store]\narchive_batch = 0\n[delivery]\nring_frames = 0\n[kafka]\nbrokers = []";
        let error = load_text(text).unwrap_err();
        for key in ["store.archive_batch", "delivery.ring_frames", "kafka.brokers"] {
            assert!(error.contains(key), "{key} is not in {error:?}");
        }
    }

    #[test]
    fn a_missing_file_is_an_error() {
        let error = load(Some(Path::new("/nowhere/lcd.toml")), Overrides::default()).unwrap_err();
        assert!(error.to_string().contains("/nowhere/lcd.toml"));
    }

    #[test]
    fn flags_win_over_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lcd.toml");
        std::fs::write(&path, "[gateway]\nlisten = \"127.0.0.1:1\"").unwrap();
        let listen = Some(SocketAddr::from(([127, 0, 0, 1], 2)));
        let config = load(Some(&path), Overrides { listen, ..Overrides::default() }).unwrap();
        assert_eq!(config.gateway.listen.port(), 2);
    }
}
