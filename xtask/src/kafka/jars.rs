//! Apache Kafka's jars, fetched by Maven as `tests/kafka/pom.xml` names them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::shell::{self, Failure};

/// Where the versions are pinned.
const POM: &str = "tests/kafka/pom.xml";

/// The programs that are needed, what shows that they are there, and who has them.
const NEEDED: [(&str, &str, &str); 2] =
    [("java", "-version", "default-jre-headless"), ("mvn", "-version", "maven")];

/// The packages of Debian that are missing.
pub(crate) fn missing() -> Vec<&'static str> {
    let missing = NEEDED.into_iter().filter(|(program, ask, _)| !answers(program, ask));
    missing.map(|(_, _, package)| package).collect()
}

/// The folder of the jars; fetches them if they are not there, or others are wanted now.
pub(crate) fn fetched() -> Result<PathBuf, Failure> {
    for (program, ask, package) in NEEDED {
        if !answers(program, ask) {
            return Err(Failure::Machine(format!(
                "`{program}` is missing, which Apache Kafka needs; as root:\n  apt-get update && \
                 apt-get install --yes --no-install-recommends {package}"
            )));
        }
    }
    let folder = shell::target().join("kafka");
    let (jars, made_of) = (folder.join("jars"), folder.join("jars.pom"));
    let pom = shell::read(&shell::root().join(POM))?;
    if jars.is_dir() && fs::read_to_string(&made_of).is_ok_and(|old| old == pom) {
        return Ok(jars);
    }
    println!("fetching Apache Kafka {} by Maven, about 50 MB; once", version()?);
    let cannot = |error| Failure::Machine(format!("cannot use {}: {error}", folder.display()));
    // What an earlier run left, or began, is in the way.
    for old in [&jars, &folder.join("jars.new")].into_iter().filter(|old| old.exists()) {
        fs::remove_dir_all(old).map_err(cannot)?;
    }
    fs::create_dir_all(&folder).map_err(cannot)?;
    let fresh = folder.join("jars.new");
    let mut maven = Command::new("mvn");
    maven.args(["--batch-mode", "--quiet", "--no-transfer-progress", "--file"]);
    maven.arg(shell::root().join(POM)).arg("dependency:copy-dependencies");
    maven.arg(format!("-DoutputDirectory={}", fresh.display()));
    run_maven(&mut maven)?;
    fs::rename(&fresh, &jars).map_err(cannot)?;
    fs::write(&made_of, pom).map_err(cannot)?;
    Ok(jars)
}

/// Shows what Maven says only if it fails: it prints codes of colours even where nobody sees them.
fn run_maven(maven: &mut Command) -> Result<(), Failure> {
    let output = maven.output().map_err(|error| shell::cannot_start(maven, &error))?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let (line, said) = (shell::line(maven), String::from_utf8_lossy(&said).into_owned());
    Err(Failure::Machine(format!("{said}`{line}` failed; is Maven's registry reached?")))
}

/// The version of Apache Kafka that is pinned.
pub(crate) fn version() -> Result<String, Failure> {
    let pom = shell::read(&shell::root().join(POM))?;
    let version = pom.split_once("<kafka.version>").and_then(|(_, rest)| rest.split_once('<'));
    let (version, _) =
        version.ok_or_else(|| Failure::Check(format!("{POM} names no kafka.version")))?;
    Ok(version.to_owned())
}

/// Where the classes of these jars are kept as Java has loaded them.
pub(crate) fn classes(jars: &Path) -> PathBuf {
    jars.join("classes.jsa")
}

/// A java command with the jars, and with logging as `log4j` says.
pub(crate) fn java(jars: &Path, log4j: &Path) -> Command {
    let mut java = Command::new("java");
    let classes = classes(jars);
    if classes.is_file() {
        java.arg(format!("-XX:SharedArchiveFile={}", classes.display()));
    }
    java.arg("-cp").arg(jars.join("*"));
    java.arg(format!("-Dlog4j2.configurationFile={}", log4j.display()));
    java
}

fn answers(program: &str, ask: &str) -> bool {
    let mut command = Command::new(program);
    let status = command.arg(ask).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}
