//! Mints tokens for operators, for trials and for load generation.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::validate::{self, LONGEST_MS};
use super::{Actor, Control, ControlError};
use crate::protocol::admin::{TokenRequest, Tokens, UserTokensRequest};
use crate::protocol::error_code::ErrorBody;
use crate::protocol::{Identity, UserId};

/// Signs a token for an identity with a time to live. Provided by the assembly.
pub type Minter = Arc<dyn Fn(&Identity, Duration) -> Result<String, ErrorBody> + Send + Sync>;

/// The most tokens of one request.
const MAX_TOKENS: u32 = 10_000;
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
        if !(1..=MAX_TOKENS).contains(&request.count) {
            let problem = format!("must be 1 to {MAX_TOKENS}, not {}", request.count);
            return Err(ControlError::Invalid { field: "count", problem });
        }
        let last = request.user_id.0.saturating_add(u64::from(request.count) - 1);
        validate::id("user_id", request.user_id.0)?;
        validate::id("user_id", last)?;
        let ttl_ms = validate::lifetime_ms("ttl_ms", request.ttl_ms, LONGEST_MS)?;
        // The last user has the largest id and so the longest name.
        validate::name(&request.name)?;
        validate::name(&name(request, last))?;
        let target = match request.count {
            1 => format!("user {}", request.user_id),
            _ => format!("users {} to {last}", request.user_id),
        };
        self.parts.metadata.audit(self.entry(actor, "token", target, request)).await?;
        let mut identities = Vec::with_capacity(request.count as usize);
        for index in 0..request.count {
            let user_id = request.user_id.0 + u64::from(index);
            identities.push(Identity {
                user_id: UserId(user_id),
                name: validate::name(&name(request, user_id))?.into(),
                role: request.role,
                comments_per_minute: request.comments_per_minute,
            });
        }
        sign(identities, Duration::from_millis(ttl_ms), minter).await
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
        if !(1..=MAX_TOKENS as usize).contains(&users.len()) {
            let problem = format!("must name 1 to {MAX_TOKENS} users, not {}", users.len());
            return Err(ControlError::Invalid { field: "users", problem });
        }
        let mut identities = Vec::with_capacity(users.len());
        for user in users {
            validate::id("user_id", user.user_id.0)?;
            identities.push(Identity {
                user_id: user.user_id,
                name: validate::name(&user.name)?.into(),
                role: *role,
                comments_per_minute: *comments_per_minute,
            });
        }
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
        self.parts.metadata.audit(self.entry(actor, "token", target, &detail)).await?;
        sign(identities, ttl, minter).await
    }
}

async fn sign(
    identities: Vec<Identity>,
    ttl: Duration,
    minter: &Minter,
) -> Result<Tokens, ControlError> {
    let mut tokens = Vec::with_capacity(identities.len());
    for identity in identities {
        tokens.push(minter(&identity, ttl).map_err(ControlError::Mint)?);
        if tokens.len().is_multiple_of(TOKENS_PER_TURN) {
            tokio::task::yield_now().await;
        }
    }
    Ok(Tokens { tokens })
}

fn name(request: &TokenRequest, user_id: u64) -> String {
    match request.count {
        1 => request.name.trim().to_owned(),
        _ => format!("{}{user_id}", request.name.trim()),
    }
}
