//! The part that measured engines have in common. Each contract has one in its file `measured.rs`,
//! in front of the engine and behind the breaker that refuses calls without making them.

use std::sync::Arc;

use super::StoreError;
use crate::daemon::base::telemetry::StoreMeter;

/// Measures a call to a store.
pub(super) async fn measured<T>(
    meter: &Arc<StoreMeter>,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    measured_by(meter, StoreError::is_failure, call).await
}

/// Measures a call whose errors tell by `is_failure` whether the store failed.
pub(super) async fn measured_by<T, E>(
    meter: &Arc<StoreMeter>,
    is_failure: fn(&E) -> bool,
    call: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    let measuring = meter.begin();
    let outcome = call.await;
    measuring.end(outcome.as_ref().is_err_and(is_failure));
    outcome
}
