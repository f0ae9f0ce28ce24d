//! `cargo xtask cross`: the agent for other machines, its size held to a budget, and its tests in
//! an emulator of the other processor.
//!
//! The standard library is built from source with it, by Debian's compiler, so nothing has to be
//! there for a target but a C compiler and a C library. For whom this is, and what is promised
//! there, is in `cross/targets.toml`.

mod map;
mod test;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::Task;
use crate::budgets::Budgets;
use crate::counts::Counts;
use crate::debian::{self, COMPILER, Needed};
use crate::shell::{self, Failure};
use crate::targets::Targets;
use test::Suites;

pub(crate) const TASK: Task = Task {
    name: "cross",
    about: "[--test] [TARGET…]: build the agent for other machines, hold its size to the budget, \
            and test it in an emulator; --list: what is built, tested and promised for which",
    run,
};

/// What the agent for devices has of the program.
pub(crate) const FEATURES: &str = "lean_log";
/// An agent that is kept.
const PROGRAM: &str = "landfall";
/// What the linker notes of it.
const MAP: &str = "landfall.map";
/// How it is built.
const BUILD: [&str; 6] = [
    "--profile=device",
    "--package=landfall",
    "--bin=landfall",
    "--no-default-features",
    // The program aborts on a panic, and so needs nothing that unwinds.
    "-Zbuild-std=std,panic_abort",
    "--locked",
];

/// What is built for, by a compiler that runs here.
struct Target {
    triple: &'static str,
    /// What Debian calls such machines, if packages are made for them.
    architecture: Option<&'static str>,
    /// Its name in `cross/budgets.toml`.
    budget: &'static str,
    /// What compiles C for it, and links.
    compiler: &'static str,
    archiver: &'static str,
    /// The words before a program of it that run it here.
    emulation: &'static [&'static str],
    /// Whether its programs bring their C library.
    whole: bool,
    /// What all that needs.
    needed: &'static [Needed],
}

static TARGETS: [Target; 3] = [
    Target {
        triple: "armv7-unknown-linux-gnueabihf",
        architecture: Some("armhf"),
        budget: "agent_armv7",
        compiler: "arm-linux-gnueabihf-gcc",
        archiver: "arm-linux-gnueabihf-ar",
        emulation: &["qemu-arm-static", "-L", "/usr/arm-linux-gnueabihf"],
        whole: false,
        needed: &[
            ("/usr/bin/arm-linux-gnueabihf-gcc", "gcc-arm-linux-gnueabihf"),
            ("/usr/arm-linux-gnueabihf/lib/crt1.o", "libc6-dev-armhf-cross"),
            ("/usr/bin/qemu-arm-static", "qemu-user-static"),
        ],
    },
    Target {
        triple: "aarch64-unknown-linux-gnu",
        architecture: Some("arm64"),
        budget: "agent_aarch64",
        compiler: "aarch64-linux-gnu-gcc",
        archiver: "aarch64-linux-gnu-ar",
        emulation: &["qemu-aarch64-static", "-L", "/usr/aarch64-linux-gnu"],
        whole: false,
        needed: &[
            ("/usr/bin/aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu"),
            ("/usr/aarch64-linux-gnu/lib/crt1.o", "libc6-dev-arm64-cross"),
            ("/usr/bin/qemu-aarch64-static", "qemu-user-static"),
        ],
    },
    Target {
        triple: "x86_64-unknown-linux-musl",
        architecture: None,
        budget: "agent_musl",
        compiler: "musl-gcc",
        archiver: "ar",
        emulation: &["env"],
        whole: true,
        needed: &[("/usr/bin/musl-gcc", "musl-tools"), ("/usr/bin/ar", "binutils")],
    },
];

/// What the user asks for.
#[derive(Debug, Default, Eq, PartialEq)]
struct Wish {
    list: bool,
    test: bool,
    triples: Vec<String>,
}

fn run(arguments: &[String]) -> Result<(), Failure> {
    let wish = parse(arguments)?;
    let known = Targets::read()?;
    if let Some(target) = TARGETS.iter().find(|target| !known.has(target.triple)) {
        let text =
            format!("cross/targets.toml does not say what is promised for {}", target.triple);
        return Err(Failure::Check(text));
    }
    if wish.list {
        print!("{}", known.list());
        return Ok(());
    }
    let targets = chosen(&wish.triples)?;
    let missing = debian::missing(&needed(&targets));
    if !missing.is_empty() {
        return Err(debian::lacking(&missing));
    }
    for target in targets {
        match wish.test {
            true => build_and_test(target, Suites::Simulated, &mut Counts::default())?,
            false => drop(build_within_budget(target)?),
        }
    }
    Ok(())
}

/// The target that each change is held to.
fn checked() -> &'static Target {
    &TARGETS[0]
}

/// What each change is held to: one target is built, and tested but for the simulator. Counts the
/// tests.
pub(crate) fn check(counts: &mut Counts) -> Result<(), Failure> {
    prepare_check()?;
    check_build(counts)?;
    check_fleet(counts)
}

