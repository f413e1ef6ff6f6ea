//! Figures of this process from the kernel: processor time, memory, files, disk.
//!
//! Always holds: a reading costs the same however many connections are open, on kernels that count
//! open files. What the kernel does not tell is absent. A disk that hangs makes a reading wait for
//! [`DISK_PATIENCE`] only, and one thread at a time hangs with it.

use std::fs;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};
use nix::sys::statvfs::statvfs;
use nix::sys::time::TimeValLike as _;
use tokio::time::Instant;

use crate::protocol::admin::ProcessStatus;

/// The disk is read less often: on a network it may be slow.
const DISK_INTERVAL: Duration = Duration::from_secs(10);
/// A disk that needs longer has an unknown figure until it answers.
const DISK_PATIENCE: Duration = Duration::from_millis(200);
/// Open files are listed one by one only on kernels that do not count them, and not often.
const LIST_INTERVAL: Duration = Duration::from_secs(10);

/// Reads the figures. It remembers the processor time of the last reading.
#[derive(Debug, Default)]
pub(super) struct ProcessReader {
    last_cpu: Option<(Instant, Duration)>,
    disk: DiskReader,
    listed_files: Option<(Instant, Option<u64>)>,
    limits: Option<ProcessLimits>,
}

/// The limits of the process. They do not change while it runs.
#[derive(Debug, Clone, Copy)]
struct ProcessLimits {
    cores: Option<u64>,
    memory_bytes: Option<u64>,
}

impl ProcessLimits {
    fn read() -> Self {
        let cores = std::thread::available_parallelism().ok();
        Self { cores: cores.map(|cores| cores.get() as u64), memory_bytes: memory_bytes() }
    }
}

impl ProcessReader {
    pub(super) fn read(&mut self, now: Instant, data_dir: &Path) -> ProcessStatus {
        let limits = *self.limits.get_or_insert_with(ProcessLimits::read);
        ProcessStatus {
            started_at: 0,
            cpu: self.cpu(now),
            cores: limits.cores,
            rss_bytes: rss_bytes(),
            memory_bytes: limits.memory_bytes,
            files: counted_files().or_else(|| self.listed_files(now)),
            files_max: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
            disk_free_bytes: self.disk.read(now, || start_reading(data_dir)),
            clock_ms: None,
            certificate_expires_at: None,
        }
    }

    /// Returns the processor time at the last reading.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        self.last_cpu.map(|(_, used)| used)
    }

    /// Returns the processors in use since the last reading.
    fn cpu(&mut self, now: Instant) -> Option<f64> {
        let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
        let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
        let used = Duration::from_micros(micros.unsigned_abs());
        let (at, before) = self.last_cpu.replace((now, used))?;
        let elapsed = now.saturating_duration_since(at);
        let cpu = used.saturating_sub(before).as_secs_f64() / elapsed.as_secs_f64();
        (!elapsed.is_zero()).then(|| (cpu * 1e3).round() / 1e3)
    }

    fn listed_files(&mut self, now: Instant) -> Option<u64> {
        let known = self.listed_files.take().filter(|(at, _)| now - *at < LIST_INTERVAL);
        let files = known.unwrap_or_else(|| (now, list_files()));
        self.listed_files = Some(files);
        files.1
    }
}

/// The answer of a disk that was asked for its free space.
type DiskAnswer = Receiver<Option<u64>>;

/// Reads the free space of a disk. It remembers the last answer, and a question without one.
#[derive(Debug, Default)]
struct DiskReader {
    known: Option<(Instant, Option<u64>)>,
    asked: Option<DiskAnswer>,
}

impl DiskReader {
    fn read(&mut self, now: Instant, ask: impl FnOnce() -> DiskAnswer) -> Option<u64> {
        if let Some((at, free)) = self.known
            && now - at < DISK_INTERVAL
        {
            return free;
        }
        let answer = self.asked.take().unwrap_or_else(ask);
        match answer.recv_timeout(DISK_PATIENCE) {
            Ok(free) => {
                self.known = Some((now, free));
                free
            }
            Err(RecvTimeoutError::Timeout) => {
                self.asked = Some(answer);
                None
            }
            Err(RecvTimeoutError::Disconnected) => None,
        }
    }
}

