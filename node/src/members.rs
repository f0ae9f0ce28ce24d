//! Members: programs that share a consumer's work, by the slots of its keys.
//!
//! A member is alive while its lease has not run out; each of its calls renews it. Slots are spread
//! evenly over the living. A slot whose records a member was given changes hands only when what it
//! was given is committed, or when its lease is over; whoever gets it begins at the committed
//! place. What a member without a lease commits is refused. So records of a key are taken in one
//! after the other, and each is committed once.
//!
//! Members are not stored: after a start, all join again and begin at what is committed.

use std::collections::BTreeMap;

use landfall_core::media::Media;
use landfall_protocol::time::{Duration, Instant};

use super::consumer::{Consumer, ConsumerFault, Place, SLOTS_MAX, Share, Slots};
use super::{Core, Gate, Node, Now};

/// Members of a consumer.
pub const MEMBERS_MAX: usize = SLOTS_MAX as usize;
/// How long a member may be silent, at least and at most.
pub const LEASE_MIN: Duration = Duration::from_secs(1);
/// See [`LEASE_MIN`].
pub const LEASE_MAX: Duration = Duration::from_secs(600);

/// The members of all consumers.
pub(crate) type Groups = BTreeMap<String, Group>;

/// The members of one consumer.
#[derive(Debug, Default)]
pub(crate) struct Group {
    members: BTreeMap<String, Member>,
}

#[derive(Debug)]
struct Member {
    ends: Instant,
    /// How far each of its slots has been given to it. Each slot is in one of them.
    given: Vec<Share>,
    /// Slots that it is to lose: it is given nothing more of them.
    leaves: Slots,
}

/// A member at one moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MemberView<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its slots.
    pub slots: Slots,
    /// When its lease runs out.
    pub ends: Instant,
}

/// What a member is to be given next: records of some slots from one place to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Portion {
    /// The slots.
    pub slots: Slots,
    /// From where.
    pub from: Place,
    /// Up to where, as others of its slots have been given to it from there on; none: to the end.
    pub to: Option<Place>,
}

impl Member {
    fn slots(&self) -> Slots {
        self.given.iter().fold(Slots::NONE, |slots, share| slots.with(share.slots))
    }

    fn set(&mut self, slots: Slots, at: Place) {
        self.remove(slots);
        self.given.push(Share { slots, at });
        self.given.sort_by_key(|share| (share.at.commit, share.at.index));
        self.given.dedup_by(|next, share| {
            let same = share.at.is_at(&next.at);
            if same {
                share.slots = share.slots.with(next.slots);
            }
            same
        });
    }

    fn remove(&mut self, slots: Slots) {
        self.given.iter_mut().for_each(|share| share.slots = share.slots.without(slots));
        self.given.retain(|share| share.slots != Slots::NONE);
        self.leaves = self.leaves.without(slots);
    }

    /// Its slots of which all that it was given is committed.
    fn settled(&self, consumer: &Consumer) -> Slots {
        let mut settled = Slots::NONE;
        for share in &self.given {
            let done = consumer.shares.iter().filter(|done| !done.at.is_before(&share.at));
            let done = done.fold(Slots::NONE, |slots, done| slots.with(done.slots));
            settled = settled.with(Slots(share.slots.0 & done.0));
        }
        settled
    }

    fn portion(&self) -> Option<Portion> {
        let mut shares = self.given.iter().filter_map(|share| {
            let slots = share.slots.without(self.leaves);
            (slots != Slots::NONE).then_some(Share { slots, at: share.at })
        });
        let first = shares.next()?;
        let to = shares.next().map(|next| next.at);
        Some(Portion { slots: first.slots, from: first.at, to })
    }
}

