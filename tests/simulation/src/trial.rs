//! A trial of a journal: random operations and faults from one seed, compared with the model after
//! each opening.

use landfall_core::batch::ClockQuality;
use landfall_core::codec::Writer;
use landfall_core::frontier::{BranchIx, Frontier, StreamIx};
use landfall_core::gap::GapReason;
use landfall_core::journal::{Config, DropError, Journal, StageError, Staged};
use landfall_core::num::{Lane, ProducerId, Timestamp};
use landfall_core::record::{Producer, Record};
use landfall_core::tables::{Parts, Tables};

use crate::journal::{Got, fresh, known, stream};
use crate::media::power::Step;
use crate::media::rig::Rig;
use crate::model::{Drop, Model, Noted};
use crate::rng::Rng;
use crate::world::Tally;

mod trace;

/// Lanes of the journals that are tried.
pub const LANES: u8 = 2;

/// A journal, its medium and the model of both.
pub struct Trial<R: Rig, T: Tables> {
    rig: R,
    config: Config,
    parts: fn(&Config, u32) -> Parts<T>,
    rng: Rng,
    model: Model,
    journal: Option<Journal<R, T>>,
    opened: bool,
    /// Whether everything was once promised: what is dropped then may not be loud.
    promised: bool,
    /// Whether the tables hold all losses that there can be.
    tells_losses: bool,
    /// The commit that is written and may not be synced.
    flying: Option<Flying>,
    /// What was met how often.
    tally: Tally,
}

/// A commit in flight, and what there was before it.
#[derive(Clone)]
struct Flying {
    before: Model,
    lane: usize,
    records: Vec<Noted>,
}

/// Whether the journal goes on after an operation, or must be opened anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum After {
    GoesOn,
    Failed,
}

impl<R: Rig, T: Tables> Trial<R, T> {
    /// A trial on an empty medium.
    pub fn new(rig: R, config: Config, parts: fn(&Config, u32) -> Parts<T>, seed: u64) -> Self {
        let model = Model::new(LANES.into());
        let tells_losses = parts(&config, rig.geometry().slots).losses.room() > 100;
        let (rng, journal) = (Rng::new(seed), None);
        Self {
            rig,
            config,
            parts,
            rng,
            model,
            journal,
            opened: false,
            promised: false,
            tells_losses,
            flying: None,
            tally: Tally::default(),
        }
    }

    /// Does that many random operations.
    pub fn run(&mut self, steps: u32) {
        self.reopen();
        for _ in 0..steps {
            let after = self.step();
            self.note_landing();
            if after == After::Failed || !self.power_is_on() {
                self.reopen();
            }
        }
        self.rig.power_off();
        self.reopen();
        let journal = self.journal.take().expect("it was opened");
        self.rig.power_on();
        self.model.check(&journal);
    }

    /// A commit in flight is durable once the journal has landed it, for whatever reason.
    fn note_landing(&mut self) {
        let landed =
            |journal: &Journal<R, T>| journal.in_flight().is_none() && !journal.has_failed();
        if self.journal.as_ref().is_some_and(landed) {
            self.flying = None;
        }
    }

    fn journal(&mut self) -> &mut Journal<R, T> {
        self.journal.as_mut().expect("it was opened")
    }

    fn power_is_on(&self) -> bool {
        let mut byte = [0];
        let place = landfall_core::media::Place { slot: landfall_core::media::SlotIx(0), at: 0 };
        self.rig.read(place, &mut byte) != Err(landfall_core::media::MediaError::Failed)
    }

    fn step(&mut self) -> After {
        match self.rng.below(100) {
            0..62 => self.append(),
            62..66 => self.checkpoint(),
            66..70 => self.close(),
            70..75 => After::Failed,
            75..78 => {
                self.rig.choose_damage(&mut self.rng);
                self.rig.power_off();
                After::Failed
            }
            78..84 => {
                self.rig.choose_damage(&mut self.rng);
                let units = 1 + self.rng.below(20);
                self.rig.arm(Step::Unit, units);
                After::GoesOn
            }
            84..88 => {
                self.rig.choose_damage(&mut self.rng);
                self.rig.misbehave(&mut self.rng);
                After::GoesOn
            }
            88..96 => self.drop_durable(),
            _ => self.drop_loudly(),
        }
    }

    /// Opens the journal, through as many faults as the seed has for it, and checks it.
    fn reopen(&mut self) {
        for attempt in 0.. {
            self.journal = None;
            self.rig.power_on();
            self.rig.choose_damage(&mut self.rng);
            if attempt < 3 && self.rng.chance(1, 3) {
                let units = 1 + self.rng.below(4);
                self.rig.arm(Step::Unit, units);
            } else if attempt < 3 && self.rng.chance(1, 10) {
                self.rig.misbehave(&mut self.rng);
            }
            if self.open() {
                break;
            }
            // What was to fail once may have waited for its turn.
            assert!(attempt < 6, "nothing is wrong with the medium");
        }
        self.check();
        if self.rng.chance(1, 8) {
            self.reopen();
        }
    }

