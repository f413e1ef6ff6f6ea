#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| live_comments::fuzzing::key_set(data));
