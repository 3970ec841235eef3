#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cdc_fuzz::event::document(data));
