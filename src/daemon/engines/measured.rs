//! What the measured engines have in common. Each contract has one in its file `measured.rs`, in
//! front of the engine and behind what refuses calls without making them.

use std::sync::Arc;

use super::StoreError;
use crate::daemon::base::telemetry::StoreMeter;

/// Measures a call to a store.
pub(super) async fn measured<T>(
    meter: &Arc<StoreMeter>,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let measuring = meter.begin();
    let outcome = call.await;
    measuring.end(outcome.as_ref().is_err_and(StoreError::is_failure));
    outcome
}