    /// Opens the journal, if the medium lets it.
    fn open(&mut self) -> bool {
        if let Some(Flying { before, lane, records }) = self.flying.take() {
            self.model.go_back(before);
            self.model.doubt(lane, records);
        }
        let parts = (self.parts)(&self.config, self.rig.geometry().slots);
        let opened = Journal::open(self.rig.clone(), self.config, parts, fresh(&mut self.rng));
        let Ok((journal, recovery)) = opened else { return false };
        self.tally.recovery(&recovery);
        assert_eq!(recovery.damaged, 0, "nothing was damaged: {recovery:?}");
        let lost = recovery.checkpoint_lost && self.opened;
        assert!(!lost, "the checkpoint was synced: {recovery:?}");
        self.journal = Some(journal);
        self.opened = true;
        true
    }

    fn check(&mut self) {
        let journal = self.journal.as_ref().expect("it was opened");
        self.model.check(journal);
        if self.tells_losses {
            self.model.check_losses(journal);
        }
        let mut tips = (self.parts)(&self.config, self.rig.geometry().slots).frontier;
        let mut buffer = vec![0; 64 * 1024];
        journal.verify(&mut tips, &mut buffer, &mut |finding| panic!("{finding:?}")).unwrap();
    }

    fn checkpoint(&mut self) -> After {
        let written = self.journal().checkpoint(false);
        if written.is_ok() { After::GoesOn } else { After::Failed }
    }

    fn close(&mut self) -> After {
        if self.journal.take().expect("it was opened").close().is_ok() {
            self.flying = None;
        }
        After::Failed
    }

    fn append(&mut self) -> After {
        let lane = self.rng.below(LANES.into()) as usize;
        let group = self.rng.chance(1, 4);
        let count = 1 + self.rng.below(8);
        let drafts: Vec<Draft> = (0..count).map(|_| self.draft(lane)).collect();
        let bytes: usize = drafts.iter().map(|draft| draft.encoded().len() + 150).sum();
        if group && bytes < self.config.entry_max as usize {
            return self.append_group(lane, &drafts, bytes);
        }
        let mut staged = Vec::new();
        for draft in &drafts {
            let mut outcome = self.stage(lane, draft, &mut staged);
            if outcome == Err(StageError::CommitFull) {
                if self.commit(lane, &mut staged) == After::Failed {
                    return After::Failed;
                }
                outcome = self.stage(lane, draft, &mut staged);
            }
            match outcome {
                Ok(()) | Err(StageError::TooLarge) => {}
                Err(StageError::LaneFull) => break,
                Err(StageError::Media(_)) => return After::Failed,
                Err(error) => panic!("{error:?} for {draft:?} behind {} records", staged.len()),
            }
        }
        if self.rng.chance(1, 20) {
            self.journal().abandon();
            return After::GoesOn;
        }
        self.commit(lane, &mut staged)
    }

    fn append_group(&mut self, lane: usize, drafts: &[Draft], bytes: usize) -> After {
        match self.journal().begin_group(Lane::new(lane as u8), bytes) {
            Ok(()) => {}
            Err(StageError::LaneFull) => return After::GoesOn,
            Err(StageError::Media(_)) => return After::Failed,
            Err(error) => panic!("{error:?} for a group of {bytes} bytes"),
        }
        let mut staged = Vec::new();
        for draft in drafts {
            self.stage(lane, draft, &mut staged).expect("there is room for the group");
        }
        self.journal().end_group();
        self.commit(lane, &mut staged)
    }

    fn stage(
        &mut self,
        lane: usize,
        draft: &Draft,
        staged: &mut Vec<Noted>,
    ) -> Result<(), StageError> {
        let entry_max = self.config.entry_max as usize;
        let journal = self.journal.as_mut().expect("it was opened");
        let ix = known(journal, &draft.topic);
        let sequence = |id: u64| {
            let staged = staged.iter().rev().filter_map(|noted: &Noted| noted.producer);
            let staged = staged.clone().find(|(known, _)| *known == id).map(|(_, last)| last);
            staged.or(self.model.sequence(id))
        };
        let last = draft.producer.map(|id| (id, sequence(id)));
        if let (true, Some((id, Some(last)))) = (draft.retries, last) {
            let outcome = draft.stage(journal, lane, ix, Some((id, last)));
            assert_eq!(outcome, Err(StageError::Duplicate), "a retry is recognised");
            return Ok(());
        }
        let producer = last.map(|(id, last)| (id, last.map_or(7, |last| last + 1)));
        let outcome = draft.stage(journal, lane, ix, producer);
        if outcome == Err(StageError::TooLarge) {
            assert!(draft.value.len() + 200 > entry_max, "{} bytes are no more", draft.value.len());
        }
        let place = outcome?;
        let before = staged.iter().filter(|noted| noted.topic == draft.topic).count() as u64;
        assert_eq!(place.offset, self.model.tip(&draft.topic).next.plus(before), "its offset");
        let seq = self.model.next_seq(lane).plus(staged.len() as u64);
        assert_eq!(place.seq, seq, "its seq");
        let got = Got {
            seq,
            stream: stream(&draft.topic).to_string(),
            epoch: journal.epoch(),
            offset: place.offset,
            encoded: Draft { sequence: producer.map(|(_, last)| last), ..draft.clone() }.encoded(),
        };
        staged.push(Noted { got, topic: draft.topic.clone(), producer });
        Ok(())
    }

