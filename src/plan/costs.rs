//! Measured costs, the constants of a plan, and the file that benchmarks write them to.
//!
//! The file is a JSON object of [`Cost`]s by [`CostName`]. `docs/costs.json` has all of them and is
//! compiled in; a file of an operator may have some, which then replace those.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The costs that were measured for this version.
const BUILT_IN: &str = include_str!("../../docs/costs.json");

/// The name of a cost. Its unit is part of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostName {
    /// Processor time of an edge to write one frame to one viewer, with few viewers per core.
    WriteUs,
    /// The same with so many viewers per core that none is in the processor's caches.
    CrowdedWriteUs,
    /// Processor time that each further comment of a frame adds to a write.
    CommentUs,
    /// The factor by which TLS multiplies the cost of a write.
    TlsFactor,
    /// Processor time of an edge per ping of a silent viewer.
    PingUs,
    /// Processor time of an edge to accept one viewer.
    ConnectUs,
    /// Processor time of one comment in all stages before fan-out together.
    StageUs,
    /// Processor time of an edge per batch of comments that it accepts, on real servers, while
    /// batches are rare: also of the requests to the log and to Redis, and of waking for each.
    AcceptBatchUs,
    /// The same per second once the next batch gathers while the one before is on its way. More
    /// comments make larger batches, not more of them.
    AcceptFullUs,
    /// Processor time of a coordinator, moderator or archiver per batch that it reads from the log,
    /// on real servers, while batches are rare.
    ReadBatchUs,
    /// The same per second once batches follow each other.
    ReadFullUs,
    /// Comments per second that one archiver writes.
    ArchiverPerSecond,
    /// Memory of an edge per idle viewer.
    ViewerBytes,
    /// The same over TLS.
    TlsViewerBytes,
    /// Memory of the kernel per connection, at one end.
    SocketBytes,
    /// Memory of an edge without viewers.
    EdgeBytes,
    /// Bytes of a comment in a viewer's frames, by encoding.
    JsonBytes,
    JsonDeflateBytes,
    MsgpackBytes,
    MsgpackDeflateBytes,
    /// Bytes of a comment on the fan-out bus.
    BusBytes,
    /// Bytes of a comment in the event log.
    LogBytes,
}

impl CostName {
    pub const ALL: [Self; 22] = [
        Self::WriteUs,
        Self::CrowdedWriteUs,
        Self::CommentUs,
        Self::TlsFactor,
        Self::PingUs,
        Self::ConnectUs,
        Self::StageUs,
        Self::AcceptBatchUs,
        Self::AcceptFullUs,
        Self::ReadBatchUs,
        Self::ReadFullUs,
        Self::ArchiverPerSecond,
        Self::ViewerBytes,
        Self::TlsViewerBytes,
        Self::SocketBytes,
        Self::EdgeBytes,
        Self::JsonBytes,
        Self::JsonDeflateBytes,
        Self::MsgpackBytes,
        Self::MsgpackDeflateBytes,
        Self::BusBytes,
        Self::LogBytes,
    ];

    /// Returns the name in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::WriteUs => "write_us",
            Self::CrowdedWriteUs => "crowded_write_us",
            Self::CommentUs => "comment_us",
            Self::TlsFactor => "tls_factor",
            Self::PingUs => "ping_us",
            Self::ConnectUs => "connect_us",
            Self::StageUs => "stage_us",
            Self::AcceptBatchUs => "accept_batch_us",
            Self::AcceptFullUs => "accept_full_us",
            Self::ReadBatchUs => "read_batch_us",
            Self::ReadFullUs => "read_full_us",
            Self::ArchiverPerSecond => "archiver_per_second",
            Self::ViewerBytes => "viewer_bytes",
            Self::TlsViewerBytes => "tls_viewer_bytes",
            Self::SocketBytes => "socket_bytes",
            Self::EdgeBytes => "edge_bytes",
            Self::JsonBytes => "json_bytes",
            Self::JsonDeflateBytes => "json_deflate_bytes",
            Self::MsgpackBytes => "msgpack_bytes",
            Self::MsgpackDeflateBytes => "msgpack_deflate_bytes",
            Self::BusBytes => "bus_bytes",
            Self::LogBytes => "log_bytes",
        }
    }

    /// Returns the unit, as it must stand in the file.
    pub fn unit(self) -> &'static str {
        match self {
            Self::WriteUs
            | Self::CrowdedWriteUs
            | Self::CommentUs
            | Self::PingUs
            | Self::ConnectUs
            | Self::StageUs
            | Self::AcceptBatchUs
            | Self::ReadBatchUs => "µs",
            Self::AcceptFullUs | Self::ReadFullUs => "µs/s",
            Self::TlsFactor => "×",
            Self::ArchiverPerSecond => "comments/s",
            _ => "bytes",
        }
    }

    /// Returns whether the cost depends on the viewers per core, which are then in [`Cost::at`].
    fn depends_on_viewers(self) -> bool {
        matches!(self, Self::WriteUs | Self::CrowdedWriteUs)
    }
}

