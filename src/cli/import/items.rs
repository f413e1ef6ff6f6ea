//! Splits an export into items without loading it.
//!
//! A file is either lines, each a JSON value, or one document: an array, or an object with an array
//! in it. An item that cannot be parsed costs that item. In a document, text that is no JSON at all
//! costs what follows, because nothing says where the next item begins.

use std::cell::Cell;
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::read::MultiGzDecoder;
use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Bytes of the largest item.
const MAX_ITEM_BYTES: u64 = 16 << 20;
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
/// Keys of objects whose value has the items, at any depth below each other: TwitchDownloader's
/// `comments`, and the answers of YouTube's live chat.
const CONTAINERS: [&str; 4] =
    ["comments", "continuationContents", "liveChatContinuation", "actions"];

/// Where an item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Line(u64),
    /// Of the file as it is uncompressed, near the end of the item.
    Byte(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Byte(byte) => write!(f, "byte {byte}"),
        }
    }
}

impl Serialize for Place {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Takes the items of a file.
pub(super) trait ItemSink {
    /// # Errors
    /// The item cannot be kept, which ends the import.
    fn item(&mut self, json: &str, place: Place) -> anyhow::Result<()>;

    /// Counts something that is no item.
    fn skipped(&mut self, reason: &'static str, place: Place);
}

/// Bytes of a file that were read, for the progress.
#[derive(Debug, Clone, Default)]
pub(super) struct ReadBytes(Rc<Cell<u64>>);

impl ReadBytes {
    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }
}

struct Counted<R> {
    input: R,
    read: ReadBytes,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(bytes)?;
        self.read.0.set(self.read.0.get() + read as u64);
        Ok(read)
    }
}

/// Passes the items of a file to a sink.
///
/// # Errors
/// The file cannot be opened or read, or the sink fails.
pub(super) fn read_items(
    path: &Path,
    read: &ReadBytes,
    sink: &mut dyn ItemSink,
) -> anyhow::Result<()> {
    let file = Counted { input: File::open(path)?, read: read.clone() };
    let mut file = BufReader::with_capacity(256 << 10, file);
    let first = file.fill_buf()?;
    let decoder: Box<dyn Read> = if first.starts_with(&GZIP_MAGIC) {
        Box::new(MultiGzDecoder::new(file))
    } else if first.starts_with(&ZSTD_MAGIC) {
        Box::new(zstd::stream::read::Decoder::with_buffer(file)?)
    } else {
        return read_values(file, sink);
    };
    let decoded = Rc::new(Cell::new(0));
    let is_damaged = Rc::new(Cell::new(false));
    let input = Salvaged { decoder, decoded: decoded.clone(), is_damaged: is_damaged.clone() };
    read_values(BufReader::with_capacity(64 << 10, input), sink)?;
    if is_damaged.get() {
        sink.skipped("compressed data is cut off or damaged", Place::Byte(decoded.get()));
    }
    Ok(())
}

/// Ends where compressed data does, also where it is cut off or damaged.
struct Salvaged {
    decoder: Box<dyn Read>,
    decoded: Rc<Cell<u64>>,
    is_damaged: Rc<Cell<bool>>,
}

impl Read for Salvaged {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        if self.is_damaged.get() {
            return Ok(0);
        }
        match self.decoder.read(bytes) {
            // Errors of the file have a code of the operating system.
            Err(error) if error.raw_os_error().is_none() => {
                self.is_damaged.set(true);
                Ok(0)
            }
            read => {
                let length = *read.as_ref().unwrap_or(&0) as u64;
                self.decoded.set(self.decoded.get() + length);
                read
            }
        }
    }
}

/// Reads lines if the first line is a value by itself, otherwise a document.
fn read_values(mut input: impl BufRead, sink: &mut dyn ItemSink) -> anyhow::Result<()> {
    skip_byte_order_mark(&mut input)?;
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        let length = (&mut input).take(MAX_ITEM_BYTES).read_until(b'\n', &mut line)?;
        number += 1;
        if length == 0 {
            return Ok(());
        }
        if !line.iter().all(u8::is_ascii_whitespace) {
            break;
        }
    }
    let first = std::str::from_utf8(&line).ok().map(str::trim);
    let is_value = first.is_some_and(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    if is_value {
        return read_lines(line, number, input, sink);
    }
    read_document(io::Cursor::new(line).chain(input), sink)
}

fn skip_byte_order_mark(input: &mut impl BufRead) -> io::Result<()> {
    if input.fill_buf()?.starts_with("\u{FEFF}".as_bytes()) {
        input.consume(3);
    }
    Ok(())
}

