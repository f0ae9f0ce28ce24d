//! `cargo xtask fuzz`: the targets of `tests/src/fuzz` under libFuzzer, by cargo-fuzz.
//!
//! What is found is added to `fuzz/corpus/TARGET`, which is then reduced to a few inputs that reach
//! about as much. An input that fails is left in `fuzz/artifacts/TARGET`.

mod corpus;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Task;
use crate::shell::{self, Failure};

pub(crate) const TASK: Task = Task {
    name: "fuzz",
    about: "[TARGET] [--seconds N]: feed parsers and machines with made-up inputs (60 s each)",
    run,
};

/// What one run of the fuzzer may hold, in MiB.
const RSS_MIB_MAX: &str = "512";
/// The longest input that the fuzzer makes: longer ones reach nothing else, and are slow.
const INPUT_BYTES_MAX: &str = "4096";

fn run(arguments: &[String]) -> Result<(), Failure> {
    let Wanted { target, seconds } = Wanted::parse(arguments)?;
    let known = targets()?;
    let chosen = match &target {
        None => known,
        Some(name) if known.contains(name) => vec![name.clone()],
        Some(name) => {
            let text = format!("no fuzz target `{name}`; there are: {}", known.join(", "));
            return Err(Failure::Usage(text));
        }
    };
    cargo_fuzz_is_there()?;
    // The workspace's versions; cargo adds those of the fuzzer.
    let lock = shell::root().join("fuzz/Cargo.lock");
    fs::copy(shell::root().join("Cargo.lock"), &lock)
        .map_err(|error| Failure::Machine(format!("cannot write {}: {error}", lock.display())))?;
    chosen.iter().try_for_each(|target| fuzz(target, seconds))
}

/// What the user asked for.
#[derive(Debug, Eq, PartialEq)]
struct Wanted {
    target: Option<String>,
    /// How long each target runs.
    seconds: u64,
}

impl Wanted {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut wanted = Self { target: None, seconds: 60 };
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            match word.as_str() {
                "--seconds" => {
                    let number = words.next().and_then(|number| number.parse().ok());
                    let text = "`--seconds` takes a number".to_owned();
                    wanted.seconds = number.ok_or(Failure::Usage(text))?;
                }
                name if name.starts_with('-') || wanted.target.is_some() => {
                    return Err(Failure::Usage(format!("`cargo xtask fuzz` takes no `{name}`")));
                }
                name => wanted.target = Some(name.to_owned()),
            }
        }
        Ok(wanted)
    }
}

/// The names of all drivers, sorted.
fn targets() -> Result<Vec<String>, Failure> {
    let folder = shell::root().join("fuzz/targets");
    let cannot = |error| Failure::Machine(format!("cannot list {}: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        names.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn cargo_fuzz_is_there() -> Result<(), Failure> {
    let mut asked = shell::cargo(&["fuzz", "--version"]);
    let asked = asked.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if asked.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    let text = "cargo-fuzz is missing here; `cargo install cargo-fuzz --locked` gets it, and it \
                needs a C++ compiler. Replaying the kept inputs needs neither: \
                `cargo test -p landfall-tests --test fuzz_corpora`";
    Err(Failure::Machine(text.to_owned()))
}

fn fuzz(target: &str, seconds: u64) -> Result<(), Failure> {
    let kept = shell::root().join("fuzz/corpus").join(target);
    let folder = |name: &str| shell::target().join("fuzz").join(name).join(target);
    let (grown, reduced) = (folder("grown"), folder("reduced"));
    let _ = fs::remove_dir_all(&reduced);
    for folder in [&kept, &grown, &reduced] {
        fs::create_dir_all(folder).map_err(|error| {
            Failure::Machine(format!("cannot make {}: {error}", folder.display()))
        })?;
    }
    let seeds = ["run", "--quiet", "--package", "landfall-tests", "--bin", "landfall-fuzz-seeds"];
    shell::run(shell::cargo(&seeds).args(["--", target]).arg(&grown))?;
    let mut command = cargo_fuzz(target, &[&grown, &kept]);
    shell::run(
        command.args([format!("-max_total_time={seconds}").as_str(), "-print_final_stats=1"]),
    )?;
    // How often something is reached makes no difference to what is kept.
    let mut command = cargo_fuzz(target, &[&reduced, &grown, &kept]);
    shell::run(command.args(["-set_cover_merge=1", "-use_counters=0"]))?;
    corpus::replace(&kept, &reduced)
}

/// The compiler is stable; what cargo-fuzz asks of it is switched on for this build only.
fn cargo_fuzz(target: &str, folders: &[&PathBuf]) -> Command {
    let mut command = shell::cargo(&["fuzz", "run", "--fuzz-dir", "fuzz", "--target-dir"]);
    command.arg(shell::target().join("fuzz")).arg(target).args(folders).arg("--");
    command.args(["-timeout=10", &format!("-rss_limit_mb={RSS_MIB_MAX}")]);
    command.arg(format!("-max_len={INPUT_BYTES_MAX}"));
    command.env("RUSTC_BOOTSTRAP", "1").env_remove("CARGO_TARGET_DIR");
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Wanted, Failure> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Wanted::parse(&words)
    }

    #[test]
    fn a_target_and_a_time_may_be_named_in_either_order() {
        let wanted = |target: Option<&str>, seconds| {
            let target = target.map(str::to_owned);
            Wanted { target, seconds }
        };
        assert_eq!(parsed("").unwrap(), wanted(None, 60));
        assert_eq!(parsed("record --seconds 5").unwrap(), wanted(Some("record"), 5));
        assert_eq!(parsed("--seconds 5 record").unwrap(), wanted(Some("record"), 5));
        for line in ["--seconds", "--seconds x", "record batch", "--second 5"] {
            assert!(matches!(parsed(line), Err(Failure::Usage(_))), "{line}");
        }
    }

    #[test]
    fn the_drivers_are_found() {
        assert!(targets().unwrap().iter().any(|name| name == "opening"));
    }
}