/// A measured cost, and what a reader needs to measure it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    pub value: f64,
    pub unit: String,
    /// Viewers per core during the measurement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<u64>,
    /// A sentence that says what was measured.
    pub what: String,
    pub command: String,
    /// The document with the figures, and how the value follows from them.
    pub source: String,
    pub machine: String,
    /// The version of `lcd`.
    pub version: String,
    /// The date, or the first and the last one.
    pub measured: String,
}

impl Cost {
    /// Returns a cost that was measured today, by this version, on this machine.
    pub fn measured_now(name: CostName, value: f64, what: &str, command: &str) -> Self {
        let now = humantime::format_rfc3339_seconds(std::time::SystemTime::now()).to_string();
        Self {
            value,
            unit: name.unit().to_owned(),
            at: None,
            what: what.to_owned(),
            command: command.to_owned(),
            source: "written by the command".to_owned(),
            machine: this_machine(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            measured: now.split('T').next().unwrap_or_default().to_owned(),
        }
    }

    #[must_use]
    pub fn at(mut self, viewers_per_core: u64) -> Self {
        self.at = Some(viewers_per_core);
        self
    }
}

/// Describes this machine in the words of docs/benchmarks.md.
fn this_machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
    };
    let model = field(&read("/proc/cpuinfo"), "model name");
    let model = model.unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field(&read("/proc/meminfo"), "MemTotal")
        .and_then(|value| value.split(' ').next()?.parse::<f64>().ok())
        .map_or_else(String::new, |kib| format!(", {:.1} GiB", kib / 1024.0 / 1024.0));
    let kernel = read("/proc/sys/kernel/osrelease");
    format!("{cores} cores of {model}{memory}, Linux {}", kernel.trim())
}

/// Why costs cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CostsError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error(
        "{0}; a cost is {{\"write_us\": {{\"value\": 6.8, \"unit\": \"µs\", …}}}} as in docs/costs.json"
    )]
    Json(#[from] serde_json::Error),
    #[error("{name} is {value}; it must be a number above 0")]
    NotPositive { name: &'static str, value: f64 },
    #[error("{name} is in `{unit}`; it must be in `{expected}`")]
    Unit { name: &'static str, unit: String, expected: &'static str },
    #[error("{name} lacks `at`, the viewers per core during its measurement, such as 10000")]
    NoPlace { name: &'static str },
    #[error(
        "crowded_write_us must be measured with more viewers per core than write_us, and not be \
         smaller"
    )]
    Order,
    #[error("{0} is missing; a whole set of costs has it, see docs/costs.json")]
    Missing(&'static str),
}

/// Costs by name, some or all of them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CostFile(BTreeMap<CostName, Cost>);

impl CostFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, is not of this form, or has a value that no measurement gives.
    pub fn read(path: &Path) -> Result<Self, CostsError> {
        Self::parse(&std::fs::read_to_string(path)?)
    }

    fn parse(text: &str) -> Result<Self, CostsError> {
        let file: Self = serde_json::from_str(text)?;
        for (name, cost) in &file.0 {
            file.check(*name, cost)?;
        }
        Ok(file)
    }

    fn check(&self, name: CostName, cost: &Cost) -> Result<(), CostsError> {
        let value = cost.value;
        if !(value.is_finite() && value > 0.0) {
            return Err(CostsError::NotPositive { name: name.as_str(), value });
        }
        if cost.unit != name.unit() {
            return Err(CostsError::Unit {
                name: name.as_str(),
                unit: cost.unit.clone(),
                expected: name.unit(),
            });
        }
        if name.depends_on_viewers() && cost.at.unwrap_or(0) == 0 {
            return Err(CostsError::NoPlace { name: name.as_str() });
        }
        Ok(())
    }

    pub fn get(&self, name: CostName) -> Option<&Cost> {
        self.0.get(&name)
    }

    pub fn set(&mut self, name: CostName, cost: Cost) {
        self.0.insert(name, cost);
    }

    pub fn iter(&self) -> impl Iterator<Item = (CostName, &Cost)> {
        self.0.iter().map(|(name, cost)| (*name, cost))
    }

    /// Returns the file's text: sorted, indented, a line per field.
    pub fn text(&self) -> Result<String, CostsError> {
        Ok(format!("{:#}\n", serde_json::to_value(self)?))
    }

    /// Sets costs in a file and keeps its others. A file that is not there is created.
    ///
    /// # Errors
    /// The file is malformed, or cannot be read or written.
    pub fn update(path: &Path, costs: Vec<(CostName, Cost)>) -> Result<(), CostsError> {
        let mut file = match Self::read(path) {
            Err(CostsError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
                Self::default()
            }
            file => file?,
        };
        for (name, cost) in costs {
            file.check(name, &cost)?;
            file.set(name, cost);
        }
        std::fs::write(path, file.text()?)?;
        Ok(())
    }
}

