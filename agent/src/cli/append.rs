//! `landfall append`: lines of a file or of standard input into a topic.

use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use serde::Deserialize;
use tokio::sync::mpsc;

use super::arguments::{Arguments, Stop, Word};
use super::terminal::Progress;
use super::{Command, DataOptions, Exit, Failure};
use crate::api::{AppendDone, Client, ReceiptLine, SpanText, encoded};
use crate::clock;
use crate::coordinates::{Coordinates, check_topic};
use crate::quantity::{count_text, counted};

pub(super) const HELP: &str = "\
Append events to a topic, one JSON value a line

Usage: landfall append --data DIR TOPIC [FILE|-] [OPTION…]

Reads FILE, or standard input. Each line is the value of one record, as it stands there. An append
is reported only once its records are synced to disk. Prints runs of records: the coordinates of the
first, those of the last, and how many.

Options:
  --data DIR         The node's directory
  --config FILE      Its configuration; landfall.toml in the directory if left out
  --key-field F      Take the key from this field of each line
  --time-field F     Take the timestamp from this field: RFC 3339, or a number of ms or s since
                     1970; without it, the time of the append counts
  --producer NAME    Number the lines under this name: repeated after an interruption, with the same
                     input from its start, each line is written once
  --partition N      Write to this partition; by key if left out
  --records          Each line is a whole record as `landfall read` prints it, with key, value,
                     form, headers and timestamp; where it was is passed over
  --skip-bad         Count lines that are not JSON, and go on
  --json             Print the receipts as JSON, one a line, as they come
  --help             Show this
";

/// Options of `landfall append`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppendOptions {
    /// Which node.
    pub node: DataOptions,
    /// Where to.
    pub topic: String,
    /// Where from; standard input if none.
    pub file: Option<PathBuf>,
    /// Parameters of the request.
    pub query: String,
    /// Whether machines read the receipts.
    pub json: bool,
}

impl AppendOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut topic, mut file, mut query, mut json) = (None, None, Query::default(), false);
        while let Some(word) = arguments.next()? {
            match &word {
                Word::Option(name) => match name.as_str() {
                    "--key-field" => query.add("key_field", &arguments.value(name)?),
                    "--time-field" => query.add("time_field", &arguments.value(name)?),
                    "--producer" => query.add("producer", &arguments.value(name)?),
                    "--partition" => {
                        query.add("partition", &arguments.parsed::<u32>(name)?.to_string());
                    }
                    "--records" => query.add("lines", "records"),
                    "--skip-bad" => query.add("skip_bad", "true"),
                    "--json" => json = true,
                    _ => return Err(arguments.unknown(&word).into()),
                },
                Word::Plain(text) if topic.is_none() => {
                    check_topic(text).map_err(|error| arguments.wrong(error.to_string()))?;
                    topic = Some(text.clone());
                }
                Word::Plain(path) if file.is_none() => file = Some(path.clone()),
                Word::Plain(_) => return Err(arguments.unknown(&word).into()),
            }
        }
        let topic = topic.ok_or_else(|| arguments.wrong("which topic?"))?;
        let file = file.filter(|path| path != "-").map(PathBuf::from);
        let node = arguments.data()?;
        Ok(Command::Append(Self { node, topic, file, query: query.0, json }))
    }
}

/// Parameters of a request, as they stand behind its question mark.
#[derive(Debug, Default)]
pub(super) struct Query(pub(super) String);

impl Query {
    pub(super) fn add(&mut self, name: &str, value: &str) {
        let and = if self.0.is_empty() { "" } else { "&" };
        self.0.push_str(&format!("{and}{name}={}", encoded(value)));
    }
}

/// Appends, and writes to `out` what was written.
///
/// # Errors
/// When the input cannot be read, a line is bad or the node refuses. What `out` names is durable.
pub async fn run(
    options: &AppendOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let (input, bytes_total): (Box<dyn Read + Send>, _) = match &options.file {
        None => (Box::new(std::io::stdin()), None),
        Some(path) => {
            let failed = |error| {
                Failure::usage(format!("landfall append: cannot read {}: {error}", path.display()))
            };
            let file = File::open(path).map_err(failed)?;
            let bytes = file.metadata().map_err(failed)?.len();
            (Box::new(file), Some(bytes))
        }
    };
    let bytes_read = Arc::new(AtomicU64::new(0));
    let body = Input::spawn(input, bytes_read.clone());
    let mut progress = Progress::new(clock::monotonic(), bytes_total);
    let mut runs = Runs::new(options.json);
    let outcome = receive(options, client, body, &bytes_read, &mut progress, &mut runs, out).await;
    runs.end(out).map_err(cannot_print)?;
    let summary = match &outcome {
        Ok(done) => summary(done),
        Err(_) => format!("{} written before the error", counted(runs.records, "record")),
    };
    progress.finish(clock::monotonic(), &summary);
    let place = options.file.as_ref().map(|path| format!("{}: ", path.display()));
    outcome.map(|_| Exit::Done).map_err(|failure| Failure {
        message: format!("landfall append: {}{failure}", place.unwrap_or_default()),
        ..failure
    })
}

