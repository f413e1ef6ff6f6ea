//! The facts kept of a user or a text beside its count, in a fixed number of bytes.

use crate::protocol::UserId;
use crate::protocol::admin::MOST_COUNTED_USERS;

/// A text of at most `BYTES` bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShortText<const BYTES: usize> {
    len: u8,
    bytes: [u8; BYTES],
}

/// Stands for what does not fit.
const ELLIPSIS: &str = "…";

impl<const BYTES: usize> Default for ShortText<BYTES> {
    fn default() -> Self {
        Self { len: 0, bytes: [0; BYTES] }
    }
}

impl<const BYTES: usize> ShortText<BYTES> {
    /// Keeps a text, cut between two characters if it is too long.
    pub(super) fn of(text: &str) -> Self {
        let mut short = Self::default();
        if text.len() <= BYTES {
            short.push(text);
            return short;
        }
        let room = BYTES - ELLIPSIS.len();
        let end = (0..=room).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        short.push(&text[..end]);
        short.push(ELLIPSIS);
        short
    }

    fn push(&mut self, text: &str) {
        let from = usize::from(self.len);
        let to = from + text.len();
        self.bytes[from..to].copy_from_slice(text.as_bytes());
        // A text of more than 255 bytes is no short text.
        self.len = u8::try_from(to).unwrap_or(u8::MAX);
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// A name, which most systems limit to fewer bytes.
pub(super) type ShortName = ShortText<25>;

/// A user with a place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UserFacts {
    /// The key of the latest text.
    pub(super) text: u32,
    /// Comments that were deleted.
    pub(super) removed: u16,
    pub(super) name: ShortName,
}

/// A text with a place.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TextFacts {
    pub(super) users: UserEstimate,
    pub(super) sample: ShortText<35>,
}

/// Counts the users of a text: one by one up to [`MOST_COUNTED_USERS`], and beyond by an estimate.
/// It takes 162 bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UserEstimate {
    few: FewUsers,
    many: ManyUsers,
}

impl UserEstimate {
    pub(super) fn add(&mut self, user_id: UserId) {
        let hash = mix(user_id.0);
        self.few.add((hash >> 48) as u16);
        self.many.add(hash);
    }

    /// Returns the estimate for the users of both.
    pub(super) fn union(&self, other: &Self) -> Self {
        Self { few: self.few.union(&other.few), many: self.many.union(&other.many) }
    }

    /// Returns the number of users: an estimate if it is above [`MOST_COUNTED_USERS`].
    pub(super) fn count(&self) -> u64 {
        self.few.count().unwrap_or_else(|| self.many.count().max(MOST_COUNTED_USERS + 1))
    }
}

/// Users that are counted one by one.
const FEW: usize = MOST_COUNTED_USERS as usize;

/// A small set of users, each known by 16 bits of a hash. Of 64 users, two are taken for one in one
/// of 33 texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FewUsers {
    /// More than [`FEW`] if there were too many, which are not kept.
    len: u8,
    /// Sorted up to `len`.
    users: [u16; FEW],
}

impl Default for FewUsers {
    fn default() -> Self {
        Self { len: 0, users: [0; FEW] }
    }
}

impl FewUsers {
    const TOO_MANY: Self = Self { len: u8::MAX, users: [0; FEW] };

    /// Returns the users; `None` if there were too many.
    fn users(&self) -> Option<&[u16]> {
        self.users.get(..usize::from(self.len))
    }

    fn count(&self) -> Option<u64> {
        self.users().map(|users| users.len() as u64)
    }

    fn add(&mut self, user: u16) {
        let Some(users) = self.users() else { return };
        let len = users.len();
        match users.binary_search(&user) {
            Ok(_) => {}
            Err(_) if len == FEW => *self = Self::TOO_MANY,
            Err(at) => {
                self.users.copy_within(at..len, at + 1);
                self.users[at] = user;
                self.len += 1;
            }
        }
    }

    fn union(&self, other: &Self) -> Self {
        let Some(users) = other.users() else { return Self::TOO_MANY };
        let mut both = *self;
        users.iter().for_each(|user| both.add(*user));
        both
    }
}

/// Registers of the estimate: 64, two in each byte.
const REGISTERS: usize = 64;

/// Estimates the number of users in 32 bytes: HyperLogLog with linear counting for small numbers.
/// The standard error is 13 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ManyUsers([u8; REGISTERS / 2]);

impl Default for ManyUsers {
    fn default() -> Self {
        Self([0; REGISTERS / 2])
    }
}

impl ManyUsers {
    fn add(&mut self, hash: u64) {
        let register = (hash % REGISTERS as u64) as usize;
        let rank = (hash / REGISTERS as u64).trailing_zeros().min(14) as u8 + 1;
        if rank > self.get(register) {
            let shift = register % 2 * 4;
            let byte = &mut self.0[register / 2];
            *byte = (*byte & !(0xf << shift)) | (rank << shift);
        }
    }

    fn get(&self, register: usize) -> u8 {
        (self.0[register / 2] >> (register % 2 * 4)) & 0xf
    }

    fn union(&self, other: &Self) -> Self {
        let mut both = *self;
        for (byte, other) in both.0.iter_mut().zip(&other.0) {
            let low = (*byte & 0xf).max(other & 0xf);
            let high = (*byte & 0xf0).max(other & 0xf0);
            *byte = low | high;
        }
        both
    }

    fn count(&self) -> u64 {
        let size = REGISTERS as f64;
        let ranks = (0..REGISTERS).map(|register| self.get(register));
        let empty = ranks.clone().filter(|rank| *rank == 0).count();
        let sum: f64 = ranks.map(|rank| 0.5_f64.powi(rank.into())).sum();
        // The constant for 64 registers (Flajolet and others, 2007).
        let estimate = 0.709 * size * size / sum;
        if estimate <= 2.5 * size && empty > 0 {
            return (size * (size / empty as f64).ln()).round() as u64;
        }
        estimate.round() as u64
    }
}

/// Spreads ids, which are often successive (the finalizer of SplitMix64).
fn mix(id: u64) -> u64 {
    let id = (id ^ (id >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let id = (id ^ (id >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    id ^ (id >> 31)
}
