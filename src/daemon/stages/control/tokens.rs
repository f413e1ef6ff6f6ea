//! Mints tokens for operators, for trials and for load generation.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::validate::{self, LONGEST_MS};
use super::{Actor, Control, ControlError};
use crate::protocol::admin::{
    AdminRole, AdminTokenRequest, InvalidTokens, TokenRequest, TokenUser, Tokens,
    UserTokensRequest, audit_action,
};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{Identity, Role, Standing, StreamId};

/// Signs a token for an identity, with roles on single streams and a time to live. Provided by the
/// assembly.
pub type Minter = Arc<
    dyn Fn(&Identity, &BTreeMap<StreamId, Role>, Duration) -> Result<String, ErrorBody>
        + Send
        + Sync,
>;

/// Signs a token for the admin API for a name and a role with a time to live. Provided by the
/// assembly.
pub type AdminMinter = Arc<dyn Fn(&str, AdminRole, Duration) -> String + Send + Sync>;

/// Signatures made before the task yields to others.
const TOKENS_PER_TURN: usize = 128;
/// Users that an audit entry names.
const USERS_RECORDED: usize = 20;

impl Control {
    /// Mints `count` tokens for consecutive users from `user_id`. The audit log records the users,
    /// never the tokens.
    pub async fn mint(
        &self,
        actor: &Actor,
        request: &TokenRequest,
        minter: &Minter,
    ) -> Result<Tokens, ControlError> {
        let users = request.users()?;
        let ttl_ms = validate::lifetime_ms("ttl_ms", request.ttl_ms, LONGEST_MS)?;
        let target = match request.count {
            1 => format!("user {}", request.user_id),
            count => {
                let last = request.user_id.0 + u64::from(count) - 1;
                format!("users {} to {last}", request.user_id)
            }
        };
        self.parts.metadata.audit(self.entry(actor, audit_action::TOKEN, target, request)).await?;
        let identity = |user| {
            let of_role = identity(user, request.role, request.comments_per_minute);
            let account_created = request.account_created;
            Identity { standing: Standing { account_created, ..request.standing }, ..of_role }
        };
        let identities = users.into_iter().map(identity).collect();
        let ttl = Duration::from_millis(ttl_ms);
        sign(identities, &request.stream_roles, ttl, minter).await
    }

    /// Mints one token per named user, in their order. They are one entry of the audit log, with
    /// their number and the first of them.
    pub async fn mint_for_users(
        &self,
        actor: &Actor,
        request: &UserTokensRequest,
        minter: &Minter,
    ) -> Result<Tokens, ControlError> {
        let UserTokensRequest { users, role, ttl_ms, comments_per_minute } = request;
        let identity = |user| identity(user, *role, *comments_per_minute);
        let identities = request.users()?.into_iter().map(identity).collect();
        let ttl = Duration::from_millis(validate::lifetime_ms("ttl_ms", *ttl_ms, LONGEST_MS)?);
        let detail = json!({
            "users": users.len(),
            "first": users.iter().take(USERS_RECORDED).collect::<Vec<_>>(),
            "role": role,
            "ttl_ms": ttl_ms,
            "comments_per_minute": comments_per_minute,
        });
        let target = match users.as_slice() {
            [user] => format!("user {}", user.user_id),
            _ => format!("{} users", users.len()),
        };
        self.parts.metadata.audit(self.entry(actor, audit_action::TOKEN, target, &detail)).await?;
        sign(identities, &BTreeMap::new(), ttl, minter).await
    }

    /// Mints a token for the admin API. The audit log records its name and role, never the token.
    ///
    /// # Errors
    /// The name or the lifetime is not allowed, or the change cannot be recorded.
    pub async fn mint_admin(
        &self,
        actor: &Actor,
        request: &AdminTokenRequest,
        minter: &AdminMinter,
    ) -> Result<Tokens, ControlError> {
        let request = request.checked()?;
        let target = format!("{} {}", request.role, request.name);
        self.parts
            .metadata
            .audit(self.entry(actor, audit_action::ADMIN_TOKEN, target, &request))
            .await?;
        let token = minter(&request.name, request.role, Duration::from_millis(request.ttl_ms));
        Ok(Tokens { tokens: vec![token] })
    }
}

async fn sign(
    identities: Vec<Identity>,
    streams: &BTreeMap<StreamId, Role>,
    ttl: Duration,
    minter: &Minter,
) -> Result<Tokens, ControlError> {
    let mut tokens = Vec::with_capacity(identities.len());
    for identity in identities {
        tokens.push(minter(&identity, streams, ttl).map_err(ControlError::Mint)?);
        if tokens.len().is_multiple_of(TOKENS_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
    Ok(Tokens { tokens })
}

fn identity(user: TokenUser, role: Role, comments_per_minute: Option<u32>) -> Identity {
    let standing = Standing::default();
    let TokenUser { user_id, name } = user;
    Identity {
        user_id,
        name: name.into(),
        role,
        everywhere: role,
        avatar: None,
        comments_per_minute,
        standing,
    }
}

impl From<InvalidTokens> for ControlError {
    fn from(InvalidTokens { field, problem }: InvalidTokens) -> Self {
        Self::Invalid { field, problem }
    }
}
