//! The package for Debian in a scratch root: installed, upgraded over a journal, rolled back, put
//! over data of a newer format, removed and purged.
//!
//! `cargo xtask package --test` makes two packages and names them in `LANDFALL_PACKAGE_PREVIOUS`
//! and `LANDFALL_PACKAGE`; without them, or for anybody but root, these tests are skipped.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use landfall_tests::process::{NodeDir, Program};
use tempfile::TempDir;

use crate::fleet::{Fleet, assert_same, lines, synced, values};

const SETTINGS: &str = "etc/default/landfall";
const UNIT: &str = "usr/lib/systemd/system/landfall.service";
const WANTED: &str = "etc/systemd/system/multi-user.target.wants/landfall.service";

/// A system of which there is nothing but what packages bring.
struct Root {
    dir: TempDir,
    previous: PathBuf,
    current: PathBuf,
}

impl Root {
    fn new(test: &str) -> Option<Self> {
        let named = |name| env::var_os(name).map(PathBuf::from);
        let packages = named("LANDFALL_PACKAGE_PREVIOUS").zip(named("LANDFALL_PACKAGE"));
        let why = match packages {
            Some((previous, current)) if rustix::process::geteuid().is_root() => {
                let dir = tempfile::tempdir().unwrap();
                let database = dir.path().join("var/lib/dpkg");
                for folder in ["info", "updates", "triggers"] {
                    fs::create_dir_all(database.join(folder)).unwrap();
                }
                fs::write(database.join("status"), "").unwrap();
                return Some(Self { dir, previous, current });
            }
            Some(_) => "only root may give files away",
            None => "`cargo xtask package --test` makes packages and runs this",
        };
        let line = format!("SKIPPED: {test}: {why}\n");
        io::stdout().write_all(line.as_bytes()).unwrap();
        None
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Calls dpkg on this root. Its scripts run without a change of root: there is no shell in it.
    fn dpkg(&self, words: &[&str]) -> Output {
        let mut dpkg = Command::new("dpkg");
        dpkg.arg("--root").arg(self.dir.path());
        // What the packages need is on this machine, not in the scratch root.
        dpkg.args(["--force-script-chrootless", "--force-depends", "--force-confdef"]);
        dpkg.args(words).env("DEBIAN_FRONTEND", "noninteractive").output().unwrap()
    }

    fn install(&self, package: &Path) {
        let output = self.dpkg(&["--install", &package.to_string_lossy()]);
        assert!(output.status.success(), "{}", told(&output));
    }

    /// What dpkg says of the package: its state, its version.
    fn state(&self) -> String {
        let query = Command::new("dpkg-query")
            .arg("--admindir")
            .arg(self.path("var/lib/dpkg"))
            .args(["--show", "--showformat=${db:Status-Abbrev}${Version}", "landfall"])
            .output();
        String::from_utf8(query.unwrap().stdout).unwrap()
    }

    /// The node of the package's service, run by the package's program.
    fn node(&self) -> NodeDir {
        let program = Program::at(self.path("usr/bin/landfall"));
        NodeDir::new(&program, self.path("var/lib/landfall"))
    }

    /// Appends a record.
    async fn append(&self) {
        let file = self.path("in");
        fs::write(&file, "{}\n").unwrap();
        self.node().done("append", &["log", &file.to_string_lossy()]).await.unwrap();
    }

    /// Every file of the node, with what is in it, but for the one that names the last process.
    fn data(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut files = Vec::new();
        let mut waiting = vec![self.path("var/lib/landfall")];
        while let Some(folder) = waiting.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => waiting.push(path),
                    false => files.push((path.clone(), fs::read(path).unwrap_or_default())),
                }
            }
        }
        files.retain(|(path, _)| !path.ends_with("lock"));
        files.sort();
        files
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

#[tokio::test]
async fn a_package_brings_a_service_with_its_user_and_leaves_data_when_it_is_removed() {
    let test = "a_package_brings_a_service_with_its_user_and_leaves_data_when_it_is_removed";
    let Some(root) = Root::new(test) else { return };
    root.install(&root.current);
    assert!(root.state().starts_with("ii "), "{}", root.state());
    let users = fs::read_to_string(root.path("etc/passwd")).unwrap();
    let user = users.lines().find(|line| line.starts_with("landfall:")).unwrap();
    let data = root.path("var/lib/landfall").metadata().unwrap();
    assert_eq!(user.split(':').nth(2), Some(&*data.uid().to_string()), "the data is the user's");
    assert_eq!((data.permissions().mode() & 0o777, data.uid() == 0), (0o750, false));
    assert!(root.path(WANTED).is_symlink(), "the service is enabled");
    let help = root.node().program.call(&["--help"]).await.unwrap();
    let commands = help.out.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
    let commands: Vec<_> =
        commands.filter(|name| !name.is_empty() && !name.starts_with('-')).collect();
    assert!(commands.len() > 10, "{commands:?}");
    for command in commands {
        let page = format!("usr/share/man/man1/landfall-{command}.1.gz");
        assert!(root.path(&page).is_file(), "{page}");
    }
    let node = root.node();
    node.done("init", &["--site", "ship"]).await.unwrap();
    root.append().await;
    assert_eq!(root.dpkg(&["--remove", "landfall"]).status.code(), Some(0));
    assert!(root.state().starts_with("rc "), "{}", root.state());
    assert!(!root.path("usr/bin/landfall").exists() && !root.path(UNIT).exists());
    assert!(root.path("var/lib/landfall/site").is_file() && root.path(SETTINGS).is_file());
    root.install(&root.current);
    assert_eq!(values(&node, "log").await.unwrap(), ["{}"]);
    assert_eq!(root.dpkg(&["--purge", "landfall"]).status.code(), Some(0));
    for gone in ["var/lib/landfall", SETTINGS, WANTED, "usr/share/doc/landfall"] {
        assert!(!root.path(gone).exists(), "{gone} is left");
    }
}

