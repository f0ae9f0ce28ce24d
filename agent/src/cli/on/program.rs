//! The program that `landfall on` runs: what it gets, what it prints, and why it failed.

use std::io::Write as _;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

/// Bytes that a reply may have, so that a record has room for it.
pub(super) const REPLY_BYTES_MAX: usize = 200 << 10;
/// Bytes that are printed on from a program that answers nobody; the rest is passed over.
const PRINTED_BYTES_MAX: usize = 1 << 20;
/// Bytes of what a program said last that its dead letter tells.
const SAID_BYTES_MAX: usize = 1_024;
/// A variable that is longer is left out: the system takes none of 128 KiB.
const VARIABLE_BYTES_MAX: usize = 64 << 10;

/// A program, and where the node is that it may ask.
pub(super) struct Program<'p> {
    pub(super) words: &'p [String],
    pub(super) data: &'p Path,
    pub(super) timeout: Duration,
}

/// What it gets.
pub(super) struct Given {
    pub(super) input: Vec<u8>,
    pub(super) variables: Vec<(String, String)>,
}

/// What it printed.
pub(super) struct Answer {
    pub(super) printed: Vec<u8>,
}

impl Answer {
    /// The value of a record, as a group takes it, and its form if that is not JSON.
    pub(super) fn value(&self) -> (Option<&'static str>, String) {
        let printed = self.printed.strip_suffix(b"\n").unwrap_or(&self.printed);
        match std::str::from_utf8(printed) {
            Ok(text) if serde_json::from_str::<&RawValue>(text).is_ok() => (None, text.to_owned()),
            Ok(text) => (Some("text"), Value::from(text).to_string()),
            Err(_) => (Some("bytes"), json!({"base64": STANDARD.encode(printed)}).to_string()),
        }
    }
}

impl Program<'_> {
    /// Runs it once. Of what it prints, there may be so many bytes.
    ///
    /// # Errors
    /// Why it has not dealt with the record.
    pub(super) async fn run(
        &self,
        given: &Given,
        attempt: u32,
        printed_max: Option<usize>,
    ) -> Result<Answer, String> {
        let (name, words) = self.words.split_first().ok_or("no program is named")?;
        let fits = |(_, value): &&(String, String)| {
            value.len() <= VARIABLE_BYTES_MAX && !value.contains('\0')
        };
        let mut command = Command::new(name);
        command
            .args(words)
            .env("LANDFALL_DATA", self.data)
            .env("RECORD_ATTEMPT", attempt.to_string());
        command.envs(given.variables.iter().filter(fits).map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{name} cannot be run: {error}"))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let said = child.stderr.take();
        let write = async {
            if let Some(mut input) = input {
                // It need not read what it gets.
                let _ = input.write_all(&given.input).await;
            }
        };
        let all = async {
            let most = printed_max.unwrap_or(PRINTED_BYTES_MAX);
            let ((), printed, said) =
                tokio::join!(write, first(output, most), last(said, SAID_BYTES_MAX));
            (printed, said, child.wait().await)
        };
        let Ok((printed, said, ended)) = tokio::time::timeout(self.timeout, all).await else {
            return Err(format!("{name} took longer than {:?} and was killed", self.timeout));
        };
        let ended = ended.map_err(|error| format!("{name} cannot be waited for: {error}"))?;
        if !ended.success() {
            return Err(format!("{name} ended with {}{}", end_text(ended), said_text(&said)));
        }
        match printed_max {
            Some(most) if printed.len() > most => {
                Err(format!("{name} printed more than the {most} bytes that a reply may have"))
            }
            _ => Ok(Answer { printed }),
        }
    }
}

fn end_text(ended: ExitStatus) -> String {
    ended.code().map_or_else(|| ended.to_string(), |code| format!("exit code {code}"))
}

fn said_text(said: &[u8]) -> String {
    let text = String::from_utf8_lossy(said);
    match text.trim() {
        "" => String::new(),
        text => format!(": {text}"),
    }
}

/// The first bytes of what comes, and one more if there are more.
async fn first(from: Option<impl AsyncRead + Unpin>, most: usize) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4_096]);
    let Some(mut from) = from else { return kept };
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let room = (most + 1).saturating_sub(kept.len());
        kept.extend_from_slice(buffer.get(..count.min(room)).unwrap_or_default());
    }
    kept
}

/// The last bytes of what comes, which goes on to standard error.
async fn last(from: Option<impl AsyncRead + Unpin>, most: usize) -> Vec<u8> {
    let (mut kept, mut buffer) = (Vec::new(), [0; 4_096]);
    let Some(mut from) = from else { return kept };
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let part = buffer.get(..count).unwrap_or_default();
        // Whoever reads it may be gone.
        let _ = std::io::stderr().write_all(part);
        kept.extend_from_slice(part);
        kept.drain(..kept.len().saturating_sub(most));
    }
    kept
}
