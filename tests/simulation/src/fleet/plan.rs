//! A plan: a fleet and what is done to it, drawn from a seed or read from text.

use std::fmt;

use super::dialect::Dialect;
use super::operation::{Name, Operation, VERBS};
use super::shape::{COPIES, DEVICES, Shape, TOPICS};
use crate::media::damage::DamageModel;
use crate::rng::Rng;

/// A fleet and what is done to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The fleet.
    pub shape: Shape,
    /// What is done, one after the other.
    pub operations: Vec<Operation>,
}

/// What operations are drawn from.
struct Draw<'a> {
    rng: &'a mut Rng,
    shape: &'a Shape,
}

/// The line between the shape and the operations.
const DIVIDER: &str = "--";

/// Kinds of operations, and how often each is drawn where it is in use.
const WEIGHTS: [(&str, u64); 37] = [
    ("wait", 24),
    ("append", 12),
    ("trickle", 4),
    ("group", 4),
    ("consume", 4),
    ("bulk", 2),
    ("produce", 6),
    ("repeat", 2),
    ("restart", 2),
    ("crash", 3),
    ("cut-power", 4),
    ("cut-in-unit", 4),
    ("cut-in-sync", 2),
    ("cut-twice", 2),
    ("fail-sync", 2),
    ("fail-write", 2),
    ("fail-reads", 2),
    ("fill", 2),
    ("free", 2),
    ("rot", 1),
    ("lose-synced", 1),
    ("slow-disk", 2),
    ("part", 3),
    ("heal", 4),
    ("cut-link", 4),
    ("offline", 3),
    ("vanish", 2),
    ("slow-links", 3),
    ("roam", 3),
    ("set-clock", 2),
    ("back-up", 2),
    ("restore", 1),
    ("clone", 1),
    ("speak", 2),
    ("revoke", 1),
    ("welcome", 2),
    ("forbid", 1),
];

/// What much of is done in some fleets, so that it comes together: nothing, backlogs behind links
/// that are down, histories that part, or power that goes while disks are slow.
const THEMES: [&[&str]; 4] = [
    &[],
    &["bulk", "part", "heal"],
    &["back-up", "restore", "clone", "roam"],
    &["trickle", "group", "slow-disk", "cut-power", "crash"],
];

/// How much more often.
const THEME_WEIGHT: u64 = 4;

/// Groups of so many records on are of large ones, and longer than joined entries are.
pub(super) const LARGE_GROUP: u64 = 20;

impl Plan {
    /// The plan of a seed. It uses only some kinds of faults, so that rare ones meet each other
    /// undisturbed (Groce and others, "Swarm testing", ISSTA 2012).
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let shape = Shape::draw(&mut rng);
        let (share, theme) = (1 + rng.below(4), *rng.pick(&THEMES));
        let always = ["wait", "append", "produce", "heal"];
        let is_in_use = |verb: &str, rng: &mut Rng| {
            rng.chance(share, 4) || always.contains(&verb) || theme.contains(&verb)
        };
        let mut in_use = Vec::new();
        for (verb, weight) in WEIGHTS {
            if is_in_use(verb, &mut rng) {
                let times = if theme.contains(&verb) { THEME_WEIGHT } else { 1 };
                in_use.push((verb, times * weight));
            }
        }
        let count = 10 + rng.below(90);
        let mut draw = Draw { rng: &mut rng, shape: &shape };
        let operations = (0..count).map(|_| draw.operation(&in_use)).collect();
        Self { shape, operations }
    }

    /// Reads what was printed.
    ///
    /// # Errors
    /// The first line that says nothing known.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lines = text.lines().map(str::trim);
        let lines: Vec<_> =
            lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        let at = lines.iter().position(|line| *line == DIVIDER);
        let at = at.ok_or_else(|| format!("there is no line `{DIVIDER}`"))?;
        let shape = Shape::parse(lines[..at].iter().copied());
        let shape = shape.ok_or("the lines before the operations tell no fleet")?;
        let operation =
            |line: &&str| Operation::parse(line).ok_or_else(|| format!("what is `{line}`?"));
        let operations = lines[at + 1..].iter().map(operation).collect::<Result<_, _>>()?;
        Ok(Self { shape, operations })
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}{DIVIDER}", self.shape)?;
        self.operations.iter().try_for_each(|operation| writeln!(f, "{operation}"))
    }
}