/// Asks on a thread of its own, which may hang as long as the disk does.
fn start_reading(directory: &Path) -> DiskAnswer {
    let (answer, asked) = sync_channel(1);
    let directory = directory.to_owned();
    let read = move || {
        // Nobody may listen any more.
        let _ = answer.send(disk_free_bytes(&directory));
    };
    // Without a thread nothing is answered, and the figure is unknown.
    let _ = std::thread::Builder::new().name("disk-figures".to_owned()).spawn(read);
    asked
}

fn rss_bytes() -> Option<u64> {
    fs::read_to_string("/proc/self/status").ok().and_then(|text| bytes_of(&text, "VmRSS:"))
}

/// Returns the number of open files as the size of their folder, which Linux tells since 6.2;
/// older kernels tell 0.
fn counted_files() -> Option<u64> {
    fs::metadata("/proc/self/fd").ok().map(|folder| folder.len()).filter(|files| *files > 0)
}

fn list_files() -> Option<u64> {
    fs::read_dir("/proc/self/fd").ok().map(|entries| entries.count() as u64)
}

/// Returns the memory of the machine, or the limit of the control group if that is less.
fn memory_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok();
    let machine = machine.and_then(|text| bytes_of(&text, "MemTotal:"));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    // The one group of the second version has the number 0 and no name.
    let own = groups.lines().find_map(|line| line.strip_prefix("0::"));
    let limits = own.into_iter().flat_map(|own| Path::new(own).ancestors()).filter_map(|group| {
        let group = group.strip_prefix("/").unwrap_or(group);
        let limit = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        fs::read_to_string(limit).ok()?.trim().parse::<u64>().ok()
    });
    limits.chain(machine).min()
}

/// Returns a figure of a file in which the kernel writes one per line, in KiB.
fn bytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

fn disk_free_bytes(directory: &Path) -> Option<u64> {
    let disk = statvfs(directory).ok()?;
    Some(disk.blocks_available().saturating_mul(disk.fragment_size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn processor_time_is_that_between_readings() {
        let mut reader = ProcessReader::default();
        let start = Instant::now();
        let first = reader.read(start, Path::new("/no/such/folder"));
        assert_eq!((first.cpu, first.disk_free_bytes), (None, None));
        let busy_until = std::time::Instant::now() + Duration::from_millis(100);
        let mut turns = 0_u64;
        while std::time::Instant::now() < busy_until {
            turns = std::hint::black_box(turns + 1);
        }
        let cpu = reader.read(start + Duration::from_millis(100), Path::new("/")).cpu.unwrap();
        assert!((0.05..64.0).contains(&cpu), "{cpu}");
    }

    #[test]
    fn a_disk_that_hangs_is_asked_once() {
        let (answer, asked) = sync_channel(1);
        let mut disk = DiskReader::default();
        let now = Instant::now();
        assert_eq!(disk.read(now, || asked), None);
        assert_eq!(disk.read(now, || panic!("it is asked already")), None);
        answer.send(Some(7)).unwrap();
        assert_eq!(disk.read(now, || panic!("it is asked already")), Some(7));
        assert_eq!(disk.read(now, || panic!("it has answered")), Some(7));
        let later = now + DISK_INTERVAL;
        assert_eq!(disk.read(later, || start_reading(Path::new("/no/such/folder"))), None);
    }

    #[test]
    fn memory_is_read_in_the_kernels_unit() {
        let text = "MemTotal:       32817120 kB\nMemFree:        1 kB\n";
        assert_eq!(bytes_of(text, "MemTotal:"), Some(32_817_120 * 1024));
        assert_eq!(bytes_of("MemFree: 1 kB\n", "MemTotal:"), None);
        assert!(memory_bytes() > rss_bytes());
    }

    #[test]
    fn both_ways_to_count_files_agree() {
        let listed = list_files().unwrap();
        if let Some(counted) = counted_files() {
            // Other tests open and close files meanwhile; the list itself is one more.
            assert!(counted.abs_diff(listed) < 500, "{counted} and {listed}");
        }
    }
}