impl Group {
    /// Forgets members whose lease is over, and moves slots so that all have as many.
    fn tend(&mut self, consumer: &Consumer, now: Instant) {
        self.members.retain(|_, member| member.ends > now);
        for member in self.members.values_mut() {
            let free = Slots(member.leaves.0 & member.settled(consumer).0);
            member.remove(free);
        }
        let count = self.members.len() as u32;
        if count == 0 {
            return;
        }
        let held = self.members.values().fold(Slots::NONE, |all, one| all.with(one.slots()));
        let mut free = Slots::ALL.without(held);
        // The first ones by name have one slot more, if the slots can't be spread evenly.
        for (at, member) in (0..).zip(self.members.values_mut()) {
            let due = SLOTS_MAX / count + u32::from(at < SLOTS_MAX % count);
            let kept = member.slots().without(member.leaves);
            if kept.count() > due {
                let surplus = lowest(kept, kept.count() - due);
                member.leaves = member.leaves.with(surplus);
                let settled = Slots(surplus.0 & member.settled(consumer).0);
                member.remove(settled);
                free = free.with(settled);
            }
        }
        for (at, member) in (0..).zip(self.members.values_mut()) {
            let due = SLOTS_MAX / count + u32::from(at < SLOTS_MAX % count);
            let kept = member.slots().without(member.leaves).count();
            // What it was to lose and is still wanted of it need not change hands.
            let back = lowest(member.leaves, due.saturating_sub(kept));
            member.leaves = member.leaves.without(back);
            let taken = lowest(free, due.saturating_sub(kept + back.count()));
            free = free.without(taken);
            for share in &consumer.shares {
                let slots = Slots(share.slots.0 & taken.0);
                if slots != Slots::NONE {
                    member.set(slots, share.at);
                }
            }
        }
    }

    /// Whether a member, or nobody if none lives, may commit a share.
    pub(crate) fn may_commit(
        &self,
        member: Option<&str>,
        share: &Share,
        now: Instant,
    ) -> Result<(), ConsumerFault> {
        let living = |member: &&Member| member.ends > now;
        let Some(name) = member else {
            let shared = self.members.values().any(|member| living(&member));
            return if shared { Err(ConsumerFault::Shared) } else { Ok(()) };
        };
        let member = self.members.get(name).filter(living).ok_or(ConsumerFault::NotYours)?;
        let given = member.given.iter().filter(|given| !given.at.is_before(&share.at));
        let given = given.fold(Slots::NONE, |slots, given| slots.with(given.slots));
        if given.has(share.slots) { Ok(()) } else { Err(ConsumerFault::NotYours) }
    }
}

/// The first so many of some slots.
fn lowest(slots: Slots, count: u32) -> Slots {
    let (mut left, mut taken) = (slots.0, 0);
    for _ in 0..count.min(slots.count()) {
        let lowest = left & left.wrapping_neg();
        taken |= lowest;
        left &= !lowest;
    }
    Slots(taken)
}

impl<M: Media, G: Gate> Node<M, G> {
    /// A member of a consumer wants records: its lease is renewed, and it is told which. With
    /// `anew`, what it was given and has not committed is given to it again. None: it has no slots
    /// now; some may become free.
    ///
    /// # Errors
    /// There is no such consumer, its place was lost, or it has as many members as it can have.
    pub fn take_share(
        &mut self,
        consumer: &str,
        member: &str,
        lease: Duration,
        anew: bool,
        now: Now,
    ) -> Result<Option<Portion>, ConsumerFault> {
        let Core { cursors, groups, .. } = &mut self.core;
        let known = cursors.get(consumer).ok_or(ConsumerFault::Unknown)?;
        if known.is_lost() {
            return Err(ConsumerFault::Lost);
        }
        let group = groups.entry(consumer.to_owned()).or_default();
        group.members.retain(|_, member| member.ends > now.instant);
        if anew && let Some(member) = group.members.get_mut(member) {
            let slots = member.slots();
            member.given.clear();
            for share in &known.shares {
                let slots = Slots(share.slots.0 & slots.0);
                if slots != Slots::NONE {
                    member.set(slots, share.at);
                }
            }
        }
        if group.members.len() >= MEMBERS_MAX && !group.members.contains_key(member) {
            return Err(ConsumerFault::TooManyMembers);
        }
        let ends = now.instant.plus(lease.clamp(LEASE_MIN, LEASE_MAX));
        let fresh = || Member { ends, given: Vec::new(), leaves: Slots::NONE };
        group.members.entry(member.to_owned()).or_insert_with(fresh).ends = ends;
        group.tend(known, now.instant);
        Ok(group.members.get(member).and_then(Member::portion))
    }

