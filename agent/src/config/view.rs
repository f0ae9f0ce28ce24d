//! Views as they are written: tables `[view.NAME]` of the configuration, or one file each,
//! `views/NAME.toml` in the data directory, with the same keys.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use toml::de::{DeTable, DeValue};

use super::error::{ConfigError, Place, Problem};
use super::file::{FILE_BYTES_MAX, Source as Text};
use crate::coordinates::check_topic;
use crate::nearest::nearest;
use crate::quantity::parse_duration;
use crate::views::definition::{Definition, OnError, Retention, Source, name_is_valid};

mod derived;
mod short;

pub(super) use derived::check_derived;
use short::FORMS;

/// Views that a node keeps.
const VIEWS_MAX: usize = 64;
/// The folder of the data directory with a file for each view.
const FOLDER: &str = "views";
const KEYS: [&str; 10] = [
    "accept_loss",
    "aggregate",
    "ddl",
    "join",
    "latest",
    "on",
    "on_error",
    "retention",
    "rule",
    "select",
];
const SOURCE_KEYS: [&str; 3] = ["delete", "emit", "put"];
const RETENTION_KEYS: [&str; 2] = ["every", "sql"];

/// The tables below `view` in the configuration.
pub(super) fn all(text: &Text<'_>, views: &DeTable<'_>) -> Result<Vec<Definition>, ConfigError> {
    let mut all = Vec::new();
    for (name, value) in views {
        let place = text.place(name.span().start);
        let key = format!("view.{}", name.get_ref());
        let table = as_table(value.get_ref(), &key, &place)?;
        all.push(Reader { text, key, place }.view(name.get_ref(), table)?);
    }
    Ok(all)
}

/// Adds the views of the folder to those of the configuration.
pub(super) fn add_folder(data: &Path, views: &mut Vec<Definition>) -> Result<(), ConfigError> {
    let folder = data.join(FOLDER);
    let failed = |path: &Path, kind| {
        ConfigError::new(Place::Line(path.to_owned(), 0), Problem::Unreadable(kind))
    };
    let found = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(failed(&folder, error.kind())),
        Ok(found) => found.filter_map(Result::ok).map(|entry| entry.path()).collect(),
    };
    let is_toml = |path: &&std::path::PathBuf| path.extension().is_some_and(|end| end == "toml");
    let mut found: Vec<_> = found.iter().filter(is_toml).collect();
    found.sort();
    for path in found {
        let bytes = std::fs::metadata(path).map_err(|error| failed(path, error.kind()))?.len();
        if bytes > FILE_BYTES_MAX {
            return Err(failed(path, ErrorKind::FileTooLarge));
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed(path, error.kind()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        views.push(one(&text, &name, path)?);
    }
    check_together(views)
}

/// The one view that a file holds.
fn one(text: &str, name: &str, path: &Path) -> Result<Definition, ConfigError> {
    let text = Text { text, place: &|line| Place::Line(path.to_owned(), line) };
    let key = format!("view.{name}");
    let reader = Reader { text: &text, key, place: Place::Line(path.to_owned(), 0) };
    reader.view(name, &text.document()?)
}

fn check_together(views: &[Definition]) -> Result<(), ConfigError> {
    if views.len() > VIEWS_MAX {
        let why = format!("there are {} views; a node keeps at most {VIEWS_MAX}", views.len());
        return Err(ConfigError::conflict("view", why));
    }
    for (at, view) in views.iter().enumerate() {
        if views.iter().take(at).any(|before| before.name == view.name) {
            let why = format!("view `{}` is there twice; remove one", view.name);
            return Err(ConfigError::conflict(format!("view.{}", view.name), why));
        }
    }
    Ok(())
}

/// The values of a table by key.
type Known<'t> = BTreeMap<&'t str, (&'t DeValue<'t>, Place)>;

/// What a view's rows are made by, and what a short form sweeps.
struct Made {
    ddl: String,
    sources: BTreeMap<String, Source>,
    retention: Option<Retention>,
}

/// One view while it is read.
struct Reader<'a> {
    text: &'a Text<'a>,
    /// Its key, as in `view.latest`.
    key: String,
    place: Place,
}