#[tokio::test]
async fn an_upgrade_keeps_the_journal_and_the_settings_and_can_be_rolled_back() {
    let test = "an_upgrade_keeps_the_journal_and_the_settings_and_can_be_rolled_back";
    let Some(root) = Root::new(test) else { return };
    let (fleet, hub) = Fleet::running().await.unwrap();
    root.install(&root.previous);
    let node = root.node();
    let token = fleet.token("ship", &[]).await.unwrap();
    node.done("init", &["--join", &token]).await.unwrap();
    let [before, during, after, back] = ["before", "during", "after", "back"].map(|name| {
        let lines = lines(name, 200);
        (fleet.file(name, &lines).unwrap(), lines)
    });
    node.done("append", &["log", &before.0]).await.unwrap();
    fs::write(root.path(SETTINGS), "LANDFALL_LOG_LEVEL=warn\n").unwrap();
    // The service runs on while its program is replaced, and is then restarted.
    let mut runs = node.run_up().await.unwrap();
    root.install(&root.current);
    node.done("append", &["log", &during.0]).await.unwrap();
    runs.until("synced", synced).await.unwrap();
    runs.kill().await.unwrap();
    assert_eq!(fs::read_to_string(root.path(SETTINGS)).unwrap(), "LANDFALL_LOG_LEVEL=warn\n");
    node.done("append", &["log", &after.0]).await.unwrap();
    node.done("verify", &[]).await.unwrap();
    let version = root.state();
    root.install(&root.previous);
    assert_ne!(root.state(), version, "the previous version is back");
    node.done("append", &["log", &back.0]).await.unwrap();
    node.done("run", &["--until-synced"]).await.unwrap();
    node.done("verify", &[]).await.unwrap();
    let all = [before.1, during.1, after.1, back.1].concat();
    for place in [&node, &fleet.hub] {
        assert_same(values(place, "log").await.unwrap(), &[&all]);
    }
    drop(hub);
}

#[tokio::test]
async fn a_package_over_data_of_a_newer_format_is_refused_and_changes_nothing() {
    let test = "a_package_over_data_of_a_newer_format_is_refused_and_changes_nothing";
    let Some(root) = Root::new(test) else { return };
    root.install(&root.previous);
    let node = root.node();
    node.done("init", &["--site", "ship"]).await.unwrap();
    root.append().await;
    let mut made_newer = 0;
    for (path, mut bytes) in root.data() {
        if path.extension().is_some_and(|end| end == "seg") {
            made_newer += usize::from(make_newer(&mut bytes));
            fs::write(path, bytes).unwrap();
        }
    }
    assert!(made_newer > 0, "there are segments");
    let (state, before) = (root.state(), root.data());
    let output = root.dpkg(&["--install", &root.current.to_string_lossy()]);
    assert!(!output.status.success(), "{}", told(&output));
    let reason = "has format 1, and this version\nknows formats up to 0 only";
    assert!(told(&output).contains(reason), "{}", told(&output));
    assert_eq!(root.state(), state, "the package that was there is there");
    assert!(root.path("usr/bin/landfall").is_file());
    assert!(root.data() == before, "the data is untouched");
    // Whoever comes past the package is refused by the program.
    let refused = node.call("run", &[]).await.unwrap();
    assert_eq!(refused.code, Some(3), "{refused:?}");
    assert!(refused.err.contains("has format 1, which a newer version"), "{refused:?}");
    assert!(root.data() == before, "the data is untouched");
}

#[test]
fn the_unit_is_one_that_systemd_takes_and_holds_the_program_tight() {
    let test = "the_unit_is_one_that_systemd_takes_and_holds_the_program_tight";
    let Some(root) = Root::new(test) else { return };
    root.install(&root.current);
    // The paths within the unit are those of the scratch root.
    let unit = fs::read_to_string(root.path(UNIT)).unwrap();
    let program = root.path("usr/bin/landfall");
    let unit = unit.replace("/usr/bin/landfall", &program.to_string_lossy());
    let copy = root.path("landfall.service");
    fs::write(&copy, unit).unwrap();
    let analyze =
        |words: &[&str]| Command::new("systemd-analyze").args(words).arg(&copy).output().unwrap();
    let verified = analyze(&["verify", "--man=no"]);
    assert!(
        verified.status.success() && !told(&verified).contains("landfall"),
        "{}",
        told(&verified)
    );
    let exposure = analyze(&["security", "--offline=true", "--threshold=16"]);
    assert!(exposure.status.success(), "{}", told(&exposure));
}

/// Makes the headers of a segment those of the next format, each with its checksum.
fn make_newer(segment: &mut [u8]) -> bool {
    let headers = segment.chunks_mut(64).take(2).filter(|header| header.starts_with(b"LANDFALL"));
    let mut made = false;
    for header in headers {
        header[8] += 1;
        let checksum = crc32c::crc32c(&header[..60]);
        header[60..64].copy_from_slice(&checksum.to_le_bytes());
        made = true;
    }
    made
}