    /// A member was given the records of a portion up to a place. If there were none, and it has
    /// committed all that it was given before, it has come there by that.
    pub fn note_given(
        &mut self,
        consumer: &str,
        member: &str,
        given: (&Portion, Place),
        is_empty: bool,
    ) {
        let Core { cursors, groups, .. } = &mut self.core;
        let group = groups.get_mut(consumer);
        let Some(member) = group.and_then(|group| group.members.get_mut(member)) else { return };
        let (Portion { slots, .. }, to) = given;
        let settled = cursors.get(consumer).map_or(Slots::NONE, |known| member.settled(known));
        member.set(*slots, to);
        if is_empty {
            cursors.pass(consumer, Slots(settled.0 & slots.0), to);
        }
    }

    /// A member wants no more: what it did not commit is given to others.
    pub fn leave(&mut self, consumer: &str, member: &str) {
        if let Some(group) = self.core.groups.get_mut(consumer) {
            group.members.remove(member);
        }
    }

    /// The members of a consumer whose leases are not over.
    pub fn members(&self, consumer: &str, now: Now) -> impl Iterator<Item = MemberView<'_>> {
        let members = self.core.groups.get(consumer).into_iter();
        let members = members.flat_map(|group| &group.members);
        members
            .filter(move |(_, member)| member.ends > now.instant)
            .map(|(name, member)| MemberView { name, slots: member.slots(), ends: member.ends })
    }
}