fn read_lines(
    mut line: Vec<u8>,
    mut number: u64,
    mut input: impl BufRead,
    sink: &mut dyn ItemSink,
) -> anyhow::Result<()> {
    loop {
        let place = Place::Line(number);
        match std::str::from_utf8(&line).map(str::trim) {
            Ok("") => {}
            Ok(text) => read_line(text, place, sink)?,
            Err(_) => sink.skipped("not UTF-8", place),
        }
        line.clear();
        number += 1;
        if (&mut input).take(MAX_ITEM_BYTES).read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        if !line.ends_with(b"\n") && line.len() as u64 == MAX_ITEM_BYTES {
            sink.skipped("larger than 16 MiB", Place::Line(number));
            line.clear();
            skip_line(&mut input)?;
        }
    }
}

fn skip_line(input: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(());
        }
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let used = end.map_or(buffer.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(());
        }
    }
}

/// A line is an item, or a document by itself.
fn read_line(text: &str, place: Place, sink: &mut dyn ItemSink) -> anyhow::Result<()> {
    let is_container = text.starts_with('[')
        || CONTAINERS
            .iter()
            .any(|key| text.contains(&format!("\"{key}\"")) && is_inside(text, key));
    if !is_container {
        return sink.item(text, place);
    }
    let mut walk = Walk { sink, place: &|| place, failed: None, budget: None };
    let walked = Container(&mut walk).deserialize(&mut serde_json::Deserializer::from_str(text));
    match (walk.failed.take(), walked) {
        (Some(error), _) => return Err(error),
        (None, Err(_)) => walk.sink.skipped("not JSON", place),
        (None, Ok(())) => {}
    }
    Ok(())
}

/// Returns whether a key is one of the object's own.
fn is_inside(text: &str, key: &str) -> bool {
    struct Keys<'a>(&'a str);

    impl<'de> Visitor<'de> for Keys<'_> {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
            let mut found = false;
            while let Some(key) = map.next_key::<String>()? {
                found |= key == self.0;
                map.next_value::<IgnoredAny>()?;
            }
            Ok(found)
        }
    }

    serde_json::Deserializer::from_str(text).deserialize_map(Keys(key)).unwrap_or(false)
}

fn read_document(input: impl Read, sink: &mut dyn ItemSink) -> anyhow::Result<()> {
    let budget = Budget::default();
    let mut input = Budgeted { input: BufReader::new(input), budget: budget.clone() };
    let place = || Place::Byte(budget.read.get());
    let mut walk = Walk { sink, place: &place, failed: None, budget: Some(&budget) };
    budget.left.set(MAX_ITEM_BYTES);
    let mut values = serde_json::Deserializer::from_reader(&mut input);
    let walked = Container(&mut walk).deserialize(&mut values);
    if let Some(error) = walk.failed.take() {
        return Err(error);
    }
    let Err(error) = walked.and_then(|()| values.end()) else { return Ok(()) };
    let reason = match budget.left.get() {
        0 => "larger than 16 MiB, and what follows it",
        _ if error.is_io() => return Err(io::Error::from(error).into()),
        _ if error.is_eof() => "cut off at the end",
        _ => "not JSON, and what follows it",
    };
    walk.sink.skipped(reason, place());
    Ok(())
}

/// Limits what one item takes from a reader.
#[derive(Debug, Clone, Default)]
struct Budget {
    left: Rc<Cell<u64>>,
    read: Rc<Cell<u64>>,
}

struct Budgeted<R> {
    input: R,
    budget: Budget,
}

impl<R: Read> Read for Budgeted<R> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = self.budget.left.get();
        if left == 0 {
            return Err(io::Error::other("an item is too large"));
        }
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
        let read = self.input.read(&mut bytes[..most])?;
        self.budget.left.set(left - read as u64);
        self.budget.read.set(self.budget.read.get() + read as u64);
        Ok(read)
    }
}

/// The walk over a document.
struct Walk<'a> {
    sink: &'a mut dyn ItemSink,
    place: &'a dyn Fn() -> Place,
    /// Why the sink failed.
    failed: Option<anyhow::Error>,
    budget: Option<&'a Budget>,
}

impl Walk<'_> {
    fn allow(&self, bytes: u64) {
        if let Some(budget) = self.budget {
            budget.left.set(bytes);
        }
    }
}

/// Reads a value that has items.
struct Container<'a, 'b>(&'a mut Walk<'b>);

