//! The short form `latest`: the newest record of each key of a topic, with columns taken from its
//! JSON.
//!
//! The last writer wins by (timestamp, origin, offset), in whatever order records come. What was
//! deleted keeps a row that says so, lest an older record that comes late bring it back.

use super::*;

/// What `latest` is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Latest {
    /// The topic.
    pub topic: String,
    /// The name of the column with the key.
    pub key: String,
    /// What the other columns hold.
    pub columns: Columns,
    /// What must hold of a key's newest record for the key to be there.
    pub filter: Option<String>,
}

/// The columns that every such view has.
const FIXED: [&str; 4] = ["at", "origin", "offset", "deleted"];

impl Latest {
    /// The view that this stands for.
    ///
    /// # Errors
    /// Says which name or path can't be used.
    pub fn definition(&self, name: &str) -> Result<Definition, String> {
        check_names(self.columns.keys().chain([&self.key]), &FIXED)?;
        let (rows, key) = (format!("{name}_rows"), quote(&self.key));
        let names = self.each(|column| format!("{column}, "));
        let values = self.columns.iter().map(|(name, text)| expression(name, text));
        let values = values.map(|value| value.map(|value| value + ", "));
        let values = values.collect::<Result<String, _>>()?;
        let hidden = match &self.filter {
            None => "0".to_owned(),
            Some(filter) => format!("NOT coalesce({}, 0)", expression("where", filter)?),
        };
        let excluded = self.each(|column| format!("{column} = excluded.{column}, "));
        let nothing = self.each(|column| format!("{column} = NULL, "));
        let ddl = format!(
            "CREATE TABLE {rows}(\n  {key} NOT NULL PRIMARY KEY, {names}at INTEGER NOT NULL,\n  \
             origin TEXT NOT NULL, \"offset\" INTEGER NOT NULL, deleted INTEGER NOT NULL) \
             WITHOUT ROWID;\n\
             CREATE VIEW {name} AS\n  SELECT {key}, {names}at, origin, \"offset\"\n  \
             FROM {rows} WHERE NOT deleted;"
        );
        let newer = |set: &str| {
            format!(
                "ON CONFLICT({key}) DO UPDATE SET\n  {set}at = excluded.at, origin = \
                 excluded.origin,\n  \"offset\" = excluded.\"offset\", deleted = \
                 excluded.deleted\nWHERE (excluded.at, excluded.origin, excluded.\"offset\") > \
                 (at, origin, \"offset\")"
            )
        };
        let put = format!(
            "INSERT INTO {rows}({key}, {names}at, origin, \"offset\", deleted)\n\
             VALUES(:key, {values}:timestamp, :origin, :offset, {hidden})\n{}",
            newer(&excluded)
        );
        let delete = format!(
            "INSERT INTO {rows}({key}, at, origin, \"offset\", deleted)\n\
             VALUES(:key, :timestamp, :origin, :offset, 1)\n{}",
            newer(&nothing)
        );
        let source = Source { put: vec![put], delete: vec![delete], ..Source::default() };
        Ok(definition(name, ddl, [(self.topic.clone(), source)], None))
    }

    /// A piece of SQL for each column.
    fn each(&self, piece: impl Fn(&str) -> String) -> String {
        self.columns.keys().map(|name| piece(&quote(name))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(key: &str, columns: &[(&str, &str)]) -> Latest {
        let columns = columns.iter().map(|(name, path)| ((*name).into(), (*path).into())).collect();
        Latest { topic: "ais".into(), key: key.into(), columns, filter: None }
    }

    #[test]
    fn what_stands_for_it_is_sql_that_a_person_could_have_written() {
        let view = told("mmsi", &[("lat", "$.lat")]).definition("here").unwrap();
        assert_eq!(
            view.ddl,
            "CREATE TABLE here_rows(\n  \"mmsi\" NOT NULL PRIMARY KEY, \"lat\", at INTEGER NOT \
             NULL,\n  origin TEXT NOT NULL, \"offset\" INTEGER NOT NULL, deleted INTEGER NOT \
             NULL) WITHOUT ROWID;\nCREATE VIEW here AS\n  SELECT \"mmsi\", \"lat\", at, origin, \
             \"offset\"\n  FROM here_rows WHERE NOT deleted;"
        );
        assert_eq!(crate::views::check_alone(&view), Ok(()));
        let bare = told("key", &[]).definition("keys").unwrap();
        assert_eq!(crate::views::check_alone(&bare), Ok(()));
        let odd = told("group", &[("order", "$.\"it's\""), ("select", "$[0].x")]);
        assert_eq!(crate::views::check_alone(&odd.definition("table1").unwrap()), Ok(()));
    }

    #[test]
    fn names_and_paths_that_cannot_be_are_told() {
        let wrong = [
            (told("key", &[("at", "$.at")]), "`at` cannot be a column here"),
            (told("Key", &[]), "`Key` cannot be a column here"),
            (told("key", &[("key", "$.key")]), "there are two columns `key`"),
            (told("key", &[("lat", "lat")]), "`lat`: `lat` is no path; write `$.lat`"),
        ];
        for (latest, expected) in wrong {
            let error = latest.definition("v").unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
