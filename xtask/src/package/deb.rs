//! A package of Debian, put together from a program and what is in `cross/package`.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use landfall_core::segment::FORMAT;

use super::manual::Manual;
use super::{completions, man};
use crate::shell::{self, Failure};

/// What becomes a package.
pub(super) struct Parts<'a> {
    pub(super) program: &'a Path,
    /// As Debian calls it.
    pub(super) architecture: &'a str,
    /// Debian's, with its revision.
    pub(super) version: &'a str,
    pub(super) manual: &'a Manual,
    /// The terms of the libraries in the program.
    pub(super) notices: &'a str,
}

/// Files of `cross/package` and where they go; what has to be done to data is told to `dpkg` apart.
const FILES: [(&str, &str); 5] = [
    ("landfall.service", "usr/lib/systemd/system/landfall.service"),
    ("sysusers.conf", "usr/lib/sysusers.d/landfall.conf"),
    ("tmpfiles.conf", "usr/lib/tmpfiles.d/landfall.conf"),
    ("default", "etc/default/landfall"),
    ("copyright", "usr/share/doc/landfall/copyright"),
];
const SCRIPTS: [&str; 4] = ["preinst", "postinst", "prerm", "postrm"];
/// Pages for whoever runs a node, from `docs`.
const PAGES: [&str; 5] = ["api", "configuration", "consumers", "devices", "views"];

/// Makes the package in a folder, and returns where it lies.
pub(super) fn make(parts: &Parts<'_>, to: &Path) -> Result<PathBuf, Failure> {
    let name = format!("landfall_{}_{}", parts.version, parts.architecture);
    let tree = Tree(to.join(&name));
    if tree.0.exists() {
        fs::remove_dir_all(&tree.0).map_err(|error| cannot(&tree.0, &error))?;
    }
    let program = fs::read(parts.program).map_err(|error| cannot(parts.program, &error))?;
    tree.write("usr/bin/landfall", &program, 0o755)?;
    let source = shell::root().join("cross/package");
    for (from, to) in FILES {
        tree.write(to, shell::read(&source.join(from))?.as_bytes(), 0o644)?;
    }
    documents(&tree, parts)?;
    shells(&tree, parts.manual)?;
    for script in SCRIPTS {
        let text = shell::read(&source.join(script))?.replace("@FORMAT@", &FORMAT.to_string());
        tree.write(&format!("DEBIAN/{script}"), text.as_bytes(), 0o755)?;
    }
    tree.write("DEBIAN/conffiles", b"/etc/default/landfall\n", 0o644)?;
    let control = shell::read(&source.join("control"))?;
    tree.write("DEBIAN/control", filled(&control, parts, tree.kib()?)?.as_bytes(), 0o644)?;
    let sums = "find usr -type f -print0 | sort -z | xargs -0 md5sum > DEBIAN/md5sums";
    shell::run(Command::new("sh").args(["-c", sums]).current_dir(&tree.0))?;
    let package = to.join(format!("{name}.deb"));
    let mut build = Command::new("dpkg-deb");
    build.args(["--root-owner-group", "-Zgzip", "--build"]).arg(&tree.0).arg(&package);
    // The same sources make the same package.
    build.env("SOURCE_DATE_EPOCH", changed().0);
    shell::output(&mut build)?;
    Ok(package)
}

/// When the sources were last changed: seconds since 1970, and as mails have it. Sources that no
/// history is with have no such time.
pub(super) fn changed() -> (String, String) {
    let mut log = Command::new("git");
    log.args(["log", "-1", "--format=%ct%n%cD"]).current_dir(shell::root());
    let told = shell::output(&mut log).unwrap_or_default();
    let none = ("0", "Thu, 1 Jan 1970 00:00:00 +0000");
    let (seconds, date) = told.trim().split_once('\n').unwrap_or(none);
    (seconds.to_owned(), date.to_owned())
}

fn documents(tree: &Tree, parts: &Parts<'_>) -> Result<(), Failure> {
    let folder = "usr/share/doc/landfall";
    let pages = PAGES.map(|page| (format!("{page}.md"), format!("docs/{page}.md")));
    let changes = [("changelog".to_owned(), "CHANGELOG.md".to_owned())];
    for (name, from) in pages.into_iter().chain(changes) {
        let text = shell::read(&shell::root().join(from))?;
        tree.packed(&format!("{folder}/{name}"), text.as_bytes())?;
    }
    let entry = format!(
        "landfall ({}) unstable; urgency=medium\n\n  * What changed is in changelog.gz.\n\n \
         -- {}  {}\n",
        parts.version,
        maintainer()?,
        changed().1
    );
    tree.packed(&format!("{folder}/changelog.Debian"), entry.as_bytes())?;
    tree.packed(&format!("{folder}/third-party.txt"), parts.notices.as_bytes())
}

