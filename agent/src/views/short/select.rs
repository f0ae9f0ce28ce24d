//! The short form `select`: a row for each record of a topic that meets a condition, with columns
//! taken from it. What streams call filter and map.

use super::*;

/// What `select` is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Select {
    /// The topic.
    pub topic: String,
    /// The name of the column with the key.
    pub key: String,
    /// What the other columns hold.
    pub columns: Columns,
    /// What must hold for a record to have a row; every record has one without it.
    pub filter: Option<String>,
    /// Milliseconds to keep rows, by their timestamp; for ever if there are none.
    pub keep_ms: Option<u64>,
}

/// The columns that every such view has.
const FIXED: [&str; 5] = ["id", "at", "origin", "partition", "offset"];
/// How often old rows are taken away.
const SWEEP_EVERY_MS: u64 = 60_000;

impl Select {
    /// The view that this stands for.
    ///
    /// # Errors
    /// Says which name or expression can't be used.
    pub fn definition(&self, name: &str) -> Result<Definition, String> {
        check_names(self.columns.keys().chain([&self.key]), &FIXED)?;
        let key = quote(&self.key);
        let names = list([key].into_iter().chain(self.columns.keys().map(|name| quote(name))));
        let values = self.columns.iter().map(|(name, text)| expression(name, text));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let values = list([":key".to_owned()].into_iter().chain(values));
        let ddl = format!(
            "CREATE TABLE {name}(\n  id INTEGER PRIMARY KEY, {names},\n  at INTEGER NOT NULL, \
             origin TEXT NOT NULL, partition INTEGER NOT NULL, \"offset\" INTEGER NOT NULL);\n\
             CREATE INDEX {name}_at ON {name}(at);"
        );
        let put = format!(
            "INSERT INTO {name}({names}, at, origin, partition, \"offset\")\nSELECT {values}, \
             :timestamp, :origin, :partition, :offset\nWHERE {}",
            condition(self.filter.as_ref())?
        );
        // As in a window: the clock and the records must agree.
        let retention = self.keep_ms.map(|keep| Retention {
            statements: vec![format!(
                "DELETE FROM {name} WHERE at <= min(:now, :watermark) - {keep}"
            )],
            every_ms: SWEEP_EVERY_MS,
        });
        let source = Source { put: vec![put], ..Source::default() };
        Ok(definition(name, ddl, [(self.topic.clone(), source)], retention))
    }
}
