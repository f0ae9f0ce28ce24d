//! What the linker noted of a program: which pieces it put where, and how large each is.
//!
//! The format is that of GNU ld's `-Map`: a line for each piece with its section, address, size and
//! file, or two where the name of the section is long.

use std::collections::BTreeMap;

/// How many are named.
const LARGEST: usize = 12;

/// The crates and libraries that take most of a program, and how many bytes each takes. A function
/// counts for the crate that it is written in, whoever calls it.
pub(super) fn largest(map: &str) -> Vec<(String, u64)> {
    let mut bytes = BTreeMap::<String, u64>::new();
    for piece in pieces(map) {
        *bytes.entry(piece.owner()).or_default() += piece.bytes;
    }
    let mut largest: Vec<_> = bytes.into_iter().collect();
    largest.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    largest.truncate(LARGEST);
    largest
}

/// A piece of the program.
#[derive(Debug, Eq, PartialEq)]
struct Piece<'a> {
    section: &'a str,
    bytes: u64,
    file: &'a str,
}

/// The pieces that are in the program and take bytes of its file.
fn pieces(map: &str) -> impl Iterator<Item = Piece<'_>> {
    let (mut section, mut kept) = ("", false);
    map.lines().filter_map(move |line| {
        // What was left out is listed first.
        kept |= line.starts_with("Linker script and memory map");
        let mut words = line.split_whitespace();
        if line.starts_with(" .") {
            section = words.next().unwrap_or_default();
        }
        let address = number(words.next()?)?;
        let bytes = number(words.next()?)?;
        let file = words.next()?;
        let taken = [".text", ".rodata", ".data", ".eh_frame", ".ARM", ".gcc_except_table"];
        let taken = taken.iter().any(|kind| section.starts_with(kind));
        (kept && taken && address > 0 && bytes > 0).then_some(Piece { section, bytes, file })
    })
}

fn number(word: &str) -> Option<u64> {
    u64::from_str_radix(word.strip_prefix("0x")?, 16).ok()
}

impl Piece<'_> {
    fn owner(&self) -> String {
        let symbol = self.section.split_once("._R").map(|(_, symbol)| symbol);
        let written_in = symbol.and_then(crate_of);
        let constants = || {
            let rust = self.file.ends_with(".rcgu.o") && self.section.starts_with(".rodata");
            rust.then(|| "constants of Rust".to_owned())
        };
        written_in.or_else(constants).unwrap_or_else(|| library(self.file))
    }
}

/// The crate of a mangled name behind its `_R`, by rustc's second way to mangle: the first that is
/// named in it, as `Cs`, a hash, `_`, and the name behind its length.
fn crate_of(symbol: &str) -> Option<String> {
    let (_, named) = symbol.split_once("Cs")?;
    let (_, named) = named.split_once('_')?;
    let digits = named.find(|letter: char| !letter.is_ascii_digit())?;
    let (length, name) = named.split_at(digits);
    name.strip_prefix('_').unwrap_or(name).get(..length.parse().ok()?).map(str::to_owned)
}

/// The library that an object file belongs to, by the archive or the folder that it lies in.
fn library(file: &str) -> String {
    let archive = file.split('(').next().unwrap_or(file);
    let name = archive.rsplit('/').next().unwrap_or(archive);
    let name = name.strip_prefix("lib").unwrap_or(name);
    let name = name.split(['-', '.']).next().unwrap_or(name);
    format!("{name}, a library")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
Discarded input sections

 .text._RNvCs4evGEjQ3AIX_5tokio4gone
                0x00000000        0x99 /tmp/landfall.rcgu.o

Linker script and memory map

.text           0x0000000000010000     0x2000
 .text          0x0000000000010000       0x10 /usr/lib/crt1.o
 .text._RNvNtCs4evGEjQ3AIX_5tokio7runtime4park
                0x0000000000010010      0x100 /tmp/landfall.rcgu.o
 .text.unlikely._RNvXs_CsaDqJyvzEkit_13landfall_nodeNtB4_4NodeNtCs4evGEjQ3AIX_4core3fmt5Debug3fmt
                0x0000000000010110       0x20 /tmp/landfall.rcgu.o
 .rodata..L__unnamed_1
                0x0000000000020000       0x40 /tmp/landfall.rcgu.o
 .text.sha256   0x0000000000010130       0x80 /tmp/libring-0a1b.rlib(0a1b-sha256.o)
 .bss._RNvCs4evGEjQ3AIX_5tokio5cache
                0x0000000000030000     0x1000 /tmp/landfall.rcgu.o
";

    #[test]
    fn each_piece_counts_for_the_crate_or_library_that_it_is_of() {
        let expected = [
            ("tokio", 0x100),
            ("ring, a library", 0x80),
            ("constants of Rust", 0x40),
            ("landfall_node", 0x20),
            ("crt1, a library", 0x10),
        ];
        assert_eq!(largest(MAP), expected.map(|(name, bytes)| (name.to_owned(), bytes)));
    }

    #[test]
    fn what_is_no_map_has_no_pieces() {
        assert_eq!(largest("Memory Configuration\n .text 0x1\n"), []);
    }
}
