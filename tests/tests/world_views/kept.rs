//! A host with views: what they ask is answered by its node, until they have come to the end of the
//! log or the host dies over it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landfall::api::{AppendReceipt, AppendRequest, Cursor, DEAD_SUFFIX, ViewState};
use landfall::daemon::encode_event;
use landfall::event_json::Event;
use landfall::node::consumer::Place;
use landfall::node::{AppendOutcome, ViewPlace};
use landfall::views::definition::Definition;
use landfall::views::{self, Standing};
use landfall_core::num::{CommitNo, Epoch};
use landfall_simulation::world::World;
use tempfile::TempDir;

use crate::process::{Asked, Process};

/// What views may ask before they must have come to an end.
const ASKED_MAX: u32 = 100_000;
/// Records of a page: few, so that there is much between two of them.
const PAGE_RECORDS_MAX: usize = 48;
/// The time of records that are derived from nothing, in milliseconds since 1970.
const NOW_MS: i64 = 1_767_225_600_000;
/// What SQLite keeps beside a database.
const FILES: [&str; 2] = ["", "-wal"];

/// The views of a host.
pub(crate) struct Kept {
    pub(crate) name: &'static str,
    folder: TempDir,
    wanted: Vec<Definition>,
    /// The epoch under which its node writes since it was started, if it was seen.
    epoch: Option<Epoch>,
    process: Option<Process>,
    saved: Option<TempDir>,
    producers: Producers,
}

impl Kept {
    pub(crate) fn new(name: &'static str, wanted: &[Definition]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let wanted = wanted.to_vec();
        let producers = Producers::default();
        Self { name, folder, wanted, epoch: None, process: None, saved: None, producers }
    }

    /// The file with the rows.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.path().join(views::FILE_NAME)
    }

    /// Notices that the host went down, or is another process by now, of which the node does not
    /// know yet where its views are.
    pub(crate) async fn look(&mut self, world: &mut World) {
        let epoch = world.is_up(self.name).then(|| world.epoch(self.name));
        if epoch == self.epoch {
            return;
        }
        self.epoch = epoch;
        if let Some(process) = self.process.take() {
            process.kill().await;
        }
        let anywhere = self.wanted.iter().map(|view| {
            let (view, topics) = (view.name.clone(), view.topics());
            let (at, told, stands, lacks) = (Place::default(), false, false, 0);
            ViewPlace { view, topics, at, told, stands, lacks }
        });
        world.hold_for_views(self.name, anywhere.collect());
    }

    /// Lets the views come to the end of the log, or ends before they have asked so much, with what
    /// they asked last under way. Returns whether they came to the end.
    pub(crate) async fn attend(&mut self, world: &mut World, most: Option<u64>) -> bool {
        self.look(world).await;
        if self.epoch.is_none() {
            return false;
        }
        let (name, data, wanted) = (self.name, self.folder.path(), &self.wanted);
        let process =
            self.process.get_or_insert_with(|| Process::start(name, data, wanted.clone()));
        for asked in 0..ASKED_MAX {
            process.has_synced(world.node(name).journal().synced_commit().get());
            let next = process.next().await;
            if most == Some(u64::from(asked)) {
                if let Some(Asked::Append(request, _)) = next {
                    let topic = request.topic.clone();
                    world.start_append(name, &topic, self.producers.encoded(request), false);
                }
                return false;
            }
            match next {
                None if has_settled(process, wanted.len()) => {
                    say_places(world, name, process);
                    return true;
                }
                None => {}
                Some(asked) => answer(world, name, (process, &mut self.producers), asked),
            }
            if !world.is_up(name) || Some(world.epoch(name)) != self.epoch {
                return false;
            }
        }
        panic!("the views of {name} come to no end: {:?}\n{}", process.board(), world.describe());
    }

    /// Ends the process of the views in good order.
    pub(crate) async fn end(&mut self) {
        if let Some(process) = self.process.take() {
            process.end().await;
        }
    }

    /// Copies the file as it is.
    pub(crate) async fn save(&mut self) {
        self.end().await;
        let saved = tempfile::tempdir().unwrap();
        copy(self.folder.path(), saved.path());
        self.saved = Some(saved);
    }

    /// Puts the copy back, as after a power cut that took what was not synced; without one the file
    /// is lost.
    pub(crate) async fn go_back(&mut self) {
        self.end().await;
        for beside in ["", "-wal", "-shm"] {
            let path = self.folder.path().join(format!("{}{beside}", views::FILE_NAME));
            // Not all of them are there.
            let _ = std::fs::remove_file(path);
        }
        if let Some(saved) = self.saved.take() {
            copy(saved.path(), self.folder.path());
        }
    }

    /// The same views in a folder of their own, made from nothing but the log.
    pub(crate) async fn made_anew(&self, world: &mut World) -> Self {
        let mut anew = Self::new(self.name, &self.wanted);
        let came = anew.attend(world, None).await;
        assert!(came, "{} went down\n{}", self.name, world.describe());
        anew.end().await;
        anew
    }
}

