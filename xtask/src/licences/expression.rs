//! Licence expressions as in SPDX: ids joined by `AND`, `OR`, `WITH` and parentheses.
//!
//! `OR` leaves the choice to us, `AND` binds tighter and demands both, `WITH` adds an exception,
//! which only permits more. Old manifests write `/` for `OR`.

/// A parsed expression.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Expression {
    Licence(String),
    All(Vec<Expression>),
    Any(Vec<Expression>),
}

impl Expression {
    /// Parses the `license` field of a manifest; the error says what was found where.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let spaced = text.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut parser = Parser { words: &words };
        let expression = parser.any()?;
        match parser.words.first() {
            None => Ok(expression),
            Some(word) => Err(format!("`{word}` is left over in `{text}`")),
        }
    }

    /// Whether the licences for which `known` is true suffice.
    pub(super) fn allowed(&self, known: &dyn Fn(&str) -> bool) -> bool {
        match self {
            Self::Licence(id) => known(id),
            Self::All(parts) => parts.iter().all(|part| part.allowed(known)),
            Self::Any(parts) => parts.iter().any(|part| part.allowed(known)),
        }
    }
}

/// The words that are still to be read.
struct Parser<'a> {
    words: &'a [&'a str],
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.all()?];
        while self.take("OR") {
            parts.push(self.all()?);
        }
        Ok(single_or(parts, Expression::Any))
    }

    fn all(&mut self) -> Result<Expression, String> {
        let mut parts = vec![self.licence()?];
        while self.take("AND") {
            parts.push(self.licence()?);
        }
        Ok(single_or(parts, Expression::All))
    }

    fn licence(&mut self) -> Result<Expression, String> {
        if self.take("(") {
            let inner = self.any()?;
            return if self.take(")") { Ok(inner) } else { Err("a `)` is missing".to_owned()) };
        }
        let id = self.id()?.trim_end_matches('+').to_owned();
        if self.take("WITH") {
            self.id()?;
        }
        Ok(Expression::Licence(id))
    }

    fn id(&mut self) -> Result<&str, String> {
        match self.words.split_first() {
            Some((word, rest)) if !["AND", "OR", "WITH", "(", ")"].contains(word) => {
                self.words = rest;
                Ok(word)
            }
            Some((word, _)) => Err(format!("a licence is missing before `{word}`")),
            None => Err("a licence is missing at the end".to_owned()),
        }
    }

    fn take(&mut self, word: &str) -> bool {
        match self.words.split_first() {
            Some((first, rest)) if *first == word => {
                self.words = rest;
                true
            }
            _ => false,
        }
    }
}

fn single_or(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            join(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(text: &str) -> bool {
        Expression::parse(text).unwrap().allowed(&|id| ["MIT", "ISC", "Apache-2.0"].contains(&id))
    }

    #[test]
    fn or_needs_one_side_and_and_needs_both() {
        assert!(allowed("MIT"));
        assert!(allowed("GPL-3.0 OR MIT"));
        assert!(allowed("Apache-2.0 AND ISC"));
        assert!(!allowed("MIT AND GPL-3.0"));
        assert!(allowed("GPL-3.0/Apache-2.0"));
    }

    #[test]
    fn and_binds_tighter_than_or_and_parentheses_tighter_still() {
        assert!(allowed("MIT OR ISC AND GPL-3.0"));
        assert!(!allowed("(MIT OR ISC) AND GPL-3.0"));
        assert!(allowed("(MIT OR GPL-3.0) AND (ISC)"));
    }

    #[test]
    fn an_exception_permits_more_so_the_licence_decides() {
        assert!(allowed("Apache-2.0 WITH LLVM-exception OR GPL-3.0"));
        assert!(!allowed("GPL-2.0+ WITH Classpath-exception-2.0"));
    }

    #[test]
    fn what_is_no_expression_is_an_error() {
        for text in ["", "MIT OR", "AND MIT", "(MIT", "MIT)", "MIT ISC", "MIT WITH"] {
            assert!(Expression::parse(text).is_err(), "{text}");
        }
    }
}
