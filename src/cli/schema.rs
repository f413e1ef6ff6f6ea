//! `lc schema`: prints the JSON schema of what a command prints with `--json`.

use std::process::ExitCode;

use clap::Args;
use clap::builder::PossibleValuesParser;
use schemars::{JsonSchema, Schema, schema_for};

use super::calibrate::CalibrationReport;
use super::evaluate::EvaluationReport;
use super::list::Listed;
use super::output::write;
use crate::protocol::admin::{
    Alert, AuditEntry, ConsumerLag, DeadLetterItem, DeadLettersOutcome, DoctorFinding, EventItem,
    Grant, GroupLag, ModerationDecision, NodeStatus, Offender, Outcome, Preview, ReviewItem, Room,
    SameText, Sanction, Shadow, Status, StoreStatus, StreamStatus, TailItem, Talker, TextTrial,
    TopSnapshot, UserDetail, Who, WorkerStatus,
};
use crate::protocol::room::RoomTerm;
use crate::protocol::{PollState, SequencedComment};

/// Print the JSON schema of what a command prints with --json
///
/// Without a name, the names are listed. Keys are only added; one that leaves is announced two
/// releases before.
#[derive(Debug, Args)]
pub(super) struct SchemaArgs {
    /// The command, or what it prints: a change prints an outcome, or a preview with --dry-run; a
    /// list with --watch prints a watch
    #[arg(value_parser = PossibleValuesParser::new(SCHEMAS.map(|(name, _)| name)),
        hide_possible_values = true)]
    command: Option<String>,
}

/// Makes the schema of a type.
type MakeSchema = fn() -> Schema;

const SCHEMAS: [(&str, MakeSchema); 35] = [
    ("alerts", schema::<Alert>),
    ("audit", schema::<AuditEntry>),
    ("bans", schema::<Sanction>),
    ("dead-letters", schema::<DeadLetterItem>),
    ("dead-letters-outcome", schema::<DeadLettersOutcome>),
    ("doctor", schema::<DoctorFinding>),
    ("events", schema::<EventItem>),
    ("grants", schema::<Grant>),
    ("history", schema::<SequencedComment>),
    ("lag", schema::<ConsumerLag>),
    ("lag-groups", schema::<GroupLag>),
    ("mod-calibrate", schema::<CalibrationReport>),
    ("mod-decisions", schema::<ModerationDecision>),
    ("mod-eval", schema::<EvaluationReport>),
    ("mod-offenders", schema::<Offender>),
    ("mod-queue", schema::<ReviewItem>),
    ("mod-test", schema::<TextTrial>),
    ("nodes", schema::<NodeStatus>),
    ("outcome", schema::<Outcome>),
    ("polls", schema::<PollState>),
    ("preview", schema::<Preview>),
    ("room", schema::<Room>),
    ("room-terms", schema::<RoomTerm>),
    ("shadows", schema::<Shadow>),
    ("status", schema::<Status>),
    ("stores", schema::<StoreStatus>),
    ("streams", schema::<StreamStatus>),
    ("tail", schema::<TailItem>),
    ("talkers", schema::<Talker>),
    ("talkers-texts", schema::<SameText>),
    ("top", schema::<TopSnapshot>),
    ("user", schema::<UserDetail>),
    ("watch", schema::<Listed<serde_json::Value>>),
    ("who", schema::<Who>),
    ("workers", schema::<WorkerStatus>),
];

fn schema<T: JsonSchema>() -> Schema {
    schema_for!(T)
}

/// Writes a schema with one key per line.
fn pretty(schema: &Schema) -> String {
    format!("{:#}", schema.as_value())
}

pub(super) fn run(args: &SchemaArgs) -> anyhow::Result<ExitCode> {
    let Some(command) = &args.command else {
        let names: Vec<_> = SCHEMAS.iter().map(|(name, _)| *name).collect();
        write(&names.join("\n"))?;
        return Ok(ExitCode::SUCCESS);
    };
    let found = SCHEMAS.iter().find(|(name, _)| name == command);
    let (_, make) = found.expect("clap has checked the name");
    write(&pretty(&make()))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_schema_matches_its_snapshot() {
        for (name, make) in SCHEMAS {
            let text = pretty(&make());
            insta::assert_snapshot!(format!("schema_{name}"), text);
        }
    }
}