impl Draw<'_> {
    fn operation(&mut self, in_use: &[(&str, u64)]) -> Operation {
        let mut left = self.rng.below(in_use.iter().map(|(_, weight)| weight).sum());
        for (verb, weight) in in_use {
            if left < *weight {
                return self.of_verb(verb);
            }
            left -= weight;
        }
        Operation::Heal {}
    }

    fn of_verb(&mut self, verb: &str) -> Operation {
        debug_assert!(VERBS.contains(&verb), "{verb} is no operation");
        let host = self.host();
        match verb {
            "wait" => Operation::Wait { ms: self.span() },
            "append" => {
                let (host, records) = (self.writer(), self.few());
                Operation::Append { host, topic: self.topic(), records }
            }
            "trickle" => {
                let (host, records) = (self.writer(), 1 + self.rng.below(12));
                Operation::Trickle { host, topic: self.topic(), records }
            }
            "group" => {
                let large = self.rng.chance(1, 4);
                let records = if large { LARGE_GROUP } else { 1 } + self.rng.below(12);
                Operation::Group { host: self.writer(), topic: self.topic(), records }
            }
            "consume" => {
                let (host, records) = (self.writer(), self.rng.below(4));
                Operation::Consume { host, topic: self.topic(), records }
            }
            "bulk" => {
                let (host, hundreds) = (self.writer(), 1 + self.rng.below(6));
                Operation::Bulk { host, topic: self.topic(), hundreds }
            }
            "produce" => Operation::Produce { host: self.dialing(), records: self.few() },
            "repeat" => Operation::Repeat { host: self.dialing(), records: self.few() },
            "restart" => Operation::Restart { host },
            "speak" => {
                let old = DEVICES.contains(&host);
                let dialect = *self.rng.pick(&Dialect::ALL);
                let spoken =
                    if old || dialect != Dialect::Older { dialect } else { Dialect::Newer };
                Operation::Speak { host, dialect: spoken }
            }
            "crash" => Operation::Crash { host },
            "cut-power" | "cut-in-unit" | "cut-in-sync" | "cut-twice" => self.cut(verb),
            "fail-sync" | "fail-write" | "fail-reads" | "fill" | "free" | "rot" | "lose-synced"
            | "slow-disk" => self.disk(verb),
            "revoke" | "welcome" | "forbid" => self.rights(verb),
            _ => self.network(verb),
        }
    }

    fn cut(&mut self, verb: &str) -> Operation {
        let (host, damage) = (self.host(), *self.rng.pick(&DamageModel::ALL));
        let units = 1 + self.rng.below(60);
        match verb {
            "cut-power" => Operation::CutPower { host, damage, ms: self.rng.below(3_000) },
            "cut-in-unit" => Operation::CutInUnit { host, damage, units },
            "cut-in-sync" => Operation::CutInSync { host, damage, syncs: units },
            _ => Operation::CutTwice { host, damage, units },
        }
    }

    fn disk(&mut self, verb: &str) -> Operation {
        let host = self.host();
        match verb {
            "fail-sync" => Operation::FailSync { host },
            "fail-write" => Operation::FailWrite { host, nth: 1 + self.rng.below(20) },
            "fail-reads" => {
                let (first, count) = (1 + self.rng.below(50), 1 + self.rng.below(50));
                Operation::FailReads { host, first, count }
            }
            "fill" => Operation::Fill { host, slots: self.rng.below(3) },
            "free" => Operation::Free { host },
            "rot" => Operation::Rot { host },
            "lose-synced" => Operation::LoseSynced { host, programs: 1 + self.rng.below(6) },
            _ => {
                // What others are promised is synced at those who are dialed.
                let dialed = self.rng.chance(2, 3);
                let host = if dialed { *self.rng.pick(&self.shape.dialed()) } else { host };
                Operation::SlowDisk { host, ms: *self.rng.pick(&[1, 200, 800, 6_000]) }
            }
        }
    }

    fn rights(&mut self, verb: &str) -> Operation {
        let (dialed, sites) = (self.shape.dialed(), self.shape.dialing());
        let (host, site) = (*self.rng.pick(&dialed), *self.rng.pick(&sites));
        match verb {
            "revoke" => Operation::Revoke { host, site },
            "welcome" => Operation::Welcome { host, site },
            _ => Operation::Forbid { host, site, topic: self.topic() },
        }
    }

    fn network(&mut self, verb: &str) -> Operation {
        let host = self.host();
        match verb {
            "part" => Operation::Part { a: host, b: self.host() },
            "cut-link" => Operation::CutLink { bytes: 1 + self.rng.below(20_000) },
            "offline" => Operation::Offline { host, ms: self.rng.below(20_000) },
            "vanish" => Operation::Vanish { host },
            "slow-links" => {
                let limited = self.rng.chance(1, 2);
                let bytes = if limited { 10 + self.rng.below(2_000) } else { 0 };
                Operation::SlowLinks { ms: self.rng.below(1_500), bytes }
            }
            "roam" => {
                let to = *self.rng.pick(&self.shape.dialed());
                Operation::Roam { host: self.dialing(), to }
            }
            "set-clock" => {
                let years = 365 * 24 * 3_600;
                let seconds = *self.rng.pick(&[-56 * years, 10 * years, -3_600, 3_600, 0]);
                Operation::SetClock { host, seconds }
            }
            "back-up" => Operation::BackUp { host },
            "restore" => Operation::Restore { nth: self.rng.below(4) },
            "clone" => Operation::Clone { host: self.dialing() },
            _ => Operation::Heal {},
        }
    }

    fn host(&mut self) -> Name {
        self.rng.pick::<Name>(&self.shape.hosts())
    }

    fn dialing(&mut self) -> Name {
        self.rng.pick::<Name>(&self.shape.dialing())
    }

    /// Mostly a device; also hubs write, and copies.
    fn writer(&mut self) -> Name {
        match self.rng.below(10) {
            0 => self.host(),
            1 => self.rng.pick::<Name>(&COPIES),
            _ => self.dialing(),
        }
    }

    fn topic(&mut self) -> Name {
        self.rng.pick::<Name>(&TOPICS)
    }

    fn few(&mut self) -> u64 {
        let most = if self.rng.chance(1, 8) { 1_000 } else { 20 };
        1 + self.rng.below(most)
    }

    fn span(&mut self) -> u64 {
        let most = *self.rng.pick(&[100, 2_000, 2_000, 60_000, 900_000]);
        self.rng.below(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_as_it_was_printed() {
        for seed in 0..20 {
            let plan = Plan::draw(seed);
            assert_eq!(Plan::parse(&plan.to_string()), Ok(plan));
        }
    }

    #[test]
    fn every_kind_of_operation_is_drawn() {
        let plans: Vec<_> = (0..400).map(Plan::draw).collect();
        for verb in VERBS {
            let drawn = plans.iter().flat_map(|plan| &plan.operations);
            assert!(drawn.into_iter().any(|operation| operation.verb() == *verb), "no {verb}");
        }
    }
}
