//! The short form `aggregate`: counts, sums, smallest and largest values and averages, by what a
//! record holds and by windows of time.
//!
//! Of records, each counts once, as it comes. Of the newest record of each key, a key counts where
//! it is now, and no longer where it was.

use super::latest::Latest;
use super::window::Window;
use super::*;

/// What `aggregate` is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Aggregate {
    /// The topic.
    pub topic: String,
    /// Whether only the newest record of each key counts.
    pub of_latest: bool,
    /// Columns that records are grouped by; the key if there are none.
    pub by: Columns,
    /// Columns with what is computed: `count`, `count(X)`, `sum(X)`, `min(X)`, `max(X)`, `avg(X)`.
    pub columns: Columns,
    /// What must hold for a record to count.
    pub filter: Option<String>,
    /// Windows of time, of records only.
    pub window: Option<Window>,
}

/// One column that is computed.
enum Function {
    /// Of all records, or of those where this is not NULL.
    Count(Option<String>),
    Sum(String),
    Min(String),
    Max(String),
    Avg(String),
}

/// The columns that windows have.
const FIXED: [&str; 3] = ["start", "end", "closed"];

impl Aggregate {
    /// The view that this stands for.
    ///
    /// # Errors
    /// Says which name or expression can't be used.
    pub fn definition(&self, name: &str) -> Result<Definition, String> {
        check_names(self.by.keys().chain(self.columns.keys()), &FIXED)?;
        if self.columns.is_empty() {
            return Err("`columns`: compute something, such as `n = \"count\"`".to_owned());
        }
        let by = match self.by.is_empty() {
            true => Columns::from([("key".to_owned(), "(:key)".to_owned())]),
            false => self.by.clone(),
        };
        let functions = self.columns.iter().map(|(name, text)| {
            Function::read(name, text).map(|function| (name.as_str(), function))
        });
        let functions = functions.collect::<Result<Vec<_>, _>>()?;
        match (self.of_latest, &self.window) {
            (true, Some(_)) => Err("`window` is of records; remove it, or `of`".to_owned()),
            (true, None) => self.of_keys(name, &by, &functions),
            (false, _) => self.of_records(name, &by, &functions),
        }
    }

    /// Groups that every record adds to.
    fn of_records(
        &self,
        name: &str,
        by: &Columns,
        functions: &[(&str, Function)],
    ) -> Result<Definition, String> {
        if let Some(window) = &self.window {
            window.check()?;
        }
        let start = self.window.iter().map(|_| quote("start"));
        let groups: Vec<_> = start.chain(by.keys().map(|name| quote(name))).collect();
        let kept: Vec<_> =
            functions.iter().flat_map(|(name, function)| function.kept(name)).collect();
        let shown = list(functions.iter().map(|(name, function)| function.shown(name)));
        let keys = list(by.keys().map(|name| quote(name)));
        let window_ddl = self.window.map(|window| window.ddl(name)).unwrap_or_default();
        let window_columns = self.window.map(|window| window.columns(name)).unwrap_or_default();
        let ddl = format!(
            "CREATE TABLE {name}_rows(\n  {}, {},\n  PRIMARY KEY({})) WITHOUT ROWID;\n{window_ddl}\
             CREATE VIEW {name} AS\n  SELECT {window_columns}{keys}, {shown}\n  FROM {name}_rows;",
            list(groups.iter().map(|group| format!("{group} NOT NULL"))),
            list(kept.iter().map(|kept| kept.name.clone())),
            list(groups.iter().cloned())
        );
        let (with, start, from) = match self.window.map(|window| (window, window.starts())) {
            None => (String::new(), None, ""),
            Some((window, None)) => (String::new(), Some(window.newest_start()), ""),
            Some((_, Some(starts))) => (starts, Some("w.start".to_owned()), "\nFROM w"),
        };
        let values = by.iter().map(|(name, text)| expression(name, text));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let values =
            start.into_iter().chain(values).chain(kept.iter().map(|kept| kept.of_one.clone()));
        let put = format!(
            "{with}INSERT INTO {name}_rows({}, {})\nSELECT {}{from}\nWHERE {}\nON CONFLICT({}) DO \
             UPDATE SET\n  {}",
            list(groups.iter().cloned()),
            list(kept.iter().map(|kept| kept.name.clone())),
            list(values),
            condition(self.filter.as_ref())?,
            list(groups.iter().cloned()),
            kept.iter().map(|kept| kept.sum.clone()).collect::<Vec<_>>().join(",\n  "),
        );
        let source = Source { put: vec![put], ..Source::default() };
        let retention = self.window.map(|window| window.retention(name));
        Ok(definition(name, ddl, [(self.topic.clone(), source)], retention))
    }

