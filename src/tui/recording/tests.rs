use std::io::Cursor;
use std::path::PathBuf;
use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;
use crate::tui::feed::{Feed, Moment, samples};

/// A recording of a feed in which the throttle sets in, and the moments of the feed.
fn recorded() -> &'static (Vec<u8>, Vec<Moment>) {
    static RECORDED: OnceLock<(Vec<u8>, Vec<Moment>)> = OnceLock::new();
    RECORDED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("feed.lct");
        let mut recorder = FeedRecorder::create(&path).unwrap();
        let mut feed = Feed::default();
        let mut moments = Vec::new();
        for second in 0..30 {
            feed.add(if second < 20 {
                samples::healthy(second)
            } else {
                samples::throttled(second)
            });
            assert_eq!(recorder.add(&feed), None);
            // As JSON keeps it: the last digit of a figure may differ.
            let text = serde_json::to_string(&**feed.latest().unwrap()).unwrap();
            moments.push(serde_json::from_str(&text).unwrap());
        }
        drop(recorder);
        (std::fs::read(&path).unwrap(), moments)
    })
}

fn read(bytes: Vec<u8>) -> Result<FeedRecording<Cursor<Vec<u8>>>, FeedRecordingError> {
    FeedRecording::read_from(Cursor::new(bytes), PathBuf::from("feed.lct"))
}

#[test]
fn every_moment_is_read_as_it_was_recorded() {
    let (bytes, moments) = recorded();
    let mut recording = read(bytes.clone()).unwrap();
    assert_eq!((recording.len(), recording.cut()), (moments.len(), None));
    // In any order.
    for index in (0..moments.len()).rev() {
        let moment = recording.moment(index).unwrap();
        assert_eq!(moment, moments[index]);
        assert_eq!(recording.index_at(moment.at_ms), index);
        assert_eq!(recording.index_at(moment.at_ms + 999), index);
    }
    assert_eq!(recording.index_at(0), 0);
    let happenings = recording.take_happenings();
    assert!(happenings.iter().any(|happening| happening.kind == "throttle"), "{happenings:?}");
    let figures: Vec<_> = recording.figures(25, 10_000).collect();
    assert_eq!((figures.len(), figures[10].0), (11, moments[25].at_ms));
    assert_eq!(*figures[10].1, format::figures_of(&moments[25]));
}

#[test]
fn an_existing_file_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("feed.lct");
    std::fs::write(&path, "precious").unwrap();
    let error = FeedRecorder::create(&path).unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn other_files_are_refused_with_a_reason() {
    for (bytes, part) in [
        (&b""[..], "it is empty"),
        (b"{\"recording\":1}\n", "no moment begins here"),
        (b"LC", "ends inside a moment"),
        (b"\x50\x2A\x4D\x18\x00\x00\x00\x00", "0 bytes"),
    ] {
        let error = read(bytes.to_vec()).unwrap_err().to_string();
        assert!(error.contains("feed.lct is no recording of lc top"), "{error}");
        assert!(error.contains(part), "{error}");
    }
    let mut newer = recorded().0.clone();
    newer[format::PREFIX_BYTES + 5] = 2;
    assert!(read(newer).unwrap_err().to_string().contains("its version is 2"));
}

#[test]
fn two_recordings_in_one_file_are_told() {
    let bytes = &recorded().0;
    let recording = read([bytes.as_slice(), bytes].concat()).unwrap();
    let cut = recording.cut().unwrap();
    assert!(cut.contains(&format!("byte {}", bytes.len())) && cut.contains("goes back"), "{cut}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn a_cut_file_is_read_up_to_the_cut(share in 0.0_f64..1.0) {
        let (bytes, moments) = recorded();
        let length = (bytes.len() as f64 * share) as usize;
        let Ok(mut recording) = read(bytes[..length].to_vec()) else {
            // Not even the first moment is whole.
            prop_assert!(length < bytes.len() / 5);
            return Ok(());
        };
        prop_assert!(recording.len() <= moments.len());
        for (index, moment) in moments.iter().enumerate().take(recording.len()) {
            prop_assert_eq!(&recording.moment(index).unwrap(), moment);
        }
        if let Some(cut) = recording.cut() {
            let last = crate::tui::figures::clock(recording.time(usize::MAX));
            prop_assert!(cut.contains("inside a moment") && cut.contains(&last), "{}", cut);
        }
    }

    #[test]
    fn a_damaged_byte_is_never_shown(share in 0.0_f64..1.0, bit in 0_u8..8) {
        let (bytes, moments) = recorded();
        let mut damaged = bytes.clone();
        let at = ((bytes.len() - 1) as f64 * share) as usize;
        damaged[at] ^= 1 << bit;
        let Ok(mut recording) = read(damaged) else { return Ok(()) };
        for (index, expected) in moments.iter().enumerate().take(recording.len()) {
            match recording.moment(index) {
                Ok(moment) => prop_assert_eq!(&moment, expected),
                Err(error) => prop_assert!(error.to_string().contains("byte"), "{}", error),
            }
        }
        prop_assert!(recording.len() == moments.len() || recording.cut().is_some());
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(mut recording) = read(bytes) {
            let _ = recording.moment(0);
        }
    }
}
