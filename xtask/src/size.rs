//! `cargo xtask size`: core and protocol built for a Cortex-M3 without std, and their bytes.
//!
//! The programs of `cross/size` are built by Debian's compiler, which comes with the source of
//! `core`; that they build proves that neither crate needs std or alloc. Debian's cargo is called
//! by its path, with a target directory of its own: libraries of two compilers never mix.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Task;
use crate::shell::{self, Failure};

pub(crate) const TASK: Task = Task {
    name: "size",
    about: "build core and protocol for a Cortex-M3 without std and print their size",
    run,
};

/// What the build needs: a file that shows that it is there, and the Debian package that has it.
const NEEDED: [(&str, &str); 5] = [
    ("/usr/bin/rustc", "rustc-web"),
    ("/usr/bin/cargo", "cargo-web"),
    ("/usr/lib/rustlib/src/rust/library/core/Cargo.toml", "rust-web-src"),
    ("/usr/bin/ld.lld", "lld"),
    ("/usr/bin/size", "binutils"),
];

/// The measured programs of `cross/size` and what they hold.
const PROGRAMS: [(&str, &str); 2] = [("core", "core"), ("protocol", "core + protocol")];

fn run(arguments: &[String]) -> Result<(), Failure> {
    shell::no_arguments(TASK.name, arguments)?;
    install_missing()?;
    let built = build()?;
    println!(
        "bytes on a Cortex-M3; RAM without the stack (goal of the last: 32768 flash, 4096 RAM)"
    );
    let heads = [".text", ".rodata", ".data", ".bss", "flash", "RAM"];
    println!("{:<16}{}", "", heads.map(|head| format!("{head:>9}")).concat());
    for (program, holds) in PROGRAMS {
        let printed = shell::output(Command::new("size").arg("-A").arg(built.join(program)))?;
        let sections = Sections::parse(&printed)?;
        println!("{holds:<16}{}", sections.columns().map(|bytes| format!("{bytes:>9}")).concat());
    }
    Ok(())
}

fn install_missing() -> Result<(), Failure> {
    let missing = NEEDED.iter().filter(|(file, _)| !Path::new(file).exists());
    let missing: Vec<&str> = missing.map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let install = [&["install", "--yes", "--no-install-recommends"], &missing[..]].concat();
    let by_root = shell::output(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0");
    if !by_root || !Path::new("/usr/bin/apt-get").exists() {
        return Err(Failure::Machine(format!(
            "the build for Cortex-M needs packages of Debian that are missing here; as root:\n  \
             apt-get update && apt-get {}",
            install.join(" ")
        )));
    }
    println!("installing {}", missing.join(" "));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        shell::output(command.env("DEBIAN_FRONTEND", "noninteractive").args(arguments))
    };
    apt(&["update"])?;
    apt(&install)?;
    Ok(())
}

/// Builds the programs and returns the folder that they are in.
fn build() -> Result<PathBuf, Failure> {
    let folder = shell::root().join("cross/size");
    let target = shell::target().join("cross-size");
    // The workspace's versions; cargo leaves out what the programs do not use.
    fs::copy(shell::root().join("Cargo.lock"), folder.join("Cargo.lock")).map_err(|error| {
        Failure::Machine(format!("cannot write cross/size/Cargo.lock: {error}"))
    })?;
    let mut cargo = Command::new("/usr/bin/cargo");
    shell::without_our_package(&mut cargo);
    // What the outer cargo and its compiler set is not for this one.
    let outer = ["CARGO", "LD_LIBRARY_PATH", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"];
    for name in outer.into_iter().chain(["RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER"]) {
        cargo.env_remove(name);
    }
    cargo.current_dir(&folder).args(["build", "--release"]);
    cargo.env("RUSTC", "/usr/bin/rustc").env("CARGO_TARGET_DIR", &target);
    // Building `core` from source is unstable: switched on for this build only.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    shell::run(&mut cargo)?;
    Ok(target.join("thumbv7m-none-eabi/release"))
}

/// The bytes of a linked program's sections.
#[derive(Debug, Default, Eq, PartialEq)]
struct Sections {
    text: u64,
    rodata: u64,
    data: u64,
    bss: u64,
}

impl Sections {
    /// Reads what `size -A` prints: a line per section with its name, size and address.
    fn parse(printed: &str) -> Result<Self, Failure> {
        let mut sections = Self::default();
        for line in printed.lines() {
            let mut words = line.split_whitespace();
            let (Some(name), Some(Ok(bytes))) = (words.next(), words.next().map(str::parse)) else {
                continue;
            };
            match name {
                ".text" => sections.text = bytes,
                ".rodata" => sections.rodata = bytes,
                ".data" => sections.data = bytes,
                ".bss" => sections.bss = bytes,
                _ => {}
            }
        }
        if sections.text == 0 {
            return Err(Failure::Check(format!("`size -A` names no code:\n{printed}")));
        }
        Ok(sections)
    }

    fn columns(&self) -> [u64; 6] {
        let Self { text, rodata, data, bss } = *self;
        [text, rodata, data, bss, text + rodata + data, data + bss]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_read_from_what_size_prints() {
        let printed = "core  :\nsection    size        addr\n.text      1200           0\n\
            .rodata      34        1200\n.bss          8   536870912\n.comment    101           0\n\
            Total      1343\n\n";
        let sections = Sections::parse(printed).unwrap();
        assert_eq!(sections, Sections { text: 1200, rodata: 34, data: 0, bss: 8 });
        assert_eq!(sections.columns(), [1200, 34, 0, 8, 1234, 8]);
    }

    #[test]
    fn a_program_without_code_is_an_error() {
        assert!(Sections::parse("core  :\nsection  size  addr\n.comment  101  0\n").is_err());
    }
}
