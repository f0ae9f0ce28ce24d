//! What can happen to a fleet, as a line of text: `crash D1`, `wait 500`. A plan is a list of
//! them, so that a seed that failed can be shrunk, read, edited and kept.

use std::fmt;

use super::dialect::Dialect;
use crate::media::damage::DamageModel;

/// The name of a host; see [`super::shape`] for all that there are.
pub type Name = &'static str;

/// A word of an operation's line.
trait Word: Sized {
    fn parse(word: &str) -> Option<Self>;
    fn text(&self) -> String;
}

macro_rules! operations {
    ($($(#[$about:meta])* $kind:ident $verb:literal { $($field:ident: $type:ty),* })*) => {
        /// Something that is done to a fleet.
        #[derive(Clone, Debug, Eq, PartialEq)]
        #[expect(missing_docs, reason = "what a kind does tells what its fields are")]
        pub enum Operation {
            $($(#[$about])* $kind { $($field: $type),* },)*
        }

        /// The verbs of all operations.
        pub const VERBS: &[&str] = &[$($verb),*];

        impl Operation {
            /// The first word of its line.
            pub fn verb(&self) -> &'static str {
                match self {
                    $(Self::$kind { .. } => $verb,)*
                }
            }

            /// The operation of a line; none if the line is none.
            pub fn parse(line: &str) -> Option<Self> {
                let mut words = line.split_whitespace();
                let parsed = match words.next()? {
                    $($verb => Self::$kind { $($field: Word::parse(words.next()?)?),* },)*
                    _ => return None,
                };
                words.next().is_none().then_some(parsed)
            }
        }

        impl fmt::Display for Operation {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$kind { $($field),* } => {
                        f.write_str($verb)?;
                        $(write!(f, " {}", $field.text())?;)*
                    })*
                }
                Ok(())
            }
        }
    };
}

operations! {
    /// Time passes.
    Wait "wait" { ms: u64 }
    /// Records are appended together.
    Append "append" { host: Name, topic: Name, records: u64 }
    /// The same, each in a commit of its own.
    Trickle "trickle" { host: Name, topic: Name, records: u64 }
    /// Records are appended that are to be readable together or not at all.
    Group "group" { host: Name, topic: Name, records: u64 }
    /// A consumer says how far it is, together with so many records that it writes.
    Consume "consume" { host: Name, topic: Name, records: u64 }
    /// Hundreds of records of a kilobyte are appended.
    Bulk "bulk" { host: Name, topic: Name, hundreds: u64 }
    /// A producer appends what it has not been told to be durable, and new records.
    Produce "produce" { host: Name, records: u64 }
    /// A producer appends again what it had already been told to be durable.
    Repeat "repeat" { host: Name, records: u64 }
    /// A node is ended in good order and started.
    Restart "restart" { host: Name }
    /// A node is killed and started.
    Crash "crash" { host: Name }
    /// The power of a host goes, and comes back in a while.
    CutPower "cut-power" { host: Name, damage: DamageModel, ms: u64 }
    /// The power of a host goes in the n-th unit written from now.
    CutInUnit "cut-in-unit" { host: Name, damage: DamageModel, units: u64 }
    /// The power of a host goes in the n-th sync from now.
    CutInSync "cut-in-sync" { host: Name, damage: DamageModel, syncs: u64 }
    /// The power of a host goes, and again while it recovers.
    CutTwice "cut-twice" { host: Name, damage: DamageModel, units: u64 }
    /// The next sync of a host fails, and what it was for is lost.
    FailSync "fail-sync" { host: Name }
    /// The n-th write of a host fails.
    FailWrite "fail-write" { host: Name, nth: u64 }
    /// Some reads of a host fail.
    FailReads "fail-reads" { host: Name, first: u64, count: u64 }
    /// The disk of a host has space for so many slots more.
    Fill "fill" { host: Name, slots: u64 }
    /// There is space again.
    Free "free" { host: Name }
    /// A bit of a host's disk flips.
    Rot "rot" { host: Name }
    /// A host's medium loses the last writes, although they were synced.
    LoseSynced "lose-synced" { host: Name, programs: u64 }
    /// A host's commits take so long from now on.
    SlowDisk "slow-disk" { host: Name, ms: u64 }
    /// Nothing passes between two hosts.
    Part "part" { a: Name, b: Name }
    /// Everything passes again.
    Heal "heal" {}
    /// The next connection ends when so many bytes have passed.
    CutLink "cut-link" { bytes: u64 }
    /// A host is off the network for a while.
    Offline "offline" { host: Name, ms: u64 }
    /// The connections of a host end, and only its side notices.
    Vanish "vanish" { host: Name }
    /// All links have such a delay, and carry so many bytes in a millisecond; 0 for any number.
    SlowLinks "slow-links" { ms: u64, bytes: u64 }
    /// A host dials another one from now on.
    Roam "roam" { host: Name, to: Name }
    /// The calendar of a host is set so many seconds ahead.
    SetClock "set-clock" { host: Name, seconds: i64 }
    /// A host's disk is copied, to be put back later.
    BackUp "back-up" { host: Name }
    /// One of the copies is put back.
    Restore "restore" { nth: u64 }
    /// A copy of a host is started beside it.
    Clone "clone" { host: Name }
    /// A node is started as another version: see [`Dialect`].
    Speak "speak" { host: Name, dialect: Dialect }
    /// A site is not let in at a host any more.
    Revoke "revoke" { host: Name, site: Name }
    /// It is let in again.
    Welcome "welcome" { host: Name, site: Name }
    /// A site may not write a topic at a host.
    Forbid "forbid" { host: Name, site: Name, topic: Name }
}

impl Word for u64 {
    fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Word for i64 {
    fn parse(word: &str) -> Option<Self> {
        word.parse().ok()
    }

    fn text(&self) -> String {
        self.to_string()
    }
}

impl Word for Name {
    fn parse(word: &str) -> Option<Self> {
        super::shape::all_names().find(|name| *name == word)
    }

    fn text(&self) -> String {
        (*self).to_owned()
    }
}

const MODELS: [(&str, DamageModel); 5] = [
    ("keep", DamageModel::KeepAll),
    ("drop", DamageModel::DropAll),
    ("zero", DamageModel::Zero),
    ("stale", DamageModel::Stale),
    ("random", DamageModel::Random),
];

impl Word for DamageModel {
    fn parse(word: &str) -> Option<Self> {
        MODELS.iter().find(|(name, _)| *name == word).map(|(_, model)| *model)
    }

    fn text(&self) -> String {
        let found = MODELS.iter().find(|(_, model)| model == self);
        found.map(|(name, _)| (*name).to_owned()).unwrap_or_default()
    }
}

impl Word for Dialect {
    fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.word() == word)
    }

    fn text(&self) -> String {
        self.word().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_it_was_written() {
        let operation = Operation::CutPower { host: "D1", damage: DamageModel::Stale, ms: 20 };
        assert_eq!(operation.to_string(), "cut-power D1 stale 20");
        assert_eq!(Operation::parse("cut-power D1 stale 20"), Some(operation));
        assert_eq!(Operation::parse("cut-power D1 stale"), None);
        assert_eq!(Operation::parse("cut-power D77 stale 20"), None);
        assert_eq!(Operation::parse("heal at once"), None);
    }
}
