//! The SQLite file of the views: its settings, and the tables in which it says what it holds.
//!
//! ```text
//! _views      each view: its definition, hash, generation and state
//! _objects    which table, index, trigger or SQL view belongs to which view
//! _positions  how far each view has come
//! _errors     records that a view's statements refused, the newest 10,000
//! _outbox     derived records that are not yet known to be durable
//! _derivations  as whom each view derives, and from where on
//! _node       one row: the end of the log, the link
//! _status     the three above as a SQL view, for programs that want to know how fresh rows are
//! ```
//!
//! The file is a copy of what the log says. One that can't be read is thrown away.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use landfall_core::limits::LANES_MAX;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, Error, ErrorCode, OpenFlags, OptionalExtension as _};

use super::authorizer::Guard;
use super::check::Object;
use super::definition::Definition;
use super::heap;
use crate::api::{Cursor, Seen};

/// The oldest SQLite that may write in WAL mode: older ones can lose a checkpoint.
const SQLITE_VERSION_MIN: i32 = 3_051_003;
/// The layout of the tables below. A file of another one is made anew.
const LAYOUT: i64 = 3;
/// Steps of SQLite's machine between two looks at what a statement has taken.
const STEPS: i32 = 100_000;
/// Steps, in these hundred thousands, that one record's statements may take: about a second. It is
/// a count and no time, so that a rebuild refuses the same records.
const RECORD_STEPS_MAX: u32 = 500;

/// What is large while a view is made, such as the sorting for an index, goes to the disk: the
/// memory that there is has to do for all views.
const SETTINGS: &str = "
PRAGMA auto_vacuum=INCREMENTAL;
PRAGMA journal_mode=WAL;
PRAGMA synchronous=NORMAL;
PRAGMA wal_autocheckpoint=0;
PRAGMA journal_size_limit=8388608;
PRAGMA temp_store=FILE;
PRAGMA cache_size=-2048;
PRAGMA foreign_keys=OFF;
PRAGMA trusted_schema=OFF;
";

const TABLES: &str = "
CREATE TABLE _views(
  view TEXT PRIMARY KEY, generation INTEGER NOT NULL, hash TEXT NOT NULL, definition TEXT NOT NULL,
  state TEXT NOT NULL, reason TEXT) WITHOUT ROWID;
CREATE TABLE _objects(
  view TEXT NOT NULL, type TEXT NOT NULL, name TEXT NOT NULL,
  PRIMARY KEY(type, name)) WITHOUT ROWID;
CREATE TABLE _positions(
  view TEXT PRIMARY KEY, log TEXT NOT NULL, epoch TEXT NOT NULL, commit_no INTEGER NOT NULL,
  record INTEGER NOT NULL, records INTEGER NOT NULL, errors INTEGER NOT NULL, watermark INTEGER,
  caught_up INTEGER NOT NULL, lacking INTEGER NOT NULL, seen TEXT NOT NULL,
  at_ms INTEGER NOT NULL, derived INTEGER NOT NULL, place INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE _errors(
  id INTEGER PRIMARY KEY, view TEXT NOT NULL, topic TEXT NOT NULL, origin TEXT NOT NULL,
  epoch TEXT NOT NULL, partition INTEGER NOT NULL, \"offset\" INTEGER NOT NULL, error TEXT NOT NULL,
  at_ms INTEGER NOT NULL);
CREATE TABLE _outbox(
  id INTEGER PRIMARY KEY, view TEXT NOT NULL, producer TEXT NOT NULL, sequence INTEGER NOT NULL,
  commit_no INTEGER NOT NULL, record INTEGER NOT NULL, topic TEXT NOT NULL,
  partition INTEGER NOT NULL, cause TEXT NOT NULL, nth INTEGER NOT NULL, encoded BLOB NOT NULL);
CREATE INDEX _outbox_view ON _outbox(view);
CREATE TABLE _derivations(
  view TEXT PRIMARY KEY, run TEXT NOT NULL, after_commit INTEGER,
  after_record INTEGER) WITHOUT ROWID;
CREATE TABLE _node(
  one INTEGER PRIMARY KEY CHECK(one = 1), running INTEGER NOT NULL, link TEXT NOT NULL,
  link_since_ms INTEGER NOT NULL, log_end INTEGER NOT NULL);
INSERT INTO _node VALUES(1, 0, 'unknown', 0, 0);
CREATE VIEW _status AS
  SELECT v.view, v.generation, v.state, v.reason, p.log, p.epoch, p.commit_no, p.records, p.errors,
    p.watermark, coalesce(p.caught_up, 0) AS caught_up, coalesce(p.place, 0) AS place, n.log_end,
    p.lacking, p.derived, p.at_ms, n.running, n.link, n.link_since_ms
  FROM _views v LEFT JOIN _positions p USING(view) CROSS JOIN _node n;
";

/// A file of views that is open for writing.
#[derive(Debug)]
pub(super) struct ViewFile {
    pub(super) connection: Connection,
    pub(super) guard: Guard,
    path: PathBuf,
    /// Device and number of the file, to notice that somebody took it away.
    identity: (u64, u64),
    steps: Steps,
}

/// What the file says of one view.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Stored {
    pub(super) generation: u64,
    pub(super) hash: String,
    pub(super) definition: Option<Definition>,
    /// Whether it can't be used.
    pub(super) failed: bool,
}

