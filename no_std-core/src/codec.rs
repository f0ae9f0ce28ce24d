//! Reading and writing the primitives of the format: little-endian numbers, LEB128 varints in
//! their shortest form, and byte strings behind their length.
//!
//! Stream hashes are taken over encoded records, so each value has exactly one encoding: a varint
//! that could be shorter is refused.

use crate::limits::COUNTER_MAX;
use crate::num::{narrow, wide};

/// Why bytes are not what they claim to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Malformed {
    /// The bytes end before the value does.
    Short,
    /// A varint is longer than it needs to be, or than 64 bits.
    Varint,
    /// A number, length or name is over its limit.
    Limit,
    /// A flag or kind that this version does not know.
    Unknown,
    /// A text is not UTF-8 or has characters that a name may not have.
    Text,
    /// Counts or lengths contradict each other.
    Contradiction,
    /// A checksum does not match.
    Checksum,
}

impl core::fmt::Display for Malformed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Short => "it ends too early",
            Self::Varint => "a number is not in its shortest form",
            Self::Limit => "a number, length or name is over its limit",
            Self::Unknown => "a flag or kind is unknown to this version",
            Self::Text => "a text is not valid UTF-8 or not a valid name",
            Self::Contradiction => "counts or lengths contradict each other",
            Self::Checksum => "a checksum does not match",
        })
    }
}

impl core::error::Error for Malformed {}

/// There is no room left in the buffer that was given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NoRoom;

/// Takes values off the front of a byte string.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Reads from the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether everything has been read.
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed::Short)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8, Malformed> {
        Ok(self.array::<1>()?[0])
    }

    /// A little-endian number of 16 bits.
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// A little-endian number of 32 bits.
    pub fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A little-endian number of 64 bits.
    pub fn u64(&mut self) -> Result<u64, Malformed> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A little-endian number of 64 bits that counts something: at most [`COUNTER_MAX`].
    pub fn counter(&mut self) -> Result<u64, Malformed> {
        let value = self.u64()?;
        if value > COUNTER_MAX { Err(Malformed::Limit) } else { Ok(value) }
    }

    /// A varint in its shortest form.
    pub fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7F);
            if shift == 63 && bits > 1 {
                return Err(Malformed::Varint);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                let padded = byte == 0 && shift > 0;
                return if padded { Err(Malformed::Varint) } else { Ok(value) };
            }
        }
        Err(Malformed::Varint)
    }

    /// A varint of at most `max`.
    pub fn varint_to(&mut self, max: u64) -> Result<u64, Malformed> {
        let value = self.varint()?;
        if value > max { Err(Malformed::Limit) } else { Ok(value) }
    }

    /// A byte string behind its varint length, of at most `max` bytes.
    pub fn string(&mut self, max: usize) -> Result<&'a [u8], Malformed> {
        let len = narrow(self.varint_to(wide(max))?).ok_or(Malformed::Limit)?;
        self.bytes(len)
    }
}

/// Appends values to a buffer of fixed size.
#[derive(Debug)]
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Writes from the start of `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    /// How many bytes have been written.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What has been written.
    pub fn written(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or_default()
    }

    /// Byte strings.
    pub fn bytes(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        let end = self.len.checked_add(bytes.len()).ok_or(NoRoom)?;
        self.buffer.get_mut(self.len..end).ok_or(NoRoom)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    /// A byte.
    pub fn u8(&mut self, value: u8) -> Result<(), NoRoom> {
        self.bytes(&[value])
    }

    /// A little-endian number of 16 bits.
    pub fn u16(&mut self, value: u16) -> Result<(), NoRoom> {
        self.bytes(&value.to_le_bytes())
    }

    /// A little-endian number of 32 bits.
    pub fn u32(&mut self, value: u32) -> Result<(), NoRoom> {
        self.bytes(&value.to_le_bytes())
    }

    /// A little-endian number of 64 bits.
    pub fn u64(&mut self, value: u64) -> Result<(), NoRoom> {
        self.bytes(&value.to_le_bytes())
    }

    /// A varint.
    pub fn varint(&mut self, value: u64) -> Result<(), NoRoom> {
        let mut rest = value;
        while rest >= 0x80 {
            self.u8((rest & 0x7F) as u8 | 0x80)?;
            rest >>= 7;
        }
        self.u8(rest as u8)
    }

    /// A byte string behind its varint length.
    pub fn string(&mut self, bytes: &[u8]) -> Result<(), NoRoom> {
        self.varint(wide(bytes.len()))?;
        self.bytes(bytes)
    }

    /// Writes `value` over four bytes that were written before, such as a length or a checksum.
    pub fn patch_u32(&mut self, at: usize, value: u32) {
        let end = at.saturating_add(4);
        assert!(end <= self.len, "only what was written can be patched");
        if let Some(place) = self.buffer.get_mut(at..end) {
            place.copy_from_slice(&value.to_le_bytes());
        }
    }
}

/// The bytes that a varint of `value` takes.
pub const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

/// A signed number as an unsigned one with small magnitudes small.
pub const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes [`zigzag`].
pub const fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::{COUNTER_MAX, Malformed, NoRoom, Reader, Writer, unzigzag, varint_len, zigzag};

    #[test]
    fn varints_come_back_and_have_the_stated_length() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut buffer = [0; 10];
            let mut writer = Writer::new(&mut buffer);
            writer.varint(value).unwrap();
            assert_eq!(writer.len(), varint_len(value));
            assert_eq!(Reader::new(writer.written()).varint(), Ok(value));
        }
    }

    #[test]
    fn a_varint_has_one_encoding() {
        assert_eq!(Reader::new(&[0x80, 0x00]).varint(), Err(Malformed::Varint));
        assert_eq!(Reader::new(&[0xFF; 11]).varint(), Err(Malformed::Varint));
        let mut over = [0xFF; 10];
        over[9] = 0x02;
        assert_eq!(Reader::new(&over).varint(), Err(Malformed::Varint));
    }

    #[test]
    fn a_counter_near_the_end_of_its_range_is_refused() {
        let read = |raw: u64| Reader::new(&raw.to_le_bytes()).counter();
        assert_eq!(read(COUNTER_MAX), Ok(COUNTER_MAX));
        assert_eq!(read(COUNTER_MAX + 1), Err(Malformed::Limit));
    }

    #[test]
    fn zigzag_is_undone() {
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(value)), value);
        }
    }

    #[test]
    fn a_full_buffer_is_an_error_and_changes_nothing() {
        let mut buffer = [0; 3];
        let mut writer = Writer::new(&mut buffer);
        writer.u16(7).unwrap();
        assert_eq!(writer.u32(1), Err(NoRoom));
        assert_eq!(writer.len(), 2);
    }
}
