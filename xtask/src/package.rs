//! `cargo xtask package`: packages of Debian, with all that belongs to a service; an image of a
//! container and files for routers, of a program that needs no library.

mod completions;
mod deb;
mod man;
mod manual;
mod notices;
mod whole;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::counts::Counts;
use crate::debian::{self, Needed};
use crate::shell::{self, Failure};
use crate::test::{build_programs, pass, suite};
use crate::{Task, cross};
use deb::Parts;
use manual::Manual;

pub(crate) const TASK: Task = Task {
    name: "package",
    about: "[WHICH…]: packages for Debian's amd64, arm64 and armhf, an image of a container (oci), \
            files for routers (openwrt), in target/packages; --test: install, upgrade, roll back \
            and remove one for Debian in a scratch root",
    run,
};

/// What packages of Debian have of the program: such a machine has room for views.
const FEATURES: &str = "lean_log,views";
/// Debian's revision of a version.
const REVISION: u32 = 1;
/// The target of this machine, for which rustup's compiler builds.
const NATIVE: (&str, &str) = ("amd64", "x86_64-unknown-linux-gnu");
/// The target whose programs bring their C library.
const WHOLE: &str = "x86_64-unknown-linux-musl";

/// What making a package needs.
const NEEDED: [Needed; 3] =
    [("/usr/bin/dpkg-deb", "dpkg"), ("/usr/bin/readelf", "binutils"), ("/usr/bin/gzip", "gzip")];
/// What trying it out needs besides.
const TRYING: [Needed; 3] = [
    ("/usr/bin/systemd-sysusers", "systemd"),
    ("/usr/bin/systemd-tmpfiles", "systemd"),
    ("/usr/bin/deb-systemd-helper", "init-system-helpers"),
];

fn run(arguments: &[String]) -> Result<(), Failure> {
    let missing = debian::missing(&NEEDED);
    if !missing.is_empty() {
        return Err(debian::lacking(&missing));
    }
    if arguments == ["--test"] {
        return check(&mut Counts::default());
    }
    let debian = std::iter::once(NATIVE).chain(cross::architectures());
    let known = debian.map(|(architecture, triple)| (architecture, triple, Kind::Debian));
    let known = known.chain([("oci", WHOLE, Kind::Image), ("openwrt", WHOLE, Kind::Routers)]);
    let known: Vec<_> = known.collect();
    for word in arguments {
        if !known.iter().any(|(name, ..)| name == word) {
            let names: Vec<_> = known.iter().map(|(name, ..)| *name).collect();
            let text = format!("no package `{word}`; there are {}", names.join(", "));
            return Err(Failure::Usage(text));
        }
    }
    let wanted = |name: &str| arguments.is_empty() || arguments.iter().any(|word| word == name);
    for (name, triple, kind) in known.into_iter().filter(|(name, ..)| wanted(name)) {
        let made = make(name, triple, kind)?;
        println!("{}", made.display());
    }
    Ok(())
}

/// What may be made of the program.
#[derive(Clone, Copy)]
enum Kind {
    Debian,
    Image,
    Routers,
}

fn make(name: &str, triple: &str, kind: Kind) -> Result<PathBuf, Failure> {
    let features = match kind {
        Kind::Debian => FEATURES,
        Kind::Image | Kind::Routers => cross::FEATURES,
    };
    let (program, words) = built(name, triple, features)?;
    let (version, notices) = (version(REVISION), notices::notices(features, triple)?);
    match kind {
        Kind::Debian => {
            let parts = Parts {
                program: &program,
                architecture: name,
                version: &version,
                manual: &Manual::of(&words)?,
                notices: &notices,
            };
            deb::make(&parts, &folder())
        }
        Kind::Image => whole::image(&program, &notices, &version, &folder()),
        Kind::Routers => whole::openwrt(&program, &notices, &version, &folder()),
    }
}

/// The program for a target, and the words that run it here.
fn built(name: &str, triple: &str, features: &str) -> Result<(PathBuf, Vec<String>), Failure> {
    if name != NATIVE.0 {
        return cross::build_with(triple, features);
    }
    let mut build = shell::cargo(&["build", "--locked", "--profile", "device"]);
    build.args(["--package", "landfall", "--bin", "landfall"]);
    shell::run(build.args(["--no-default-features", "--features", features]))?;
    let program = shell::target().join("device/landfall");
    let words = vec![program.to_string_lossy().into_owned()];
    Ok((program, words))
}

/// Makes two packages of the program as the tests use it, and tries them out in a scratch root.
/// No version was released yet: the previous one has the same program, and another number.
pub(crate) fn check(counts: &mut Counts) -> Result<(), Failure> {
    debian::install_missing(&[&NEEDED[..], &TRYING].concat())?;
    build_programs()?;
    let folder = folder().join("test");
    std::fs::create_dir_all(&folder)
        .map_err(|error| Failure::Machine(format!("cannot make {}: {error}", folder.display())))?;
    let program = folder.join("landfall");
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(&program).arg(shell::target().join("debug/landfall"));
    shell::run(&mut strip)?;
    let manual = Manual::of(&[program.to_string_lossy().into_owned()])?;
    let notices = notices::notices("default", NATIVE.1)?;
    let make = |revision| {
        let (architecture, version) = (NATIVE.0, &version(revision));
        let parts =
            Parts { program: &program, architecture, version, manual: &manual, notices: &notices };
        deb::make(&parts, &folder)
    };
    let (previous, current) = (make(REVISION)?, make(REVISION + 1)?);
    tried(&previous, &current, counts)
}

fn tried(previous: &Path, current: &Path, counts: &mut Counts) -> Result<(), Failure> {
    let mut test = suite("processes", "packages::");
    test.env("LANDFALL_PACKAGE_PREVIOUS", previous).env("LANDFALL_PACKAGE", current);
    pass(&mut test, counts)
}

fn folder() -> PathBuf {
    shell::target().join("packages")
}

fn version(revision: u32) -> String {
    format!("{}-{revision}", env!("CARGO_PKG_VERSION"))
}
