//! Tokens for tools that bring their own users.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::admin::{AdminClient, AdminError};
use super::token::{Claims, mint, secret_of};
use crate::protocol::admin::{InvalidTokens, MAX_TOKENS, TokenUser, Tokens, UserTokensRequest};
use crate::protocol::quantity::counted;
use crate::protocol::{Role, UserId, paths};

/// Longer than any run, short enough that a leaked token is soon useless.
const TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Makes tokens through a daemon's admin socket or with its signing secret.
pub enum TokenSource {
    Admin(AdminClient),
    Secret(Vec<u8>),
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Admin(_) => "TokenSource::Admin",
            Self::Secret(_) => "TokenSource::Secret(…)",
        })
    }
}

/// The reason why no tokens were made.
#[derive(Debug, thiserror::Error)]
pub enum TokenSourceError {
    #[error(
        "no way to make tokens: no daemon answers ({admin}), and {secret_path} cannot be read \
         ({secret}); name the daemon's --socket or --data-dir",
        secret_path = secret_path.display()
    )]
    Nowhere { admin: String, secret_path: PathBuf, secret: std::io::Error },
    #[error("the signing secret {path} cannot be read: {source}", path = path.display())]
    Secret { path: PathBuf, source: std::io::Error },
    #[error("the daemon made no tokens: {0}")]
    Refused(#[from] AdminError),
    #[error("no tokens can be made: {0}")]
    Invalid(#[from] InvalidTokens),
    #[error("the daemon made {} instead of {wanted}", counted(*got as u64, "token"))]
    TooFew { got: usize, wanted: usize },
}

impl TokenSource {
    /// Returns the admin socket if a daemon answers there, else the secret `signing.key` in the
    /// data directory.
    pub async fn find(socket: &Path, data_dir: &Path) -> Result<Self, TokenSourceError> {
        Self::find_by(AdminClient::new(socket.to_owned()), data_dir).await
    }

    /// Like [`Self::find`], by a client. The secret is that of this machine, so it is of no use to
    /// a daemon on another.
    pub async fn find_by(client: AdminClient, data_dir: &Path) -> Result<Self, TokenSourceError> {
        if client.remote_host().is_some() {
            client.get::<serde_json::Value>("/v1/status").await?;
            return Ok(Self::Admin(client));
        }
        let admin = match client.get::<serde_json::Value>("/v1/status").await {
            Ok(_) => return Ok(Self::Admin(client)),
            Err(error) => error.to_string(),
        };
        let secret_path = data_dir.join(paths::SIGNING_SECRET);
        match tokio::fs::read(&secret_path).await {
            Ok(secret) => Ok(Self::secret(&secret)),
            Err(secret) => Err(TokenSourceError::Nowhere { admin, secret_path, secret }),
        }
    }

    /// Returns the secret in a file.
    pub async fn from_secret_file(path: &Path) -> Result<Self, TokenSourceError> {
        let read = tokio::fs::read(path).await;
        read.map(|file| Self::secret(&file))
            .map_err(|source| TokenSourceError::Secret { path: path.to_owned(), source })
    }

    fn secret(file: &[u8]) -> Self {
        Self::Secret(secret_of(file).to_owned())
    }

    /// Makes tokens without a rate limit for the users `first`, `first + 1` and so on. The name of
    /// a user is `name` and its id.
    pub async fn numbered(
        &self,
        first: UserId,
        count: u32,
        name: &str,
    ) -> Result<Vec<String>, TokenSourceError> {
        let user = |n| {
            let user_id = UserId(first.0.saturating_add(n));
            TokenUser { user_id, name: format!("{name}{user_id}") }
        };
        self.in_order(&(0..u64::from(count)).map(user).collect::<Vec<_>>()).await
    }

    /// Makes a token without a rate limit for each of these users.
    pub async fn of_users(
        &self,
        users: Vec<TokenUser>,
    ) -> Result<HashMap<UserId, String>, TokenSourceError> {
        let tokens = self.in_order(&users).await?;
        Ok(users.iter().map(|user| user.user_id).zip(tokens).collect())
    }

    async fn in_order(&self, users: &[TokenUser]) -> Result<Vec<String>, TokenSourceError> {
        let client = match self {
            Self::Admin(client) => client,
            Self::Secret(secret) => {
                let token = |user: &TokenUser| Ok(sign(secret, &user.checked()?));
                return users.iter().map(token).collect();
            }
        };
        let mut tokens = Vec::with_capacity(users.len());
        for users in users.chunks(MAX_TOKENS as usize) {
            let request = UserTokensRequest {
                users: users.to_vec(),
                role: Role::Viewer,
                ttl_ms: TOKEN_LIFETIME.as_millis() as u64,
                comments_per_minute: Some(0),
            };
            let answer: Tokens = client.post("/v1/tokens/users", &request).await?;
            let got = answer.tokens.len();
            if got != users.len() {
                return Err(TokenSourceError::TooFew { got, wanted: users.len() });
            }
            tokens.extend(answer.tokens);
        }
        Ok(tokens)
    }
}

fn sign(secret: &[u8], user: &TokenUser) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut claims = Claims::new(user.user_id, &user.name, now, TOKEN_LIFETIME);
    claims.comments_per_minute = Some(0);
    mint(secret, &claims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_secret_serves_where_no_daemon_answers() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("admin.sock");
        let error = TokenSource::find(&socket, dir.path()).await.unwrap_err().to_string();
        assert!(error.contains("--data-dir") && error.contains("admin.sock"), "{error}");

        std::fs::write(dir.path().join(paths::SIGNING_SECRET), b"secret").unwrap();
        let source = TokenSource::find(&socket, dir.path()).await.unwrap();
        let tokens = source.numbered(UserId(10), 3, "load").await.unwrap();
        assert_eq!(tokens.len(), 3);
        assert_ne!(tokens[0], tokens[1]);
        let unnamed = TokenUser { user_id: UserId(5), name: "\u{200B}".to_owned() };
        let error = source.of_users(vec![unnamed]).await.unwrap_err().to_string();
        assert!(error.contains("`name`"), "{error}");
        let ann = TokenUser { user_id: UserId(5), name: "ann".to_owned() };
        assert!(!source.of_users(vec![ann]).await.unwrap()[&UserId(5)].is_empty());

        let with_newline = dir.path().join("key");
        std::fs::write(&with_newline, b"secret\n").unwrap();
        let Ok(TokenSource::Secret(secret)) = TokenSource::from_secret_file(&with_newline).await
        else {
            panic!("no secret")
        };
        assert_eq!(secret, b"secret", "as the daemon reads it");
    }
}
