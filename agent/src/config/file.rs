//! What was written in the file and the environment, each value with its place.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

use toml::de::{DeArray, DeTable, DeValue};

use super::error::{ConfigError, Place, Problem};
use super::reference::{self, all_settings};
use super::setting::{REQUIRED, Setting};
use super::value::{Raw, Value};
use crate::nearest::nearest;

/// Variables that begin like settings but are read by the command line.
const OTHER_VARIABLES: [&str; 2] = ["LANDFALL_CONFIG", "LANDFALL_DATA"];
/// The table whose tables are views.
const VIEWS: &str = "view";
/// The tables that are lists.
const LISTED: [&str; 4] = ["application", "lane", "serial", "topic"];
/// A file larger than this is not a configuration.
pub(super) const FILE_BYTES_MAX: u64 = 1 << 20;

/// The settings that were written, all of them optional. Keys are known, values unchecked.
#[derive(Clone, Debug, Default)]
pub struct ConfigFile {
    root: Scope,
    lists: BTreeMap<&'static str, Vec<Scope>>,
    #[cfg(feature = "views")]
    pub(super) views: Vec<crate::views::definition::Definition>,
}

/// The keys of one table, by name; those of the file's plain sections by `section.name`.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    values: BTreeMap<String, (Raw, Option<Place>)>,
    start: Option<Place>,
}

impl ConfigFile {
    /// Reads a file that must be there.
    ///
    /// # Errors
    /// When it is not, is not TOML, or has a key that nothing reads.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let place = || Place::Line(path.to_owned(), 0);
        let failed = |kind| ConfigError::new(place(), Problem::Unreadable(kind));
        let bytes = std::fs::metadata(path).map_err(|error| failed(error.kind()))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(failed(ErrorKind::FileTooLarge));
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.kind()))?;
        Self::parse(&text, path)
    }

    /// Reads a file that may be missing.
    ///
    /// # Errors
    /// As [`ConfigFile::read`], except where nothing is there.
    pub fn read_if_there(path: &Path) -> Result<Self, ConfigError> {
        match Self::read(path) {
            Err(ConfigError { problem: Problem::Unreadable(ErrorKind::NotFound), .. }) => {
                Ok(Self::default())
            }
            result => result,
        }
    }

    /// Reads the text of a file; `path` is for messages.
    ///
    /// # Errors
    /// As [`ConfigFile::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let source = Source { text, place: &|line| Place::Line(path.to_owned(), line) };
        let mut file = Self::default();
        for (key, value) in &source.document()? {
            let name = key.get_ref().as_ref();
            let place = source.place(key.span().start);
            let section = LISTED.iter().find(|listed| **listed == name);
            match (section, value.get_ref()) {
                (Some(listed), DeValue::Array(items)) => {
                    file.lists.insert(listed, source.tables(listed, items, &place)?);
                }
                (None, value) if name == VIEWS => file.read_views(&source, value, place)?,
                (None, DeValue::Table(table)) if reference::is_section(name) => {
                    source.keys(name, table, &mut file.root)?;
                }
                (None, value) if reference::find("", name).is_some() => {
                    file.root.values.insert(name.to_owned(), (raw(value, ""), Some(place)));
                }
                (Some(listed), _) => {
                    return Err(wrong_list(place, listed, value.get_ref()));
                }
                _ => return Err(unknown(place, name.to_owned())),
            }
        }
        Ok(file)
    }

    /// Lets variables that begin with `LANDFALL_` override what the file says.
    ///
    /// # Errors
    /// A variable that names no setting, or a list of tables that is not TOML.
    pub fn apply_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(), ConfigError> {
        let settings: BTreeMap<String, &Setting> =
            all_settings().map(|setting| (setting.variable(), setting)).collect();
        for (name, value) in variables {
            if !name.starts_with("LANDFALL_") || OTHER_VARIABLES.contains(&name.as_str()) {
                continue;
            }
            let place = Place::Variable(name.clone());
            match settings.get(&name) {
                Some(setting) if setting.listed => {
                    self.override_list(setting.section, &value, place)?;
                }
                Some(setting) => {
                    self.root.values.insert(setting.key(), (Raw::Text(value), Some(place)));
                }
                None => {
                    let nearest = nearest(&name, settings.keys().map(String::as_str));
                    let nearest = nearest.map(str::to_owned);
                    return Err(ConfigError::new(place, Problem::Unknown { key: name, nearest }));
                }
            }
        }
        Ok(())
    }

    #[cfg(feature = "views")]
    fn read_views(
        &mut self,
        source: &Source<'_>,
        value: &DeValue<'_>,
        place: Place,
    ) -> Result<(), ConfigError> {
        let DeValue::Table(views) = value else { return Err(unknown(place, VIEWS.to_owned())) };
        self.views = super::view::all(source, views)?;
        Ok(())
    }

    #[cfg(not(feature = "views"))]
    fn read_views(
        &mut self,
        _: &Source<'_>,
        _: &DeValue<'_>,
        place: Place,
    ) -> Result<(), ConfigError> {
        let why = "this build has no views; use the full program, or remove them".to_owned();
        Err(ConfigError::new(place, Problem::Conflict { key: VIEWS.to_owned(), why }))
    }

    fn override_list(
        &mut self,
        listed: &'static str,
        value: &str,
        place: Place,
    ) -> Result<(), ConfigError> {
        let text = format!("{listed} = {value}");
        let source = Source { text: &text, place: &|_| place.clone() };
        for (_, value) in &source.document()? {
            let DeValue::Array(items) = value.get_ref() else {
                return Err(wrong_list(place.clone(), listed, value.get_ref()));
            };
            self.lists.insert(listed, source.tables(listed, items, &place)?);
        }
        Ok(())
    }

    pub(super) fn root(&self) -> &Scope {
        &self.root
    }

    /// The lanes, if any were written.
    pub(super) fn lanes(&self) -> Option<&[Scope]> {
        self.lists.get("lane").map(Vec::as_slice)
    }

    /// The applications, each a table.
    pub(super) fn applications(&self) -> &[Scope] {
        self.lists.get("application").map(Vec::as_slice).unwrap_or_default()
    }

    /// The serial lines, each a table.
    pub(super) fn serial(&self) -> &[Scope] {
        self.lists.get("serial").map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn topics(&self) -> &[Scope] {
        self.lists.get("topic").map(Vec::as_slice).unwrap_or_default()
    }
}