async fn receive(
    options: &AppendOptions,
    client: &Client,
    body: Input,
    bytes_read: &AtomicU64,
    progress: &mut Progress,
    runs: &mut Runs,
    out: &mut impl Write,
) -> Result<AppendDone, Failure> {
    let mut answer = client.append(&options.topic, &options.query, body).await?;
    while let Some(line) = answer.next().await? {
        match serde_json::from_slice(&line) {
            Ok(Line::Done { done }) => {
                if options.json {
                    print_line(out, &line).map_err(cannot_print)?;
                }
                if let Some(first) = done.first_skipped.as_ref().filter(|_| !options.json) {
                    let skipped = counted(done.skipped, "line");
                    eprintln!("landfall append: {skipped} skipped, the first: {first}");
                }
                return Ok(done);
            }
            Ok(Line::Receipt(receipt)) => {
                if options.json {
                    print_line(out, &line).map_err(cannot_print)?;
                }
                runs.add(&receipt, out).map_err(cannot_print)?;
                let bytes = bytes_read.load(Ordering::Relaxed);
                progress.update(clock::monotonic(), bytes, runs.records);
            }
            Err(error) => return Err(Failure::refused(format!("an unknown receipt: {error}"))),
        }
    }
    Err(Failure::refused("the node ended its answer early; its log may say why"))
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Done { done: AppendDone },
    Receipt(ReceiptLine),
}

fn summary(done: &AppendDone) -> String {
    let mut text = format!("{} written", counted(done.records, "record"));
    if done.duplicates > 0 {
        text.push_str(&format!(", {} there already", count_text(done.duplicates)));
    }
    if done.skipped > 0 {
        text.push_str(&format!(", {} skipped", counted(done.skipped, "line")));
    }
    text
}

/// Joins receipts into runs as long as possible, so that a million records print one line.
struct Runs {
    quiet: bool,
    open: Vec<Run>,
    records: u64,
}

struct Run {
    first: Coordinates,
    next: u64,
}

/// Streams whose runs are kept open at a time.
const OPEN_RUNS_MAX: usize = 64;

impl Runs {
    fn new(quiet: bool) -> Self {
        Self { quiet, open: Vec::new(), records: 0 }
    }

    fn add(&mut self, receipt: &ReceiptLine, out: &mut impl Write) -> std::io::Result<()> {
        for SpanText { first, count } in &receipt.written {
            self.records += count;
            let Ok(first) = first.parse::<Coordinates>() else { continue };
            let same = |run: &&mut Run| {
                run.first.stream == first.stream
                    && run.first.epoch == first.epoch
                    && run.next == first.offset
            };
            if let Some(run) = self.open.iter_mut().find(same) {
                run.next = run.next.saturating_add(*count);
                continue;
            }
            if self.open.len() == OPEN_RUNS_MAX {
                let oldest = self.open.remove(0);
                self.print(&oldest, out)?;
            }
            let next = first.offset.saturating_add(*count);
            self.open.push(Run { first, next });
        }
        Ok(())
    }

    fn end(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        for run in std::mem::take(&mut self.open) {
            self.print(&run, out)?;
        }
        out.flush()
    }

    fn print(&self, run: &Run, out: &mut impl Write) -> std::io::Result<()> {
        if self.quiet {
            return Ok(());
        }
        let last = Coordinates { offset: run.next.saturating_sub(1), ..run.first.clone() };
        writeln!(out, "{} {last} {}", run.first, run.next - run.first.offset)
    }
}

fn print_line(out: &mut impl Write, line: &[u8]) -> std::io::Result<()> {
    out.write_all(line)?;
    out.write_all(b"\n")
}

fn cannot_print(error: std::io::Error) -> Failure {
    Failure::refused(format!("cannot print what was written: {error}"))
}

/// The body of the request: a thread reads pieces, since files and pipes block.
struct Input {
    pieces: mpsc::Receiver<std::io::Result<Bytes>>,
}

const PIECE_BYTES: usize = 64 << 10;
/// Pieces read ahead.
const PIECES_QUEUED_MAX: usize = 4;

impl Input {
    fn spawn(mut input: Box<dyn Read + Send>, bytes_read: Arc<AtomicU64>) -> Self {
        let (sender, pieces) = mpsc::channel(PIECES_QUEUED_MAX);
        // It ends with the input, or with the first piece that nobody takes.
        std::thread::spawn(move || {
            let mut buffer = vec![0; PIECE_BYTES];
            loop {
                let piece = match input.read(&mut buffer) {
                    Ok(0) => return,
                    Ok(count) => {
                        bytes_read.fetch_add(count as u64, Ordering::Relaxed);
                        Ok(Bytes::copy_from_slice(buffer.get(..count).unwrap_or_default()))
                    }
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                    Err(error) => Err(error),
                };
                let failed = piece.is_err();
                if sender.blocking_send(piece).is_err() || failed {
                    return;
                }
            }
        });
        Self { pieces }
    }
}

impl Body for Input {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
        self.pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
