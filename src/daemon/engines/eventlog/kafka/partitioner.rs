//! Which partition a key belongs to: the hash that Kafka's own clients use on the same eight bytes,
//! so that a producer in another language puts a stream's records where this one does. Never to be
//! changed: it decides where a stream's order is kept.

/// A key as it is written: big-endian, as Kafka's own encoding of a 64-bit number.
pub(super) fn key_bytes(key: u64) -> [u8; 8] {
    key.to_be_bytes()
}

pub(super) fn partition(key: u64, partitions: u32) -> u32 {
    let positive = murmur2(&key_bytes(key)) & 0x7fff_ffff;
    positive % partitions.max(1)
}

/// Murmur 2 with Kafka's seed, for input whose length is a multiple of four.
fn murmur2(data: &[u8; 8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ data.len() as u32;
    for word in data.chunks_exact(4) {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k = (k ^ (k >> 24)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_partition_of_a_key_never_changes() {
        // What this function gave when the first log was written.
        let partitions = [0, 1, 2, 42, u64::MAX].map(|key| partition(key, 100));
        assert_eq!(partitions, FIXED);
    }

    #[test]
    fn keys_spread_over_the_partitions() {
        let mut counts = [0_u32; 100];
        (0..10_000).for_each(|key| counts[partition(key, 100) as usize] += 1);
        assert!(counts.iter().all(|count| (50..200).contains(count)), "{counts:?}");
    }

    const FIXED: [u32; 5] = [15, 60, 4, 52, 97];
}
