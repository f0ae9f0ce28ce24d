//! Ledgers and journals that do not agree, and whose fault it is.

use super::super::content::line;
use super::super::found::{Gap, Opening};
use super::*;

const RUN: RunId = RunId(0xbeef);
const EPOCH: u64 = 0xe1;

/// 30 records in three acknowledgements, in the commits 10, 11 and 12.
fn book() -> Book {
    let acked = |first: u64, commit| Acked {
        first,
        count: 10,
        at: format!("ship/torture/0@{}~{EPOCH:x}", first - 1).parse().ok(),
        commit: Some(commit),
    };
    let acked = vec![acked(1, 10), acked(11, 11), acked(21, 12)];
    let run = Run { id: RUN, log: "7".into(), acked, control: Some(4) };
    Book { site: "ship".into(), topic: "torture".into(), runs: vec![run], unreadable: 0 }
}

/// A journal with these numbers, whose next commit would be `end`.
fn found(numbers: impl IntoIterator<Item = u64>, end: u64) -> Found {
    let mut found = Found { log: "7".into(), end, first: Some(0), ..Found::default() };
    found.openings = vec![Opening { epoch: EPOCH, first_commit: 3 }];
    found.shelves = shelves(numbers);
    found
}

fn shelves(numbers: impl IntoIterator<Item = u64>) -> Shelves {
    let mut shelves = Shelves::default();
    for number in numbers {
        shelves.take(Some(line(RUN, number).as_bytes()), number - 1, EPOCH);
    }
    shelves
}

fn judged(found: &Found, hub: Option<&Shelves>, control: Option<Block>) -> (Tally, Vec<Fault>) {
    let controls = control.map(|block| (RUN, block)).into_iter().collect();
    let (mut tallies, faults) = Scene { here: Some(found), hub, controls }.judge(&book());
    (tallies.remove(0), faults)
}

/// The only fault: its numbers, what it is, and who broke a promise.
fn only(faults: &[Fault]) -> (u64, u64, What, Broke) {
    assert_eq!(faults.len(), 1, "{faults:?}");
    (faults[0].numbers.first, faults[0].numbers.last, faults[0].what, faults[0].broke)
}

const WHOLE: Option<Block> = Some(Block { number: 4, through: 30 });

#[test]
fn what_is_all_there_is_kept_and_more_than_acknowledged_is_allowed() {
    let (tally, faults) = judged(&found(1..=33, 14), Some(&shelves(1..=20)), WHOLE);
    assert_eq!(faults, []);
    let wanted = Tally {
        run: RUN,
        acknowledged: 30,
        here: 30,
        forgotten: 0,
        lost: 0,
        more: 3,
        at_hub: Some(20),
    };
    assert_eq!(tally, wanted);
}

#[test]
fn a_lost_end_is_the_mediums_if_the_control_lost_its_end_too() {
    let ends = found(1..=20, 12);
    let (tally, faults) = judged(&ends, None, Some(Block { number: 2, through: 20 }));
    assert_eq!((only(&faults), tally.lost), ((21, 30, What::Lost, Broke::Medium), 10));
    assert_eq!(faults[0].at.as_deref(), Some("ship/torture/0@20~e1"));
    assert_eq!(only(&judged(&ends, None, None).1).3, Broke::Medium);
}

#[test]
fn a_lost_end_is_the_agents_if_the_control_was_synced_later_and_is_there() {
    let ends = found(1..=20, 12);
    assert_eq!(only(&judged(&ends, None, WHOLE).1), (21, 30, What::Lost, Broke::Agent));
    // It vouches for what had been acknowledged when it was written, and for no more.
    let (_, faults) = judged(&ends, None, Some(Block { number: 4, through: 25 }));
    let broke: Vec<_> = faults.iter().map(|fault| (fault.numbers.last, fault.broke)).collect();
    assert_eq!(broke, [(25, Broke::Agent), (30, Broke::Undecided)]);
}

