//! The fuzz target of recordings of a console's feed.

use std::io::Cursor;
use std::path::PathBuf;

use super::format;
use super::reader::FeedRecording;
use crate::fuzzing::choices;

/// A recording. One choice: the input is a file, or the content of the head of its only moment.
pub fn feed_recording(data: &[u8]) {
    let ([mode], bytes) = choices(data);
    let file = if mode & 1 == 0 { bytes.to_vec() } else { format::head_frame(bytes) };
    let read = |bytes: &[u8]| {
        FeedRecording::read_from(Cursor::new(bytes.to_vec()), PathBuf::from("feed.lct"))
    };
    let Ok(mut whole) = read(&file) else { return };
    let times: Vec<_> = (0..whole.len()).map(|index| whole.time(index)).collect();
    assert!(!times.is_empty() && times.is_sorted());
    for (index, time) in times.iter().enumerate() {
        assert_eq!(whole.time(whole.index_at(*time)), *time);
        // A damaged moment is refused; one that is read is of its time.
        if let Ok(moment) = whole.moment(index) {
            assert_eq!(moment.at_ms, *time);
        }
    }
    if let Ok(half) = read(&file[..file.len() / 2]) {
        assert!(half.len() <= whole.len());
        assert!((0..half.len()).all(|index| half.time(index) == times[index]));
    }
}
