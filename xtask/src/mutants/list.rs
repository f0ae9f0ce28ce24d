//! The mutants: what a careless change might break, a line each.

use super::Mutant;

pub(super) const MUTANTS: [Mutant; 18] = [
    Mutant {
        name: "records need not follow each other",
        file: "no_std-core/src/frontier/mod.rs",
        find: "self.next == base && self.hash.is_none_or(|hash| hash == before)",
        put: "self.next <= base",
    },
    Mutant {
        name: "hashes are not compared",
        file: "node/src/verdict.rs",
        find: "at == next && known == hash)",
        put: "at == next)",
    },
    Mutant {
        name: "an append is acknowledged before the sync",
        file: "no_std-core/src/journal/commit.rs",
        find: "active)?;\n        self.media.sync(active)?;",
        put: "active)?;",
    },
    Mutant {
        name: "a commit is written before the last one is synced",
        file: "no_std-core/src/journal/commit.rs",
        find: "active)?;\n        self.media.sync(active)?;",
        put: "active)?;\n        if self.next_commit.get() % 2 == 0 { self.media.sync(active)?; }",
    },
    Mutant {
        name: "a failed sync is taken for a sync",
        file: "no_std-core/src/journal/commit.rs",
        find: "active)?;\n        self.media.sync(active)?;",
        put: "active)?;\n        let _ = self.media.sync(active);",
    },
    Mutant {
        name: "a commit in flight is not waited for",
        file: "no_std-core/src/journal/flight.rs",
        find: "self.media.sync(flight.slot).or_else(|_| self.write_again(flight))",
        put: "{ let _ = self.media.sync(flight.slot); Ok(()) }",
    },
    Mutant {
        name: "an append is acknowledged before its commit in flight has landed",
        file: "node/src/held.rs",
        find: "self.held.events.waiting.append(&mut self.core.events);",
        put: "self.held.events.due.append(&mut self.core.events);",
    },
    Mutant {
        name: "a promise is made before its commit in flight has landed",
        file: "node/src/held.rs",
        find: "self.held.transmits.waiting.push_back(transmit);",
        put: "self.held.transmits.due.push_back(transmit);",
    },
    Mutant {
        name: "a torn commit is taken for a whole one",
        file: "no_std-core/src/journal/recover.rs",
        find: "self.whole.is_none() && (span.opening, span.commit) == self.seen",
        put: "false && (span.opening, span.commit) == self.seen",
    },
    Mutant {
        name: "an opening goes on under the epoch before",
        file: "no_std-core/src/journal/open.rs",
        find: "self.opening = self.opening.next();",
        put: "self.opening = self.opening.next(); if !recovery.created { self.epoch = parent; }",
    },
    Mutant {
        name: "branches are not loaded from the checkpoint",
        file: "no_std-core/src/journal/load.rs",
        find: "Item::Branch(name, branch) => {",
        put: "Item::Branch(..) if 0 < 1 => {} Item::Branch(name, branch) => {",
    },
    Mutant {
        name: "producers are not loaded from the checkpoint",
        file: "no_std-core/src/journal/load.rs",
        find: "Item::Producer(producer) => self.producers.found(producer),",
        put: "Item::Producer(_) => {}",
    },
    Mutant {
        name: "records go as soon as the next node has them",
        file: "no_std-core/src/journal/retain.rs",
        find: "let promised = if hop { branch.hop } else { branch.root };",
        put: "let promised = branch.hop;",
    },
    Mutant {
        name: "durable at the next node is called durable at the root",
        file: "node/src/promise.rs",
        find: "self.say_durable(state, Scope::Hop, promise, beyond);",
        put: "self.say_durable(state, Scope::Root, promise, beyond);",
    },
    Mutant {
        name: "a fork is taken for a duplicate",
        file: "node/src/closer.rs",
        find: "None => Verdict::Fork(head.base, head.before),",
        put: "None => Verdict::Had,",
    },
    Mutant {
        name: "what comes too early is taken for a duplicate",
        file: "node/src/verdict.rs",
        find: "return Ok(Verdict::Early(highest));",
        put: "return Ok(Verdict::Had);",
    },
    Mutant {
        name: "what is wanted again is not sent again",
        file: "node/src/repair.rs",
        find: "(None, Some((lane, cursor))) => {\n                sender.rewind(lane, cursor);",
        put: "(None, Some((_, _))) => {",
    },
    Mutant {
        name: "what is lost is passed over in silence",
        file: "node/src/sender/stated.rs",
        find: "self.say_gap_for(ix, from, to, reason)\n    }",
        put: "let _ = (to, reason);\n        true\n    }",
    },
];
