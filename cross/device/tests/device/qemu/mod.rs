//! The firmware of `cross/firmware` on an emulated Cortex-M3 whose power goes at random moments.
//!
//! `cargo xtask firmware` builds it and names it in `LANDFALL_FIRMWARE`; without it the test is
//! skipped.

mod image;
mod line;
mod machine;

use std::env;
use std::io::Write;
use std::path::{Path, PathBuf};

use landfall_simulation::rng::Rng;

use crate::site::Site;
use image::Image;
use line::Line;
use machine::{End, Machine};

/// Chips that are filled, each over several starts.
const CHIPS: u64 = 2;
/// Starts of the firmware that speaks to a node.
const STARTS: u64 = 16;
/// Starts after which a chip must be full.
const STARTS_MAX: u64 = 200;

#[test]
fn what_the_firmware_told_is_on_the_flash_once_whenever_the_power_goes() {
    let test = "what_the_firmware_told_is_on_the_flash_once_whenever_the_power_goes";
    let Some(firmware) = firmware(test) else { return };
    let (mut cuts, mut told) = (0, 0);
    for seed in 1..=CHIPS {
        let (starts, acknowledged) = fill_a_chip(&firmware, seed);
        (cuts, told) = (cuts + starts - 1, told + acknowledged);
    }
    assert!(cuts > 10, "the power went {cuts} times");
    assert!(told > 500, "{told} records were acknowledged");
}

#[test]
fn what_the_firmware_told_arrives_at_a_node_once_whenever_the_power_goes() {
    let test = "what_the_firmware_told_arrives_at_a_node_once_whenever_the_power_goes";
    let Some(firmware) = firmware(test) else { return };
    let (mut rng, folder) = (Rng::new(5), tempfile::tempdir().unwrap());
    let _image = Image::blank(folder.path());
    let (mut hub, mut line) = (Site::new("hub", false, 500), Line::listen());
    let (mut told, mut last): (Vec<(u64, u64)>, u64) = (Vec::new(), 0);
    for start in 0..STARTS {
        let machine = Machine::start(&firmware, folder.path(), &line.address());
        // The last start is left alone until all has arrived that was told before.
        last = told.last().map_or(0, |(offset, _)| *offset);
        let until = if start + 1 == STARTS { last } else { hub.arrived() + rng.below(60) };
        line.carry(&mut hub, until);
        let heard = machine.kill_after(0);
        assert_eq!(heard.end, End::Cut);
        told.extend(heard.stored);
    }
    let found = hub.records();
    assert!(found.len() as u64 > last && last > 300, "{last} was told, {} arrived", found.len());
    for (offset, value) in told.iter().take_while(|(offset, _)| *offset <= last) {
        assert_eq!(found[*offset as usize], *value, "offset {offset}");
    }
    assert_eq!(hub.alarms(), [""; 0]);
}

/// The built firmware for a test, which says that it is skipped if there is none.
fn firmware(test: &str) -> Option<PathBuf> {
    let firmware = env::var_os("LANDFALL_FIRMWARE").map(PathBuf::from);
    if firmware.is_none() {
        let why = format!("SKIPPED: {test}: `cargo xtask firmware` builds what it needs\n");
        std::io::stdout().write_all(why.as_bytes()).unwrap();
    }
    firmware
}

/// Starts the firmware and kills it, until the chip is full. Returns how often, and how many
/// records are there.
fn fill_a_chip(firmware: &Path, seed: u64) -> (u64, u64) {
    let mut rng = Rng::new(seed);
    let folder = tempfile::tempdir().unwrap();
    let image = Image::blank(folder.path());
    let mut acknowledged: Vec<u64> = Vec::new();
    for start in 1..=STARTS_MAX {
        let machine = Machine::start(firmware, folder.path(), "null");
        // Some starts do not get as far as the first record.
        let heard = machine.kill_after(rng.below(60));
        assert!(heard.opened.is_none_or(|next| next >= acknowledged.len() as u64));
        let expected: Vec<u64> = image.records().collect();
        for (offset, value) in &heard.stored {
            assert_eq!(expected.get(*offset as usize), Some(value), "start {start} told {offset}");
        }
        let before = acknowledged.len();
        assert_eq!(expected.get(..before), Some(&acknowledged[..]), "start {start} lost records");
        let most = before + heard.stored.len() + 1;
        assert!(expected.len() <= most, "start {start}: {most} at most, {}", expected.len());
        acknowledged = expected;
        if heard.end == End::Full {
            return (start, acknowledged.len() as u64);
        }
    }
    panic!("the chip was not full after {STARTS_MAX} starts");
}