impl Reader<'_> {
    fn view(&self, name: &str, table: &DeTable<'_>) -> Result<Definition, ConfigError> {
        if !name_is_valid(name) {
            let allowed =
                "a name of lower-case letters, digits and `_`, a letter first, at most 63";
            return Err(self.wrong(&self.place, "", name, allowed));
        }
        let known = self.known("", table, &KEYS)?;
        let Made { ddl, sources, retention: of_form } = self.made(name, &known)?;
        let on_error = match known.get("on_error") {
            None => OnError::DeadLetter,
            Some((value, place)) => {
                let word = value.as_str().and_then(OnError::of);
                let allowed = format!("`{}`", OnError::WORDS.join("`, `"));
                word.ok_or_else(|| self.wrong(place, ".on_error", shown(value), &allowed))?
            }
        };
        let retention = known.get("retention");
        let retention = retention.map(|(value, place)| self.retention(value, place)).transpose()?;
        let retention = retention.or(of_form);
        let accept_loss = match known.get("accept_loss") {
            None => false,
            Some((DeValue::Boolean(accept), _)) => *accept,
            Some((other, place)) => {
                return Err(self.wrong(place, ".accept_loss", shown(other), "`true` or `false`"));
            }
        };
        let name = name.to_owned();
        Ok(Definition { name, ddl, sources, on_error, retention, accept_loss })
    }

    /// What makes its rows, written out or by a short form.
    fn made(&self, name: &str, known: &Known<'_>) -> Result<Made, ConfigError> {
        let forms: Vec<_> = FORMS.iter().filter(|form| known.contains_key(**form)).collect();
        let Some(form) = forms.first() else {
            let sources = match known.get("on") {
                Some((value, place)) => self.sources(value, place)?,
                None => return Err(self.missing("on")),
            };
            // What derives only needs no table.
            let writes = |source: &Source| !source.put.is_empty() || !source.delete.is_empty();
            let ddl = match known.contains_key("ddl") || sources.values().any(writes) {
                true => self.text(known, "", "ddl")?,
                false => String::new(),
            };
            return Ok(Made { ddl, sources, retention: None });
        };
        let others = forms.iter().skip(1).map(|form| **form).chain(["ddl", "on"]);
        for other in others {
            let Some((_, place)) = known.get(other) else { continue };
            let key = format!("{}.{other}", self.key);
            let why = format!("cannot stand beside `{form}`; remove the one or the other");
            return Err(ConfigError::new(place.clone(), Problem::Conflict { key, why }));
        }
        let Some((value, place)) = known.get(**form) else { unreachable!("it was found there") };
        let Definition { ddl, sources, retention, .. } = self.short(name, form, value, place)?;
        match (&retention, known.get("retention")) {
            (Some(_), Some((_, place))) => {
                let key = format!("{}.retention", self.key);
                let why = format!("is what `{form}` has already; write the view out for another");
                Err(ConfigError::new(place.clone(), Problem::Conflict { key, why }))
            }
            _ => Ok(Made { ddl, sources, retention }),
        }
    }

    fn sources(
        &self,
        value: &DeValue<'_>,
        place: &Place,
    ) -> Result<BTreeMap<String, Source>, ConfigError> {
        let topics = as_table(value, &format!("{}.on", self.key), place)?;
        let mut sources = BTreeMap::new();
        for (topic, value) in topics {
            let place = self.text.place(topic.span().start);
            let topic = topic.get_ref().as_ref();
            if let Err(error) = check_topic(topic) {
                return Err(self.wrong(&place, ".on", topic, &error.to_string()));
            }
            let part = format!(".on.{topic}");
            let table = as_table(value.get_ref(), &format!("{}{part}", self.key), &place)?;
            let known = self.known(&part, table, &SOURCE_KEYS)?;
            let emit = self.emit(&known, &part)?;
            let put = match self.statements(&known, &part, "put")? {
                None if emit.is_empty() => return Err(self.missing(&format!("on.{topic}.put"))),
                put => put.unwrap_or_default(),
            };
            let delete = self.statements(&known, &part, "delete")?.unwrap_or_default();
            sources.insert(topic.to_owned(), Source { put, delete, emit });
        }
        if sources.is_empty() { Err(self.missing("on.TOPIC")) } else { Ok(sources) }
    }

    fn retention(&self, value: &DeValue<'_>, place: &Place) -> Result<Retention, ConfigError> {
        let table = as_table(value, &format!("{}.retention", self.key), place)?;
        let known = self.known(".retention", table, &RETENTION_KEYS)?;
        let every_ms = self.duration_ms(&known, ".retention", "every")?;
        let every_ms = every_ms.ok_or_else(|| self.missing("retention.every"))?;
        let statements = self.statements(&known, ".retention", "sql")?;
        let statements = statements.ok_or_else(|| self.missing("retention.sql"))?;
        Ok(Retention { statements, every_ms })
    }

    fn duration_ms(
        &self,
        known: &Known<'_>,
        part: &str,
        name: &str,
    ) -> Result<Option<u64>, ConfigError> {
        let Some((value, place)) = known.get(name) else { return Ok(None) };
        let read = value.as_str().and_then(parse_duration);
        let fits = |time: &Duration| (1..=3_650 * 86_400).contains(&time.as_secs());
        let time = read.filter(fits).ok_or_else(|| {
            let allowed = "a duration from `1s` to `3650d`";
            self.wrong(place, &format!("{part}.{name}"), shown(value), allowed)
        })?;
        Ok(Some(time.as_secs() * 1_000))
    }

    /// The values of a table by key; a key that is not `known` is an error.
    fn known<'t>(
        &self,
        part: &str,
        table: &'t DeTable<'_>,
        known: &[&str],
    ) -> Result<Known<'t>, ConfigError> {
        let mut found = BTreeMap::new();
        for (key, value) in table {
            let place = self.text.place(key.span().start);
            let name = key.get_ref().as_ref();
            if !known.contains(&name) {
                let whole = |name: &str| format!("{}{part}.{name}", self.key);
                let nearest = nearest(name, known.iter().copied()).map(whole);
                let key = whole(name);
                return Err(ConfigError::new(place, Problem::Unknown { key, nearest }));
            }
            found.insert(name, (value.get_ref(), place));
        }
        Ok(found)
    }

    fn text(&self, known: &Known<'_>, part: &str, name: &str) -> Result<String, ConfigError> {
        let whole = format!("{part}.{name}");
        let missing = || self.missing(whole.trim_start_matches('.'));
        let (value, place) = known.get(name).ok_or_else(missing)?;
        let text = value.as_str().map(str::to_owned);
        text.ok_or_else(|| self.wrong(place, &whole, shown(value), "text"))
    }

    fn statements(
        &self,
        known: &Known<'_>,
        part: &str,
        name: &str,
    ) -> Result<Option<Vec<String>>, ConfigError> {
        let Some((value, place)) = known.get(name) else { return Ok(None) };
        self.statement_list(value, place, &format!("{part}.{name}")).map(Some)
    }

    fn statement_list(
        &self,
        value: &DeValue<'_>,
        place: &Place,
        part: &str,
    ) -> Result<Vec<String>, ConfigError> {
        let texts = match value {
            DeValue::String(text) => Some(vec![text.to_string()]),
            DeValue::Array(items) => {
                items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect()
            }
            _ => None,
        };
        let texts = texts.filter(|texts: &Vec<String>| !texts.is_empty());
        texts.ok_or_else(|| {
            self.wrong(place, part, shown(value), "a statement, or a list of statements")
        })
    }

    fn missing(&self, name: &str) -> ConfigError {
        let key = format!("{}.{name}", self.key);
        ConfigError::new(self.place.clone(), Problem::Missing { key })
    }

    fn wrong(&self, place: &Place, part: &str, value: &str, allowed: &str) -> ConfigError {
        let (key, value) = (format!("{}{part}", self.key), value.to_owned());
        let problem = Problem::WrongValue { key, value, allowed: allowed.to_owned() };
        ConfigError::new(place.clone(), problem)
    }
}

fn shown<'v>(value: &'v DeValue<'_>) -> &'v str {
    value.as_str().unwrap_or_else(|| value.type_str())
}

fn as_table<'v, 't>(
    value: &'v DeValue<'t>,
    key: &str,
    place: &Place,
) -> Result<&'v DeTable<'t>, ConfigError> {
    let DeValue::Table(table) = value else {
        let problem = Problem::WrongValue {
            key: key.to_owned(),
            value: value.type_str().to_owned(),
            allowed: format!("a table, beginning with `[{key}]`"),
        };
        return Err(ConfigError::new(place.clone(), problem));
    };
    Ok(table)
}

#[cfg(test)]
mod tests;
