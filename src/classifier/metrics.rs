//! Measures of how well scores separate the two classes of a labelled set.
//!
//! Always holds: rows with equal scores are on the same side of every threshold.

/// A row's score, and whether its label is the class that is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    pub score: f32,
    pub positive: bool,
}

/// Shares of the rows at and above a threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Share of the negative rows, 0 to 1; `None` without such rows.
    pub fpr: Option<f64>,
    /// Share of the positive rows, 0 to 1; `None` without such rows.
    pub recall: Option<f64>,
    /// Share of all rows that are on the right side; `None` without rows.
    pub accuracy: Option<f64>,
}

/// The rows at each threshold, from the highest score to the lowest.
#[derive(Debug, Clone)]
pub struct Curve {
    points: Vec<Point>,
    positives: usize,
    negatives: usize,
}

/// The number of rows at and above a threshold.
#[derive(Debug, Clone, Copy)]
struct Point {
    score: f32,
    true_positives: usize,
    false_positives: usize,
}

impl Curve {
    /// Sorts the rows. NaN counts as the highest score.
    pub fn new(rows: &[Scored]) -> Self {
        let mut rows = rows.to_vec();
        rows.sort_unstable_by(|a, b| b.score.total_cmp(&a.score));
        let mut points =
            vec![Point { score: f32::INFINITY, true_positives: 0, false_positives: 0 }];
        let mut true_positives = 0;
        let mut false_positives = 0;
        for group in rows.chunk_by(|a, b| a.score == b.score) {
            let positives = group.iter().filter(|row| row.positive).count();
            true_positives += positives;
            false_positives += group.len() - positives;
            points.push(Point { score: group[0].score, true_positives, false_positives });
        }
        Self { points, positives: true_positives, negatives: false_positives }
    }

    /// Returns the number of rows.
    pub fn rows(&self) -> usize {
        self.positives + self.negatives
    }

    /// Returns the probability that a positive row has a higher score than a negative one; equal
    /// scores count half. `None` unless there are rows of both classes.
    pub fn auc(&self) -> Option<f64> {
        if self.positives == 0 || self.negatives == 0 {
            return None;
        }
        let area: f64 = self
            .points
            .windows(2)
            .map(|pair| {
                let width = pair[1].false_positives - pair[0].false_positives;
                let height = pair[1].true_positives + pair[0].true_positives;
                width as f64 * height as f64 / 2.0
            })
            .sum();
        Some(area / (self.positives as f64 * self.negatives as f64))
    }

    /// Returns the highest recall of the thresholds that at most this share of the negative rows
    /// reaches. `None` unless there are rows of both classes.
    pub fn recall_at_fpr(&self, most: f64) -> Option<f64> {
        self.auc()?;
        self.within(most).last().and_then(|point| self.rates(point).recall)
    }

    /// Returns the highest accuracy of those thresholds. `None` unless there are rows of both
    /// classes.
    pub fn best_accuracy_at_fpr(&self, most: f64) -> Option<f64> {
        self.auc()?;
        self.within(most).filter_map(|point| self.rates(point).accuracy).reduce(f64::max)
    }

    /// Returns the shares of the rows at and above a threshold.
    pub fn at(&self, threshold: f32) -> Rates {
        let reached = self.points.iter().take_while(|point| point.score >= threshold);
        self.rates(reached.last().unwrap_or(&self.points[0]))
    }

    /// Returns the lowest score as a threshold that at most this share of the negative rows
    /// reaches. `None` unless there are rows of both classes.
    pub fn threshold_at_fpr(&self, most: f64) -> Option<f32> {
        self.auc()?;
        self.within(most).last().map(|point| point.score)
    }

    fn within(&self, most: f64) -> impl Iterator<Item = &Point> {
        let allowed = (most * self.negatives as f64 + 1e-9).floor() as usize;
        self.points.iter().take_while(move |point| point.false_positives <= allowed)
    }

    fn rates(&self, point: &Point) -> Rates {
        let share = |part: usize, whole: usize| (whole > 0).then(|| part as f64 / whole as f64);
        let right = point.true_positives + (self.negatives - point.false_positives);
        Rates {
            fpr: share(point.false_positives, self.negatives),
            recall: share(point.true_positives, self.positives),
            accuracy: share(right, self.rows()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(rows: &[(f32, bool)]) -> Curve {
        let rows: Vec<_> =
            rows.iter().map(|&(score, positive)| Scored { score, positive }).collect();
        Curve::new(&rows)
    }

    #[test]
    fn figures_are_those_computed_by_hand() {
        // Of 3 × 4 pairs a positive row wins 9, and one is a tie.
        let rows = [
            (0.9, true),
            (0.8, false),
            (0.7, true),
            (0.6, true),
            (0.6, false),
            (0.2, false),
            (0.1, false),
        ];
        let curve = curve(&rows);
        assert_eq!(curve.rows(), 7);
        assert_eq!(curve.auc(), Some(9.5 / 12.0));
        assert_eq!(curve.recall_at_fpr(0.0), Some(1.0 / 3.0));
        assert_eq!(curve.recall_at_fpr(0.25), Some(2.0 / 3.0));
        assert_eq!(curve.recall_at_fpr(0.5), Some(1.0));
        assert_eq!(curve.best_accuracy_at_fpr(0.0), Some(5.0 / 7.0));
        assert_eq!(curve.best_accuracy_at_fpr(0.25), Some(5.0 / 7.0));
        assert_eq!(curve.threshold_at_fpr(0.25), Some(0.7));
        let rates = curve.at(0.6);
        let expected = Rates { fpr: Some(0.5), recall: Some(1.0), accuracy: Some(5.0 / 7.0) };
        assert_eq!(rates, expected);
        assert_eq!(curve.at(0.95).fpr, Some(0.0));
        assert_eq!(curve.at(0.0).fpr, Some(1.0));
    }

    #[test]
    fn equal_scores_are_not_separated() {
        let curve = curve(&[(1.0, true), (1.0, false)]);
        assert_eq!(curve.auc(), Some(0.5));
        assert_eq!(curve.recall_at_fpr(0.05), Some(0.0));
    }

    #[test]
    fn one_class_has_no_curve() {
        let curve = curve(&[(1.0, true), (0.0, true)]);
        assert_eq!(curve.auc(), None);
        assert_eq!(curve.recall_at_fpr(0.05), None);
        assert_eq!(curve.best_accuracy_at_fpr(0.05), None);
        let rates = curve.at(0.5);
        assert_eq!(rates.fpr, None);
        assert_eq!(rates.recall, Some(0.5));
        assert_eq!(Curve::new(&[]).at(0.5).accuracy, None);
    }
}
