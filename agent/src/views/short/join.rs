//! The short form `join`: the newest records of two topics side by side, where a column on the left
//! is the key on the right.
//!
//! Both sides are kept, and joined when somebody asks. So the order in which they come does not
//! matter: what comes late on the right is there for every row on the left, old ones too.

use super::latest::Latest;
use super::*;

/// What `join` is told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Join {
    /// The topic with a row in the result for each key.
    pub left: Latest,
    /// The topic that adds to it.
    pub right: Latest,
    /// The column on the left that holds the key on the right; the key, usually.
    pub on: String,
    /// Whether rows on the left without a partner are left out.
    pub inner: bool,
}

impl Join {
    /// The view that this stands for.
    ///
    /// # Errors
    /// Says which name or expression can't be used.
    pub fn definition(&self, name: &str) -> Result<Definition, String> {
        let Self { left, right, on, inner } = self;
        if left.topic == right.topic {
            return Err("both sides are the same topic; join two".to_owned());
        }
        if *on != left.key && !left.columns.contains_key(on) {
            return Err(format!("`on`: there is no column `{on}` on the left"));
        }
        let both = left.columns.keys().chain([&left.key]).chain(right.columns.keys());
        check_names(both, &["at", "origin", "offset", "right_at"])?;
        let of_left = left.definition(&format!("{name}_left"))?;
        let of_right = right.definition(&format!("{name}_right"))?;
        let columns = list(
            [&left.key]
                .into_iter()
                .chain(left.columns.keys())
                .map(|name| format!("l.{}", quote(name)))
                .chain(right.columns.keys().map(|name| format!("r.{}", quote(name)))),
        );
        let kind = if *inner { "JOIN" } else { "LEFT JOIN" };
        let ddl = format!(
            "{}\n{}\nCREATE VIEW {name} AS\n  SELECT {columns}, l.at, l.origin, l.\"offset\", r.at \
             AS right_at\n  FROM {name}_left l {kind} {name}_right r ON r.{} = l.{};",
            of_left.ddl,
            of_right.ddl,
            quote(&right.key),
            quote(on)
        );
        let sources = of_left.sources.into_iter().chain(of_right.sources);
        Ok(definition(name, ddl, sources, None))
    }
}
