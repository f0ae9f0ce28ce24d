//! The short forms of a view, as they are written.

use super::*;
use crate::views::short::Columns;
use crate::views::short::aggregate::Aggregate;
use crate::views::short::join::Join;
use crate::views::short::latest::Latest;
use crate::views::short::rule::Rule;
use crate::views::short::select::Select;
use crate::views::short::window::Window;

/// The short forms; a view has at most one of them.
pub(super) const FORMS: [&str; 5] = ["aggregate", "join", "latest", "rule", "select"];
const AGGREGATE_KEYS: [&str; 6] = ["by", "columns", "of", "topic", "where", "window"];
const JOIN_KEYS: [&str; 4] = ["kind", "left", "on", "right"];
const LATEST_KEYS: [&str; 4] = ["columns", "key", "topic", "where"];
const RULE_KEYS: [&str; 5] = ["key", "to", "topic", "value", "where"];
const SELECT_KEYS: [&str; 5] = ["columns", "keep", "key", "topic", "where"];
const WINDOW_KEYS: [&str; 4] = ["every", "grace", "keep", "size"];

impl Reader<'_> {
    /// The view that a short form stands for.
    pub(super) fn short(
        &self,
        name: &str,
        form: &str,
        value: &DeValue<'_>,
        place: &Place,
    ) -> Result<Definition, ConfigError> {
        let part = format!(".{form}");
        let table = as_table(value, &format!("{}{part}", self.key), place)?;
        let made = match form {
            "aggregate" => self.aggregate(&part, table)?.definition(name),
            "join" => self.join(&part, table)?.definition(name),
            "latest" => self.latest(&part, table)?.definition(name),
            "rule" => self.rule(&part, table)?.definition(name),
            _ => self.select(&part, table)?.definition(name),
        };
        made.map_err(|why| {
            let key = format!("{}{part}", self.key);
            ConfigError::new(place.clone(), Problem::Conflict { key, why })
        })
    }

    fn latest(&self, part: &str, table: &DeTable<'_>) -> Result<Latest, ConfigError> {
        let known = self.known(part, table, &LATEST_KEYS)?;
        Ok(Latest {
            topic: self.topic(&known, part)?,
            key: self.maybe_text(&known, part, "key")?.unwrap_or_else(|| "key".to_owned()),
            columns: self.columns(&known, part, "columns")?,
            filter: self.maybe_text(&known, part, "where")?,
        })
    }

    fn select(&self, part: &str, table: &DeTable<'_>) -> Result<Select, ConfigError> {
        let known = self.known(part, table, &SELECT_KEYS)?;
        Ok(Select {
            topic: self.topic(&known, part)?,
            key: self.maybe_text(&known, part, "key")?.unwrap_or_else(|| "key".to_owned()),
            columns: self.columns(&known, part, "columns")?,
            filter: self.maybe_text(&known, part, "where")?,
            keep_ms: self.duration_ms(&known, part, "keep")?,
        })
    }

    fn rule(&self, part: &str, table: &DeTable<'_>) -> Result<Rule, ConfigError> {
        let known = self.known(part, table, &RULE_KEYS)?;
        let to = match known.get("to") {
            Some((DeValue::Table(_), _)) => self.columns(&known, part, "to")?,
            _ => Columns::from([(self.text(&known, part, "to")?, "true".to_owned())]),
        };
        let place = known.get("to").map_or(&self.place, |(_, place)| place);
        for topic in to.keys() {
            self.derived_topic(topic, place, &format!("{part}.to"))?;
        }
        let (mut value, mut fields) = (None, None);
        match known.get("value") {
            Some((DeValue::Table(_), _)) => {
                fields = Some(self.columns(&known, part, "value")?);
            }
            _ => value = self.maybe_text(&known, part, "value")?,
        }
        Ok(Rule {
            topic: self.topic(&known, part)?,
            to,
            key: self.maybe_text(&known, part, "key")?,
            value,
            fields,
            filter: self.maybe_text(&known, part, "where")?,
        })
    }

    fn aggregate(&self, part: &str, table: &DeTable<'_>) -> Result<Aggregate, ConfigError> {
        let known = self.known(part, table, &AGGREGATE_KEYS)?;
        let of_latest = self.one_of(&known, part, "of", ["records", "latest"])? == "latest";
        let window = match known.get("window") {
            None => None,
            Some((value, place)) => Some(self.window(&format!("{part}.window"), value, place)?),
        };
        Ok(Aggregate {
            topic: self.topic(&known, part)?,
            of_latest,
            by: self.columns(&known, part, "by")?,
            columns: self.columns(&known, part, "columns")?,
            filter: self.maybe_text(&known, part, "where")?,
            window,
        })
    }

    fn window(
        &self,
        part: &str,
        value: &DeValue<'_>,
        place: &Place,
    ) -> Result<Window, ConfigError> {
        let table = as_table(value, &format!("{}{part}", self.key), place)?;
        let known = self.known(part, table, &WINDOW_KEYS)?;
        let size_ms = self.duration_ms(&known, part, "size")?;
        let missing = || self.missing(format!("{part}.size").trim_start_matches('.'));
        let size_ms = size_ms.ok_or_else(missing)?;
        Ok(Window {
            size_ms,
            every_ms: self.duration_ms(&known, part, "every")?.unwrap_or(size_ms),
            grace_ms: self.duration_ms(&known, part, "grace")?.unwrap_or(0),
            keep_ms: self.duration_ms(&known, part, "keep")?,
        })
    }

    fn join(&self, part: &str, table: &DeTable<'_>) -> Result<Join, ConfigError> {
        let known = self.known(part, table, &JOIN_KEYS)?;
        let side = |name: &str| {
            let part = format!("{part}.{name}");
            let missing = || self.missing(part.trim_start_matches('.'));
            let (value, place) = known.get(name).ok_or_else(missing)?;
            self.latest(&part, as_table(value, &format!("{}{part}", self.key), place)?)
        };
        let (left, right) = (side("left")?, side("right")?);
        let on = self.maybe_text(&known, part, "on")?.unwrap_or_else(|| left.key.clone());
        let inner = self.one_of(&known, part, "kind", ["left", "inner"])? == "inner";
        Ok(Join { left, right, on, inner })
    }

    fn topic(&self, known: &Known<'_>, part: &str) -> Result<String, ConfigError> {
        let topic = self.text(known, part, "topic")?;
        let Err(error) = check_topic(&topic) else { return Ok(topic) };
        let place = known.get("topic").map_or(&self.place, |(_, place)| place);
        Err(self.wrong(place, &format!("{part}.topic"), &topic, &error.to_string()))
    }

    fn maybe_text(
        &self,
        known: &Known<'_>,
        part: &str,
        name: &str,
    ) -> Result<Option<String>, ConfigError> {
        known.contains_key(name).then(|| self.text(known, part, name)).transpose()
    }

    /// One of two words; the first if it is left out.
    fn one_of<'w>(
        &self,
        known: &Known<'_>,
        part: &str,
        name: &str,
        words: [&'w str; 2],
    ) -> Result<&'w str, ConfigError> {
        let [first, _] = words;
        let Some((value, place)) = known.get(name) else { return Ok(first) };
        let found = words.into_iter().find(|word| value.as_str() == Some(word));
        found.ok_or_else(|| {
            let allowed = format!("`{}`", words.join("` or `"));
            self.wrong(place, &format!("{part}.{name}"), shown(value), &allowed)
        })
    }

    /// Columns, and what they hold.
    fn columns(&self, known: &Known<'_>, part: &str, name: &str) -> Result<Columns, ConfigError> {
        let Some((value, place)) = known.get(name) else { return Ok(Columns::new()) };
        let part = format!("{part}.{name}");
        let mut columns = Columns::new();
        for (column, text) in as_table(value, &format!("{}{part}", self.key), place)? {
            let place = self.text.place(column.span().start);
            let wrong = || {
                let part = format!("{part}.{}", column.get_ref());
                let allowed = "a path such as `$.lat`, or SQL in quotes";
                self.wrong(&place, &part, shown(text.get_ref()), allowed)
            };
            let text = text.get_ref().as_str().ok_or_else(wrong)?;
            columns.insert(column.get_ref().to_string(), text.to_owned());
        }
        Ok(columns)
    }
}
