//! The first connection made from the `[postgres]` section, and the errors that name a wrong
//! setting.

use std::str::FromStr as _;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use tokio::time::timeout;

use crate::daemon::base::config::PostgresConfig;

/// After this many seconds of silence and three probes the server notices that a node is gone, and
/// releases its locks.
const KEEPALIVE: [(&str, &str); 3] = [
    ("tcp_keepalives_idle", "30"),
    ("tcp_keepalives_interval", "10"),
    ("tcp_keepalives_count", "3"),
];

/// A reason why the stores cannot be opened, with the setting that is likely wrong.
#[derive(Debug, thiserror::Error)]
pub enum PostgresSetupError {
    #[error("`postgres.url` is not postgres://user@host:port/database: {0}")]
    BadUrl(String),
    #[error("`postgres.password_file`: cannot read {path}: {source}")]
    PasswordFile { path: String, source: std::io::Error },
    #[error("`postgres.url`: {server} does not answer: {reason}")]
    Unreachable { server: String, reason: String },
    #[error("`postgres.url`, `postgres.password_file`: {server} refuses user \"{user}\": {reason}")]
    Refused { server: String, user: String, reason: String },
    #[error("`postgres.url`: {server} has no database \"{database}\"; create it or name another")]
    NoDatabase { server: String, database: String },
    #[error(
        "`postgres.url`: {server} does not apply `{setting}` = \"{wanted}\", which lcd asks for when \
         it connects; it is \"{found}\". Is there a pooler in between that ignores start-up \
         options (PgBouncer: `ignore_startup_parameters`)? Connect to PostgreSQL itself"
    )]
    SettingIgnored { server: String, setting: &'static str, wanted: String, found: String },
    #[error("`postgres.max_connections`: {server} has no connection left: {reason}")]
    NoConnectionLeft { server: String, reason: String },
    #[error(
        "`postgres.schema`: user \"{user}\" may not create \"{schema}\" or tables in it: {reason}; \
         GRANT CREATE ON DATABASE, or create the schema with this user as its owner"
    )]
    NoRights { user: String, schema: String, reason: String },
    #[error(
        "`postgres.schema`: the {part} tables in \"{schema}\" are at version {version}, this lcd \
         knows up to {known}: start a newer lcd, or name another schema"
    )]
    Newer { part: &'static str, schema: String, version: i64, known: i64 },
    #[error(
        "`postgres.schema`: migration {version} of the {part} tables in \"{schema}\" is not the one \
         this lcd has: was the schema created by another program?"
    )]
    Different { part: &'static str, schema: String, version: i64 },
    #[error(
        "`postgres.schema`: the {part} tables in \"{schema}\" could not be brought up to date: \
         {reason}"
    )]
    Migration { part: &'static str, schema: String, reason: String },
}

/// The options of a connection, and its description without the password.
#[derive(Debug, Clone)]
pub(super) struct Setup {
    options: PgConnectOptions,
    pub(super) schema: String,
    /// The settings of `options` that the engines rely on. Each connection is asked for them.
    relied_on: Vec<(&'static str, String)>,
    timeout: Duration,
}

/// The setup that worked, and the connection that showed it.
#[derive(Debug)]
pub(super) struct FirstConnection {
    pub(super) setup: Setup,
    pub(super) connection: PgConnection,
}

impl Setup {
    /// Reads the section and connects with it.
    pub(super) async fn connect(
        config: &PostgresConfig,
    ) -> Result<FirstConnection, PostgresSetupError> {
        let relied_on = relied_on(config);
        let options = options(config)?.options(relied_on.iter().map(|(name, value)| (name, value)));
        let mut setup =
            Self { options, schema: config.schema.clone(), relied_on, timeout: config.timeout };
        let mut connection = setup.connection().await?;
        if setup.commits_before_disk(&mut connection).await? {
            setup.options = setup.options.options([("synchronous_commit", "on")]);
            setup.relied_on.push(("synchronous_commit", "on".to_owned()));
            connection = setup.connection().await?;
        }
        Ok(FirstConnection { setup, connection })
    }

    /// Opens a connection within the timeout.
    pub(super) async fn connection(&self) -> Result<PgConnection, PostgresSetupError> {
        match timeout(self.timeout, self.checked_connection()).await {
            Ok(connected) => connected,
            Err(_) => Err(self.unreachable(no_answer_within(self.timeout))),
        }
    }

    /// Opens a connection, and fails if it does not have the settings that it asked for.
    pub(super) async fn checked_connection(&self) -> Result<PgConnection, PostgresSetupError> {
        let connected = self.options.connect().await;
        let mut connection = connected.map_err(|error| self.diagnose(&error))?;
        let names: Vec<&str> = self.relied_on.iter().map(|(name, _)| *name).collect();
        let found = sqlx::query_as::<_, (String, String)>(
            "SELECT name, setting FROM pg_settings WHERE name = ANY($1)",
        )
        .bind(names)
        .fetch_all(&mut connection)
        .await
        .map_err(|error| self.diagnose(&error))?;
        for (setting, wanted) in &self.relied_on {
            let found = found.iter().find(|(name, _)| name == setting);
            let found = found.map(|(_, value)| value.as_str()).unwrap_or_default();
            if found != wanted {
                return Err(PostgresSetupError::SettingIgnored {
                    server: self.server(),
                    setting,
                    wanted: wanted.clone(),
                    found: found.to_owned(),
                });
            }
        }
        Ok(connection)
    }

