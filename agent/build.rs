//! What the linker is told of the program for devices.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    // A program of this profile aborts on a panic and carries no symbols. The index of the unwinder
    // would only let a backtrace be printed that names nothing; it takes 70 KB.
    if linux && profile().is_some_and(|profile| profile == "device") {
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
    }
}

/// The profile: the folder that has `build/PACKAGE/out`. `PROFILE` names only what it inherits.
fn profile() -> Option<String> {
    let out = env::var_os("OUT_DIR")?;
    let folder = Path::new(&out).ancestors().nth(3)?;
    Some(folder.file_name()?.to_str()?.to_owned())
}
