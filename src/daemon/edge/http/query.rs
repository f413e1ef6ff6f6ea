//! The parameters in the query of a request.

use axum::extract::Query;
use axum::http::Uri;
use serde::de::DeserializeOwned;

use super::HttpError;
use crate::protocol::ErrorCode;

/// Reads the query of a request.
///
/// # Errors
/// `bad_request` with the field that cannot be read.
pub(crate) fn read_query<T: DeserializeOwned>(uri: &Uri) -> Result<T, HttpError> {
    let query = Query::<T>::try_from_uri(uri);
    query.map(|Query(fields)| fields).map_err(|error| {
        HttpError::new(ErrorCode::BadRequest, format!("the query: {}", error.body_text()))
    })
}
