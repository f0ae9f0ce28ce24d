//! What the linker is told of the program for devices.

use std::env;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|system| system == "linux");
    // A program of this profile aborts on a panic and carries no symbols. What tells an unwinder
    // the frames would only let a backtrace be printed that names nothing; it takes 490 KB, and
    // its index 70.
    if linux && profile().is_some_and(|profile| profile == "device") {
        let script = env::var("CARGO_MANIFEST_DIR").unwrap_or_default() + "/device.ld";
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr,-T,{script}");
        println!("cargo:rerun-if-changed=device.ld");
    }
}

/// The profile: the folder that has `build/PACKAGE/out`. `PROFILE` names only what it inherits.
fn profile() -> Option<String> {
    let out = env::var_os("OUT_DIR")?;
    let folder = Path::new(&out).ancestors().nth(3)?;
    Some(folder.file_name()?.to_str()?.to_owned())
}
