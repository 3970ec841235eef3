#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cdc::config::fuzzing::configuration(data));
