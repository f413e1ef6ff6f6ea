//! Measurements in 16 bits: their logarithm, in steps of 0.07 %.

/// The code of a value that is not known.
pub(super) const UNKNOWN: u16 = 0;
const ZERO: u16 = 1;
const FIRST: u16 = 2;
/// The smallest value that is not 0.
const SMALLEST: f64 = 1e-3;
const STEP: f64 = 1.0007;

/// Returns the code of a value. What is smaller than a thousandth, or negative, becomes 0; what is
/// larger than 8 × 10^16 becomes that.
pub(super) fn encode(value: Option<f64>) -> u16 {
    let Some(value) = value.filter(|value| !value.is_nan()) else { return UNKNOWN };
    if value < SMALLEST {
        return ZERO;
    }
    let steps = (value / SMALLEST).ln() / STEP.ln();
    let largest = f64::from(u16::MAX - FIRST);
    FIRST + steps.round().min(largest) as u16
}

/// Returns the value of a code, to five digits.
pub(super) fn decode(code: u16) -> Option<f64> {
    match code {
        UNKNOWN => None,
        ZERO => Some(0.0),
        _ => Some(round(SMALLEST * STEP.powi(i32::from(code - FIRST)))),
    }
}

/// Rounds to five significant digits, so that less is sent of what is not known.
fn round(value: f64) -> f64 {
    let scale = 10_f64.powi(4 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_range_are_kept() {
        assert_eq!(decode(encode(None)), None);
        assert_eq!(decode(encode(Some(f64::NAN))), None);
        for nothing in [0.0, -3.0, 0.000_9] {
            assert_eq!(decode(encode(Some(nothing))), Some(0.0));
        }
        assert_eq!(encode(Some(SMALLEST)), FIRST);
        assert_eq!(encode(Some(f64::INFINITY)), u16::MAX);
        assert!(decode(u16::MAX).unwrap() > 8e16);
    }

    proptest! {
        #[test]
        fn the_error_is_below_seven_hundredths(exponent in -3.0..16.9_f64) {
            let value = 10_f64.powf(exponent);
            let read = decode(encode(Some(value))).unwrap();
            prop_assert!((read / value - 1.0).abs() <= 0.000_7, "{read} instead of {value}");
        }

        #[test]
        fn larger_values_have_larger_codes(a in 0.0..1e15_f64, b in 0.0..1e15_f64) {
            let code = |value| encode(Some(value));
            prop_assert_eq!(code(a) <= code(b), a <= b || code(a) == code(b));
        }
    }
}
