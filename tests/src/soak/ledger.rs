//! The ledger: which records were sent, and which of them were acknowledged.
//!
//! One line each in a file: `sent PRODUCER FIRST COUNT` before a request leaves, `acked PRODUCER
//! FIRST COUNT COORDINATES` for each receipt; `-` where coordinates can't be told by line.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use landfall::coordinates::Coordinates;

use super::producer::PRODUCERS;

/// Consecutive records of a producer that were acknowledged.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Acked {
    /// The number of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// Where the first is; the others follow it. None if the receipt did not tell.
    pub at: Option<Coordinates>,
}

/// What is known of one producer.
#[derive(Clone, Debug, Default)]
pub struct Book {
    /// The number of the first record that was never sent.
    pub next: u64,
    /// Receipts in the order in which they came.
    pub acked: Vec<Acked>,
}

impl Book {
    /// The number behind the last record that was acknowledged.
    pub fn acked_to(&self) -> u64 {
        self.acked.last().map_or(0, |acked| acked.first + acked.count)
    }
}

/// What was sent and acknowledged in a soak's folder.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    books: Vec<Book>,
    duplicates: u64,
}

impl Ledger {
    /// Opens the ledger of a folder, with what earlier runs wrote.
    ///
    /// # Errors
    /// The file can't be read or written, or holds something else.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join("ledger");
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        let mut books = vec![Book::default(); PRODUCERS.len()];
        for line in BufReader::new(&file).lines() {
            note(&mut books, &line?);
        }
        // A killed run may have left half a line; what it said had not happened yet.
        writeln!(file)?;
        Ok(Self { file, books, duplicates: 0 })
    }

    /// What is known of a producer.
    pub fn book(&self, producer: usize) -> &Book {
        &self.books[producer]
    }

    /// Records are about to be sent.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn sent(&mut self, producer: usize, first: u64, count: u64) -> io::Result<()> {
        writeln!(self.file, "sent {producer} {first} {count}")?;
        let book = &mut self.books[producer];
        book.next = book.next.max(first + count);
        Ok(())
    }

    /// Records were acknowledged.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn acked(&mut self, producer: usize, acked: Acked, duplicates: u64) -> io::Result<()> {
        let at = acked.at.as_ref().map_or("-".to_owned(), ToString::to_string);
        writeln!(self.file, "acked {producer} {} {} {at}", acked.first, acked.count)?;
        self.books[producer].acked.push(acked);
        self.duplicates += duplicates;
        Ok(())
    }

    /// All that was acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.books.iter().flat_map(|book| &book.acked).map(|acked| acked.count).sum()
    }

    /// Records of this run that the node recognised as sent before.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Makes all of it durable.
    ///
    /// # Errors
    /// The file can't be synced.
    pub fn close(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }
}

fn note(books: &mut [Book], line: &str) -> Option<()> {
    let words: Vec<_> = line.split(' ').collect();
    let number = |at: usize| words.get(at)?.parse::<u64>().ok();
    let book = books.get_mut(usize::try_from(number(1)?).ok()?)?;
    let (first, count) = (number(2)?, number(3)?);
    match *words.first()? {
        "sent" => book.next = book.next.max(first + count),
        "acked" => {
            let at = *words.get(4)?;
            let at = (at != "-").then(|| at.parse().ok());
            book.acked.push(Acked { first, count, at: at.flatten() });
        }
        _ => {}
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_goes_on_where_an_earlier_run_was_killed() {
        let dir = tempfile::tempdir().unwrap();
        let at: Coordinates = "ship/a/0@7~1f".parse().unwrap();
        let mut ledger = Ledger::open(dir.path()).unwrap();
        ledger.sent(1, 0, 5).unwrap();
        ledger.acked(1, Acked { first: 0, count: 3, at: Some(at.clone()) }, 2).unwrap();
        ledger.file.write_all(b"sent 1 5").unwrap();
        drop(ledger);
        let mut ledger = Ledger::open(dir.path()).unwrap();
        ledger.sent(1, 5, 1).unwrap();
        drop(ledger);
        let ledger = Ledger::open(dir.path()).unwrap();
        assert_eq!(ledger.book(1).next, 6);
        assert_eq!(ledger.book(1).acked, [Acked { first: 0, count: 3, at: Some(at) }]);
        assert_eq!((ledger.acknowledged(), ledger.book(1).acked_to()), (3, 3));
    }
}
