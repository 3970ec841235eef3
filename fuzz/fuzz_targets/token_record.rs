#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cdc_tokens::record::fuzzing::token_record(data));