/// The first part of [`check`], which installs what it needs.
pub(crate) fn prepare_check() -> Result<(), Failure> {
    debian::install_missing(&needed(&[checked()]))
}

/// The second part: builds the agent and runs the suites, in a folder of their own.
pub(crate) fn check_build(counts: &mut Counts) -> Result<(), Failure> {
    build_and_test_suites(checked(), Suites::Own, counts).map(|_| ())
}

/// The third part: the tests of the agent that was built, by programs of this machine.
pub(crate) fn check_fleet(counts: &mut Counts) -> Result<(), Failure> {
    let target = checked();
    test::fleet(target, &target.kept(FEATURES).join(PROGRAM), counts)
}

/// Builds the agent within its budget, and tests it.
fn build_and_test(target: &Target, suites: Suites, counts: &mut Counts) -> Result<(), Failure> {
    let program = build_and_test_suites(target, suites, counts)?;
    test::fleet(target, &program, counts)
}

/// Builds the agent within its budget. Linking it keeps one processor busy for minutes: the suites,
/// which do not need it, are compiled and run meanwhile.
fn build_and_test_suites(
    target: &Target,
    suites: Suites,
    counts: &mut Counts,
) -> Result<PathBuf, Failure> {
    let (program, tested) = std::thread::scope(|scope| {
        let tested = scope.spawn(|| test::suites(target, suites, counts));
        (build_within_budget(target), tested.join().expect("the suites' thread does not panic"))
    });
    tested?;
    program
}

fn parse(arguments: &[String]) -> Result<Wish, Failure> {
    let mut wish = Wish::default();
    for word in arguments {
        match word.as_str() {
            "--list" => wish.list = true,
            "--test" => wish.test = true,
            option if option.starts_with('-') => {
                let text = format!("`cargo xtask cross` takes no `{option}`; `--list` or `--test`");
                return Err(Failure::Usage(text));
            }
            triple => wish.triples.push(triple.to_owned()),
        }
    }
    if wish.list && arguments.len() > 1 {
        return Err(Failure::Usage("`--list` stands alone: it lists all targets".to_owned()));
    }
    Ok(wish)
}

/// The targets of these names, or all.
fn chosen(triples: &[String]) -> Result<Vec<&'static Target>, Failure> {
    if triples.is_empty() {
        return Ok(TARGETS.iter().collect());
    }
    let find = |triple: &String| TARGETS.iter().find(|target| target.triple == triple.as_str());
    let unknown = |triple: &String| {
        let known: Vec<_> = TARGETS.iter().map(|target| target.triple).collect();
        Failure::Usage(format!("no target `{triple}`; there are {}", known.join(", ")))
    };
    triples.iter().map(|triple| find(triple).ok_or_else(|| unknown(triple))).collect()
}

fn needed(targets: &[&Target]) -> Vec<Needed> {
    let mut needed = COMPILER.to_vec();
    needed.extend(targets.iter().flat_map(|target| target.needed.iter().copied()));
    needed
}

/// Builds the agent for devices, and holds its size to the budget.
fn build_within_budget(target: &Target) -> Result<PathBuf, Failure> {
    let program = build(target, FEATURES)?;
    let Some(built) = target.built() else {
        return Err(Failure::Machine(format!("cannot read {}", program.display())));
    };
    built.print();
    println!("{:<28}{:>9}{:>9}{:>9}", "budget", "bytes", "most", "goal");
    println!("{}", Budgets::read()?.check(target.budget, built.bytes)?);
    Ok(program)
}

/// An agent for devices that was built.
pub(crate) struct Built {
    triple: &'static str,
    /// Its name in `cross/budgets.toml`.
    pub(crate) budget: &'static str,
    /// Of the stripped program.
    pub(crate) bytes: u64,
    /// What takes most of it, and how many bytes.
    largest: Vec<(String, u64)>,
}

impl Built {
    /// Prints what takes most.
    pub(crate) fn print(&self) {
        println!("\nwhat takes most of the agent for {}, {} bytes", self.triple, self.bytes);
        for (name, bytes) in &self.largest {
            println!("{bytes:>8}  {name}");
        }
    }
}

/// The agents for devices that were built.
pub(crate) fn built() -> Vec<Built> {
    TARGETS.iter().filter_map(Target::built).collect()
}

/// The architectures of Debian that are built for, each with its target.
pub(crate) fn architectures() -> impl Iterator<Item = (&'static str, &'static str)> {
    TARGETS.iter().filter_map(|target| Some((target.architecture?, target.triple)))
}

/// Builds the agent with these features, and returns where it lies and what runs it here.
pub(crate) fn build_with(triple: &str, features: &str) -> Result<(PathBuf, Vec<String>), Failure> {
    let target = chosen(&[triple.to_owned()])?[0];
    let missing = debian::missing(&needed(&[target]));
    if !missing.is_empty() {
        return Err(debian::lacking(&missing));
    }
    let program = build(target, features)?;
    let mut words: Vec<_> = target.emulation.iter().map(|word| (*word).to_owned()).collect();
    words.push(program.to_string_lossy().into_owned());
    Ok((program, words))
}

