//! Checks of the servers behind the engines. The daemon makes them, because it has the connections.

use crate::client::admin::{AdminClient, path_segment};
use crate::protocol::admin::{Cluster, DoctorFinding};
use crate::protocol::printable::printable;

/// Asks for the findings, judged by the figures of `node`, or of the node that answers. An answer
/// that does not come is a finding, so that the other checks are shown.
pub(super) async fn findings(admin: &AdminClient, node: Option<&str>) -> Vec<DoctorFinding> {
    let path = match node {
        None => "/v1/doctor".to_owned(),
        Some(name) => format!("/v1/doctor?node={}", path_segment(name)),
    };
    match admin.get::<Cluster<DoctorFinding>>(&path).await {
        Ok(answer) => answer.items.into_iter().map(without_controls).collect(),
        Err(error) => {
            let what = "settings of the servers".to_owned();
            vec![DoctorFinding::not_checked("servers", what, printable(&error.to_string()))]
        }
    }
}

/// Servers choose parts of these texts.
fn without_controls(finding: DoctorFinding) -> DoctorFinding {
    let DoctorFinding { check, result, what, why, mend } = finding;
    DoctorFinding {
        check: printable(&check),
        result,
        what: printable(&what),
        why: printable(&why),
        mend: printable(&mend),
    }
}
