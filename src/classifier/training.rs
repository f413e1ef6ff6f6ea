//! Trains a network: AdaGrad, one example at a time.
//!
//! Always holds: the same examples in the same order and the same options give the same network,
//! on the same kind of machine. Nothing here is random but through the seed.

use super::calibration::sigmoid;
use super::feature_hash::FeatureKind;
use super::features::{FeatureExtractor, Features};
use super::network::{COLUMNS, DIMENSIONS, HIDDEN, Head, Network, Sums, feature_value};
use super::normalise::Form;
use super::random::Random;

/// A text to learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    pub text: String,
    pub positive: bool,
    /// Factor of its gradient.
    pub weight: f32,
}

/// The settings of a training run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TrainingOptions {
    pub form: Form,
    /// The table has 2^bits rows.
    pub bits: u32,
    /// Passes over the examples.
    pub epochs: usize,
    /// Step of E, U, c and o at the start; it falls linearly to 5 %.
    pub rate: f32,
    /// Step of w and b at the start.
    pub linear_rate: f32,
    /// Share of features that are left out when an example is scored; all of them are updated.
    pub dropout: f32,
    /// Penalty on the squares of w and o.
    pub l2: f32,
    /// Sum of squared gradients that a row of the table starts with: the first steps of a rare
    /// feature are shorter, the larger it is.
    pub initial_square: f32,
}

impl TrainingOptions {
    pub const TOXICITY: Self = Self {
        form: Form::Folded,
        bits: 17,
        epochs: 4,
        rate: 0.1,
        linear_rate: 0.4,
        dropout: 0.4,
        l2: 1e-5,
        initial_square: 0.1,
    };
    pub const SPAM: Self = Self {
        form: Form::Plain,
        bits: 16,
        epochs: 5,
        linear_rate: 0.2,
        dropout: 0.3,
        ..Self::TOXICITY
    };
}

/// Share of the first step that the last one has.
const LAST_RATE: f32 = 0.05;
/// Keeps the first step of a parameter finite.
const EPSILON: f32 = 1e-8;
/// Share of numbers other than zero that the integers can represent; larger ones are clipped.
const CLIP_QUANTILE: f64 = 0.9999;
const LARGEST_INTEGER: f32 = 127.0;

/// The features of all examples.
#[derive(Debug, Default)]
pub struct FeatureSet {
    places: Vec<u32>,
    rows: Vec<Row>,
}

/// One example in a [`FeatureSet`].
#[derive(Debug, Clone, Copy)]
struct Row {
    start: usize,
    counts: [u32; FeatureKind::ALL.len()],
    target: f32,
    weight: f32,
}

impl FeatureSet {
    /// Extracts the features of the examples. Each takes about 2 KiB of memory.
    pub fn new(examples: &[Example], options: &TrainingOptions) -> Self {
        let mut extractor = FeatureExtractor::default();
        let mut set = Self::default();
        for Example { text, positive, weight } in examples {
            let features = extractor.extract(text, options.form, options.bits);
            set.push(features, *positive, *weight);
        }
        set
    }

    fn push(&mut self, features: &Features, positive: bool, weight: f32) {
        let start = self.places.len();
        let counts = FeatureKind::ALL.map(|kind| {
            let places = features.of(kind);
            self.places.extend_from_slice(places);
            places.len() as u32
        });
        self.rows.push(Row { start, counts, target: f32::from(positive), weight });
    }
}

/// A network in training.
struct Trainer<'a> {
    options: &'a TrainingOptions,
    random: Random,
    rows: Vec<[f32; COLUMNS]>,
    /// Sums of squared gradients: of w, and of the row of E.
    row_squares: Vec<[f32; 2]>,
    head: Head,
    head_squares: Head,
    /// The value of each feature of the current example.
    values: Vec<f32>,
}

/// Trains a network on the examples.
pub fn train(examples: &FeatureSet, options: &TrainingOptions, seed: u64) -> Network {
    let mut trainer = Trainer::new(options, seed);
    let mut order: Vec<_> = (0..examples.rows.len()).collect();
    let steps = (order.len() * options.epochs).max(1) as f32;
    let mut step = 0.0;
    for _ in 0..options.epochs {
        trainer.random.shuffle(&mut order);
        for row in &order {
            let decay = 1.0 - (1.0 - LAST_RATE) * step / steps;
            trainer.learn(examples, &examples.rows[*row], decay);
            step += 1.0;
        }
    }
    quantise(&trainer.rows, trainer.head)
}

impl<'a> Trainer<'a> {
    fn new(options: &'a TrainingOptions, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let size = 1_usize << options.bits;
        let mut rows = vec![[0.0; COLUMNS]; size];
        for number in rows.iter_mut().flat_map(|row| &mut row[1..]) {
            *number = 0.1 * random.normal();
        }
        let mut head = Head::zero();
        for number in head.hidden.iter_mut().flatten() {
            *number = (2.0 / DIMENSIONS as f32).sqrt() * random.normal();
        }
        for number in &mut head.output {
            *number = (1.0 / HIDDEN as f32).sqrt() * random.normal();
        }
        Self {
            options,
            random,
            rows,
            row_squares: vec![[options.initial_square; 2]; size],
            head,
            head_squares: Head::zero(),
            values: Vec::new(),
        }
    }

