//! Reads texts with or without labels: JSON lines, plain or gzip.

use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::Task;

/// Longest line.
const MAX_LINE_BYTES: u64 = 1 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
/// The source of samples that are decisions of persons.
pub const DECISIONS: &str = "decisions";
/// Characters of a damaged line that an error shows.
const SHOWN_CHARS: usize = 40;

/// One line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sample {
    pub text: String,
    /// Whether the text is what the task looks for: toxic, or spam.
    pub label: Option<bool>,
    /// Name of the data set; empty if the line has none.
    pub source: String,
    /// The number of texts that are made of this one, if it is a template.
    pub variants: usize,
    /// The task that the line names: the inner `None` says that its label is about no task. The
    /// outer one is that of a line that names none, or one that is not known.
    pub task: Option<Option<Task>>,
}

/// Keys of a line; others are passed over.
#[derive(Debug, Deserialize)]
struct Line {
    text: String,
    #[serde(default)]
    label: Option<serde_json::Value>,
    #[serde(default)]
    source: String,
    #[serde(default)]
    variants: usize,
    #[serde(default, deserialize_with = "present")]
    task: Option<serde_json::Value>,
}

/// Reads a key that is there, so that `null` differs from a key that is left out.
fn present<'de, D: Deserializer<'de>>(input: D) -> Result<Option<serde_json::Value>, D::Error> {
    serde_json::Value::deserialize(input).map(Some)
}

/// Further keys of a line of `lc mod decisions --export`.
#[derive(Debug, Deserialize)]
struct DecidedLine {
    task: Option<Task>,
    by_person: bool,
}

/// A reason why a file of samples cannot be read, without its place.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error("{0}")]
    Unreadable(#[from] io::Error),
    #[error("{cause}, in `{shown}`; right would be {{\"text\":\"hello\",\"label\":0}}")]
    NotALine { line: usize, cause: String, shown: String },
    #[error("the label is {found}; right would be 0 or 1")]
    UnknownLabel { line: usize, found: String },
    #[error(
        "the line has {}, unlike those before; right would be labels on all lines or on none",
        if *.labelled { "a label" } else { "no label" }
    )]
    SomeLabels { line: usize, labelled: bool },
    #[error("the line is longer than 1 MiB")]
    LongLine { line: usize },
    #[error("the file has no lines; right would be {{\"text\":\"hello\",\"label\":0}}")]
    Empty,
}

impl SampleError {
    /// Returns what is wrong, behind the file and the line: `FILE:3: the label is 2; …`.
    pub fn in_file(&self, file: &Path) -> String {
        let file = file.display();
        match self {
            Self::NotALine { line, .. }
            | Self::UnknownLabel { line, .. }
            | Self::SomeLabels { line, .. }
            | Self::LongLine { line } => format!("{file}:{line}: {self}"),
            Self::Unreadable(_) | Self::Empty => format!("{file}: {self}"),
        }
    }
}

/// Reads all samples. Blank lines are passed over.
///
/// # Errors
/// The first line that is wrong, with its number; a file without lines; a file of which only some
/// lines have a label.
pub fn read_samples(input: impl Read) -> Result<Vec<Sample>, SampleError> {
    let mut samples: Vec<Sample> = Vec::new();
    read(input, |bytes, line| {
        let sample = parse(bytes, line)?;
        let labelled = sample.label.is_some();
        if samples.first().is_some_and(|first| first.label.is_some() != labelled) {
            return Err(SampleError::SomeLabels { line, labelled });
        }
        samples.push(sample);
        Ok(())
    })?;
    if samples.is_empty() { Err(SampleError::Empty) } else { Ok(samples) }
}

/// The samples of a file of decisions.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct DecidedSamples {
    /// Those of each task, in the order of [`Task::ALL`].
    pub of_tasks: [Vec<Sample>; 2],
    /// Lines that are no sample.
    pub passed_over: usize,
}

/// Reads a file of `lc mod decisions --export`. Lines without a task are passed over, and so are
/// those that no person decided: a model that learns from its own decisions only learns to repeat
/// them.
///
/// # Errors
/// As [`read_samples`]; a line without the keys of an exported one.
pub fn read_decisions(input: impl Read) -> Result<DecidedSamples, SampleError> {
    let mut decided = DecidedSamples::default();
    read(input, |bytes, line| {
        let sample = parse(bytes, line)?;
        let DecidedLine { task, by_person } = decode(bytes, line)?;
        match task.filter(|_| by_person && sample.label.is_some()) {
            Some(task) => {
                let sample = Sample { source: DECISIONS.to_owned(), ..sample };
                decided.of_tasks[task as usize].push(sample);
            }
            None => decided.passed_over += 1,
        }
        Ok(())
    })?;
    Ok(decided)
}

/// Calls `take` with each line that is not blank, and its number.
fn read(
    input: impl Read,
    take: impl FnMut(&[u8], usize) -> Result<(), SampleError>,
) -> Result<(), SampleError> {
    let mut input = BufReader::new(input);
    if input.fill_buf()?.starts_with(&GZIP_MAGIC) {
        read_lines(BufReader::new(MultiGzDecoder::new(input)), take)
    } else {
        read_lines(input, take)
    }
}

