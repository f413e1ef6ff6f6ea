//! Error codes that several operations answer with.

use crate::protocol::ErrorCode::{self, *};

/// Errors of a token that was sent.
pub(super) const TOKEN_ERRORS: &[ErrorCode] = &[
    TokenMalformed,
    TokenAlgorithm,
    TokenSignature,
    TokenExpired,
    TokenNotYetValid,
    TokenIssuer,
    TokenAudience,
    TokenClaims,
    IdentityUnavailable,
    Banned,
];

/// Errors of a body.
pub(super) const BODY_ERRORS: &[ErrorCode] =
    &[BadRequest, BadUtf8, BadJson, BadMessage, TooLarge, UnsupportedMediaType];

/// Errors of reading a store.
pub(crate) const STORE_ERRORS: &[ErrorCode] = &[StoreUnavailable, Internal];

/// Errors of a change that is stored, and that the event log or other nodes are told of.
pub(crate) const CHANGE_ERRORS: &[ErrorCode] =
    &[StoreUnavailable, LogUnavailable, StorageFull, TooLarge, ShuttingDown, Internal];

/// Errors of a viewer that asks to watch a stream, besides those of its token.
pub(crate) const ADMISSION_ERRORS: &[ErrorCode] = &[
    NotAuthenticated,
    UnknownStream,
    StreamEnded,
    TooManyConnections,
    NodeFull,
    ConnectionRate,
    ShuttingDown,
];