fn shells(tree: &Tree, manual: &Manual) -> Result<(), Failure> {
    let completions = [
        ("bash-completion/completions/landfall", completions::bash(manual)),
        ("zsh/vendor-completions/_landfall", completions::zsh(manual)),
        ("fish/vendor_completions.d/landfall.fish", completions::fish(manual)),
    ];
    for (name, text) in completions {
        tree.write(&format!("usr/share/{name}"), text.as_bytes(), 0o644)?;
    }
    for (name, text) in man::pages(manual, env!("CARGO_PKG_VERSION")) {
        tree.packed(&format!("usr/share/man/man1/{name}"), text.as_bytes())?;
    }
    Ok(())
}

fn maintainer() -> Result<String, Failure> {
    let control = shell::read(&shell::root().join("cross/package/control"))?;
    let line = control.lines().find_map(|line| line.strip_prefix("Maintainer: "));
    line.map(str::to_owned)
        .ok_or_else(|| Failure::Check("cross/package/control names no maintainer".to_owned()))
}

/// The control file of a package whose files take so many KiB.
fn filled(control: &str, parts: &Parts<'_>, kib: u64) -> Result<String, Failure> {
    let depends = depends(parts.program)?;
    let values = [
        ("@VERSION@", parts.version),
        ("@ARCHITECTURE@", parts.architecture),
        ("@KIB@", &kib.to_string()),
        ("@DEPENDS@", &depends),
    ];
    Ok(values.iter().fold(control.to_owned(), |text, (name, value)| text.replace(name, value)))
}

/// The packages with the libraries that a program asks the system for.
fn depends(program: &Path) -> Result<String, Failure> {
    let told = shell::output(Command::new("readelf").args(["-dVW"]).arg(program))?;
    libraries(&told).map_err(Failure::Check)
}

fn libraries(told: &str) -> Result<String, String> {
    let mut packages = BTreeSet::new();
    for line in told.lines() {
        let Some((_, rest)) = line.split_once("Shared library: [") else { continue };
        let library = rest.trim_end_matches(']');
        match library.split(".so").next().unwrap_or_default() {
            "libc" | "libm" | "libdl" | "libpthread" | "librt" => {
                packages.insert(format!("libc6 (>= {})", libc_version(told)));
            }
            "libgcc_s" => drop(packages.insert("libgcc-s1".to_owned())),
            "libz" => drop(packages.insert("zlib1g".to_owned())),
            // Of a program with TLS to Kafka. The next OpenSSL will be another package.
            "libssl" | "libcrypto" if library.ends_with(".so.3") => {
                packages.insert("libssl3".to_owned());
            }
            loader if loader.starts_with("ld-linux") => {}
            _ => return Err(format!("the program needs {library}; say in which package it is")),
        }
    }
    Ok(packages.into_iter().map(|package| package + ", ").collect())
}

/// The highest version of glibc of which the program has a symbol.
fn libc_version(told: &str) -> String {
    let names = told.split("Name: GLIBC_").skip(1);
    let version = |rest: &str| {
        let (major, minor) = rest.split_whitespace().next()?.split_once('.')?;
        let minor = minor.split('.').next()?;
        Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?))
    };
    let (major, minor) = names.filter_map(version).max().unwrap_or_default();
    format!("{major}.{minor}")
}

/// The files of a package, before they are packed.
struct Tree(PathBuf);

impl Tree {
    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> Result<(), Failure> {
        let path = self.0.join(name);
        let folder = path.parent().unwrap_or(&self.0);
        let written = fs::create_dir_all(folder)
            .and_then(|()| fs::write(&path, bytes))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode)));
        written.map_err(|error| cannot(&path, &error))
    }

    /// Writes a file with `.gz` behind its name.
    fn packed(&self, name: &str, bytes: &[u8]) -> Result<(), Failure> {
        self.write(name, bytes, 0o644)?;
        shell::run(Command::new("gzip").args(["-9n"]).arg(self.0.join(name)))
    }

    fn kib(&self) -> Result<u64, Failure> {
        let told = shell::output(Command::new("du").args(["-sk", "--apparent-size"]).arg(&self.0))?;
        let number = told.split_whitespace().next().and_then(|number| number.parse().ok());
        number.ok_or_else(|| Failure::Machine(format!("`du` tells no number: {told}")))
    }
}

fn cannot(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Machine(format!("cannot use {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = "\
 0x0001 (NEEDED)             Shared library: [libgcc_s.so.1]
 0x0001 (NEEDED)             Shared library: [libm.so.6]
 0x0001 (NEEDED)             Shared library: [libc.so.6]
 0x0001 (NEEDED)             Shared library: [ld-linux-armhf.so.3]
  0x0010:   Name: GLIBC_2.4  Flags: none  Version: 3
  0x0020:   Name: GLIBC_2.34  Flags: none  Version: 2
  0x0030:   Name: GLIBC_2.9  Flags: none  Version: 4
";

    #[test]
    fn a_package_depends_on_what_its_program_is_linked_with() {
        assert_eq!(libraries(TOLD).unwrap(), "libc6 (>= 2.34), libgcc-s1, ");
        let unknown = TOLD.replace("libgcc_s", "libssl");
        assert!(libraries(&unknown).unwrap_err().contains("needs libssl.so.1"));
    }
}
