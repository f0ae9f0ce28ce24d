//! Bounded byte queues: of fixed size for devices, growing and shrinking for hubs.

use landfall_core::codec::NoRoom;

/// A queue of bytes with a limit. The bytes lie in one piece.
pub trait Buffer {
    /// An empty queue for at most `limit` bytes, or fewer if the type cannot hold as many.
    fn with_limit(limit: usize) -> Self;

    /// The most bytes it can hold.
    fn limit(&self) -> usize;

    /// The bytes in it.
    fn bytes(&self) -> &[u8];

    /// Adds bytes at the end; `more` tells how many are expected to follow soon.
    fn append(&mut self, bytes: &[u8], more: usize) -> Result<(), NoRoom>;

    /// Adds `len` bytes at the end, to be written over by the caller.
    fn grow(&mut self, len: usize) -> Result<&mut [u8], NoRoom>;

    /// Drops up to `len` bytes from the front, and gives back memory if nothing is left.
    fn remove_front(&mut self, len: usize);
}

/// A queue in an array.
#[derive(Clone, Debug)]
pub struct Fixed<const N: usize> {
    bytes: [u8; N],
    start: usize,
    end: usize,
    limit: usize,
}

impl<const N: usize> Buffer for Fixed<N> {
    fn with_limit(limit: usize) -> Self {
        Self { bytes: [0; N], start: 0, end: 0, limit: limit.min(N) }
    }

    fn limit(&self) -> usize {
        self.limit
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    fn append(&mut self, bytes: &[u8], _more: usize) -> Result<(), NoRoom> {
        self.grow(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    fn grow(&mut self, len: usize) -> Result<&mut [u8], NoRoom> {
        let held = self.end - self.start;
        if len > self.limit - held {
            return Err(NoRoom);
        }
        if len > N - self.end {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, held);
        }
        let from = self.end;
        self.end += len;
        self.bytes.get_mut(from..self.end).ok_or(NoRoom)
    }

    fn remove_front(&mut self, len: usize) {
        self.start += len.min(self.end - self.start);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }
}

/// A queue on the heap. An empty one holds next to no memory, since a hub has thousands.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
pub struct Growable {
    bytes: alloc::vec::Vec<u8>,
    start: usize,
    limit: usize,
}

#[cfg(feature = "alloc")]
impl Growable {
    /// An empty queue keeps no more memory than this.
    const KEPT_BYTES: usize = 512;
    /// No more than this is allocated on the mere announcement of bytes.
    const AHEAD_BYTES: usize = 68 * 1024;
}

#[cfg(feature = "alloc")]
impl Buffer for Growable {
    fn with_limit(limit: usize) -> Self {
        Self { bytes: alloc::vec::Vec::new(), start: 0, limit }
    }

    fn limit(&self) -> usize {
        self.limit
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    fn append(&mut self, bytes: &[u8], more: usize) -> Result<(), NoRoom> {
        if bytes.len() > self.limit - self.bytes().len() {
            return Err(NoRoom);
        }
        self.bytes.reserve(bytes.len().saturating_add(more.min(Self::AHEAD_BYTES)));
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn grow(&mut self, len: usize) -> Result<&mut [u8], NoRoom> {
        if len > self.limit - self.bytes().len() {
            return Err(NoRoom);
        }
        let from = self.bytes.len();
        self.bytes.resize(from + len, 0);
        self.bytes.get_mut(from..).ok_or(NoRoom)
    }

    fn remove_front(&mut self, len: usize) {
        self.start += len.min(self.bytes().len());
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            self.bytes.shrink_to(Self::KEPT_BYTES);
        } else if self.start > self.bytes.len() / 2 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Buffer, Fixed};

    #[test]
    fn a_fixed_queue_moves_its_bytes_to_make_room_and_keeps_its_limit() {
        let mut queue = Fixed::<8>::with_limit(6);
        queue.append(b"abcdef", 0).unwrap();
        assert!(queue.append(b"g", 0).is_err());
        queue.remove_front(4);
        queue.append(b"ghij", 0).unwrap();
        assert_eq!(queue.bytes(), b"efghij");
        queue.remove_front(100);
        assert!(queue.bytes().is_empty());
    }

    #[cfg(feature = "alloc")]
    #[test]
    fn a_growable_queue_keeps_its_limit_and_gives_memory_back() {
        let mut queue = super::Growable::with_limit(100_000);
        queue.append(&[1; 60_000], 1_000_000).unwrap();
        assert!(queue.append(&[2; 40_001], 0).is_err());
        assert!(queue.bytes.capacity() < 200_000, "an announcement is not believed");
        queue.append(&[2; 40_000], 0).unwrap();
        queue.remove_front(60_000);
        assert_eq!(queue.bytes(), &[2; 40_000]);
        queue.remove_front(40_000);
        assert!(queue.bytes.capacity() <= 512);
    }
}
