//! Debian's compiler, which comes with the source of the standard library, for builds for other
//! machines. Its cargo is called by its path, with a target directory of its own: libraries of two
//! compilers never mix.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::shell::{self, Failure};

/// Something that a build needs: a file that shows that it is there, and the Debian package that
/// has it.
pub(crate) type Needed = (&'static str, &'static str);

/// What every build by Debian's compiler needs.
pub(crate) const COMPILER: [Needed; 3] = [
    ("/usr/bin/rustc", "rustc-web"),
    ("/usr/bin/cargo", "cargo-web"),
    ("/usr/lib/rustlib/src/rust/library/core/Cargo.toml", "rust-web-src"),
];
/// What links programs for a Cortex-M.
pub(crate) const LINKER: Needed = ("/usr/bin/ld.lld", "lld");
/// What runs them.
pub(crate) const EMULATOR: Needed = ("/usr/bin/qemu-system-arm", "qemu-system-arm");
/// What tells their size.
pub(crate) const SIZES: Needed = ("/usr/bin/size", "binutils");

/// Installs what is missing, if this is Debian and we are root; else says how to.
pub(crate) fn install_missing(needed: &[Needed]) -> Result<(), Failure> {
    install(&missing(needed))
}

/// Held while packages are installed: steps that run beside each other may both lack some.
static INSTALLING: Mutex<()> = Mutex::new(());
/// Held while a program for a microcontroller is built: its list of versions is written anew.
static BUILDING: Mutex<()> = Mutex::new(());

/// Installs packages, if this is Debian and we are root; else says how to.
pub(crate) fn install(missing: &[&str]) -> Result<(), Failure> {
    if missing.is_empty() {
        return Ok(());
    }
    let install = [&["install", "--yes", "--no-install-recommends"], missing].concat();
    let by_root = shell::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !by_root || !Path::new("/usr/bin/apt-get").exists() {
        return Err(lacking(missing));
    }
    let _alone = INSTALLING.lock().unwrap_or_else(PoisonError::into_inner);
    println!("installing {}", missing.join(" "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        shell::output(command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    apt(&["update"])?;
    apt(&install)?;
    Ok(())
}

/// The packages that are missing.
pub(crate) fn missing(needed: &[Needed]) -> Vec<&'static str> {
    let missing = needed.iter().filter(|(file, _)| !Path::new(file).exists());
    missing.map(|(_, package)| *package).collect()
}

/// What a person is to do about missing packages.
pub(crate) fn lacking(packages: &[&str]) -> Failure {
    Failure::Machine(format!(
        "packages of Debian are missing here; as root:\n  apt-get update && apt-get install \
         --no-install-recommends {}",
        packages.join(" ")
    ))
}

/// A call of Debian's cargo in a folder of the project.
pub(crate) fn cargo(folder: &Path, target: &Path) -> Command {
    let mut cargo = Command::new("/usr/bin/cargo");
    shell::without_our_package(&mut cargo);
    // What the outer cargo and its compiler set is not for this one.
    let outer = ["CARGO", "LD_LIBRARY_PATH", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];
    for name in outer.into_iter().chain(["RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER"]) {
        cargo.env_remove(name);
    }
    cargo.current_dir(folder).env("RUSTC", "/usr/bin/rustc").env("CARGO_TARGET_DIR", target);
    // Building the standard library from source is unstable: switched on for this build only.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    cargo
}

/// What programs for microcontrollers are measured and run as.
pub(crate) const CORTEX_M3: &str = "thumbv7m-none-eabi";
/// The same with instructions for signals and floating point.
pub(crate) const CORTEX_M4: &str = "thumbv7em-none-eabihf";

/// Builds the programs of a workspace below `cross/` for a microcontroller, and returns the folder
/// that they are in.
pub(crate) fn build_for_cortex(name: &str, triple: &str) -> Result<PathBuf, Failure> {
    let folder = shell::root().join("cross").join(name);
    let target = shell::target().join(format!("cross-{name}"));
    let _alone = BUILDING.lock().unwrap_or_else(PoisonError::into_inner);
    // The workspace's versions; cargo leaves out what the programs do not use.
    fs::copy(shell::root().join("Cargo.lock"), folder.join("Cargo.lock")).map_err(|error| {
        Failure::Machine(format!("cannot write cross/{name}/Cargo.lock: {error}"))
    })?;
    shell::run(cargo(&folder, &target).args(["build", "--release", "--target", triple]))?;
    Ok(target.join(triple).join("release"))
}