impl<M: Media, G: Gate> Core<M, G> {
    /// Whether a member of a consumer, or a program that is none, may commit a share.
    pub(crate) fn may_commit(
        &self,
        consumer: &str,
        member: Option<&str>,
        share: &Share,
    ) -> Result<(), ConsumerFault> {
        match self.groups.get(consumer) {
            Some(group) => group.may_commit(member, share, self.arrived_at.instant),
            None if member.is_some() => Err(ConsumerFault::NotYours),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use landfall_core::num::{CommitNo, Epoch};

    use super::*;

    fn place(commit: u64) -> Place {
        Place { epoch: Epoch::new(1), commit: CommitNo::new(commit), index: 0 }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_millis(seconds * 1_000)
    }

    struct Scene {
        consumer: Consumer,
        group: Group,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            let consumer = Consumer::new(vec!["t".into()], place(1));
            Self { consumer, group: Group::default(), now: at(0) }
        }

        /// A member calls, with a lease of five seconds.
        fn call(&mut self, name: &str) -> Option<Portion> {
            let ends = self.now.plus(Duration::from_secs(5));
            let fresh = Member { ends, given: Vec::new(), leaves: Slots::NONE };
            self.group.members.entry(name.into()).or_insert(fresh).ends = ends;
            self.group.tend(&self.consumer, self.now);
            self.group.members[name].portion()
        }

        /// It is given all that there is up to a commit.
        fn give(&mut self, name: &str, to: u64) -> Slots {
            let portion = self.call(name).unwrap();
            let member = self.group.members.get_mut(name).unwrap();
            member.set(portion.slots, place(to));
            portion.slots
        }

        fn commit(&mut self, name: &str, slots: Slots, to: u64) -> Result<(), ConsumerFault> {
            let share = Share { slots, at: place(to) };
            self.group.may_commit(Some(name), &share, self.now)?;
            self.consumer.set(slots, place(to));
            Ok(())
        }

        fn owners_of_each_slot(&self) -> Vec<usize> {
            let members = || self.group.members.values();
            let owned = |slot: u32| members().filter(move |one| one.slots().has(Slots(1 << slot)));
            (0..SLOTS_MAX).map(|slot| owned(slot).count()).collect()
        }
    }

    #[test]
    fn a_slot_changes_hands_when_what_was_given_is_committed() {
        let mut scene = Scene::new();
        assert_eq!(scene.give("a", 10), Slots::ALL);
        assert_eq!(scene.call("b"), None, "all is under way at a");
        let a = scene.call("a").unwrap();
        assert_eq!((a.slots.count(), a.from), (32, place(10)), "it is given no more of the rest");
        scene.commit("a", Slots::ALL, 7).unwrap();
        assert_eq!(scene.call("b"), None);
        scene.commit("a", Slots::ALL, 10).unwrap();
        let b = scene.call("b").unwrap();
        assert_eq!((b.slots, b.from), (Slots::ALL.without(a.slots), place(10)));
        assert_eq!(scene.owners_of_each_slot(), [1; 64]);
        assert_eq!(scene.commit("a", b.slots, 11), Err(ConsumerFault::NotYours));
    }

    #[test]
    fn what_a_dead_member_had_goes_on_from_its_last_commit() {
        let mut scene = Scene::new();
        scene.call("a");
        scene.call("b");
        let (of_a, of_b) = (scene.give("a", 10), scene.give("b", 10));
        scene.commit("a", of_a, 4).unwrap();
        scene.now = at(4);
        assert_eq!(scene.call("b").unwrap().slots, of_b, "a may live");
        scene.now = at(6);
        let portion = scene.call("b").unwrap();
        assert_eq!(portion, Portion { slots: of_a, from: place(4), to: Some(place(10)) });
        assert_eq!(scene.commit("a", of_a, 10), Err(ConsumerFault::NotYours), "it is too late");
        scene.give("b", 10);
        assert_eq!(scene.call("b").unwrap().slots, Slots::ALL, "both shares have met");
        scene.commit("b", Slots::ALL, 10).unwrap();
        assert_eq!(scene.consumer.shares.len(), 1);
    }

    #[test]
    fn slots_are_spread_evenly_and_each_has_one_owner() {
        let mut scene = Scene::new();
        let names = ["a", "b", "c", "d", "e"];
        for round in 0..3 {
            for name in names {
                let portion = scene.call(name);
                assert!(scene.owners_of_each_slot().iter().all(|owners| *owners <= 1), "{round}");
                assert!(portion.is_none_or(|portion| portion.slots.count() <= 64));
            }
        }
        let counts = scene.group.members.values().map(|member| member.slots().count());
        assert_eq!(counts.collect::<Vec<_>>(), [13, 13, 13, 13, 12]);
        scene.group.members.remove("c");
        for name in ["a", "b", "d", "e"] {
            scene.call(name);
        }
        assert_eq!(scene.owners_of_each_slot(), [1; 64]);
        assert!(scene.group.members.values().all(|member| member.slots().count() == 16));
    }

    #[test]
    fn nobody_commits_what_was_not_given_to_it() {
        let mut scene = Scene::new();
        let all = scene.give("a", 10);
        assert_eq!(scene.commit("a", all, 11), Err(ConsumerFault::NotYours));
        assert_eq!(scene.commit("b", all, 5), Err(ConsumerFault::NotYours));
        let share = Share { slots: all, at: place(5) };
        let alone = |scene: &Scene| scene.group.may_commit(None, &share, scene.now);
        assert_eq!(alone(&scene), Err(ConsumerFault::Shared));
        scene.now = at(6);
        assert_eq!(alone(&scene), Ok(()));
        assert_eq!(scene.commit("a", all, 5), Err(ConsumerFault::NotYours), "its lease is over");
    }
}
