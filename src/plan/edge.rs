//! The use of an edge by its viewers: processor, uplink, memory, open files.

use super::batches::accepting;
use super::costs::{CostName, Costs};
use super::{EventInputs, Resource};
use crate::protocol::message::Encoding;

/// Defaults of `lcd` that the arithmetic contains. A test compares them with its configuration.
pub(super) const BATCHES_PER_SECOND: f64 = 40.0;
pub(super) const FAN_OUT_SHARE: f64 = 0.2;
/// Fan-outs per second of a stream whose frames gather for as long as they may.
pub const GATHERED_PER_SECOND: f64 = 8.0;
/// Frames per second with totals of reactions.
pub(super) const REACTIONS_PER_SECOND: f64 = 2.0;
pub(super) const MAX_CONNECTIONS: f64 = 1e6;
/// Descriptors of an edge besides those of its viewers.
pub(super) const OTHER_FILES: f64 = 600.0;
/// Ethernet with its checksum, IPv4, and TCP with timestamps.
pub(super) const PACKET_BYTES: f64 = 18.0 + 20.0 + 32.0;
/// Payload of a packet at an MTU of 1500.
pub(super) const SEGMENT_BYTES: f64 = 1448.0;

/// Computes the use of one of several equal edges.
#[derive(Debug, Clone, Copy)]
pub(super) struct EdgeModel<'a> {
    pub(super) inputs: &'a EventInputs,
    pub(super) costs: &'a Costs,
}

/// The use of one edge per second, with the intermediate values that a formula shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct EdgeUse {
    pub(super) viewers: f64,
    pub(super) writes_per_second: f64,
    pub(super) write_us: f64,
    /// Processor time per viewer.
    pub(super) viewer_us: f64,
    /// Processor time for the comments that its viewers send.
    pub(super) comments_us: f64,
    /// Cores.
    pub(super) processor: f64,
    /// Bits per second to one viewer, headers included.
    pub(super) viewer_bits: f64,
    pub(super) uplink_bits: f64,
    pub(super) memory_bytes: f64,
    pub(super) files: f64,
}