    /// Groups of what the newest records hold, computed when somebody asks.
    fn of_keys(
        &self,
        name: &str,
        by: &Columns,
        functions: &[(&str, Function)],
    ) -> Result<Definition, String> {
        let mut columns = by.clone();
        let mut shown = Vec::new();
        for (at, (name, function)) in functions.iter().enumerate() {
            let (word, of) = function.parts();
            let of = of.map(|of| {
                let column = format!("value_{at}");
                columns.insert(column.clone(), of.clone());
                quote(&column)
            });
            let of = of.unwrap_or_else(|| "*".to_owned());
            shown.push(format!("{word}({of}) AS {}", quote(name)));
        }
        let key = "record_key".to_owned();
        let (topic, filter) = (self.topic.clone(), self.filter.clone());
        let latest = Latest { topic, key, columns, filter };
        let mut made = latest.definition(&format!("{name}_latest"))?;
        let keys = list(by.keys().map(|name| quote(name)));
        made.ddl += &format!(
            "\nCREATE VIEW {name} AS\n  SELECT {keys}, {}\n  FROM {name}_latest GROUP BY {keys};",
            list(shown)
        );
        Ok(Definition { name: name.to_owned(), ..made })
    }
}

/// A column of the table of groups.
struct Kept {
    name: String,
    /// What one record gives.
    of_one: String,
    /// How what is there and what one more record gives become one.
    sum: String,
}

impl Function {
    fn read(name: &str, text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "count" {
            return Ok(Self::Count(None));
        }
        let parts = text.strip_suffix(')').and_then(|text| text.split_once('('));
        let Some((word, of)) = parts else { return Err(unknown(name, text)) };
        let of = expression(name, of)?;
        match word.trim() {
            "count" => Ok(Self::Count(Some(of))),
            "sum" => Ok(Self::Sum(of)),
            "min" => Ok(Self::Min(of)),
            "max" => Ok(Self::Max(of)),
            "avg" => Ok(Self::Avg(of)),
            _ => Err(unknown(name, text)),
        }
    }

    /// The function in SQL, and what it is of.
    fn parts(&self) -> (&'static str, Option<&String>) {
        match self {
            Self::Count(of) => ("count", of.as_ref()),
            Self::Sum(of) => ("sum", Some(of)),
            Self::Min(of) => ("min", Some(of)),
            Self::Max(of) => ("max", Some(of)),
            Self::Avg(of) => ("avg", Some(of)),
        }
    }

    /// What has to be kept of it.
    fn kept(&self, name: &str) -> Vec<Kept> {
        let plus = |name: String, of_one: String| Kept {
            sum: format!("{name} = coalesce({name} + excluded.{name}, {name}, excluded.{name})"),
            name,
            of_one,
        };
        let either = |word: &str, of: &String| {
            let name = quote(name);
            let both = format!("{word}({name}, excluded.{name})");
            let sum = format!("{name} = coalesce({both}, {name}, excluded.{name})");
            Kept { name, of_one: of.clone(), sum }
        };
        match self {
            Self::Count(None) => vec![plus(quote(name), "1".to_owned())],
            Self::Count(Some(of)) => vec![plus(quote(name), format!("{of} IS NOT NULL"))],
            Self::Sum(of) => vec![plus(quote(name), format!("{of} + 0"))],
            Self::Min(of) => vec![either("min", of)],
            Self::Max(of) => vec![either("max", of)],
            Self::Avg(of) => vec![
                plus(quote(&format!("{name}_sum")), format!("{of} + 0.0")),
                plus(quote(&format!("{name}_count")), format!("{of} IS NOT NULL")),
            ],
        }
    }

    /// The column as the view shows it.
    fn shown(&self, name: &str) -> String {
        match self {
            Self::Avg(_) => format!("\"{name}_sum\" / \"{name}_count\" AS \"{name}\""),
            _ => quote(name),
        }
    }
}

fn unknown(name: &str, text: &str) -> String {
    format!(
        "`{name}`: `{text}` is nothing to compute; write `count`, or `count`, `sum`, `min`, `max` \
         or `avg` of something, as in `sum($.x)`"
    )
}
