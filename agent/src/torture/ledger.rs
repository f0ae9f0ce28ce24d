//! The ledger: what was acknowledged, kept where the plug does not reach.
//!
//! One JSON object a line, each synced before more is appended:
//!
//! ```text
//! {"run":{"id":"…","site":"ship-17","topic":"torture","log":"…"}}
//! {"acked":{"first":1,"count":64,"at":"ship-17/torture/0@0~1f","cursor":"7-1f-12-64"}}
//! {"control":{"block":3}}
//! {"stopped":{"acknowledged":64}}
//! ```
//!
//! A power cut may leave half a line. It is passed over, and counted.

use std::fs::File;
use std::io::{self, BufRead, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::content::RunId;
use crate::api::Cursor;
use crate::coordinates::Coordinates;

/// A line of the ledger.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// A run begins.
    Run {
        /// Its number.
        id: RunId,
        /// The node's name.
        site: String,
        /// Where it writes.
        topic: String,
        /// The node's journal.
        log: String,
    },
    /// Records were acknowledged, one after the other.
    Acked {
        /// The number of the first.
        first: u64,
        /// How many.
        count: u64,
        /// Coordinates of the first; none if the receipt does not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<String>,
        /// How far the journal had come then.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cursor: Option<String>,
    },
    /// A block of the control file was synced.
    Control {
        /// Its number.
        block: u64,
    },
    /// The run ended because it was told to.
    Stopped {
        /// Records that were acknowledged.
        acknowledged: u64,
    },
}

/// A ledger that is written.
pub(super) struct Ledger {
    file: File,
    place: String,
    /// Whether it can be synced; what is piped elsewhere can't.
    syncs: bool,
    lines: u64,
}

impl Ledger {
    /// The ledger in a file, behind what is there, or on standard output.
    ///
    /// # Errors
    /// The file can't be opened, or standard output is closed.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let (file, place) = match path {
            Some(path) => {
                let file = File::options().create(true).append(true).open(path)?;
                let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
                File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
                (file, path.display().to_string())
            }
            None => {
                let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
                (file, "standard output".to_owned())
            }
        };
        let kind = file.metadata()?.file_type();
        let syncs = kind.is_file() || kind.is_block_device();
        let mut ledger = Self { file, place, syncs, lines: 0 };
        // What a cut left of the last line ends here.
        ledger.put(b"\n")?;
        Ok(ledger)
    }

    /// Whether a directory lies on the same file system.
    pub(super) fn is_on_disk_of(&self, dir: &Path) -> bool {
        let here = self.file.metadata().ok().filter(|_| self.syncs);
        here.zip(dir.metadata().ok()).is_some_and(|(here, dir)| here.dev() == dir.dev())
    }

    /// Adds lines, and syncs them.
    ///
    /// # Errors
    /// It can't be written, or nobody reads it any more.
    pub(super) fn add(&mut self, lines: &[Line]) -> io::Result<()> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line)?;
            text.push(b'\n');
        }
        self.lines += lines.len() as u64;
        self.put(&text)
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        if self.syncs { self.file.sync_data() } else { Ok(()) }
    }

    /// Lines that were added.
    pub(super) fn lines(&self) -> u64 {
        self.lines
    }

    /// Where it is, for people.
    pub(super) fn place(&self) -> &str {
        &self.place
    }
}

/// A ledger that was read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Book {
    pub(super) site: String,
    pub(super) topic: String,
    pub(super) runs: Vec<Run>,
    /// Lines that are cut off or damaged.
    pub(super) unreadable: u64,
}

/// A run, as its ledger tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) log: String,
    pub(super) acked: Vec<Acked>,
    /// The last block of the control file that was synced.
    pub(super) control: Option<u64>,
}

/// Records that were acknowledged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Acked {
    pub(super) first: u64,
    pub(super) count: u64,
    pub(super) at: Option<Coordinates>,
    /// The last commit of the journal then.
    pub(super) commit: Option<u64>,
}

/// Why a ledger is of no use.
#[derive(Debug)]
pub(super) enum NoBook {
    /// It can't be read.
    System(io::Error),
    /// It tells of no run.
    Empty,
    /// It tells of two nodes, or of two topics.
    Mixed(String, String),
}

/// Bytes of a line; a longer one is none of a ledger.
const LINE_BYTES_MAX: u64 = 4 << 10;
/// Records that one line may acknowledge: more than any request has.
const ACKED_MAX: u64 = 1 << 20;

