//! The shared window by itself: which frames a viewer can inflate.

use proptest::prelude::*;

use super::*;
use crate::daemon::base::config::DeliveryConfig;
use crate::daemon::stages::delivery::deflate::Compressors;
use crate::net::websocket::Inflater;

const MAX_BYTES: usize = 1 << 20;

fn compressors(config: &DeliveryConfig) -> Arc<Compressors> {
    Compressors::new(config)
}

/// Returns a window with a key frame every `frames` frames while one is requested.
fn stream(frames: u32) -> Arc<StreamWindow> {
    let hour = Duration::from_secs(3600);
    let defaults = DeliveryConfig::default();
    compressors(&DeliveryConfig {
        deflate_key_frames: frames,
        deflate_key_interval: hour,
        ..defaults
    })
    .stream()
}

fn next(stream: &StreamWindow, payload: &[u8]) -> (WindowFrame, Vec<u8>) {
    stream.compress(Encoding::Json, stream.next_place(), payload).unwrap()
}

fn text(n: usize) -> Vec<u8> {
    let number = n * 7919;
    format!(r#"{{"type":"comments","n":{n},"name":"ann","message":"what a save number {number}, what a save"}}"#)
        .into()
}

#[test]
fn joiner_reads_from_the_next_key_frame() {
    const FRAMES: usize = 100;
    let stream = stream(16);
    let all: Vec<_> = (0..FRAMES)
        .map(|n| {
            stream.request_key_frame(Encoding::Json);
            next(&stream, &text(n))
        })
        .collect();
    assert_eq!(all.iter().filter(|(frame, _)| frame.is_key).count(), FRAMES.div_ceil(16));
    for join in 0..FRAMES {
        let mut inflate = Inflater::default();
        let mut window = WindowPosition::OUTSIDE;
        let mut read = 0;
        for (n, (frame, compressed)) in all.iter().enumerate().skip(join) {
            if window.can_read(*frame) {
                assert_eq!(
                    inflate.inflate_next(compressed, MAX_BYTES).unwrap(),
                    text(n),
                    "joined at {join}"
                );
                window = frame.position_after();
                read += 1;
            }
        }
        let key = join.next_multiple_of(16).min(FRAMES);
        assert_eq!(read, FRAMES - key, "joined at {join}");
    }
}

#[test]
fn later_frames_shrink_until_a_key_frame() {
    let stream = stream(3);
    let sizes: Vec<_> = (0..3).map(|n| next(&stream, &text(n)).1.len()).collect();
    assert!(sizes[1] < sizes[0] / 2, "{sizes:?}");
    assert!(!next(&stream, &text(3)).0.is_key, "no viewer waits for one");
    stream.request_key_frame(Encoding::Msgpack);
    assert!(!next(&stream, &text(4)).0.is_key, "the waiting viewer uses the other encoding");
    stream.request_key_frame(Encoding::Json);
    let (frame, compressed) = next(&stream, &text(5));
    assert!(frame.is_key && compressed.len() > sizes[1]);
    assert_eq!(Inflater::default().inflate_next(&compressed, MAX_BYTES).unwrap(), text(5));
    stream.request_key_frame(Encoding::Json);
    assert!(!next(&stream, &text(6)).0.is_key, "the last one was just now");
}

#[test]
fn key_frame_comes_within_the_interval() {
    let defaults = DeliveryConfig::default();
    let config = DeliveryConfig { deflate_key_interval: Duration::ZERO, ..defaults };
    let stream = compressors(&config).stream();
    assert!(next(&stream, &text(0)).0.is_key);
    assert!(!next(&stream, &text(1)).0.is_key);
    stream.request_key_frame(Encoding::Json);
    assert!(next(&stream, &text(2)).0.is_key);
}

#[test]
fn late_frame_stays_uncompressed() {
    let stream = stream(64);
    let early = stream.next_place();
    let late = stream.next_place();
    let (_, key) = stream.compress(Encoding::Json, late, &text(2)).unwrap();
    assert!(stream.compress(Encoding::Json, early, &text(1)).is_none());
    let (frame, compressed) = next(&stream, &text(3));
    let mut inflate = Inflater::default();
    assert_eq!(inflate.inflate_next(&key, MAX_BYTES).unwrap(), text(2));
    assert_eq!(inflate.inflate_next(&compressed, MAX_BYTES).unwrap(), text(3));
    assert!(frame.position_before().is_some());
}

#[test]
fn streams_beyond_the_limit_stay_readable() {
    let config = DeliveryConfig { deflate_compressors: 2, ..DeliveryConfig::default() };
    let compressors = compressors(&config);
    let streams: Vec<_> = (0..3).map(|_| compressors.stream()).collect();
    for n in 0..3 {
        for stream in &streams {
            next(stream, &text(n));
        }
    }
    assert_eq!(compressors.in_use(), 2);
    let (frame, compressed) = next(&streams[2], &text(3));
    assert!(frame.is_key, "each by itself");
    assert_eq!(Inflater::default().inflate_next(&compressed, MAX_BYTES).unwrap(), text(3));
    assert!(
        streams[2].compress(Encoding::Json, 100, b"tiny").is_none(),
        "too small to compress by itself"
    );
    drop(streams);
    assert_eq!(compressors.in_use(), 0);
}

#[test]
fn released_compressor_leaves_viewers_readable() {
    let compressors = compressors(&DeliveryConfig::default());
    let stream = compressors.stream();
    let mut inflate = Inflater::default();
    inflate.inflate_next(&next(&stream, &text(0)).1, MAX_BYTES).unwrap();
    compressors.release_unused_for(Duration::from_secs(3600));
    assert_eq!(compressors.in_use(), 1);
    compressors.release_unused_for(Duration::ZERO);
    assert_eq!(compressors.in_use(), 0);
    let (frame, compressed) = next(&stream, &text(1));
    assert!(frame.is_key);
    assert_eq!(inflate.inflate_next(&compressed, MAX_BYTES).unwrap(), text(1));
}

/// Reports whether a tiny payload is compressed for one viewer, while another worker compresses a
/// frame.
fn is_compressed_alone(stream: &Arc<StreamWindow>) -> bool {
    let _compressing = stream.json.state.lock();
    let (tell, told) = std::sync::mpsc::channel();
    let stream = stream.clone();
    std::thread::spawn(move || {
        let compressed = stream.compress_alone(Encoding::Json, b"tiny");
        tell.send(compressed.is_some())
    });
    told.recv_timeout(Duration::from_secs(30)).expect("a viewer waits for the lock of the window")
}

#[test]
fn a_viewer_outside_the_window_waits_for_no_frame() {
    let config = DeliveryConfig { deflate_compressors: 1, ..DeliveryConfig::default() };
    let compressors = compressors(&config);
    let [first, other] = [(); 2].map(|()| compressors.stream());
    assert!(is_compressed_alone(&first), "one is free");
    next(&first, &text(0));
    assert!(is_compressed_alone(&first));
    assert!(!is_compressed_alone(&other), "its frames stay plain, too");
    compressors.release_unused_for(Duration::ZERO);
    next(&other, &text(0));
    assert!(!is_compressed_alone(&first));
    assert!(is_compressed_alone(&other));
}

proptest! {
    #[test]
    fn any_payload_survives(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5000), 1..20),
        keys: u32,
    ) {
        let stream = stream(1 + keys % 5);
        let mut inflate = Inflater::default();
        for payload in &payloads {
            stream.request_key_frame(Encoding::Json);
            let (_, compressed) = next(&stream, payload);
            prop_assert_eq!(&inflate.inflate_next(&compressed, MAX_BYTES).unwrap(), payload);
        }
    }
}
