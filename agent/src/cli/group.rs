//! `landfall group`: records of several topics, together or not at all.

use std::io::{Read, Write};
use std::path::PathBuf;

use serde::de::IgnoredAny;

use super::arguments::{Arguments, Stop, Word};
use super::{Command, DataOptions, Exit, Failure};
use crate::api::Client;
use crate::api::limits::{GROUP_BODY_BYTES_MAX, IDEMPOTENCY_KEY_MAX};

pub(super) const HELP: &str = "\
Append records of several topics together or not at all

Usage: landfall group --data DIR [FILE|-] [OPTION…]

Reads FILE, or standard input: one JSON object a line, each a record with its topic, such as
{\"topic\":\"orders\",\"key\":\"o-1\",\"value\":7}. docs/api.md lists the other fields. Up to 1,024
records of topics of one lane, 256 KiB in all. Prints the coordinates of the first record of each
run, and how many they are.

Options:
  --data DIR         The node's directory
  --config FILE      Its configuration; landfall.toml in the directory if left out
  --if-last JSON     Only if this is the last record with the key that this node has written:
                     {\"topic\":\"orders\",\"key\":\"o-1\",\"offset\":41}. Without offset: if there
                     is none; without key: the last of all. May be given several times
  --key KEY          Write the group once under this key, however often it is sent
  --json             Print the answer as JSON
  --help             Show this
";

/// Options of `landfall group`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GroupOptions {
    /// Which node.
    pub node: DataOptions,
    /// Where from; standard input if none.
    pub file: Option<PathBuf>,
    /// What must hold, in JSON.
    pub conditions: Vec<String>,
    /// Under which key.
    pub idempotency_key: Option<String>,
    /// Whether machines read the answer.
    pub json: bool,
}

impl GroupOptions {
    pub(super) fn parse(arguments: &mut Arguments<'_>) -> Result<Command, Stop> {
        let (mut file, mut conditions, mut key, mut json) = (None, Vec::new(), None, false);
        while let Some(word) = arguments.next()? {
            match &word {
                Word::Option(name) => match name.as_str() {
                    "--if-last" => {
                        let text = arguments.value(name)?;
                        if !is_json(text.as_bytes()) {
                            let wrong = format!("`--if-last {text}` is not JSON");
                            return Err(arguments.wrong(wrong).into());
                        }
                        conditions.push(text);
                    }
                    "--key" => {
                        let text = arguments.value(name)?;
                        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
                        if !plain || !(1..=IDEMPOTENCY_KEY_MAX).contains(&text.len()) {
                            let wrong = format!(
                                "`--key` takes 1 to {IDEMPOTENCY_KEY_MAX} letters without blanks"
                            );
                            return Err(arguments.wrong(wrong).into());
                        }
                        key = Some(text);
                    }
                    "--json" => json = true,
                    _ => return Err(arguments.unknown(&word).into()),
                },
                Word::Plain(path) if file.is_none() => file = Some(path.clone()),
                Word::Plain(_) => return Err(arguments.unknown(&word).into()),
            }
        }
        let file = file.filter(|path| path != "-").map(PathBuf::from);
        let node = arguments.data()?;
        Ok(Command::Group(Self { node, file, conditions, idempotency_key: key, json }))
    }
}

/// Appends, and writes to `out` what was written.
///
/// # Errors
/// When the input can't be read, a line is not JSON or the node refuses; then nothing was written.
pub async fn run(
    options: &GroupOptions,
    client: &Client,
    out: &mut impl Write,
) -> Result<Exit, Failure> {
    let path = options.file.as_ref().map(|path| path.display().to_string());
    let place = path.unwrap_or_else(|| "standard input".to_owned());
    let failed = |error: std::io::Error| {
        Failure::usage(format!("landfall group: cannot read {place}: {error}"))
    };
    let text = read(options).map_err(failed)?;
    let body = body(&text, &options.conditions)
        .map_err(|wrong| Failure::usage(format!("landfall group: {place}: {wrong}")))?;
    let done = client.group(body, options.idempotency_key.as_deref()).await;
    let done = done.map_err(|error| Failure::refused(format!("landfall group: {error}")))?;
    let mut text = String::new();
    if options.json {
        text = serde_json::to_string(&done).unwrap_or_default() + "\n";
    } else {
        for span in &done.written {
            text.push_str(&format!("{} {}\n", span.first, span.count));
        }
        if done.duplicates > 0 {
            eprintln!("landfall group: it had been written before");
        }
    }
    let printed = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    printed.map_err(|error| {
        Failure::refused(format!("landfall group: it is written, but cannot be printed: {error}"))
    })?;
    Ok(Exit::Done)
}

/// The input, but no more of it than a group may have.
fn read(options: &GroupOptions) -> std::io::Result<Vec<u8>> {
    let input: Box<dyn Read> = match &options.file {
        None => Box::new(std::io::stdin()),
        Some(path) => Box::new(std::fs::File::open(path)?),
    };
    let mut text = Vec::new();
    input.take(GROUP_BODY_BYTES_MAX as u64 + 1).read_to_end(&mut text)?;
    if text.len() > GROUP_BODY_BYTES_MAX {
        let text = format!("it is longer than {GROUP_BODY_BYTES_MAX} bytes");
        return Err(std::io::Error::other(text));
    }
    Ok(text)
}

/// The group in JSON, with its lines as they are.
fn body(text: &[u8], conditions: &[String]) -> Result<Vec<u8>, String> {
    let mut body = b"{\"records\":[".to_vec();
    let mut and: &[u8] = b"";
    for (number, line) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if !is_json(line) {
            return Err(format!("line {number} is not JSON"));
        }
        body.extend_from_slice(and);
        body.extend_from_slice(line);
        and = b",\n";
    }
    body.extend_from_slice(b"],\"if_last\":[");
    body.extend_from_slice(conditions.join(",").as_bytes());
    body.extend_from_slice(b"]}");
    Ok(body)
}

pub(super) fn is_json(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_a_group_and_a_line_that_would_break_it_is_named() {
        let conditions = ["{\"topic\":\"a\"}".to_owned(), "{\"topic\":\"b\"}".to_owned()];
        let text = b"{\"topic\":\"a\",\"value\": 1.0}\r\n\n {\"topic\":\"b\"} ";
        let expected = "{\"records\":[{\"topic\":\"a\",\"value\": 1.0},\n{\"topic\":\"b\"}],\
                        \"if_last\":[{\"topic\":\"a\"},{\"topic\":\"b\"}]}";
        assert_eq!(body(text, &conditions).as_deref(), Ok(expected.as_bytes()));
        assert_eq!(body(b"1\n1],\"x\":[2", &[]), Err("line 2 is not JSON".to_owned()));
    }
}
