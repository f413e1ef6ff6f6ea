//! Columns and errors, the same for every database behind sqlx.

use sqlx::Row as _;
#[cfg(feature = "engines")]
use sqlx::postgres::PgRow;
use sqlx::sqlite::{SqliteError, SqliteRow};

use crate::daemon::engines::StoreError;
use crate::protocol::{Badges, CommentId};

/// Converts a number for a column: SQL integers are signed. Ids are at most 2^63 − 1 by contract,
/// and times and offsets stay far below it.
pub(crate) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Typed access to the columns of a row. A column that is absent or of another type is
/// [`StoreError::Corrupt`].
pub(crate) trait Columns {
    fn integer(&self, column: &str) -> Result<i64, StoreError>;
    fn integer_or_null(&self, column: &str) -> Result<Option<i64>, StoreError>;
    fn real(&self, column: &str) -> Result<f64, StoreError>;
    fn flag(&self, column: &str) -> Result<bool, StoreError>;
    fn text(&self, column: &str) -> Result<&str, StoreError>;
    fn text_or_null(&self, column: &str) -> Result<Option<&str>, StoreError>;
    fn bytes(&self, column: &str) -> Result<&[u8], StoreError>;
    fn bytes_or_null(&self, column: &str) -> Result<Option<&[u8]>, StoreError>;

    /// Returns a whole number of 0 or more.
    fn natural(&self, column: &str) -> Result<u64, StoreError> {
        natural(column, self.integer(column)?)
    }

    fn natural_or_null(&self, column: &str) -> Result<Option<u64>, StoreError> {
        self.integer_or_null(column)?.map(|value| natural(column, value)).transpose()
    }

    /// Returns the id that the column `sort_key` stands for.
    fn comment_id(&self) -> Result<CommentId, StoreError> {
        comment_id(self.bytes("sort_key")?)
    }

    /// Returns the id that the column `parent_key` stands for, if it has one.
    fn parent_id(&self) -> Result<Option<CommentId>, StoreError> {
        self.bytes_or_null("parent_key")?.map(comment_id).transpose()
    }

    /// Returns the badges that the column `badges` adds up.
    fn badges(&self) -> Result<Badges, StoreError> {
        let bits = self.natural("badges")?;
        let bits = u8::try_from(bits)
            .map_err(|_| StoreError::Corrupt(format!("a comment with the badges {bits}")))?;
        Ok(Badges::from_bits(bits))
    }
}

fn comment_id(sort_key: &[u8]) -> Result<CommentId, StoreError> {
    let key = sort_key.try_into().map_err(|_| {
        StoreError::Corrupt(format!("a sort key of {} bytes, expected 16", sort_key.len()))
    })?;
    Ok(CommentId::from_sort_key(key))
}

fn natural(column: &str, value: i64) -> Result<u64, StoreError> {
    u64::try_from(value)
        .map_err(|_| StoreError::Corrupt(format!("column {column} holds {value}, expected >= 0")))
}

macro_rules! columns {
    ($($row:ty)+) => {$(
        impl Columns for $row {
            fn integer(&self, column: &str) -> Result<i64, StoreError> {
                Ok(self.try_get(column)?)
            }

            fn integer_or_null(&self, column: &str) -> Result<Option<i64>, StoreError> {
                Ok(self.try_get(column)?)
            }

            fn real(&self, column: &str) -> Result<f64, StoreError> {
                Ok(self.try_get(column)?)
            }

            fn flag(&self, column: &str) -> Result<bool, StoreError> {
                Ok(self.try_get(column)?)
            }

            fn text(&self, column: &str) -> Result<&str, StoreError> {
                Ok(self.try_get(column)?)
            }

            fn text_or_null(&self, column: &str) -> Result<Option<&str>, StoreError> {
                Ok(self.try_get(column)?)
            }

            fn bytes(&self, column: &str) -> Result<&[u8], StoreError> {
                Ok(self.try_get(column)?)
            }

            fn bytes_or_null(&self, column: &str) -> Result<Option<&[u8]>, StoreError> {
                Ok(self.try_get(column)?)
            }
        }
    )+};
}

columns!(SqliteRow);
#[cfg(feature = "engines")]
columns!(PgRow);

/// SQLite's primary result codes for a damaged file: `SQLITE_CORRUPT`, `SQLITE_NOTADB`.
const SQLITE_DAMAGE: [u32; 2] = [11, 26];
/// PostgreSQL's codes for damaged data: `data_corrupted`, `index_corrupted`. Any other error may
/// pass: locks, limits, shutdowns, a missing right.
const POSTGRES_DAMAGE: [&str; 2] = ["XX001", "XX002"];

/// sqlx has one error for every database, so this serves all engines on it.
impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let damaged = match &error {
            sqlx::Error::Database(cause) => {
                let code = cause.code().unwrap_or_default();
                if cause.try_downcast_ref::<SqliteError>().is_some() {
                    // The low byte of an extended code is the primary one.
                    code.parse::<u32>().is_ok_and(|code| SQLITE_DAMAGE.contains(&(code & 0xFF)))
                } else {
                    POSTGRES_DAMAGE.contains(&&*code)
                }
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::ColumnNotFound(_) => true,
            _ => false,
        };
        if damaged {
            Self::Corrupt(error.to_string())
        } else {
            Self::Unavailable(error.to_string())
        }
    }
}