/// Builds the agent, and returns where it lies.
fn build(target: &Target, features: &str) -> Result<PathBuf, Failure> {
    let mut cargo = target.cargo()?;
    cargo.arg("rustc").args(BUILD).args(["--features", features]);
    if target.whole {
        // Without what prints and catches panics by an unwinder, which is not there.
        cargo.arg("-Zbuild-std-features=optimize_for_size");
    }
    let kept = target.kept(features);
    let cannot = |error| Failure::Machine(format!("cannot write {}: {error}", kept.display()));
    fs::create_dir_all(&kept).map_err(cannot)?;
    // The program has no symbols, so what takes its bytes is read from what the linker noted.
    cargo.args(["--", &format!("-Clink-arg=-Wl,-Map={}", kept.join(MAP).display())]);
    shell::run(&mut cargo)?;
    let program = kept.join(PROGRAM);
    let made = folder().join(target.triple).join("device/landfall");
    fs::copy(made, &program).map_err(cannot)?;
    Ok(program)
}

/// Where all is built for other machines. Programs of this one that are needed for it are shared.
fn folder() -> PathBuf {
    shell::target().join("cross")
}

impl Target {
    /// Where an agent with these features is kept, with what the linker noted of it.
    fn kept(&self, features: &str) -> PathBuf {
        // The path stands in an option that the compiler takes apart at commas.
        folder().join("agents").join(self.triple).join(features.replace(',', "+"))
    }

    /// The agent for devices, if it was built.
    fn built(&self) -> Option<Built> {
        let kept = self.kept(FEATURES);
        let bytes = kept.join(PROGRAM).metadata().ok()?.len();
        // Names of symbols are whatever their libraries chose.
        let map = fs::read(kept.join(MAP)).ok()?;
        let largest = map::largest(&String::from_utf8_lossy(&map));
        Some(Built { triple: self.triple, budget: self.budget, bytes, largest })
    }

    /// A call of the compiler for this target.
    fn cargo(&self) -> Result<Command, Failure> {
        let mut cargo = debian::cargo(shell::root(), &folder());
        let (upper, lower) = (self.triple.to_uppercase(), self.triple.replace('-', "_"));
        let upper = format!("CARGO_TARGET_{}", upper.replace('-', "_"));
        cargo.env(format!("{upper}_LINKER"), self.compiler);
        cargo.env(format!("{upper}_RUNNER"), self.emulation.join(" "));
        cargo.env(format!("CC_{lower}"), self.compiler).env(format!("AR_{lower}"), self.archiver);
        cargo.env("CARGO_BUILD_TARGET", self.triple);
        if self.whole {
            let unwinder = self.unwinder()?;
            let flags = "-Clink-self-contained=no -Crelocation-model=static -Lnative=";
            cargo.env(format!("{upper}_RUSTFLAGS"), format!("{flags}{}", unwinder.display()));
        }
        Ok(cargo)
    }

    /// Makes the library that the standard library looks for where no C library of the system's is
    /// there at run time, and returns its folder. The one of the C compiler is for another C
    /// library.
    fn unwinder(&self) -> Result<PathBuf, Failure> {
        let folder = folder().join("unwinder").join(self.triple);
        fs::create_dir_all(&folder).map_err(|error| {
            Failure::Machine(format!("cannot make {}: {error}", folder.display()))
        })?;
        let source = shell::root().join("cross/unwind.c");
        let object = folder.join("unwind.o");
        let mut compile = Command::new(self.compiler);
        shell::run(compile.args(["-Os", "-c", "-o"]).arg(&object).arg(source))?;
        let mut archive = Command::new(self.archiver);
        shell::run(archive.arg("rcs").arg(folder.join("libunwind.a")).arg(object))?;
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn agents_of_several_features_lie_apart_and_where_the_linker_can_write() {
        let [of_one, of_two] = ["a", "a,b"].map(|features| TARGETS[0].kept(features));
        assert_ne!(of_one, of_two);
        assert!(
            of_two.strip_prefix(folder()).is_ok_and(|path| !path.to_string_lossy().contains(','))
        );
    }

    #[test]
    fn what_is_built_for_is_in_the_list_with_its_promise() {
        let listed = Targets::read().unwrap();
        for target in &TARGETS {
            assert!(listed.has(target.triple), "{}", target.triple);
        }
    }

    #[test]
    fn an_unknown_target_is_named_with_those_that_there_are() {
        let Err(Failure::Usage(text)) = chosen(&words("armv6")) else { panic!("it was taken") };
        assert!(text.contains("`armv6`") && text.contains(TARGETS[0].triple), "{text}");
        assert_eq!(chosen(&words(TARGETS[1].triple)).unwrap()[0].triple, TARGETS[1].triple);
        assert_eq!(chosen(&[]).unwrap().len(), TARGETS.len());
    }

    #[test]
    fn options_are_told_from_targets() {
        let wish = parse(&words("--test armv7")).unwrap();
        assert_eq!(wish, Wish { list: false, test: true, triples: words("armv7") });
        assert!(parse(&words("--tset")).is_err());
        assert!(parse(&words("--list armv7")).is_err());
    }
}