impl Book {
    /// Reads a ledger.
    ///
    /// # Errors
    /// See [`NoBook`].
    pub(super) fn read(mut from: impl BufRead) -> Result<Self, NoBook> {
        let mut book = Self::default();
        let mut text = Vec::new();
        loop {
            text.clear();
            let mut limited = from.by_ref().take(LINE_BYTES_MAX);
            if limited.read_until(b'\n', &mut text).map_err(NoBook::System)? == 0 {
                break;
            }
            if text.trim_ascii().is_empty() {
                continue;
            }
            // A line without its end may lack more than that.
            match serde_json::from_slice(&text).ok().filter(|_| text.ends_with(b"\n")) {
                Some(line) => book.note(line)?,
                None => book.unreadable += 1,
            }
        }
        if book.runs.is_empty() { Err(NoBook::Empty) } else { Ok(book) }
    }

    fn note(&mut self, line: Line) -> Result<(), NoBook> {
        if let Line::Run { id, site, topic, log } = line {
            if self.runs.is_empty() {
                (self.site, self.topic) = (site, topic);
            } else if (&self.site, &self.topic) != (&site, &topic) {
                let mixed = |site: &str, topic: &str| format!("{site}, topic {topic}");
                return Err(NoBook::Mixed(mixed(&self.site, &self.topic), mixed(&site, &topic)));
            }
            self.runs.push(Run { id, log, acked: Vec::new(), control: None });
            return Ok(());
        }
        let Some(run) = self.runs.last_mut() else {
            self.unreadable += 1;
            return Ok(());
        };
        match line {
            Line::Acked { first, count, .. } if !is_possible(first, count) => self.unreadable += 1,
            Line::Acked { first, count, at, cursor } => run.acked.push(Acked {
                first,
                count,
                at: at.and_then(|at| at.parse().ok()),
                commit: cursor.and_then(|text| Some(text.parse::<Cursor>().ok()?.commit)),
            }),
            Line::Control { block } => run.control = Some(block),
            Line::Run { .. } | Line::Stopped { .. } => {}
        }
        Ok(())
    }
}

/// Whether a writer may have noted these numbers.
fn is_possible(first: u64, count: u64) -> bool {
    (1..=ACKED_MAX).contains(&count) && first.checked_add(count).is_some()
}

/// The lines of a ledger, from a file or from standard input.
///
/// # Errors
/// The file can't be read.
pub(super) fn source(path: Option<&PathBuf>) -> io::Result<Box<dyn BufRead>> {
    Ok(match path {
        Some(path) => Box::new(io::BufReader::new(File::open(path)?)),
        None => Box::new(io::BufReader::new(io::stdin())),
    })
}

impl std::fmt::Display for NoBook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System(error) => write!(f, "it can't be read: {error}"),
            Self::Empty => f.write_str(
                "it tells of no run; give the file that `landfall torture --write` wrote",
            ),
            Self::Mixed(one, other) => write!(
                f,
                "it tells of {one}, and of {other}; keep a ledger for each node and topic"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(site: &str) -> Line {
        let text = |text: &str| text.to_owned();
        Line::Run { id: RunId(1), site: text(site), topic: text("torture"), log: text("7") }
    }

    #[test]
    fn a_ledger_with_a_line_cut_off_goes_on_in_the_next_run() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger");
        let at = Some("ship/torture/0@0~1f".to_owned());
        let acked = Line::Acked { first: 1, count: 64, at, cursor: Some("7-1f-12-64".into()) };
        let mut ledger = Ledger::open(Some(&path)).unwrap();
        ledger.add(&[run("ship"), acked, Line::Control { block: 3 }]).unwrap();
        ledger.put(br#"{"acked":{"first":65,"cou"#).unwrap();
        let mut ledger = Ledger::open(Some(&path)).unwrap();
        ledger.add(&[run("ship"), Line::Stopped { acknowledged: 0 }]).unwrap();
        assert!(ledger.is_on_disk_of(dir.path()) && ledger.lines() == 2);
        ledger.put(br#"{"control":{"block":3}}"#).unwrap();

        let book = Book::read(source(Some(&path)).unwrap()).unwrap();
        assert_eq!((book.site.as_str(), book.runs.len(), book.unreadable), ("ship", 2, 2));
        let first = &book.runs[0];
        let at = "ship/torture/0@0~1f".parse().ok();
        assert_eq!(first.acked, [Acked { first: 1, count: 64, at, commit: Some(12) }]);
        assert_eq!((first.control, book.runs[1].control), (Some(3), None));
    }

    #[test]
    fn a_ledger_is_of_one_node() {
        let text = |lines: &[Line]| -> String {
            lines.iter().map(|line| serde_json::to_string(line).unwrap() + "\n").collect()
        };
        assert!(matches!(Book::read(&b"nonsense\n\n"[..]), Err(NoBook::Empty)));
        let mixed = Book::read(text(&[run("a"), run("b")]).as_bytes()).unwrap_err();
        assert!(mixed.to_string().contains("a, topic torture, and of b"), "{mixed}");
    }
}