fn copy(from: &Path, to: &Path) {
    for beside in FILES {
        let name = format!("{}{beside}", views::FILE_NAME);
        if from.join(&name).exists() {
            std::fs::copy(from.join(&name), to.join(&name)).unwrap();
        }
    }
}

/// Whether all views have all that is durable, and all that they derived is.
fn has_settled(process: &Process, wanted: usize) -> bool {
    let views = process.board().views;
    for view in &views {
        assert_eq!(view.state, ViewState::Running, "{view:?}");
    }
    views.len() == wanted && views.iter().all(|view| view.caught_up && view.outbox == 0)
}

fn say_places(world: &mut World, name: &str, process: &Process) {
    let standing = process.board().standing.unwrap_or_default();
    let place = |cursor: Cursor| Place {
        epoch: Epoch::new(cursor.epoch),
        commit: CommitNo::new(cursor.commit),
        index: cursor.index,
    };
    let places = standing.into_iter().map(|standing| {
        let Standing { name: view, topics, cursor, is_read, stands, lacks } = standing;
        let at = cursor.map(place).unwrap_or_default();
        ViewPlace { view, topics, at, told: is_read && cursor.is_some(), stands, lacks }
    });
    world.hold_for_views(name, places.collect());
}

fn answer(
    world: &mut World,
    name: &str,
    (process, producers): (&mut Process, &mut Producers),
    asked: Asked,
) {
    match asked {
        Asked::Read(mut query, answer) => {
            // Nobody is shown what a power cut could take back.
            world.run_until(60_000, |world| !world.is_up(name) || !world.node(name).holds());
            if world.is_up(name) {
                query.records_max = query.records_max.min(PAGE_RECORDS_MAX);
                let page = process.readers.page(world.node(name), &query, None);
                // A view that was begun anew asks no more.
                let _ = answer.send(page);
            }
        }
        Asked::Append(request, answer) => {
            let topic = request.topic.clone();
            let outcome = world.append_records(name, &topic, producers.encoded(request));
            match outcome {
                Some(AppendOutcome::Appended { .. }) => {
                    let _ = answer.send(Ok(AppendReceipt::default()));
                }
                // Its disk or its power went over it.
                _ if !world.is_up(name) => {}
                other => panic!("{name} derives to {topic}: {other:?}"),
            }
        }
    }
}

/// Names of producers as they are in every run of a case: a part of each is drawn at random.
#[derive(Default)]
struct Producers(BTreeMap<String, usize>);

impl Producers {
    /// The records of an append, as the daemon encodes them. What is drawn or read from a clock is
    /// put in its place, as it would change what is compressed on the way, and so the world.
    fn encoded(&mut self, mut request: AppendRequest) -> Vec<Vec<u8>> {
        let known = self.0.len();
        if let Some(producer) = &mut request.producer {
            let number = self.0.entry(producer.name.clone()).or_insert(known);
            producer.name = number.to_string();
        }
        let is_letter = request.topic.ends_with(DEAD_SUFFIX);
        let mut events = std::mem::take(&mut request.events);
        let record = |event: &mut Event| {
            event.timestamp_ms = event.timestamp_ms.filter(|_| !is_letter);
            let mut bytes = Vec::new();
            encode_event(&request, event, (0, NOW_MS), &mut bytes).unwrap();
            bytes
        };
        events.iter_mut().map(record).collect()
    }
}