    pub(super) fn user(&self) -> String {
        self.options.get_username().to_owned()
    }

    /// Returns whether the server's commits return before they are on disk. A setting stricter than
    /// `on`, such as waiting for replicas, stays as the operator chose it.
    async fn commits_before_disk(
        &self,
        connection: &mut PgConnection,
    ) -> Result<bool, PostgresSetupError> {
        let setting =
            sqlx::query_scalar::<_, String>("SELECT current_setting('synchronous_commit')")
                .fetch_one(connection);
        match timeout(self.timeout, setting).await {
            Ok(setting) => Ok(setting.map_err(|error| self.diagnose(&error))? == "off"),
            Err(_) => Err(self.unreachable(no_answer_within(self.timeout))),
        }
    }

    /// Returns host and port, or the path of the socket.
    pub(super) fn server(&self) -> String {
        match self.options.get_socket() {
            Some(socket) => socket.display().to_string(),
            None => format!("{}:{}", self.options.get_host(), self.options.get_port()),
        }
    }

    fn unreachable(&self, reason: String) -> PostgresSetupError {
        PostgresSetupError::Unreachable { server: self.server(), reason }
    }

    /// Translates an error while connecting into the setting it is about, by its SQLSTATE.
    fn diagnose(&self, error: &sqlx::Error) -> PostgresSetupError {
        let server = self.server();
        let user = self.user();
        let Some(refusal) = error.as_database_error() else {
            return self.unreachable(error.to_string());
        };
        let reason = refusal.message().to_owned();
        match refusal.code().as_deref() {
            Some("28P01" | "28000" | "42501") => {
                PostgresSetupError::Refused { server, user, reason }
            }
            Some("3D000") => {
                let database = self.options.get_database().unwrap_or(&user).to_owned();
                PostgresSetupError::NoDatabase { server, database }
            }
            Some("53300") => PostgresSetupError::NoConnectionLeft { server, reason },
            _ => self.unreachable(reason),
        }
    }
}

/// Reads the section without connecting.
pub(super) fn check(config: &PostgresConfig) -> Result<(), PostgresSetupError> {
    options(config).map(drop)
}

/// Describes a server that does not answer in time.
pub(super) fn no_answer_within(timeout: Duration) -> String {
    format!("no answer within {} (`postgres.timeout`)", humantime::format_duration(timeout))
}

fn options(config: &PostgresConfig) -> Result<PgConnectOptions, PostgresSetupError> {
    let url = &config.url;
    if !url.starts_with("postgres://") && !url.starts_with("postgresql://") {
        return Err(PostgresSetupError::BadUrl("it starts with another scheme".to_owned()));
    }
    let options = PgConnectOptions::from_str(url);
    let mut options = options.map_err(|error| PostgresSetupError::BadUrl(error.to_string()))?;
    if let Some(path) = &config.password_file {
        let password = std::fs::read_to_string(path).map_err(|source| {
            PostgresSetupError::PasswordFile { path: path.display().to_string(), source }
        })?;
        options = options.password(password.trim_end());
    }
    Ok(options.application_name("lcd").options(KEEPALIVE).disable_statement_logging())
}

/// Returns the settings without which the engines are wrong, as `pg_settings` shows them.
fn relied_on(config: &PostgresConfig) -> Vec<(&'static str, String)> {
    // The server cancels a statement slightly before its caller gives up, and ends a transaction
    // whose node stopped midway, so that neither keeps holding locks.
    let statement_ms = (config.timeout.as_millis() * 9 / 10).max(1);
    let idle_ms = config.timeout.as_millis().max(1);
    vec![
        ("search_path", config.schema.clone()),
        // A statement that waited for a lock must see what the lock's last holder committed.
        ("default_transaction_isolation", "read committed".to_owned()),
        // Queries name the days they read; planning for those days skips all others.
        ("plan_cache_mode", "force_custom_plan".to_owned()),
        ("statement_timeout", statement_ms.to_string()),
        ("idle_in_transaction_session_timeout", idle_ms.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(url: &str) -> String {
        let config = PostgresConfig { url: url.to_owned(), ..PostgresConfig::default() };
        options(&config).unwrap_err().to_string()
    }

    #[test]
    fn a_malformed_url_names_the_setting() {
        for url in ["", "localhost", "mysql://lcd@localhost/lcd", "postgres://lcd@host:port/lcd"] {
            let error = refused(url);
            assert!(error.contains("`postgres.url`"), "{error}");
        }
    }

    #[test]
    fn an_unreadable_password_file_is_named() {
        let path = Some("/nonexistent/password".into());
        let config = PostgresConfig { password_file: path, ..PostgresConfig::default() };
        let error = options(&config).unwrap_err().to_string();
        assert!(error.contains("`postgres.password_file`"), "{error}");
        assert!(error.contains("/nonexistent/password"), "{error}");
    }
}