/// A whole set of costs.
#[derive(Debug, Clone, PartialEq)]
pub struct Costs {
    costs: CostFile,
    own: Vec<CostName>,
}

impl Costs {
    /// Returns the costs that are compiled in.
    ///
    /// # Errors
    /// Never for a released version: a test reads them.
    pub fn built_in() -> Result<Self, CostsError> {
        Self::whole(CostFile::parse(BUILT_IN)?, Vec::new())
    }

    /// Returns these costs with those of a file in their place.
    ///
    /// # Errors
    /// The two do not fit together.
    pub fn with(mut self, file: CostFile) -> Result<Self, CostsError> {
        let own = file.0.keys().copied().collect();
        self.costs.0.extend(file.0);
        Self::whole(self.costs, own)
    }

    fn whole(costs: CostFile, own: Vec<CostName>) -> Result<Self, CostsError> {
        for name in CostName::ALL {
            if costs.get(name).is_none() {
                return Err(CostsError::Missing(name.as_str()));
            }
        }
        let costs = Self { costs, own };
        let few = costs.viewers_per_core(CostName::WriteUs);
        let many = costs.viewers_per_core(CostName::CrowdedWriteUs);
        let grows = costs.value(CostName::WriteUs) <= costs.value(CostName::CrowdedWriteUs);
        if few < many && grows { Ok(costs) } else { Err(CostsError::Order) }
    }

    /// Returns the value, in the unit of its name.
    pub fn value(&self, name: CostName) -> f64 {
        self.costs.get(name).map_or(f64::NAN, |cost| cost.value)
    }

    /// Returns the viewers per core at which a cost was measured.
    pub(super) fn viewers_per_core(&self, name: CostName) -> f64 {
        self.costs.get(name).and_then(|cost| cost.at).unwrap_or_default() as f64
    }

    pub fn file(&self) -> &CostFile {
        &self.costs
    }

    /// Returns the names of the costs that are not those compiled in.
    pub fn own(&self) -> &[CostName] {
        &self.own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        CostFile::parse(text).unwrap_err().to_string()
    }

    fn cost(name: CostName, value: f64) -> Cost {
        Cost::measured_now(name, value, "a write", "scripts/bench fanout")
    }

    #[test]
    fn the_built_in_costs_are_whole_and_canonical() {
        let costs = Costs::built_in().unwrap();
        assert_eq!(costs.file().text().unwrap(), BUILT_IN);
        for (name, cost) in costs.file().iter() {
            for text in [&cost.what, &cost.command, &cost.source, &cost.machine, &cost.measured] {
                assert!(!text.is_empty(), "{name:?}");
            }
        }
    }

    #[test]
    fn wrong_files_are_told_what_would_be_right() {
        let write = |field: &str, value: serde_json::Value| {
            let mut cost = serde_json::to_value(cost(CostName::WriteUs, 7.0).at(10_000)).unwrap();
            cost[field] = value;
            serde_json::json!({ "write_us": cost }).to_string()
        };
        for (text, expected) in [
            ("{\"writes\": {}}".to_owned(), "write_us"),
            ("[]".to_owned(), "docs/costs.json"),
            (write("value", 0.into()), "above 0"),
            (write("unit", "ms".into()), "must be in `µs`"),
            (write("at", serde_json::Value::Null), "such as 10000"),
        ] {
            assert!(error(&text).contains(expected), "{text}: {}", error(&text));
        }
    }

    #[test]
    fn an_update_keeps_the_other_costs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("costs.json");
        let ping = cost(CostName::PingUs, 40.0);
        CostFile::update(&path, vec![(CostName::PingUs, ping.clone())]).unwrap();
        let write = cost(CostName::WriteUs, 5.0).at(9_000);
        CostFile::update(&path, vec![(CostName::WriteUs, write.clone())]).unwrap();
        let file = CostFile::read(&path).unwrap();
        assert_eq!(file.get(CostName::PingUs), Some(&ping));
        assert_eq!(file.get(CostName::WriteUs), Some(&write));
        let costs = Costs::built_in().unwrap().with(file).unwrap();
        assert_eq!(costs.value(CostName::WriteUs), 5.0);
        assert_eq!(costs.own(), [CostName::WriteUs, CostName::PingUs]);
        let invalid = cost(CostName::WriteUs, f64::NAN).at(1);
        assert!(CostFile::update(&path, vec![(CostName::WriteUs, invalid)]).is_err());
    }

    #[test]
    fn a_crowd_cannot_be_cheaper() {
        let mut file = CostFile::default();
        file.set(CostName::CrowdedWriteUs, cost(CostName::CrowdedWriteUs, 1.0).at(500_000));
        assert!(matches!(Costs::built_in().unwrap().with(file), Err(CostsError::Order)));
    }

    #[test]
    fn each_name_is_its_name_in_the_file() {
        for name in CostName::ALL {
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
    }
}
