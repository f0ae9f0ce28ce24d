//! Where Kafka puts a key: the 32-bit MurmurHash2 of Austin Appleby with Kafka's seed, by which
//! Kafka's own producers choose partitions and shards are chosen here.

const SEED: u32 = 0x9747_B28C;
const FACTOR: u32 = 0x5BD1_E995;
const SHIFT: u32 = 24;

/// The hash of a key.
#[must_use]
pub fn murmur2(key: &[u8]) -> u32 {
    // Kafka counts in 32 bits; a key is far shorter.
    let mut hash = SEED ^ key.len() as u32;
    let (words, rest) = key.as_chunks::<4>();
    for word in words {
        let mixed = u32::from_le_bytes(*word).wrapping_mul(FACTOR);
        let mixed = (mixed ^ mixed >> SHIFT).wrapping_mul(FACTOR);
        hash = hash.wrapping_mul(FACTOR) ^ mixed;
    }
    if !rest.is_empty() {
        let mut word = [0; 4];
        word.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        hash = (hash ^ u32::from_le_bytes(word)).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(FACTOR);
    hash ^ hash >> 15
}

/// The partition of a key among `partitions`, as Kafka's default partitioner chooses it.
#[must_use]
pub fn partition(key: &[u8], partitions: u32) -> u32 {
    // Kafka makes the hash positive by clearing its sign.
    (murmur2(key) & 0x7FFF_FFFF) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `Utils.murmur2` and `Utils.toPositive` of Kafka 4.3.0 give, among 6 partitions.
    const KNOWN: [(&[u8], i32, u32); 10] = [
        (b"", 275_646_681, 3),
        (b"a", -1_563_381_124, 4),
        (b"21", -973_932_308, 0),
        (b"abc", 479_470_107, 3),
        (b"abcd", -1_323_649_548, 2),
        (b"foobar", -790_332_482, 0),
        (b"ship-17", 1_240_075_148, 2),
        (b"a-little-bit-longer-string", -1_486_304_829, 5),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971, 5),
        (&[0xFF, 0x80, 0, 1, 0xFE], -173_560_464, 2),
    ];

    #[test]
    fn keys_go_where_kafka_puts_them() {
        for (key, hash, place) in KNOWN {
            assert_eq!(murmur2(key) as i32, hash, "{key:?}");
            assert_eq!(partition(key, 6), place, "{key:?}");
        }
    }
}
