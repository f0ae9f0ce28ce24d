//! Every kept input of every fuzz target, and inputs close to it, without a fuzzer.
//!
//! An input that fails is named, and written to a file. `LANDFALL_SEED` makes other changes.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use landfall_tests::fuzz::neighbours::neighbours;
use landfall_tests::fuzz::{TARGETS, Target};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Panics so far, also those of tasks that nobody waits for.
static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Memory is counted for the whole process, so that one test runs at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// What a folder of inputs may hold: so much is still looked through, and checked out, at once.
const FILES_MAX: usize = 100;
const FOLDER_BYTES_MAX: u64 = 300 * 1024;

#[test]
fn every_kept_input_and_its_neighbours_keep_what_their_target_promises() {
    let _alone = ALONE.lock();
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        report(panic);
    }));
    let seed = std::env::var("LANDFALL_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let mut failed = Vec::new();
    for target in &TARGETS {
        let mut inputs: Vec<_> =
            kept(target).into_iter().map(|path| (name(&path), read(&path))).collect();
        let seeds = (0..).zip((target.seeds)());
        inputs.extend(seeds.map(|(number, bytes)| (format!("seed {number}"), bytes)));
        let (mut ran, mut peak) = (0, 0);
        for (name, bytes) in &inputs {
            neighbours(bytes, target.cost, seed, &mut |change, changed| {
                ran += 1;
                match try_input(target, changed) {
                    Ok(bytes) => peak = peak.max(bytes),
                    Err(why) => failed.push(describe(target, name, change, changed, &why)),
                }
            });
        }
        let (count, most) = (inputs.len(), target.memory_bytes_max);
        println!("{}: {ran} inputs from {count}, {peak} of {most} bytes", target.name);
    }
    assert!(failed.is_empty(), "{} inputs failed:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_target_has_a_driver_and_a_small_folder_of_inputs() {
    let _alone = ALONE.lock();
    let fuzz = folder();
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    let drivers = manifest.lines().filter_map(|line| line.strip_prefix("path = \"targets/"));
    let drivers: BTreeSet<_> = drivers.filter_map(|rest| rest.strip_suffix(".rs\"")).collect();
    let targets: BTreeSet<_> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(drivers, targets, "fuzz/Cargo.toml names the targets");
    for target in &TARGETS {
        let driver = fuzz.join(format!("targets/{}.rs", target.name));
        let driver = std::fs::read_to_string(driver).unwrap();
        assert!(driver.contains(&format!("run(\"{}\", bytes)", target.name)));
        let files = kept(target);
        let bytes: u64 = files.iter().map(|path| path.metadata().unwrap().len()).sum();
        let (name, count) = (target.name, files.len());
        assert!((1..=FILES_MAX).contains(&count), "fuzz/corpus/{name} has {count} files");
        assert!(bytes <= FOLDER_BYTES_MAX, "fuzz/corpus/{name} has {bytes} bytes");
    }
}

/// Runs a target and returns the most bytes that it held.
fn try_input(target: &Target, bytes: &[u8]) -> Result<usize, String> {
    let (panics, before) = (PANICS.load(Ordering::SeqCst), MEMORY.current_usage());
    MEMORY.reset_peak_usage();
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    let held = MEMORY.peak_usage().saturating_sub(before);
    if outcome.is_err() || PANICS.load(Ordering::SeqCst) > panics {
        return Err("it panics".to_owned());
    }
    if held > target.memory_bytes_max {
        return Err(format!("it takes {held} bytes"));
    }
    Ok(held)
}

fn describe(target: &Target, name: &str, change: &str, bytes: &[u8], why: &str) -> String {
    let file = format!("{}-{}-{}", target.name, name, change).replace(' ', "-");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(file);
    let written = std::fs::write(&path, bytes).is_ok();
    let place = if written { path.display().to_string() } else { bytes.escape_ascii().to_string() };
    format!("{}, input {name}, {change}: {why}: {place}", target.name)
}

/// The files of a target, in the order of their names.
fn kept(target: &Target) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder().join("corpus").join(target.name));
    let mut files: Vec<_> =
        entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}
