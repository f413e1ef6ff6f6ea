//! The shared window itself: who can read what.

use proptest::prelude::*;

use super::*;
use crate::daemon::base::config::DeliveryConfig;
use crate::net::websocket::Inflater;

const MAX_BYTES: usize = 1 << 20;

fn compressors(config: &DeliveryConfig) -> Arc<Compressors> {
    Compressors::new(config)
}

/// Key frames every `frames`, for as long as somebody wants one.
fn stream(frames: u32) -> Arc<StreamDeflate> {
    let hour = Duration::from_secs(3600);
    let defaults = DeliveryConfig::default();
    compressors(&DeliveryConfig {
        deflate_key_frames: frames,
        deflate_key_interval: hour,
        ..defaults
    })
    .stream()
}

fn next(stream: &StreamDeflate, payload: &[u8]) -> (Link, Vec<u8>) {
    stream.compress(Encoding::Json, stream.next_place(), payload).unwrap()
}

fn text(n: usize) -> Vec<u8> {
    let number = n * 7919;
    format!(r#"{{"type":"comments","n":{n},"name":"ann","message":"what a save number {number}, what a save"}}"#)
        .into()
}

#[test]
fn a_joiner_at_any_frame_reads_from_the_next_key_frame_on() {
    const FRAMES: usize = 100;
    let stream = stream(16);
    let all: Vec<_> = (0..FRAMES)
        .map(|n| {
            stream.want_key(Encoding::Json);
            next(&stream, &text(n))
        })
        .collect();
    assert_eq!(all.iter().filter(|(link, _)| link.key).count(), FRAMES.div_ceil(16));
    for join in 0..FRAMES {
        let (mut inflate, mut window, mut read) = (Inflater::default(), InWindow::OUTSIDE, 0);
        for (n, (link, compressed)) in all.iter().enumerate().skip(join) {
            if window.reads(*link) {
                assert_eq!(
                    inflate.inflate_next(compressed, MAX_BYTES).unwrap(),
                    text(n),
                    "joined at {join}"
                );
                window = link.window();
                read += 1;
            }
        }
        let key = join.next_multiple_of(16).min(FRAMES);
        assert_eq!(read, FRAMES - key, "joined at {join}");
    }
}

#[test]
fn frames_say_less_and_less_and_a_key_frame_begins_anew() {
    let stream = stream(3);
    let sizes: Vec<_> = (0..3).map(|n| next(&stream, &text(n)).1.len()).collect();
    assert!(sizes[1] < sizes[0] / 2, "{sizes:?}");
    assert!(!next(&stream, &text(3)).0.key, "nobody waits for one");
    stream.want_key(Encoding::Msgpack);
    assert!(!next(&stream, &text(4)).0.key, "who waits reads the other encoding");
    stream.want_key(Encoding::Json);
    let (link, compressed) = next(&stream, &text(5));
    assert!(link.key && compressed.len() > sizes[1]);
    assert_eq!(Inflater::default().inflate_next(&compressed, MAX_BYTES).unwrap(), text(5));
    stream.want_key(Encoding::Json);
    assert!(!next(&stream, &text(6)).0.key, "the last one was just now");
}

#[test]
fn who_waits_on_a_quiet_stream_waits_no_longer_than_the_interval() {
    let defaults = DeliveryConfig::default();
    let config = DeliveryConfig { deflate_key_interval: Duration::ZERO, ..defaults };
    let stream = compressors(&config).stream();
    assert!(next(&stream, &text(0)).0.key);
    assert!(!next(&stream, &text(1)).0.key);
    stream.want_key(Encoding::Json);
    assert!(next(&stream, &text(2)).0.key);
}

#[test]
fn what_comes_too_late_stays_out() {
    let stream = stream(64);
    let (early, late) = (stream.next_place(), stream.next_place());
    let (_, key) = stream.compress(Encoding::Json, late, &text(2)).unwrap();
    assert!(stream.compress(Encoding::Json, early, &text(1)).is_none());
    let (link, compressed) = next(&stream, &text(3));
    let mut inflate = Inflater::default();
    assert_eq!(inflate.inflate_next(&key, MAX_BYTES).unwrap(), text(2));
    assert_eq!(inflate.inflate_next(&compressed, MAX_BYTES).unwrap(), text(3));
    assert!(link.needs().is_some());
}

#[test]
fn a_node_has_no_more_compressors_than_allowed_and_every_stream_can_be_read() {
    let config = DeliveryConfig { deflate_compressors: 2, ..DeliveryConfig::default() };
    let compressors = compressors(&config);
    let streams: Vec<_> = (0..3).map(|_| compressors.stream()).collect();
    for n in 0..3 {
        for stream in &streams {
            next(stream, &text(n));
        }
    }
    assert_eq!(compressors.in_use(), 2);
    let (link, compressed) = next(&streams[2], &text(3));
    assert!(link.key, "each by itself");
    assert_eq!(Inflater::default().inflate_next(&compressed, MAX_BYTES).unwrap(), text(3));
    assert!(streams[2].compress(Encoding::Json, 100, b"tiny").is_none(), "not worth it alone");
    drop(streams);
    assert_eq!(compressors.in_use(), 0);
}

#[test]
fn an_idle_streams_compressor_is_released_and_its_viewers_read_on() {
    let compressors = compressors(&DeliveryConfig::default());
    let stream = compressors.stream();
    let mut inflate = Inflater::default();
    inflate.inflate_next(&next(&stream, &text(0)).1, MAX_BYTES).unwrap();
    compressors.release_unused_for(Duration::from_secs(3600));
    assert_eq!(compressors.in_use(), 1);
    compressors.release_unused_for(Duration::ZERO);
    assert_eq!(compressors.in_use(), 0);
    let (link, compressed) = next(&stream, &text(1));
    assert!(link.key);
    assert_eq!(inflate.inflate_next(&compressed, MAX_BYTES).unwrap(), text(1));
}

proptest! {
    #[test]
    fn any_payloads_survive(
        payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..5000), 1..20),
        keys: u32,
    ) {
        let stream = stream(1 + keys % 5);
        let mut inflate = Inflater::default();
        for payload in &payloads {
            stream.want_key(Encoding::Json);
            let (_, compressed) = next(&stream, payload);
            prop_assert_eq!(&inflate.inflate_next(&compressed, MAX_BYTES).unwrap(), payload);
        }
    }
}