    fn learn(&mut self, examples: &FeatureSet, row: &Row, decay: f32) {
        self.values.clear();
        for count in row.counts {
            let value = feature_value(count as usize);
            self.values.extend(std::iter::repeat_n(value, count as usize));
        }
        let places = &examples.places[row.start..row.start + self.values.len()];
        let sums = self.sum(places);
        let activations = self.head.activations(&sums);
        let probability = sigmoid(self.head.logit(&sums, &activations));
        let gradient = (probability - row.target) * row.weight;
        let sum_gradients = self.update_head(gradient, &sums, &activations, decay);
        self.update_rows(places, gradient, &sum_gradients, decay);
    }

    /// Returns the sums of the features that are not left out.
    fn sum(&mut self, places: &[u32]) -> Sums {
        let mut sums = [0.0; COLUMNS];
        let kept = 1.0 / (1.0 - self.options.dropout);
        for (place, value) in places.iter().zip(&self.values) {
            if self.random.share() < self.options.dropout {
                continue;
            }
            let row = &self.rows[*place as usize];
            for (sum, number) in sums.iter_mut().zip(row) {
                *sum += number * value * kept;
            }
        }
        sums
    }

    /// Updates the head and returns the gradients of Σ E·v.
    fn update_head(
        &mut self,
        gradient: f32,
        sums: &Sums,
        activations: &[f32; HIDDEN],
        decay: f32,
    ) -> [f32; DIMENSIONS] {
        let TrainingOptions { rate, linear_rate, l2, .. } = self.options;
        let rate = rate * decay;
        let mut sum_gradients = [0.0; DIMENSIONS];
        let head = &mut self.head;
        let squares = &mut self.head_squares;
        descend(&mut head.bias, &mut squares.bias, gradient, linear_rate * decay);
        for (unit, activation) in activations.iter().enumerate() {
            if *activation <= 0.0 {
                continue;
            }
            let output_gradient = gradient * activation + l2 * head.output[unit];
            let inner = gradient * head.output[unit];
            for (dimension, sum_gradient) in sum_gradients.iter_mut().enumerate() {
                *sum_gradient += inner * head.hidden[unit][dimension];
                let number = &mut head.hidden[unit][dimension];
                let square = &mut squares.hidden[unit][dimension];
                descend(number, square, inner * sums[1 + dimension], rate);
            }
            let bias = &mut head.hidden_bias[unit];
            descend(bias, &mut squares.hidden_bias[unit], inner, rate);
            descend(&mut head.output[unit], &mut squares.output[unit], output_gradient, rate);
        }
        sum_gradients
    }

    fn update_rows(
        &mut self,
        places: &[u32],
        gradient: f32,
        sum_gradients: &[f32; DIMENSIONS],
        decay: f32,
    ) {
        let rate = self.options.rate * decay;
        let linear_rate = self.options.linear_rate * decay;
        let squares = sum_gradients.iter().map(|gradient| gradient * gradient);
        let mean_square = squares.sum::<f32>() / DIMENSIONS as f32;
        for (place, value) in places.iter().zip(&self.values) {
            let row = &mut self.rows[*place as usize];
            let squares = &mut self.row_squares[*place as usize];
            let linear_gradient = gradient * value + self.options.l2 * row[0];
            descend(&mut row[0], &mut squares[0], linear_gradient, linear_rate);
            squares[1] += mean_square * value * value;
            let step = rate * value / (squares[1].sqrt() + EPSILON);
            for (number, gradient) in row[1..].iter_mut().zip(sum_gradients) {
                *number -= step * gradient;
            }
        }
    }
}

/// Moves a number against its gradient, with a step that gets smaller with its past gradients.
fn descend(number: &mut f32, square: &mut f32, gradient: f32, rate: f32) {
    *square += gradient * gradient;
    *number -= rate * gradient / (square.sqrt() + EPSILON);
}

/// Makes integers of the table.
fn quantise(rows: &[[f32; COLUMNS]], head: Head) -> Network {
    let linear_scale = scale(rows.iter().map(|row| row[0]));
    let embedding_scale = scale(rows.iter().flat_map(|row| row[1..].iter().copied()));
    let integer = |number: f32, scale: f32| {
        (number / scale).round().clamp(-LARGEST_INTEGER, LARGEST_INTEGER) as i8
    };
    let rows = rows
        .iter()
        .map(|row| {
            let mut integers = row.map(|number| integer(number, embedding_scale));
            integers[0] = integer(row[0], linear_scale);
            integers
        })
        .collect();
    Network { rows, linear_scale, embedding_scale, head }
}

/// Returns what the integer 1 stands for.
fn scale(numbers: impl Iterator<Item = f32>) -> f32 {
    let mut sizes: Vec<f32> = numbers.map(f32::abs).filter(|size| *size > 0.0).collect();
    if sizes.is_empty() {
        return 1.0;
    }
    let at = ((sizes.len() - 1) as f64 * CLIP_QUANTILE) as usize;
    let (_, largest, _) = sizes.select_nth_unstable_by(at, f32::total_cmp);
    *largest / LARGEST_INTEGER
}
