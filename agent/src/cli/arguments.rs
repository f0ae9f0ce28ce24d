//! Words of a command line to options, and what to say of words that are none.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use lexopt::Arg;

use super::Command;
use crate::nearest::nearest;
use crate::quantity::parse_duration;

/// Where the node is that a command speaks of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DataOptions {
    /// Its data directory.
    pub data: PathBuf,
    /// Its configuration, if it is not in there.
    pub config: Option<PathBuf>,
}

/// Words that make no command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Usage {
    command: &'static str,
    message: String,
}

impl Usage {
    pub(super) fn new(command: &'static str, message: impl Into<String>) -> Self {
        Self { command, message: message.into() }
    }

    pub(super) fn unknown_command(word: &str, meant: Option<String>) -> Self {
        Self::new("", unknown("command", word, meant))
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let space = if self.command.is_empty() { "" } else { " " };
        let command = format!("landfall{space}{}", self.command);
        write!(f, "{command}: {}; `{command} --help` tells more", self.message)
    }
}

impl std::error::Error for Usage {}

/// The words that are left, and what a command has in common with others.
pub(super) struct Arguments<'a> {
    words: lexopt::Parser,
    environment: &'a dyn Fn(&str) -> Option<OsString>,
    name: &'static str,
    help: &'static str,
    data: Option<PathBuf>,
    config: Option<PathBuf>,
}

/// A word of a command that is not one of all commands.
pub(super) enum Word {
    /// `--name` or `-n`, without the value that may follow.
    Option(String),
    /// Anything else.
    Plain(String),
}

/// What stops the reading of options early: a question for help.
pub(super) enum Stop {
    Help,
    Wrong(Usage),
}

impl From<Usage> for Stop {
    fn from(usage: Usage) -> Self {
        Self::Wrong(usage)
    }
}

impl<'a> Arguments<'a> {
    pub(super) fn new(
        words: impl IntoIterator<Item = OsString>,
        environment: &'a dyn Fn(&str) -> Option<OsString>,
    ) -> Self {
        let words = lexopt::Parser::from_args(words);
        Self { words, environment, name: "", help: "", data: None, config: None }
    }

    /// The first word.
    pub(super) fn command(&mut self) -> Result<Option<String>, Usage> {
        match self.words.next() {
            Ok(None) => Ok(None),
            Ok(Some(Arg::Value(word))) => Ok(Some(self.text(word)?)),
            Ok(Some(Arg::Long(name))) => Ok(Some(format!("--{name}"))),
            Ok(Some(Arg::Short(name))) => Ok(Some(format!("-{name}"))),
            Err(error) => Err(self.wrong(error.to_string())),
        }
    }

    /// Reads the words of one command by its own function, and answers `--help`.
    pub(super) fn read(
        mut self,
        name: &'static str,
        help: &'static str,
        parse: impl FnOnce(&mut Self) -> Result<Command, Stop>,
    ) -> Result<Command, Usage> {
        (self.name, self.help) = (name, help);
        let rest = |arguments: &mut Self, command| match arguments.next()? {
            Some(word) => Err(Stop::Wrong(arguments.unknown(&word))),
            None => Ok(command),
        };
        let command = parse(&mut self).and_then(|command| rest(&mut self, command));
        match command {
            Ok(command) => Ok(command),
            Err(Stop::Help) => Ok(Command::Help(help)),
            Err(Stop::Wrong(usage)) => Err(usage),
        }
    }

    /// The next word that is the command's own.
    pub(super) fn next(&mut self) -> Result<Option<Word>, Stop> {
        loop {
            let word = match self.words.next() {
                Ok(None) => return Ok(None),
                Ok(Some(Arg::Value(word))) => return Ok(Some(Word::Plain(self.text(word)?))),
                Ok(Some(Arg::Long(name))) => format!("--{name}"),
                Ok(Some(Arg::Short(name))) => format!("-{name}"),
                Err(error) => return Err(self.wrong(error.to_string()).into()),
            };
            match word.as_str() {
                "-h" | "--help" => return Err(Stop::Help),
                "--data" => self.data = Some(self.path(&word)?),
                "--config" if self.help.contains("--config") => {
                    self.config = Some(self.path(&word)?);
                }
                _ => return Ok(Some(Word::Option(word))),
            }
        }
    }

    /// The value behind an option.
    pub(super) fn value(&mut self, option: &str) -> Result<String, Usage> {
        let value = self.words.value();
        let value = value.map_err(|_| self.wrong(format!("`{option}` needs a value")))?;
        self.text(value)
    }

    /// The value behind an option, read as `T`.
    pub(super) fn parsed<T: FromStr<Err: fmt::Display>>(
        &mut self,
        option: &str,
    ) -> Result<T, Usage> {
        let value = self.value(option)?;
        value.parse().map_err(|error| self.wrong(format!("`{option} {value}`: {error}")))
    }

    /// The time behind an option, in milliseconds.
    pub(super) fn ms(&mut self, option: &str) -> Result<u64, Usage> {
        let text = self.value(option)?;
        let ms = parse_duration(&text).and_then(|time| time.as_millis().try_into().ok());
        ms.ok_or_else(|| self.wrong(format!("`{option} {text}` is no time; write `30s`")))
    }

    /// Where the node is, by option or by environment.
    pub(super) fn data(&mut self) -> Result<DataOptions, Usage> {
        let variable = |name| (self.environment)(name).filter(|value| !value.is_empty());
        let data = self.data.take().or_else(|| variable("LANDFALL_DATA").map(PathBuf::from));
        let config = self.config.take().or_else(|| variable("LANDFALL_CONFIG").map(PathBuf::from));
        match data {
            Some(data) => Ok(DataOptions { data, config }),
            None => Err(self.wrong("which node? Give its data directory by `--data DIR`")),
        }
    }

    /// An error about a word that the command does not know.
    pub(super) fn unknown(&self, word: &Word) -> Usage {
        let option = match word {
            Word::Plain(text) => return self.wrong(format!("`{text}` is one word too many")),
            Word::Option(option) => option,
        };
        let first_words = self.help.lines().filter_map(|line| line.split_whitespace().next());
        let known = first_words.filter(|word| word.starts_with("--"));
        let meant = nearest(option, known).map(str::to_owned);
        self.wrong(unknown("option", option, meant))
    }

    pub(super) fn wrong(&self, message: impl Into<String>) -> Usage {
        Usage::new(self.name, message)
    }

    fn path(&mut self, option: &str) -> Result<PathBuf, Usage> {
        let value = self.words.value();
        value.map(PathBuf::from).map_err(|_| self.wrong(format!("`{option}` needs a path")))
    }

    fn text(&self, word: OsString) -> Result<String, Usage> {
        word.into_string().map_err(|word| self.wrong(format!("{word:?} is not UTF-8 text")))
    }
}

fn unknown(what: &str, word: &str, meant: Option<String>) -> String {
    match meant {
        Some(meant) => format!("there is no {what} `{word}`; did you mean `{meant}`?"),
        None => format!("there is no {what} `{word}`"),
    }
}
