//! Readers are told what the times of a device should have been that knew no calendar, or a wrong
//! one.

use landfall_core::batch::ClockQuality;
use landfall_core::num::{Epoch, Partition, Timestamp};
use landfall_core::record::Record;
use landfall_device::uplink::Uplink;
use landfall_node::clock::ClockNote;
use landfall_protocol::clock::Corrected;
use landfall_protocol::time::Instant;

use crate::rig::{Chip, Opened, open, uplink};
use crate::site::{CALENDAR_MS, Chain, Site};
use crate::wire::Wire;

/// A device below a gateway and a root, since it was switched on.
struct Scene {
    chain: Chain,
    device: Opened,
    uplink: Uplink<'static, 2>,
    wire: Wire,
    /// Milliseconds since the device was switched on, and since the nodes were.
    now: u64,
    /// What the device's calendar is ahead of its running clock; 0 if it knows none.
    calendar: i64,
}

impl Scene {
    fn new(chip: &Chip, boot: u64, calendar: i64) -> Self {
        let (gateway, root) = (Site::new("pier", true, 501), Site::new("hub", false, 500));
        let (chain, device) = (Chain::new(gateway, root, 0), open(chip, boot).unwrap().0);
        Self { chain, device, uplink: uplink(), wire: Wire::default(), now: 0, calendar }
    }

    fn shows(&self) -> Timestamp {
        Timestamp::new(self.calendar + self.now as i64)
    }

    /// Appends a record with the time that the device's clock shows.
    fn append(&mut self) -> Timestamp {
        let (stamp, sea) = (self.shows(), self.device.stream("sea", Partition::new(0)).unwrap());
        let record = Record::new(stamp, None, Some(&[7; 8]));
        self.device.append(sea, &record, ClockQuality::Unset).unwrap();
        stamp
    }

    fn connect(&mut self) {
        self.wire = Wire::default();
        self.chain.gateway.connect(self.now);
        self.uplink.connected(Instant::from_millis(self.now));
    }

    fn pass(&mut self, millis: u64) {
        let until = self.now + millis;
        while self.now < until {
            let wall = if self.calendar == 0 { Timestamp::new(0) } else { self.shows() };
            let now = Instant::from_millis(self.now);
            self.uplink.poll(&mut self.device, now, wall, &mut self.wire);
            self.chain.turn(&mut self.wire, self.now);
            self.now += 1;
        }
    }

    /// What the root's readers are told of a time that the device gave in an epoch.
    fn told(&self, epoch: u64, stamp: Timestamp) -> Option<Corrected> {
        let note = self.chain.root.node.clock_of("buoy-4", Epoch::new(epoch));
        note.map(|note: &ClockNote| note.correct(stamp))
    }
}

/// Whether a time was corrected to what nodes showed then, as near as it says.
fn is_right(told: Option<Corrected>, then: u64) -> bool {
    let Some(Corrected::At(time, error_ms)) = told else { return false };
    let apart = time.get().abs_diff(CALENDAR_MS + then as i64);
    apart <= error_ms.into() && error_ms < 50
}

#[test]
fn what_was_written_without_a_calendar_is_dated_once_a_node_has_said_the_time() {
    let chip = Chip::new(41);
    let mut first = Scene::new(&chip, 1, 0);
    let alone = first.append();
    drop(first);
    let mut scene = Scene::new(&chip, 2, 0);
    scene.pass(3_000);
    let before = scene.append();
    scene.pass(40_000);
    scene.connect();
    scene.pass(5_000);
    let after = scene.append();
    scene.pass(100);
    assert_eq!(scene.chain.root.arrived(), 3);
    assert!(is_right(scene.told(1_002, before), 3_000), "{:?}", scene.told(1_002, before));
    assert!(is_right(scene.told(1_002, after), 48_000), "{:?}", scene.told(1_002, after));
    assert_eq!(scene.told(1_001, alone), None, "in that start nobody said the time");
}

#[test]
fn a_calendar_that_is_set_in_the_middle_of_a_session_is_told() {
    let mut scene = Scene::new(&Chip::new(42), 1, 0);
    scene.connect();
    scene.pass(2_000);
    let without = scene.append();
    scene.pass(1_000);
    scene.calendar = CALENDAR_MS;
    let set = scene.append();
    scene.pass(3_000);
    assert!(is_right(scene.told(1_001, without), 2_000));
    assert_eq!(scene.told(1_001, set), Some(Corrected::Same));
}

#[test]
fn a_device_that_knows_the_date_says_nothing_of_its_clock() {
    let mut scene = Scene::new(&Chip::new(43), 1, CALENDAR_MS);
    scene.connect();
    let stamp = scene.append();
    scene.pass(3_000);
    assert_eq!(scene.chain.root.arrived(), 1);
    assert_eq!(scene.told(1_001, stamp), None);
}