/// How far a view has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Progress {
    /// Behind which record; none before the first page.
    pub(super) cursor: Option<Cursor>,
    /// Records that its statements took.
    pub(super) records: u64,
    /// Records that they refused.
    pub(super) errors: u64,
    /// The latest timestamp among them.
    pub(super) watermark: Option<i64>,
    /// Whether it was at the end of the log.
    pub(super) caught_up: bool,
    /// How far it has come in each lane.
    pub(super) seen: Seen,
    /// Records of these lanes, of whatever topic, that the log forgot before the view came.
    pub(super) lacking: u64,
    /// Records that it derived: the sequence of the last one.
    pub(super) derived: u64,
}

/// How much of SQLite's work the statement at hand may still take.
#[derive(Clone, Debug)]
struct Steps(Arc<AtomicU32>);

impl ViewFile {
    /// Opens the file, or makes it. One that is damaged or of another layout is replaced; then the
    /// second value says why.
    ///
    /// # Errors
    /// The disk refuses, or SQLite is too old.
    pub(super) fn open(path: &Path) -> Result<(Self, Option<String>), Error> {
        let version = rusqlite::version_number();
        if version < SQLITE_VERSION_MIN {
            let text =
                format!("SQLite {} is too old for WAL; 3.51.3 is needed", rusqlite::version());
            return Err(Error::SqliteFailure(rusqlite::ffi::Error::new(1), Some(text)));
        }
        let was_there = path.exists();
        match Self::open_once(path) {
            Ok(file) => Ok((file, None)),
            Err(error) if was_there && is_damage(&error) => {
                let why = error.to_string();
                remove(path);
                Ok((Self::open_once(path)?, Some(why)))
            }
            Err(error) => Err(error),
        }
    }

