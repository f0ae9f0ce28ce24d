//! CRC-32C (Castagnoli, RFC 3720 appendix B.4), with the function that computes it injected.

use crc::{CRC_32_ISCSI, Crc, NoTable};

const CASTAGNOLI: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISCSI);

/// Continues a CRC-32C: takes the checksum so far (0 at the start) and the bytes that follow.
#[derive(Clone, Copy)]
pub struct Checksum(pub fn(u32, &[u8]) -> u32);

impl Checksum {
    /// The one that needs neither a table nor special instructions: slow and small.
    pub const PORTABLE: Self = Self(portable);

    /// The checksum of `bytes`.
    pub fn of(self, bytes: &[u8]) -> u32 {
        (self.0)(0, bytes)
    }

    /// The checksum of what gave `before`, followed by `bytes`.
    pub fn on(self, before: u32, bytes: &[u8]) -> u32 {
        (self.0)(before, bytes)
    }
}

impl core::fmt::Debug for Checksum {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Checksum")
    }
}

fn portable(before: u32, bytes: &[u8]) -> u32 {
    // The crate takes the register before reflection and inversion are undone.
    let mut digest = CASTAGNOLI.digest_with_initial((before ^ u32::MAX).reverse_bits());
    digest.update(bytes);
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::Checksum;

    #[test]
    fn matches_the_published_check_value() {
        assert_eq!(Checksum::PORTABLE.of(b"123456789"), 0xE306_9283);
    }

    #[test]
    fn may_be_computed_in_parts() {
        let whole = Checksum::PORTABLE.of(b"landfall journal");
        let part = Checksum::PORTABLE.of(b"landfall ");
        assert_eq!(Checksum::PORTABLE.on(part, b"journal"), whole);
    }
}