    fn commit(&mut self, lane: usize, staged: &mut Vec<Noted>) -> After {
        if self.journal().land().is_err() {
            return After::Failed;
        }
        self.flying = None;
        let records = std::mem::take(staged);
        if self.rng.chance(1, 2) {
            return self.commit_ahead(lane, records);
        }
        match self.journal().commit() {
            Ok(commit) => {
                assert_eq!(commit.is_some(), !records.is_empty(), "a commit has records");
                self.model.acknowledge(lane, records);
                After::GoesOn
            }
            Err(_) => {
                self.model.doubt(lane, records);
                After::Failed
            }
        }
    }

    fn commit_ahead(&mut self, lane: usize, records: Vec<Noted>) -> After {
        let before = self.model.clone();
        let Ok(commit) = self.journal().commit_ahead() else {
            self.model.doubt(lane, records);
            return After::Failed;
        };
        assert_eq!(commit.is_some(), !records.is_empty(), "a commit has records");
        self.model.acknowledge(lane, records.clone());
        // It is forgotten at once if the commit has landed.
        self.flying = Some(Flying { before, lane, records });
        self.note_landing();
        After::GoesOn
    }

    fn drop_durable(&mut self) -> After {
        let lane = Lane::new(self.rng.below(LANES.into()) as u8);
        let journal = self.journal();
        for ix in (0..journal.frontier().streams()).map(StreamIx) {
            let tip = journal.frontier().tip(ix).next;
            journal.frontier_mut().promise(ix, BranchIx::MAIN, tip, tip);
        }
        let mut buffer = vec![0; 64 * 1024];
        assert!(journal.oldest_is_durable(lane, false, &mut buffer), "all was promised");
        self.promised = true;
        self.drop_oldest(lane, None)
    }

    fn drop_loudly(&mut self) -> After {
        let lane = Lane::new(self.rng.below(LANES.into()) as u8);
        self.drop_oldest(lane, Some(GapReason::Dropped))
    }

    fn drop_oldest(&mut self, lane: Lane, reason: Option<GapReason>) -> After {
        let Some(oldest) = self.journal().oldest(lane) else { return After::GoesOn };
        let mut buffer = vec![0; 64 * 1024];
        let drop = Drop { first: oldest.seqs.1, loud: reason.is_some() && !self.promised };
        let dropped = self.journal().drop_oldest(lane, reason, &mut buffer);
        assert_ne!(dropped, Err(DropError::None));
        self.model.drop_below(lane.get().into(), drop, dropped.is_ok());
        if dropped.is_ok() { After::GoesOn } else { After::Failed }
    }

    fn draft(&mut self, lane: usize) -> Draft {
        let entry_max = u64::from(self.config.entry_max);
        let len = match self.rng.below(20) {
            0 => entry_max - 100 - self.rng.below(150),
            1..5 => self.rng.below(entry_max / 2),
            _ => self.rng.below(48),
        };
        let mut value = vec![0; len as usize];
        self.rng.fill(&mut value);
        let producer = self.rng.chance(1, 3).then(|| 1 + self.rng.below(3));
        let retries = self.rng.chance(1, 4);
        let topic = format!("{}-{lane}", self.rng.pick(&["ais", "weather-station"]));
        Draft { topic, value, producer, sequence: None, retries }
    }
}

/// A record before it is staged.
#[derive(Clone, Debug)]
struct Draft {
    topic: String,
    value: Vec<u8>,
    producer: Option<u64>,
    sequence: Option<u64>,
    retries: bool,
}

impl Draft {
    fn record(&self) -> Record<'_> {
        let record = Record::new(Timestamp::new(-5), Some(b"k"), Some(&self.value));
        let id = self.producer.map(ProducerId::new);
        let producer = id.zip(self.sequence).map(|(id, sequence)| Producer { id, sequence });
        Record { producer, ..record }
    }

    fn encoded(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.value.len() + 64];
        let mut writer = Writer::new(&mut bytes);
        self.record().encode(&mut writer).expect("there is room for a record");
        writer.written().to_vec()
    }

    fn stage<R: Rig, T: Tables>(
        &self,
        journal: &mut Journal<R, T>,
        lane: usize,
        ix: StreamIx,
        producer: Option<(u64, u64)>,
    ) -> Result<Staged, StageError> {
        let draft = Self { sequence: producer.map(|(_, sequence)| sequence), ..self.clone() };
        journal.stage_record(Lane::new(lane as u8), ix, &draft.record(), ClockQuality::Local)
    }
}
