//! Functions and the tests' module in masked Rust text.

use super::mask::is_word;

/// The lines of an item, counted from 1, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Lines {
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Lines {
    pub(super) fn count(self) -> usize {
        self.last - self.first + 1
    }

    pub(super) fn contains(self, line: usize) -> bool {
        (self.first..=self.last).contains(&line)
    }
}

/// Every function that has a body, from its `fn` to its closing brace.
pub(super) fn functions(code: &str) -> Vec<(String, Lines)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let behind = code[at + 2..].trim_start();
        let name: String = behind.chars().take_while(|&c| is_word(c) || c == '$').collect();
        // Without a name it is the type of a function pointer.
        if !name.is_empty()
            && let Some(end) = body_end(&code[at..])
        {
            found.push((name, lines(code, at, at + end)));
        }
    }
    found
}

/// The inline module `tests` with its attributes' line, and whether code stands behind it.
pub(super) fn tests_module(code: &str) -> Option<(Lines, bool)> {
    for at in words(code, "mod") {
        let behind = code[at + 3..].trim_start();
        let Some(inside) = behind.strip_prefix("tests") else { continue };
        if !inside.trim_start().starts_with('{') {
            continue;
        }
        let end = at + body_end(&code[at..])?;
        let attribute = code[..at].rfind("#[cfg(test)]");
        let attribute = attribute.filter(|&from| !code[from..at].contains(['{', ';']));
        let followed = !code[end + 1..].trim().is_empty();
        return Some((lines(code, attribute.unwrap_or(at), end), followed));
    }
    None
}

/// Where a word stands in the code, as a whole word.
pub(super) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// The line of a place in a text, counted from 1.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

fn lines(code: &str, first: usize, last: usize) -> Lines {
    Lines { first: line_of(code, first), last: line_of(code, last) }
}

/// The closing brace of the first body; none if a `;` outside of brackets comes before it.
fn body_end(code: &str) -> Option<usize> {
    let (mut brackets, mut braces) = (0_usize, 0_usize);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '{' if brackets == 0 || braces > 0 => braces += 1,
            '}' if braces > 0 => {
                braces -= 1;
                if braces == 0 {
                    return Some(at);
                }
            }
            ';' if brackets == 0 && braces == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_reaches_from_its_name_to_its_closing_brace() {
        let code = "impl A {\n    fn one(\n        &self,\n    ) -> [u8; 4] {\n        \
            if a { b } else { c }\n    }\n}\nconst fn two() {}\n";
        let expected = [
            ("one".to_owned(), Lines { first: 2, last: 6 }),
            ("two".to_owned(), Lines { first: 8, last: 8 }),
        ];
        assert_eq!(functions(code), expected);
    }

    #[test]
    fn declarations_and_pointers_have_no_body() {
        let code = "trait T {\n    fn declared(&self, x: [u8; 2]);\n    \
            fn given(&self) {\n    }\n}\nstruct S { run: fn(&[u8]) -> u8 }\n";
        let expected = [("given".to_owned(), Lines { first: 3, last: 4 })];
        assert_eq!(functions(code), expected);
    }

    #[test]
    fn closures_and_inner_functions_lie_within_the_outer_one() {
        let code = "fn outer() {\n    let f = |x: u8| { (x) };\n    fn inner() {\n    }\n}\n";
        let found = functions(code);
        assert_eq!(found[0], ("outer".to_owned(), Lines { first: 1, last: 5 }));
        assert_eq!(found[1], ("inner".to_owned(), Lines { first: 3, last: 4 }));
    }

    #[test]
    fn the_tests_module_begins_with_its_attribute() {
        let code = "fn a() {}\n\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        assert_eq!(tests_module(code), Some((Lines { first: 3, last: 6 }, false)));
        let followed = format!("{code}fn late() {{}}\n");
        assert_eq!(tests_module(&followed), Some((Lines { first: 3, last: 6 }, true)));
        let far = "#[cfg(test)]\nuse a;\nmod tests {}\n";
        assert_eq!(tests_module(far), Some((Lines { first: 3, last: 3 }, false)));
        assert_eq!(tests_module("mod tests;\nmod tests_of {}\n"), None);
    }

    #[test]
    fn words_are_whole() {
        let code = "sleep( asleep( sleep_until( x.sleep(";
        assert_eq!(words(code, "sleep").collect::<Vec<_>>(), [0, 30]);
    }
}
