//! Views of `lc top` that operators share. They change nothing on any node.

use tokio::time::Instant;

use super::cluster::CommandResults;
use super::{Actor, Control, ControlError, outcome, validate};
use crate::daemon::engines::StoreError;
use crate::protocol::admin::{
    ForgetViewRequest, Outcome, SaveViewRequest, SavedView, audit_action,
};

impl Control {
    /// Keeps a view, in place of one of the same name.
    pub async fn save_view(
        &self,
        actor: &Actor,
        request: &SaveViewRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let name = validate::view_name(&request.name)?;
        validate::view_settings(&request.settings)?;
        let entry = self.entry(actor, audit_action::SAVE_VIEW, format!("view {name}"), request);
        let view = SavedView {
            name,
            settings: request.settings.clone(),
            saved_by: actor.name().to_owned(),
            saved_at: entry.at,
        };
        let saved = self.parts.metadata.save_view(view, entry).await;
        let audit_id = saved.map_err(|error| match error {
            StoreError::Full(_) => ControlError::TooManyViews,
            other => other.into(),
        })?;
        Ok(outcome(audit_id, CommandResults::default(), started))
    }

    /// Removes a view.
    pub async fn forget_view(
        &self,
        actor: &Actor,
        request: &ForgetViewRequest,
    ) -> Result<Outcome, ControlError> {
        let started = Instant::now();
        let name = validate::view_name(&request.name)?;
        let entry = self.entry(actor, audit_action::FORGET_VIEW, format!("view {name}"), request);
        let forgotten = self.parts.metadata.forget_view(&name, entry).await;
        let audit_id = forgotten.map_err(|error| match error {
            StoreError::NotFound(_) => ControlError::UnknownView(name),
            other => other.into(),
        })?;
        Ok(outcome(audit_id, CommandResults::default(), started))
    }

    /// Returns the saved views, ordered by name.
    pub async fn views(&self) -> Result<Vec<SavedView>, ControlError> {
        Ok(self.parts.metadata.saved_views().await?)
    }
}