    fn open_once(path: &Path) -> Result<Self, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX
            | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let mut connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(Duration::from_secs(5))?;
        heap::limit(&connection)?;
        connection.execute_batch(SETTINGS)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        // A misspelt column in double quotes is an error, not text.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
        if found != "ok" {
            return Err(damaged(found));
        }
        match connection.query_row("PRAGMA user_version", [], |row| row.get::<_, i64>(0))? {
            LAYOUT => {}
            0 => connection
                .execute_batch(&format!("BEGIN;{TABLES}PRAGMA user_version={LAYOUT};COMMIT"))?,
            other => return Err(damaged(format!("layout {other} is of another version"))),
        }
        let guard = Guard::new(&mut connection)?;
        let steps = Steps(Arc::new(AtomicU32::new(u32::MAX)));
        let counted = steps.clone();
        connection.progress_handler(STEPS, Some(move || counted.take()))?;
        let identity = identity(path).ok_or_else(|| damaged("the file is gone".to_owned()))?;
        // Others read, the node writes.
        set_mode(path);
        Ok(Self { connection, guard, path: path.to_owned(), identity, steps })
    }

    /// Whether the file that is open is still the one at its path.
    pub(super) fn is_there(&self) -> bool {
        identity(&self.path) == Some(self.identity)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes it, and takes it away.
    pub(super) fn discard(self) {
        let path = self.path.clone();
        drop(self);
        remove(&path);
    }

    /// Does `work` in one transaction; if it fails, nothing of it was done.
    pub(super) fn transaction<T, E: From<Error>>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        self.connection.execute_batch("BEGIN IMMEDIATE")?;
        let outcome = work(&self.connection).and_then(|done| {
            self.connection.execute_batch("COMMIT")?;
            Ok(done)
        });
        // Some errors end the transaction by themselves.
        if outcome.is_err() && !self.connection.is_autocommit() {
            self.connection.execute_batch("ROLLBACK")?;
        }
        outcome
    }

    /// Lets what follows take as much as one record may.
    pub(super) fn limit_steps(&self) {
        self.steps.0.store(RECORD_STEPS_MAX, Ordering::Relaxed);
    }

    /// Lets what follows take as long as it needs.
    pub(super) fn free_steps(&self) {
        self.steps.0.store(u32::MAX, Ordering::Relaxed);
    }

    /// What it says of the views, by name.
    pub(super) fn stored(&self) -> Result<BTreeMap<String, Stored>, Error> {
        let sql = "SELECT view, generation, hash, definition, state = 'failed' FROM _views";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement.query_map([], |row| {
            let definition: String = row.get(3)?;
            let stored = Stored {
                generation: row.get::<_, i64>(1)?.unsigned_abs(),
                hash: row.get(2)?,
                definition: serde_json::from_str(&definition).ok(),
                failed: row.get(4)?,
            };
            Ok((row.get(0)?, stored))
        })?;
        rows.collect()
    }

    /// How far a view has come.
    pub(super) fn progress(&self, view: &str) -> Result<Progress, Error> {
        let sql = "SELECT log, epoch, commit_no, record, records, errors, watermark, caught_up, \
                   lacking, seen, derived \
                   FROM _positions WHERE view = ?1";
        let found = self.connection.query_row(sql, [view], |row| {
            let hex = |at| row.get(at).map(|text: String| u64::from_str_radix(&text, 16).ok());
            let cursor = match (hex(0)?, hex(1)?) {
                (Some(log_id), Some(epoch)) => Some(Cursor {
                    log_id,
                    epoch,
                    commit: row.get::<_, i64>(2)?.unsigned_abs(),
                    index: row.get(3)?,
                }),
                _ => None,
            };
            Ok(Progress {
                cursor,
                records: row.get::<_, i64>(4)?.unsigned_abs(),
                errors: row.get::<_, i64>(5)?.unsigned_abs(),
                watermark: row.get(6)?,
                caught_up: row.get(7)?,
                lacking: row.get::<_, i64>(8)?.unsigned_abs(),
                seen: seen_of(&row.get::<_, String>(9)?),
                derived: row.get::<_, i64>(10)?.unsigned_abs(),
            })
        });
        Ok(found.optional()?.unwrap_or(Progress::START))
    }

    /// What belongs to a view.
    pub(super) fn objects(&self, view: &str) -> Result<Vec<Object>, Error> {
        let sql = "SELECT type, name FROM _objects WHERE view = ?1";
        let mut statement = self.connection.prepare(sql)?;
        let rows = statement
            .query_map([view], |row| Ok(Object { kind: row.get(0)?, name: row.get(1)? }))?;
        rows.collect()
    }

    /// Bytes of the write-ahead log, which grows while a reader holds a transaction.
    pub(super) fn wal_bytes(&self) -> u64 {
        fs::metadata(beside(&self.path, "-wal")).map_or(0, |found| found.len())
    }
}

impl Progress {
    /// Before the first record.
    pub(super) const START: Self = Self {
        cursor: None,
        records: 0,
        errors: 0,
        watermark: None,
        caught_up: false,
        seen: Seen([0; LANES_MAX]),
        lacking: 0,
        derived: 0,
    };
}

impl Steps {
    /// Takes a look's worth of steps; whether there were none left.
    fn take(&self) -> bool {
        let left = self.0.load(Ordering::Relaxed);
        if left != u32::MAX {
            self.0.store(left.saturating_sub(1), Ordering::Relaxed);
        }
        left == 0
    }
}

fn seen_of(text: &str) -> Seen {
    let mut seen = Seen::default();
    for (seq, word) in seen.0.iter_mut().zip(text.split(' ')) {
        *seq = word.parse().unwrap_or_default();
    }
    seen
}