fn read_lines(
    mut input: impl BufRead,
    mut take: impl FnMut(&[u8], usize) -> Result<(), SampleError>,
) -> Result<(), SampleError> {
    let mut bytes = Vec::new();
    let mut line = 0;
    loop {
        bytes.clear();
        let length = input.by_ref().take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes)?;
        line += 1;
        if length == 0 {
            break;
        }
        if length as u64 > MAX_LINE_BYTES {
            return Err(SampleError::LongLine { line });
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        take(&bytes, line)?;
    }
    Ok(())
}

fn decode<T: DeserializeOwned>(bytes: &[u8], line: usize) -> Result<T, SampleError> {
    serde_json::from_slice(bytes).map_err(|error| {
        let shown = String::from_utf8_lossy(bytes).trim().chars().take(SHOWN_CHARS).collect();
        // The position in the line would follow, with a line number that is always 1.
        let cause = error.to_string();
        let cause = cause.split(" at line ").next().unwrap_or_default().to_owned();
        SampleError::NotALine { line, cause, shown }
    })
}

fn parse(bytes: &[u8], line: usize) -> Result<Sample, SampleError> {
    let parsed: Line = decode(bytes, line)?;
    let label = match parsed.label {
        None | Some(serde_json::Value::Null) => None,
        Some(value) => Some(read_label(&value).ok_or_else(|| {
            let found = value.to_string().chars().take(SHOWN_CHARS).collect();
            SampleError::UnknownLabel { line, found }
        })?),
    };
    let Line { text, source, variants, task, .. } = parsed;
    let task = task.and_then(|task| serde_json::from_value::<Option<Task>>(task).ok());
    Ok(Sample { text, label, source, variants, task })
}

fn read_label(value: &serde_json::Value) -> Option<bool> {
    value.as_bool().or_else(|| match value.as_f64() {
        Some(0.0) => Some(false),
        Some(1.0) => Some(true),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn error(text: &str) -> String {
        read_samples(text.as_bytes()).unwrap_err().in_file(Path::new("a.jsonl"))
    }

    #[test]
    fn plain_and_gzip_files_are_read() {
        let text =
            "{\"text\":\"a\",\"label\":1,\"source\":\"x\"}\n\n{\"text\":\"b\",\"label\":false}";
        let samples = read_samples(text.as_bytes()).unwrap();
        assert_eq!(samples.len(), 2);
        assert_eq!(samples[0].label, Some(true));
        assert_eq!(samples[0].source, "x");
        assert_eq!(samples[1].label, Some(false));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        assert_eq!(read_samples(&gzip.finish().unwrap()[..]).unwrap(), samples);
        let chat = "{\"ts_ms\":0,\"user\":\"u\",\"text\":\"hi\"}";
        assert_eq!(read_samples(chat.as_bytes()).unwrap()[0].label, None);
    }

    #[test]
    fn a_line_may_say_what_its_label_is_about() {
        for (key, task) in [
            ("", None),
            (r#","task":"translation""#, None),
            (r#","task":null"#, Some(None)),
            (r#","task":"spam""#, Some(Some(Task::Spam))),
        ] {
            let line = format!("{{\"text\":\"a\",\"label\":1{key}}}");
            assert_eq!(read_samples(line.as_bytes()).unwrap()[0].task, task, "{line}");
        }
    }

    #[test]
    fn only_decisions_of_persons_are_samples() {
        let lines = [
            r#"{"text":"a","label":1,"task":"spam","by_person":true}"#,
            r#"{"text":"b","label":1,"task":"spam","by_person":false}"#,
            r#"{"text":"c","label":0,"task":null,"by_person":true}"#,
        ];
        let decided = read_decisions(lines.join("\n").as_bytes()).unwrap();
        let [toxicity, spam] = decided.of_tasks;
        assert!(toxicity.is_empty());
        assert_eq!(decided.passed_over, 2);
        let texts: Vec<_> = spam.iter().map(|one| (&*one.text, one.label, &*one.source)).collect();
        assert_eq!(texts, [("a", Some(true), DECISIONS)]);
        let other = read_decisions(&b"{\"text\":\"a\",\"label\":1}"[..]).unwrap_err();
        assert!(other.to_string().starts_with("missing field `by_person`"), "{other}");
    }

    #[test]
    fn a_wrong_line_is_named_with_what_is_right() {
        let good = "{\"text\":\"a\",\"label\":1}\n";
        let found = error(&format!("{good}hello"));
        assert!(found.starts_with("a.jsonl:2: expected value, in `hello`"), "{found}");
        assert!(found.contains("{\"text\":\"hello\",\"label\":0}"), "{found}");
        let found = error(&format!("{good}{{\"label\":1}}"));
        assert!(found.starts_with("a.jsonl:2: missing field `text`"), "{found}");
        let found = error("{\"text\":\"a\",\"label\":\"toxic\"}");
        assert_eq!(found, "a.jsonl:1: the label is \"toxic\"; right would be 0 or 1");
        let found = error(&format!("{good}\n{{\"text\":\"b\"}}"));
        assert!(found.starts_with("a.jsonl:3: the line has no label, unlike"), "{found}");
        assert!(error("\n").starts_with("a.jsonl: the file has no lines"));
        let long = format!("{{\"text\":\"{}\"}}", "a".repeat(1 << 20));
        assert_eq!(error(&long), "a.jsonl:1: the line is longer than 1 MiB");
    }
}