#[test]
fn an_end_that_was_lost_before_the_journal_was_opened_again_is_known() {
    let mut again = found(1..=20, 20);
    again.openings.push(Opening { epoch: 0xe2, first_commit: 12 });
    let (_, faults) = judged(&again, None, Some(Block { number: 2, through: 20 }));
    assert_eq!(only(&faults), (21, 30, What::Lost, Broke::Medium));
    assert!(faults[0].why.contains("the end of the journal"), "{faults:?}");
}

#[test]
fn a_hole_with_nothing_damaged_is_the_agents() {
    let (_, faults) = judged(&found((1..=12).chain(15..=30), 13), None, WHOLE);
    assert_eq!(only(&faults), (13, 14, What::Lost, Broke::Agent));
}

#[test]
fn a_hole_of_damaged_bytes_is_the_mediums_and_a_dropped_one_nobodys() {
    let mut holey = found((1..=9).chain(15..=30), 13);
    holey.gaps = vec![Gap { from: 9, to: 14, why: GapReason::Damage }];
    let (tally, faults) = judged(&holey, Some(&shelves(1..=12)), WHOLE);
    assert_eq!(only(&faults), (10, 14, What::Lost, Broke::Medium));
    assert_eq!((tally.lost, faults[0].at_hub), (5, 3));
    holey.gaps[0].why = GapReason::Dropped;
    assert_eq!(only(&judged(&holey, None, WHOLE).1).3, Broke::Nobody);
}

#[test]
fn an_old_image_and_another_journal_are_known() {
    let mut old = found([], 3);
    old.openings = vec![Opening { epoch: 0xe0, first_commit: 1 }];
    old.first = None;
    let (_, faults) = judged(&old, None, WHOLE);
    assert_eq!(only(&faults), (1, 30, What::Lost, Broke::Medium));
    assert!(faults[0].why.contains("old image"), "{faults:?}");
    old.log = "8".into();
    let (_, faults) = judged(&old, None, WHOLE);
    assert!(faults[0].why.contains("another journal"), "{faults:?}");
}

#[test]
fn what_was_dropped_as_durable_must_be_at_the_hub() {
    let mut dropped = found(11..=30, 13);
    dropped.first = Some(10);
    let (tally, faults) = judged(&dropped, None, WHOLE);
    assert_eq!((faults, tally.forgotten, tally.lost), (Vec::new(), 10, 0));
    let (tally, faults) = judged(&dropped, Some(&shelves(1..=30)), WHOLE);
    assert_eq!((faults, tally.forgotten, tally.at_hub), (Vec::new(), 10, Some(30)));
    let (tally, faults) = judged(&dropped, Some(&shelves(6..=30)), WHOLE);
    assert_eq!(only(&faults), (1, 5, What::Lost, Broke::Undecided));
    assert_eq!((tally.forgotten, tally.lost), (5, 5));
}

#[test]
fn what_the_hub_has_twice_or_elsewhere_is_the_agents() {
    let mut hub = shelves(1..=30);
    hub.take(Some(line(RUN, 7).as_bytes()), 30, EPOCH);
    let (_, faults) = judged(&found(1..=30, 13), Some(&hub), WHOLE);
    let told: Vec<_> = faults.iter().map(|fault| (fault.place, fault.what, fault.broke)).collect();
    let wanted = [What::Twice, What::Elsewhere].map(|what| (Place::Hub, what, Broke::Agent));
    assert_eq!(told, wanted, "{faults:?}");
}

#[test]
fn where_only_a_hub_was_looked_at_what_is_not_there_may_be_on_the_way() {
    let hub = shelves(1..=20);
    let scene = Scene { here: None, hub: Some(&hub), controls: BTreeMap::new() };
    let (tallies, faults) = scene.judge(&book());
    assert_eq!(only(&faults), (21, 30, What::Lost, Broke::Undecided));
    assert_eq!((faults[0].place, tallies[0].at_hub), (Place::Hub, Some(20)));
}