impl Scope {
    pub(super) fn read<T: Value>(&self, setting: &Setting) -> Result<T, ConfigError> {
        let key = if setting.listed { setting.name.to_owned() } else { setting.key() };
        let default = (Raw::Text(setting.default.to_owned()), None);
        let written = self.values.get(&key);
        let start = || self.start.clone().unwrap_or(Place::Default);
        if written.is_none() && setting.default == REQUIRED {
            return Err(ConfigError::new(start(), Problem::Missing { key: setting.key() }));
        }
        let (raw, place) = written.unwrap_or(&default);
        T::from_raw(raw, &setting.allowed).ok_or_else(|| {
            let problem = Problem::WrongValue {
                key: setting.key(),
                value: raw.to_string(),
                allowed: setting.allowed.to_string(),
            };
            ConfigError::new(place.clone().unwrap_or_else(start), problem)
        })
    }
}

/// Text of TOML and how to name a place in it.
pub(super) struct Source<'a> {
    pub(super) text: &'a str,
    pub(super) place: &'a dyn Fn(usize) -> Place,
}

impl<'a> Source<'a> {
    pub(super) fn place(&self, byte: usize) -> Place {
        let before = self.text.as_bytes().iter().take(byte);
        (self.place)(before.filter(|byte| **byte == b'\n').count() + 1)
    }

    pub(super) fn document(&self) -> Result<DeTable<'a>, ConfigError> {
        DeTable::parse(self.text).map(toml::Spanned::into_inner).map_err(|error| {
            let place = self.place(error.span().map_or(0, |span| span.start));
            ConfigError::new(place, Problem::Syntax(error.message().to_owned()))
        })
    }

    fn tables(
        &self,
        section: &str,
        items: &DeArray<'_>,
        place: &Place,
    ) -> Result<Vec<Scope>, ConfigError> {
        let mut scopes = Vec::new();
        for item in items.iter() {
            let DeValue::Table(table) = item.get_ref() else {
                return Err(wrong_list(place.clone(), section, item.get_ref()));
            };
            let start = Some(self.place(item.span().start));
            let mut scope = Scope { start, ..Scope::default() };
            self.keys(section, table, &mut scope)?;
            scopes.push(scope);
        }
        Ok(scopes)
    }

    fn keys(
        &self,
        section: &str,
        table: &DeTable<'_>,
        scope: &mut Scope,
    ) -> Result<(), ConfigError> {
        for (key, value) in table {
            let place = self.place(key.span().start);
            let Some(setting) = reference::find(section, key.get_ref()) else {
                return Err(unknown(place, format!("{section}.{}", key.get_ref())));
            };
            let key = if setting.listed { setting.name.to_owned() } else { setting.key() };
            let written = self.text.get(value.span()).unwrap_or_default();
            scope.values.insert(key, (raw(value.get_ref(), written), Some(place)));
        }
        Ok(())
    }
}

fn raw(value: &DeValue<'_>, written: &str) -> Raw {
    let other = || Raw::Other(written.to_owned());
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| other(), Raw::Number),
        DeValue::Array(items) => items
            .iter()
            .map(|item| item.get_ref().as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .map_or_else(other, Raw::List),
        _ => other(),
    }
}

fn wrong_list(place: Place, section: &str, value: &DeValue<'_>) -> ConfigError {
    let problem = Problem::WrongValue {
        key: section.to_owned(),
        value: value.type_str().to_owned(),
        allowed: format!("a list of tables, each beginning with `[[{section}]]`"),
    };
    ConfigError::new(place, problem)
}

fn unknown(place: Place, key: String) -> ConfigError {
    let sections = reference::section_names().map(str::to_owned);
    let known: Vec<String> = all_settings().map(Setting::key).chain(sections).collect();
    let nearest = nearest(&key, known.iter().map(String::as_str)).map(str::to_owned);
    ConfigError::new(place, Problem::Unknown { key, nearest })
}
