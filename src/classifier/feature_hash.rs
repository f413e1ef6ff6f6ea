//! The place of a feature in a table.
//!
//! Always holds: a feature's place depends only on its bytes and its kind, on every machine.

/// The kinds of features. Each has a seed of its own, and its features weigh 1/√(their number).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureKind {
    /// One word or two neighbours.
    Word,
    /// Two to five neighbouring characters of a word and the spaces around it.
    Char,
    /// The shape of the text before it is normalised.
    Shape,
}

impl FeatureKind {
    pub const ALL: [Self; 3] = [Self::Word, Self::Char, Self::Shape];

    fn seed(self) -> u64 {
        match self {
            Self::Word => 0x9AE1_6A3B_2F90_404F,
            Self::Char => 0xC3A5_C85C_97CB_3127,
            Self::Shape => 0xB492_B66F_BE98_F273,
        }
    }
}

/// Hashes the bytes of a feature.
#[derive(Debug, Clone, Copy)]
pub(super) struct FeatureHash(u64);

impl FeatureHash {
    pub(super) fn new(kind: FeatureKind) -> Self {
        Self(kind.seed())
    }

    /// Adds bytes, as FNV-1a does.
    pub(super) fn add(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
        self
    }

    /// Returns the place in a table of 2^`bits` rows: the top bits of the mixed hash.
    pub(super) fn place(self, bits: u32) -> u32 {
        let mut hash = self.0;
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        hash = (hash ^ (hash >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
        ((hash ^ (hash >> 33)) >> (64 - bits)) as u32
    }
}