impl EdgeModel<'_> {
    /// Returns the use of one of `edges` edges, with `viewers` viewers over all of them.
    pub(super) fn usage(&self, viewers: f64, edges: f64) -> EdgeUse {
        let Self { inputs, costs } = self;
        let on_edge = viewers / edges;
        let write_us = self.write_us(on_edge);
        let writes_per_second = self.writes_per_second(on_edge, write_us);
        let viewer_us = writes_per_second * write_us
            + inputs.shown_per_second * costs.value(CostName::CommentUs)
            + costs.value(CostName::PingUs) / inputs.ping_interval_s;
        let comments_us = self.comments_us(inputs.comments_per_second / edges);
        let comment_bytes = inputs.shown_per_second * self.comment_bytes();
        let packets = writes_per_second.max(comment_bytes / SEGMENT_BYTES);
        let viewer_bits = 8.0 * (comment_bytes + packets * PACKET_BYTES);
        EdgeUse {
            viewers: on_edge,
            writes_per_second,
            write_us,
            viewer_us,
            comments_us,
            processor: (on_edge * viewer_us + comments_us) / 1e6,
            viewer_bits,
            uplink_bits: on_edge * viewer_bits,
            memory_bytes: costs.value(CostName::EdgeBytes) + on_edge * self.viewer_bytes(),
            files: on_edge + OTHER_FILES,
        }
    }

    /// Returns the processor time per second of one edge for the comments that it accepts.
    fn comments_us(&self, comments_per_second: f64) -> f64 {
        comments_per_second * self.costs.value(CostName::StageUs)
            + accepting(self.costs).per_second_us(comments_per_second)
    }

    /// Returns the processor time of one write. It grows with the viewers per core, because the
    /// state of a viewer's socket leaves the processor's caches between two writes.
    fn write_us(&self, on_edge: f64) -> f64 {
        let costs = self.costs;
        let few = costs.viewers_per_core(CostName::WriteUs);
        let many = costs.viewers_per_core(CostName::CrowdedWriteUs);
        let here = (on_edge / self.inputs.machine.cores as f64).clamp(few, many);
        let share = (here / few).ln() / (many / few).ln();
        let low = costs.value(CostName::WriteUs);
        let plain = low + share * (costs.value(CostName::CrowdedWriteUs) - low);
        let factor = if self.inputs.tls { costs.value(CostName::TlsFactor) } else { 1.0 };
        plain * factor
    }

    /// Returns the writes to each viewer. Frames of a stream gather while its fan-outs would take
    /// more than their share of a worker.
    fn writes_per_second(&self, on_edge: f64, write_us: f64) -> f64 {
        let inputs = self.inputs;
        let workers = inputs.machine.cores as f64;
        let on_worker = on_edge / workers / inputs.streams as f64;
        // Comments cost the same however they gather; writes have the rest of the share.
        let comments_us = inputs.shown_per_second * self.costs.value(CostName::CommentUs);
        let left_us = FAN_OUT_SHARE * 1e6 / on_worker.max(f64::MIN_POSITIVE) - comments_us;
        self.frames_per_second().min((left_us / write_us).max(GATHERED_PER_SECOND))
    }

    /// Returns the frames of a stream.
    pub(super) fn frames_per_second(&self) -> f64 {
        let reactions = if self.inputs.reactions { REACTIONS_PER_SECOND } else { 0.0 };
        let comments = self.inputs.shown_per_second.min(BATCHES_PER_SECOND);
        comments + self.inputs.presence_per_second + reactions
    }

    pub(super) fn comment_bytes(&self) -> f64 {
        self.costs.value(match (self.inputs.encoding, self.inputs.deflate) {
            (Encoding::Json, false) => CostName::JsonBytes,
            (Encoding::Json, true) => CostName::JsonDeflateBytes,
            (Encoding::Msgpack, false) => CostName::MsgpackBytes,
            (Encoding::Msgpack, true) => CostName::MsgpackDeflateBytes,
        })
    }

    /// Returns the memory per viewer, in the daemon and in the kernel.
    pub(super) fn viewer_bytes(&self) -> f64 {
        self.daemon_viewer_bytes() + self.costs.value(CostName::SocketBytes)
    }

    pub(super) fn daemon_viewer_bytes(&self) -> f64 {
        let tls = self.inputs.tls;
        self.costs.value(if tls { CostName::TlsViewerBytes } else { CostName::ViewerBytes })
    }

    /// Returns the limit of a resource of one edge.
    pub(super) fn limit(&self, resource: Resource) -> f64 {
        let machine = &self.inputs.machine;
        let fill = self.inputs.fill;
        match resource {
            Resource::Processor => machine.cores as f64 * fill,
            Resource::Uplink => machine.uplink_bits_per_second as f64 * fill,
            Resource::Memory => machine.memory_bytes as f64 * fill,
            Resource::Files => machine.files as f64,
            Resource::Places => MAX_CONNECTIONS,
        }
    }

    /// Returns the use of a resource as a share of its limit.
    pub(super) fn share(&self, resource: Resource, usage: &EdgeUse) -> f64 {
        let used = match resource {
            Resource::Processor => usage.processor,
            Resource::Uplink => usage.uplink_bits,
            Resource::Memory => usage.memory_bytes,
            Resource::Files => usage.files,
            Resource::Places => usage.viewers,
        };
        used / self.limit(resource)
    }

    /// Returns the resource that is closest to its limit, and how close.
    pub(super) fn tightest(&self, usage: &EdgeUse) -> (Resource, f64) {
        let shares = Resource::ALL.map(|resource| (resource, self.share(resource, usage)));
        shares.into_iter().fold((Resource::Processor, 0.0), |most, next| {
            if next.1 > most.1 { next } else { most }
        })
    }

    /// Returns the viewers over all edges at which a resource reaches its limit, or `None` if
    /// viewers do not fill it.
    pub(super) fn full_at(&self, resource: Resource, edges: f64) -> Option<f64> {
        let fits = |viewers: f64| self.share(resource, &self.usage(viewers, edges)) <= 1.0;
        if !fits(0.0) {
            return None;
        }
        let mut low = 0.0;
        let mut high = 1.0;
        while fits(high) {
            low = high;
            high *= 2.0;
            if high > 1e15 {
                return None;
            }
        }
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if fits(middle) {
                low = middle;
            } else {
                high = middle;
            }
        }
        Some(low)
    }

    /// Returns the resource that is full first as viewers come, and at how many viewers over all
    /// edges.
    pub(super) fn first_full(&self, edges: f64) -> Option<(Resource, f64)> {
        Resource::ALL
            .into_iter()
            .filter_map(|resource| Some((resource, self.full_at(resource, edges)?)))
            .min_by(|(_, a), (_, b)| a.total_cmp(b))
    }

    /// Returns the number of edges, not rounded, that have as much of a resource as `edges` edges
    /// use. The part that each edge needs without viewers is taken from what it has.
    pub(super) fn edges_needed(&self, resource: Resource, usage: &EdgeUse, edges: f64) -> f64 {
        let viewers = usage.viewers * edges;
        let limit = self.limit(resource);
        match resource {
            Resource::Processor | Resource::Uplink | Resource::Places => {
                self.share(resource, usage) * edges
            }
            Resource::Memory => {
                viewers * self.viewer_bytes() / (limit - self.costs.value(CostName::EdgeBytes))
            }
            Resource::Files => viewers / (limit - OTHER_FILES),
        }
    }

    /// Returns how many edges carry the viewers, without spare ones, or the resource that no number
    /// of edges has enough of.
    pub(super) fn edges(&self) -> Result<u64, Resource> {
        let viewers = self.inputs.viewers as f64;
        let excess = |edges: u64| {
            let (resource, share) = self.tightest(&self.usage(viewers, edges as f64));
            (share > 1.0).then_some(resource)
        };
        let mut enough = 1_u64;
        while let Some(resource) = excess(enough) {
            if enough >= MOST_EDGES {
                return Err(resource);
            }
            enough *= 2;
        }
        let mut too_few = enough / 2;
        while enough - too_few > 1 {
            let middle = too_few.midpoint(enough);
            if excess(middle).is_some() {
                too_few = middle;
            } else {
                enough = middle;
            }
        }
        Ok(enough)
    }
}

/// Beyond this number the inputs ask one edge for more than it has, whatever their number.
const MOST_EDGES: u64 = 1 << 24;
