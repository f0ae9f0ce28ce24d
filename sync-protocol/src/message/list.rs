//! A list at the end of a message, read one item at a time, so that no end needs room for all.

use core::fmt;

use landfall_core::codec::{Malformed, NoRoom};

use crate::wire::{Input, Output};

/// Something that a [`List`] may hold.
pub trait Item<'a>: Copy {
    /// Bytes that it takes.
    fn encoded_len(&self) -> usize;

    /// Writes it to the front of `out` and returns how many bytes it took.
    fn encode(&self, out: &mut [u8]) -> Result<usize, NoRoom>;

    /// Reads one from the front of `bytes`, checks it, and returns what follows.
    fn decode(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed>;
}

/// A list of items: to be sent, or as it came. Whatever came has been checked.
#[derive(Clone, Copy)]
pub struct List<'a, T> {
    items: Items<'a, T>,
}

#[derive(Clone, Copy)]
enum Items<'a, T> {
    Here(&'a [T]),
    Encoded { bytes: &'a [u8], count: usize },
}

impl<'a, T: Item<'a>> List<'a, T> {
    /// A list without items.
    pub const EMPTY: Self = Self { items: Items::Here(&[]) };

    /// A list to be sent. What does not fit a message is refused when it is encoded; see
    /// [`List::fitting`].
    pub const fn new(items: &'a [T]) -> Self {
        Self { items: Items::Here(items) }
    }

    /// How many of `items`, from the front, fit `room` bytes.
    pub fn fitting(items: &[T], room: usize) -> usize {
        let mut left = room;
        let fits = |item: &&T| match left.checked_sub(item.encoded_len()) {
            Some(rest) => {
                left = rest;
                true
            }
            None => false,
        };
        items.iter().take_while(fits).count()
    }

    /// How many items it holds.
    pub const fn len(&self) -> usize {
        match &self.items {
            Items::Here(items) => items.len(),
            Items::Encoded { count, .. } => *count,
        }
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its items in order.
    pub fn iter(&self) -> Iter<'a, T> {
        Iter { items: self.items }
    }

    pub(crate) fn put(&self, out: &mut Output<'_>, most: usize) -> Result<(), NoRoom> {
        if self.len() > most {
            return Err(NoRoom);
        }
        match self.items {
            Items::Here(items) => items.iter().try_for_each(|item| out.item(item)),
            Items::Encoded { bytes, .. } => out.bytes(bytes),
        }
    }

    /// Reads everything that is left, and checks each item once.
    pub(crate) fn take(input: &mut Input<'a>, most: usize) -> Result<Self, Malformed> {
        let bytes = input.tail();
        let (mut rest, mut count) = (bytes, 0);
        while !rest.is_empty() {
            if count == most {
                return Err(Malformed::Limit);
            }
            (_, rest) = T::decode(rest)?;
            count += 1;
        }
        Ok(Self { items: Items::Encoded { bytes, count } })
    }
}

/// The items of a [`List`].
#[derive(Clone, Debug)]
pub struct Iter<'a, T> {
    items: Items<'a, T>,
}

impl<'a, T: Item<'a>> Iterator for Iter<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        match &mut self.items {
            Items::Here(items) => {
                let (first, rest) = items.split_first()?;
                *items = rest;
                Some(*first)
            }
            Items::Encoded { bytes, .. } => {
                // Every item was read once when the list came, so this one can be read again.
                let (item, rest) = T::decode(bytes).ok()?;
                *bytes = rest;
                Some(item)
            }
        }
    }
}

impl<'a, T: Item<'a>> IntoIterator for List<'a, T> {
    type Item = T;
    type IntoIter = Iter<'a, T>;

    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<'a, T: Item<'a> + PartialEq> PartialEq for List<'a, T> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<T> fmt::Debug for Items<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = match self {
            Items::Here(items) => items.len(),
            Items::Encoded { count, .. } => *count,
        };
        write!(f, "{count} items")
    }
}

impl<'a, T: Item<'a> + fmt::Debug> fmt::Debug for List<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
