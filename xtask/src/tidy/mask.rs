//! Rust text with everything that is not code blanked out.
//!
//! Comments and the insides of string and character literals become spaces, line ends stay: a
//! brace or word that is left is code, on the line where it was.

/// Blanks out comments, strings and characters.
pub(super) fn mask(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut masked = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = at + blank_length(&chars, at);
        if end == at {
            masked.push(chars[at]);
            at += 1;
            continue;
        }
        masked.extend(chars[at..end].iter().map(|&c| if c == '\n' { c } else { ' ' }));
        at = end;
    }
    masked
}

/// How many characters from `at` on are one comment or literal; 0 if there is code.
fn blank_length(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    match rest {
        ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => 1 + string(&rest[1..]),
        ['\'', ..] => character(rest),
        ['b' | 'c' | 'r', ..] if at == 0 || !is_word(chars[at - 1]) => prefixed(rest),
        _ => 0,
    }
}

/// Block comments nest.
fn block_comment(rest: &[char]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a string behind its opening quote, with the closing one.
fn string(rest: &[char]) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal, as opposed to a lifetime.
fn character(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', _, tail @ ..] => {
            3 + tail.iter().position(|&c| c == '\'').map_or(tail.len(), |end| end + 1)
        }
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

/// Literals such as `b"..."`, `b'.'` and `r#"..."#`; `r#name` is a name.
fn prefixed(rest: &[char]) -> usize {
    let letters = rest.iter().take(2).take_while(|c| ['b', 'c', 'r'].contains(c)).count();
    let raw = rest[letters - 1] == 'r';
    let hashes = rest[letters..].iter().take_while(|&&c| c == '#').count();
    let start = letters + hashes;
    match rest.get(start) {
        Some('"') if raw => {
            let close: Vec<char> =
                std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let inside = &rest[start + 1..];
            let end = inside.windows(close.len()).position(|window| window == close);
            end.map_or(rest.len(), |end| start + 1 + end + close.len())
        }
        Some('"') if hashes == 0 => start + 1 + string(&rest[start + 1..]),
        Some('\'') if hashes == 0 && rest[0] == 'b' => start + character(&rest[start..]),
        _ => 0,
    }
}

/// Whether a character may stand in a name.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> String {
        let masked = mask(text);
        assert_eq!(masked.chars().count(), text.chars().count());
        assert_eq!(masked.lines().count(), text.lines().count());
        masked.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn comments_vanish_even_when_nested() {
        assert_eq!(code("a // { \" \nb /* { /* } */ ' */ c"), "a b c");
        assert_eq!(code("//! doc {\n/// more }\nfn"), "fn");
        assert_eq!(code("a /* never closed {"), "a");
    }

    #[test]
    fn strings_vanish_with_their_escapes_and_lines() {
        assert_eq!(code(r#"f("a \" } // no comment", b"\\", c"{") + g"#), "f( , , ) + g");
        assert_eq!(code("x = \"two\nlines {\"; y"), "x = ; y");
    }

    #[test]
    fn raw_strings_end_at_as_many_hashes_as_they_began_with() {
        assert_eq!(code(r###"f(r#"a " } "# , br##"}"#"##, r"\") g"###), "f( , , ) g");
        assert_eq!(code("r#type + bar\"}\""), "r#type + bar");
    }

    #[test]
    fn characters_vanish_and_lifetimes_stay() {
        assert_eq!(code(r"'{' '\'' '\u{7d}' b'}' b'\\' z"), "z");
        assert_eq!(code("fn f<'a>(x: &'a str, y: &'static str) {}").matches('\'').count(), 3);
        assert_eq!(code("match c { 'a'..='z' => 1 }"), "match c { ..= => 1 }");
    }
}
