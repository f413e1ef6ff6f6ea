//! Capacity: what an event needs, computed from measured costs. `lc plan` prints it.
//!
//! In: the event and the edge machines ([`EventInputs`]), and costs that benchmarks measured
//! ([`costs`]). Out: an [`EventPlan`] with one figure per resource, each with the formula that
//! gives it and the load at which something first runs full. Always holds: pure arithmetic, the
//! same for the same input; more viewers or comments never need less; what is planned fits the
//! limits of one node. `docs/capacity.md` does an example by hand.

mod batches;
pub mod check;
pub mod costs;
mod edge;
mod figures;
pub mod fit;
mod notation;
mod pipeline;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde::ser::Serializer;

use crate::protocol::message::Encoding;
use costs::Costs;
use edge::EdgeModel;
pub use edge::GATHERED_PER_SECOND;

pub use notation::with_unit;

/// The expected size of an event, and the machines it runs on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventInputs {
    pub viewers: u64,
    /// Accepted comments over all streams.
    pub comments_per_second: f64,
    /// Streams that share viewers and comments evenly.
    pub streams: u64,
    /// Comments that one viewer is shown.
    pub shown_per_second: f64,
    pub encoding: Encoding,
    /// True if viewers offer permessage-deflate.
    pub deflate: bool,
    pub tls: bool,
    /// True if viewers send reactions, whose totals are frames too.
    pub reactions: bool,
    /// Frames with the number of viewers; the inverse of `delivery.presence_interval`.
    pub presence_per_second: f64,
    /// `gateway.ping_interval`.
    pub ping_interval_s: f64,
    pub machine: EdgeMachine,
    /// The share of processor, uplink and memory that is planned for.
    pub fill: f64,
    /// Edges that may be lost.
    pub spare: u64,
}

/// The machine of one edge.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EdgeMachine {
    pub cores: u64,
    pub uplink_bits_per_second: u64,
    pub memory_bytes: u64,
    /// Open files that one process may have.
    pub files: u64,
}

/// A resource of an edge that viewers use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    Processor,
    Uplink,
    Memory,
    Files,
    /// `gateway.max_connections`.
    Places,
}

impl Resource {
    pub const ALL: [Self; 5] =
        [Self::Processor, Self::Uplink, Self::Memory, Self::Files, Self::Places];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processor => "processor",
            Self::Uplink => "uplink",
            Self::Memory => "memory",
            Self::Files => "open files",
            Self::Places => "gateway.max_connections",
        }
    }
}

/// Why there is no plan.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PlanError {
    #[error(
        "{shown} comments/s cannot be shown of the {per_stream} that a stream gets: --shown must be \
         at most {per_stream}/s, or --rate at least {needed}"
    )]
    ShownExceedsRate { shown: String, per_stream: String, needed: String },
    #[error("{streams} streams for {viewers} viewers: --streams must be at most {viewers}")]
    MoreStreamsThanViewers { streams: u64, viewers: u64 },
    #[error("no number of edges is enough: {resource} of one edge {hint}")]
    NoEdgeIsEnough { resource: &'static str, hint: &'static str },
}

/// The needs of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EventPlan {
    pub inputs: EventInputs,
    /// In the order in which they are shown; by name in JSON.
    #[serde(serialize_with = "by_name")]
    pub figures: Vec<PlanFigure>,
    /// Remarks for the reader, a sentence each.
    pub notes: Vec<String>,
}

/// One planned figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanFigure {
    #[serde(skip)]
    pub name: &'static str,
    pub value: f64,
    /// Empty for a number of things.
    pub unit: &'static str,
    /// How the value follows from inputs and costs.
    pub formula: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_full: Option<FirstFull>,
}

/// The load at which a resource is first used up, if everything else stays.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FirstFull {
    pub resource: &'static str,
    pub at: f64,
    /// The unit that grows: `viewers`, or `comments/s` of all streams.
    pub unit: &'static str,
}

fn by_name<S: Serializer>(figures: &[PlanFigure], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(figures.iter().map(|figure| (figure.name, figure)))
}

impl EventPlan {
    /// Returns the figure of a name.
    pub fn figure(&self, name: &str) -> Option<&PlanFigure> {
        self.figures.iter().find(|figure| figure.name == name)
    }
}

impl EventInputs {
    /// Returns an event with the defaults of `lc plan`.
    pub fn new(viewers: u64, comments_per_second: f64, shown_per_second: f64) -> Self {
        Self {
            viewers,
            comments_per_second,
            streams: 1,
            shown_per_second,
            encoding: Encoding::Json,
            deflate: true,
            tls: false,
            reactions: false,
            presence_per_second: 0.5,
            ping_interval_s: 30.0,
            machine: EdgeMachine {
                cores: 16,
                uplink_bits_per_second: 10_000_000_000,
                memory_bytes: 32_000_000_000,
                files: 1 << 20,
            },
            fill: 0.7,
            spare: 1,
        }
    }

    /// Returns the accepted comments of one stream.
    pub fn comments_per_stream(&self) -> f64 {
        self.comments_per_second / self.streams as f64
    }

    fn check(&self) -> Result<(), PlanError> {
        let per_stream = self.comments_per_stream();
        // A rate that was divided and multiplied again may differ in its last digit.
        if self.shown_per_second > per_stream * (1.0 + 1e-9) {
            return Err(PlanError::ShownExceedsRate {
                shown: notation::number(self.shown_per_second),
                per_stream: notation::number(per_stream),
                needed: notation::number(self.shown_per_second * self.streams as f64),
            });
        }
        if self.streams > self.viewers {
            let Self { streams, viewers, .. } = *self;
            return Err(PlanError::MoreStreamsThanViewers { streams, viewers });
        }
        Ok(())
    }
}

/// Plans an event.
///
/// # Errors
/// The inputs contradict each other, or ask one edge for more than it has.
pub fn plan(inputs: &EventInputs, costs: &Costs) -> Result<EventPlan, PlanError> {
    inputs.check()?;
    let model = EdgeModel { inputs, costs };
    let carrying = model.edges().map_err(|resource| PlanError::NoEdgeIsEnough {
        resource: resource.as_str(),
        hint: match resource {
            Resource::Processor => "cannot take the comments; give --cores more or --shown less",
            Resource::Uplink => "cannot take one viewer; give --uplink more or --shown less",
            Resource::Memory => "does not hold the daemon; give --memory more",
            Resource::Files => "does not hold one viewer; give --files more than 600",
            Resource::Places => "does not hold one viewer",
        },
    })?;
    let mut figures = figures::of_edges(&model, carrying);
    figures.extend(pipeline::of_stages(&model, carrying + inputs.spare));
    let mut notes = figures::notes(&model, carrying);
    notes.extend(pipeline::notes(&model));
    Ok(EventPlan { inputs: inputs.clone(), figures, notes })
}
