//! `line` of `tests/src/fuzz` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| landfall_tests::fuzz::run("line", bytes));
