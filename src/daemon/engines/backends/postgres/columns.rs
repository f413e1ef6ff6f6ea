//! Values on their way into columns and back.

use std::borrow::Cow;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::postgres::PgRow;

use crate::daemon::engines::StoreError;
use crate::protocol::CommentId;

/// For a column: PostgreSQL's integers are signed. Ids are at most 2^63 − 1 by contract, and no time
/// or offset comes near.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// For a text column, which cannot hold U+0000. Comments have none; a name or a reason from outside
/// could, and must not make its whole batch fail again and again.
pub(crate) fn text(value: &str) -> Cow<'_, str> {
    if value.contains('\0') { value.replace('\0', "\u{FFFD}").into() } else { value.into() }
}

/// A column that holds a whole number of 0 or more.
pub(crate) fn natural(row: &PgRow, column: &str) -> Result<u64, StoreError> {
    let value: i64 = row.try_get(column)?;
    u64::try_from(value)
        .map_err(|_| StoreError::Corrupt(format!("column {column} holds {value}, expected >= 0")))
}

/// The same for a column that may be NULL.
pub(crate) fn natural_or_null(row: &PgRow, column: &str) -> Result<Option<u64>, StoreError> {
    let value: Option<i64> = row.try_get(column)?;
    value.map(|_| natural(row, column)).transpose()
}

pub(crate) fn shared_text(row: &PgRow, column: &str) -> Result<Arc<str>, StoreError> {
    Ok(Arc::from(row.try_get::<&str, _>(column)?))
}

/// The column `sort_key` as the comment id it stands for.
pub(crate) fn comment_id(row: &PgRow) -> Result<CommentId, StoreError> {
    let bytes: &[u8] = row.try_get("sort_key")?;
    let key = bytes.try_into().map_err(|_| {
        StoreError::Corrupt(format!("a sort key of {} bytes, expected 16", bytes.len()))
    })?;
    Ok(CommentId::from_sort_key(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_no_column_holds_is_made_one_it_does() {
        assert_eq!(text("ann"), "ann");
        assert_eq!(text("a\0n\0"), "a\u{FFFD}n\u{FFFD}");
    }
}