impl<'de> DeserializeSeed<'de> for Container<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Container<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of items, or an object with one")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        loop {
            self.0.allow(MAX_ITEM_BYTES);
            let Some(item) = items.next_element::<Box<RawValue>>()? else { return Ok(()) };
            let place = (self.0.place)();
            if let Err(error) = self.0.sink.item(item.get(), place) {
                self.0.failed = Some(error);
                return Err(serde::de::Error::custom("the item cannot be kept"));
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_items = false;
        while let Some(key) = map.next_key::<String>()? {
            if CONTAINERS.contains(&key.as_str()) {
                has_items = true;
                map.next_value_seed(Container(&mut *self.0))?;
            } else {
                // Pictures of emotes are larger than any item, and nothing of them is kept.
                self.0.allow(u64::MAX);
                map.next_value::<IgnoredAny>()?;
            }
            self.0.allow(MAX_ITEM_BYTES);
        }
        if !has_items {
            let place = (self.0.place)();
            self.0.sink.skipped("without comments in it", place);
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Items {
        items: Vec<String>,
        skipped: Vec<(&'static str, String)>,
    }

    impl ItemSink for Items {
        fn item(&mut self, json: &str, _: Place) -> anyhow::Result<()> {
            self.items.push(json.to_owned());
            Ok(())
        }

        fn skipped(&mut self, reason: &'static str, place: Place) {
            self.skipped.push((reason, place.to_string()));
        }
    }

    fn items(text: &str) -> Items {
        let mut items = Items::default();
        read_values(text.as_bytes(), &mut items).unwrap();
        items
    }

    #[test]
    fn each_form_is_split_into_items() {
        let expected = [r#"{"a":1}"#, r#"{"b":"]}"}"#];
        for text in [
            "[{\"a\":1},{\"b\":\"]}\"}]",
            "[\n {\"a\":1},\n {\"b\":\"]}\"}\n]\n",
            "{\"a\":1}\n\n{\"b\":\"]}\"}\n",
            "\u{FEFF}{\"a\":1}\r\n{\"b\":\"]}\"}",
            "{\n\"video\":{\"comments\":3},\
             \"comments\":[{\"a\":1},{\"b\":\"]}\"}],\"embeddedData\":null}",
            "{\"video\":{},\"comments\":[{\"a\":1},{\"b\":\"]}\"}]}",
            "{\"continuationContents\":{\"liveChatContinuation\":{\"actions\":[{\"a\":1}]}}}\n\
             {\"continuationContents\":{\"liveChatContinuation\":\
             {\"actions\":[{\"b\":\"]}\"}]}}}\n",
        ] {
            let found = items(text);
            assert_eq!(found.items, expected, "{text}");
            assert!(found.skipped.is_empty(), "{text}: {:?}", found.skipped);
        }
    }

    #[test]
    fn what_is_no_json_costs_as_little_as_possible() {
        let lines = items("{\"a\":1}\n{\"b\":\n{\"c\":3}\n");
        assert_eq!(lines.items, [r#"{"a":1}"#, r#"{"b":"#, r#"{"c":3}"#]);
        let cut_off = items("[\n{\"a\":1},\n{\"b\":");
        assert_eq!(cut_off.items, [r#"{"a":1}"#]);
        assert_eq!(cut_off.skipped, [("cut off at the end", "byte 16".to_owned())]);
        let broken = items("[\n{\"a\":1},\n{\"b\" 7},\n{\"c\":3}]");
        assert_eq!(broken.items, [r#"{"a":1}"#]);
        assert_eq!(broken.skipped[0].0, "not JSON, and what follows it");
        // A lone surrogate is an error of its item, not of the document.
        let surrogate = items("[\n{\"a\":\"\\ud83d!\"},\n{\"c\":3}]");
        assert_eq!(surrogate.items.len(), 2);
        let other = items("{\n\"settings\": 3\n}");
        assert_eq!(other.skipped[0].0, "without comments in it");
        assert!(items("").items.is_empty());
    }

    /// Produces a document of any size without holding it.
    struct Endless {
        item: Vec<u8>,
        items: u64,
        at: usize,
    }

    impl Read for Endless {
        fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
            if self.items == 0 {
                return Ok(0);
            }
            let rest = &self.item[self.at..];
            let length = rest.len().min(bytes.len());
            bytes[..length].copy_from_slice(&rest[..length]);
            self.at = (self.at + length) % self.item.len();
            self.items -= u64::from(self.at == 0);
            Ok(length)
        }
    }

    #[test]
    fn an_item_without_end_does_not_fill_the_memory() {
        let endless = |item: &[u8]| Endless { item: item.to_vec(), items: 40_000_000, at: 0 };
        let mut found = Items::default();
        let text = io::Cursor::new("[\n{\"a\":1},\"").chain(endless(b"x"));
        read_values(BufReader::new(text), &mut found).unwrap();
        assert_eq!(found.items, [r#"{"a":1}"#]);
        assert_eq!(found.skipped[0].0, "larger than 16 MiB, and what follows it");
        let mut found = Items::default();
        let text = io::Cursor::new("{\"a\":1}\n").chain(endless(b"x")).chain(&b"\n{\"b\":2}"[..]);
        read_values(BufReader::new(text), &mut found).unwrap();
        assert_eq!(found.items, [r#"{"a":1}"#, r#"{"b":2}"#]);
        assert_eq!(found.skipped, [("larger than 16 MiB", "line 2".to_owned())]);
        // An item that is not kept may be of any size.
        let mut found = Items::default();
        let text = io::Cursor::new("{\n\"embeddedData\":\"").chain(endless(b"x"));
        let text = text.chain(&b"\",\"comments\":[{\"a\":1}]}"[..]);
        read_values(BufReader::new(text), &mut found).unwrap();
        assert_eq!(found.items, [r#"{"a":1}"#]);
    }
}
