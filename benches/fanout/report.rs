//! Medians and ratios.

use live_comments::plan::GATHERED_PER_SECOND;

use crate::costs::LoadCost;
use crate::rounds::Sample;

/// Samples by load and server, in the order in which they first came.
pub(crate) struct Report {
    viewers: usize,
    rows: Vec<Row>,
}

struct Row {
    group: &'static str,
    name: String,
    samples: Vec<Sample>,
}

impl Report {
    pub(crate) fn new(viewers: usize) -> Self {
        Self { viewers, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, group: &'static str, name: String, sample: Sample) {
        match self.rows.iter_mut().find(|row| row.group == group && row.name == name) {
            Some(row) => row.samples.push(sample),
            None => self.rows.push(Row { group, name, samples: vec![sample] }),
        }
    }

    pub(crate) fn print(&self) {
        let mut groups: Vec<&str> = self.rows.iter().map(|row| row.group).collect();
        groups.sort_unstable_by_key(|group| group.len());
        groups.dedup();
        for group in groups {
            let mut rows: Vec<&Row> = self.rows.iter().filter(|row| row.group == group).collect();
            rows.sort_by_key(|row| row.name.clone());
            self.print_group(group, &rows);
        }
    }

    /// Returns the median cost of a load for a server.
    pub(crate) fn load_cost(&self, group: &str, name: &str, per_s: f64) -> Option<LoadCost> {
        let row = self.rows.iter().find(|row| row.group == group && row.name == name)?;
        let [_, per_comment_us, _] = row.spread(per_comment);
        let [_, packed, _] = row.spread(|sample| ratio(sample.comments, sample.frames));
        let viewer_us = per_comment_us * per_s;
        let frames_per_s = per_s / packed;
        // Fan-outs to so many viewers take more than their share of a worker, so frames gather, and
        // one write carries all that wait.
        let writes_per_s = frames_per_s.min(GATHERED_PER_SECOND);
        Some(LoadCost { comments_per_s: per_s, writes_per_s, viewer_us })
    }

    fn print_group(&self, group: &str, rows: &[&Row]) {
        println!("\n{group}, {} viewers: server CPU, µs (median, lowest – highest)", self.viewers);
        let limits: Vec<&Row> =
            rows.iter().copied().filter(|row| row.name.starts_with("bare")).collect();
        print!("{:<20} {:>22} {:>18}", "", "a comment delivered", "a frame written");
        print!(" {:>10} {:>10} {:>8}", "comments/f", "bytes/c", "lost");
        limits.iter().for_each(|limit| print!(" {:>20}", format!("÷ {}", limit.name)));
        println!();
        for row in rows {
            let [low, middle, high] = row.spread(per_comment);
            print!("{:<20} {:>22}", row.name, format!("{middle:.2} ({low:.2} – {high:.2})"));
            let [low, middle, high] = row.spread(per_frame);
            print!(" {:>18}", format!("{middle:.2} ({low:.2} – {high:.2})"));
            let [_, packed, _] = row.spread(|sample| ratio(sample.comments, sample.frames));
            let [_, bytes, _] = row.spread(|sample| ratio(sample.bytes, sample.comments));
            let lost: u64 = row.samples.iter().map(|sample| sample.lost).sum();
            print!(" {packed:>10.2} {bytes:>10.0} {lost:>8}");
            for limit in &limits {
                let ratio = row.spread(per_comment)[1] / limit.spread(per_comment)[1];
                print!(" {:>20}", format!("{ratio:.2} ×"));
            }
            println!();
        }
    }
}

impl Row {
    /// Returns the lowest, the median and the highest value of the samples.
    fn spread(&self, of: impl Fn(&Sample) -> f64) -> [f64; 3] {
        let mut values: Vec<f64> = self.samples.iter().map(of).collect();
        values.sort_unstable_by(f64::total_cmp);
        [values[0], values[values.len() / 2], values[values.len() - 1]]
    }
}

fn per_comment(sample: &Sample) -> f64 {
    sample.cpu_s * 1e6 / sample.comments.max(1) as f64
}

fn per_frame(sample: &Sample) -> f64 {
    sample.cpu_s * 1e6 / sample.frames.max(1) as f64
}

fn ratio(dividend: u64, divisor: u64) -> f64 {
    dividend as f64 / divisor.max(1) as f64
}

/// One sample, while the run goes on.
pub(crate) fn line(sample: &Sample) -> String {
    format!(
        "{:.2} µs a comment, {} comments in {} frames, {:.2} s CPU in {:.1} s, {} lost",
        per_comment(sample),
        sample.comments,
        sample.frames,
        sample.cpu_s,
        sample.wall_s,
        sample.lost
    )
}
