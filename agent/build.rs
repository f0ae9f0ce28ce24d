//! What the linker is told of the program for devices.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    // Programs that are built for size abort on a panic and carry no symbols. The index of the
    // unwinder would only let a backtrace be printed that names nothing; it takes 70 KB.
    if is("OPT_LEVEL", "z") && is("CARGO_CFG_TARGET_OS", "linux") {
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}