/// Whether an error means that the file is no good, however often it is tried.
pub(super) fn is_damage(error: &Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

pub(super) fn damaged(what: String) -> Error {
    let code = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    Error::SqliteFailure(code, Some(what))
}

/// The file and what SQLite keeps beside it.
pub(super) fn remove(path: &Path) {
    for end in ["", "-wal", "-shm", "-journal"] {
        // What is not there need not go; what can't go makes the next opening fail.
        let _ = fs::remove_file(beside(path, end));
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let found = fs::metadata(path).ok()?;
    Some((found.dev(), found.ino()))
}

/// The owner writes, and the owner's group reads.
fn set_mode(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    for end in ["", "-wal", "-shm"] {
        // A file system without modes has no readers to keep from writing.
        let _ = fs::set_permissions(beside(path, end), fs::Permissions::from_mode(0o640));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::views::definition::tests::latest;
    use crate::views::notes::{put_progress, put_view};

    fn count(file: &ViewFile) -> i64 {
        file.connection.query_row("SELECT count(*) FROM _views", [], |row| row.get(0)).unwrap()
    }

    fn with_a_view(path: &Path) -> ViewFile {
        let (file, replaced) = ViewFile::open(path).unwrap();
        assert_eq!(replaced, None);
        put_view(&file.connection, &latest(), 3, None).unwrap();
        file
    }

    #[test]
    fn a_file_is_found_as_it_was_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("views.db");
        drop(with_a_view(&path));
        let (file, replaced) = ViewFile::open(&path).unwrap();
        assert_eq!((replaced, count(&file)), (None, 1));
        let stored = file.stored().unwrap().remove("latest").unwrap();
        assert_eq!((stored.generation, stored.hash), (3, latest().hash()));
        assert_eq!(stored.definition, Some(latest()));
        let cursor = Some(Cursor { log_id: u64::MAX, epoch: 1 << 63, commit: 12, index: 4 });
        let progress = Progress {
            cursor,
            records: 9,
            watermark: Some(-1),
            seen: Seen([3, u64::MAX, 0, 0, 0, 0, 7]),
            lacking: 5,
            derived: 8,
            ..Progress::START
        };
        put_progress(&file.connection, "latest", &progress, 0).unwrap();
        assert_eq!(file.progress("latest").unwrap(), progress);
        assert_eq!(file.progress("other").unwrap(), Progress::START);
    }

    #[test]
    fn a_file_that_is_no_good_is_replaced_and_says_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("views.db");
        std::fs::write(&path, [0x55; 8192]).unwrap();
        let (file, replaced) = ViewFile::open(&path).unwrap();
        assert!(replaced.unwrap().contains("not a database"));
        file.connection.execute_batch("PRAGMA user_version = 99").unwrap();
        drop(file);
        let (_, replaced) = ViewFile::open(&path).unwrap();
        assert!(replaced.unwrap().contains("layout 99"));
        let file = with_a_view(&path);
        let fill = "CREATE TABLE t(x); WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 \
             FROM c WHERE x < 2000) INSERT INTO t SELECT hex(zeroblob(20)) || x FROM c";
        file.connection.execute_batch(fill).unwrap();
        drop(file);
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2 / 4096 * 4096;
        bytes[middle..middle + 512].fill(0xee);
        std::fs::write(&path, bytes).unwrap();
        let (file, replaced) = ViewFile::open(&path).unwrap();
        assert!(replaced.is_some());
        assert_eq!(count(&file), 0);
    }

    #[test]
    fn somebody_who_takes_the_file_away_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("views.db");
        let file = with_a_view(&path);
        assert!(file.is_there());
        std::fs::rename(&path, folder.path().join("elsewhere")).unwrap();
        assert!(!file.is_there());
        std::fs::copy(folder.path().join("elsewhere"), &path).unwrap();
        assert!(!file.is_there(), "another file is not this one");
    }

    #[test]
    fn what_is_refused_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = with_a_view(&folder.path().join("views.db"));
        let outcome = file.transaction(|connection| {
            connection.execute_batch("DELETE FROM _views")?;
            connection.execute_batch("DELETE FROM nothing")
        });
        assert!(outcome.is_err());
        assert_eq!(count(&file), 1);
        assert!(file.connection.is_autocommit());
    }
}
