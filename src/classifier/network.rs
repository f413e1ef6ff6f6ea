//! The network that scores the features of a text, and its form with integers.
//!
//! z = b + Σ w·v + o·ReLU(U·(Σ E·v) + c), where v is 1/√(features of the kind) for each feature.
//! Row i of the table holds w and E of the features whose place is i.

use super::feature_hash::FeatureKind;
use super::features::Features;

/// Columns of E.
pub const DIMENSIONS: usize = 8;
/// Rows of U.
pub const HIDDEN: usize = 16;
/// Columns of a row of the table: w, then E.
pub const COLUMNS: usize = 1 + DIMENSIONS;

/// Σ w·v, then Σ E·v.
pub(super) type Sums = [f32; COLUMNS];

/// The part of a network behind its table.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    pub bias: f32,
    /// U, row by row.
    pub hidden: [[f32; DIMENSIONS]; HIDDEN],
    pub hidden_bias: [f32; HIDDEN],
    pub output: [f32; HIDDEN],
}

impl Head {
    /// Numbers of a head, in the order of [`Head::numbers`].
    pub const NUMBERS: usize = 1 + HIDDEN * (DIMENSIONS + 2);

    pub(super) fn zero() -> Self {
        Self {
            bias: 0.0,
            hidden: [[0.0; DIMENSIONS]; HIDDEN],
            hidden_bias: [0.0; HIDDEN],
            output: [0.0; HIDDEN],
        }
    }

    /// Returns all numbers: b, U, c, o.
    pub fn numbers(&self) -> impl Iterator<Item = f32> {
        let hidden = self.hidden.iter().flatten();
        let numbers = hidden.chain(&self.hidden_bias).chain(&self.output).copied();
        std::iter::once(self.bias).chain(numbers)
    }

    /// Returns the head with these numbers; missing ones are zero.
    pub fn from_numbers(mut numbers: impl Iterator<Item = f32>) -> Self {
        let mut head = Self::zero();
        head.bias = numbers.next().unwrap_or_default();
        let hidden = head.hidden.iter_mut().flatten();
        let rest = hidden.chain(&mut head.hidden_bias).chain(&mut head.output);
        rest.zip(numbers).for_each(|(place, number)| *place = number);
        head
    }

    /// Returns U·(Σ E·v) + c.
    pub(super) fn activations(&self, sums: &Sums) -> [f32; HIDDEN] {
        let mut activations = self.hidden_bias;
        for (activation, row) in activations.iter_mut().zip(&self.hidden) {
            *activation += row.iter().zip(&sums[1..]).map(|(a, b)| a * b).sum::<f32>();
        }
        activations
    }

    /// Returns z.
    pub(super) fn logit(&self, sums: &Sums, activations: &[f32; HIDDEN]) -> f32 {
        let hidden = self.output.iter().zip(activations).map(|(o, a)| o * a.max(0.0)).sum::<f32>();
        self.bias + sums[0] + hidden
    }
}

/// A network whose table has one byte per number.
#[derive(Debug, Clone, PartialEq)]
pub struct Network {
    /// w times `linear_scale`, then E times `embedding_scale`. There are 2^bits rows.
    pub rows: Vec<[i8; COLUMNS]>,
    pub linear_scale: f32,
    pub embedding_scale: f32,
    pub head: Head,
}

impl Network {
    /// Returns z of a text's features. Features beyond the table do not count.
    pub fn logit(&self, features: &Features) -> f32 {
        let mut sums = [0.0; COLUMNS];
        for kind in FeatureKind::ALL {
            let places = features.of(kind);
            let mut total = [0_i32; COLUMNS];
            for place in places {
                let Some(row) = self.rows.get(*place as usize) else { continue };
                for (sum, number) in total.iter_mut().zip(row) {
                    *sum += i32::from(*number);
                }
            }
            let value = feature_value(places.len());
            for (sum, number) in sums.iter_mut().zip(total) {
                *sum += number as f32 * value;
            }
        }
        sums[0] *= self.linear_scale;
        sums[1..].iter_mut().for_each(|sum| *sum *= self.embedding_scale);
        self.head.logit(&sums, &self.head.activations(&sums))
    }
}

/// Returns the value of each feature of a kind of which a text has so many.
pub(super) fn feature_value(count: usize) -> f32 {
    1.0 / (count.max(1) as f32).sqrt()
}
