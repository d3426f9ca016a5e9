//! Amounts of a resource: `500m`, `1Gi`, `0.3` (appc spec, ace.md, "Resource Isolators").

use std::{cmp::Ordering, fmt, ops::Neg, str::FromStr};

use serde::{Serialize, Serializer};
use serde_json::Value;
use thiserror::Error;

use super::reading::{Readable, Reading, deserialize_by_reading, kind, shorten};

/// An exact amount, in billionths of its base unit, and the family of suffixes that it is written with.
///
/// Anything finer is rounded away from zero when it is read, so that a small wish is never none at all. Written out,
/// it has no fraction, and the largest suffix that loses nothing: `1.5Gi` becomes `1536Mi`. Two quantities are equal
/// if they are the same amount, however they are written.
///
/// ```
/// use dhow_image::Quantity;
///
/// let memory: Quantity = "0.5Gi".parse()?;
/// assert_eq!(memory.value(), 536_870_912);
/// assert_eq!(memory.to_string(), "512Mi");
/// let cores: Quantity = "0.3".parse()?;
/// assert_eq!((cores.milli_value(), cores.to_string().as_str()), (300, "300m"));
/// # Ok::<(), dhow_image::QuantityError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nano: i128,
    notation: Notation,
}

/// The families of suffixes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// Powers of 1000: `n`, `u`, `m`, none, `k`, `M`, `G`, `T`, `P`, `E`.
    Decimal,
    /// Powers of 1024: `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei`.
    Binary,
    /// A power of ten: `1e3`.
    Exponent,
}

/// Why a text is no quantity.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum QuantityError {
    /// It is not written as one.
    #[error(
        "`{text}` is not an amount: a number, perhaps followed by one of `m`, `k`, `M`, `G`, `T`, `P`, `E`, `Ki`, `Mi`, `Gi`, `Ti`, `Pi`, `Ei`"
    )]
    Malformed {
        /// What was given.
        text: String,
    },
    /// It is larger than any resource.
    #[error("`{text}` is too large an amount")]
    TooLarge {
        /// What was given.
        text: String,
    },
}

const NANO: i128 = 1_000_000_000;
/// Larger amounts are refused: far beyond any resource, and far below what the arithmetic holds.
const MAX_NANO: i128 = 10_i128.pow(37);
/// An amount with a binary suffix is a number of bytes: at most what an `i64` holds.
const MAX_BINARY_NANO: i128 = i64::MAX as i128 * NANO;
const DECIMAL_SUFFIXES: [(&str, i32); 11] = [
    ("n", -9),
    ("u", -6),
    ("m", -3),
    ("", 0),
    ("k", 3),
    ("K", 3),
    ("M", 6),
    ("G", 9),
    ("T", 12),
    ("P", 15),
    ("E", 18),
];
const BINARY_SUFFIXES: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

impl Quantity {
    /// `value` × 10^`scale`, where `scale` is -9 or more.
    pub fn new(value: i64, scale: i32, notation: Notation) -> Option<Self> {
        let power = u32::try_from(scale.checked_add(9)?).ok()?;
        let nano = i128::from(value).checked_mul(10_i128.checked_pow(power)?)?;
        (nano.abs() <= MAX_NANO).then_some(Self { nano, notation })
    }

    /// The amount in base units, such as bytes or cores, a fraction rounded away from zero.
    pub fn value(&self) -> i128 {
        self.scaled_value(0)
    }

    /// The amount in base units, where it is a whole number of them that an `i64` holds.
    pub fn as_i64(&self) -> Option<i64> {
        if self.nano % NANO == 0 {
            i64::try_from(self.nano / NANO).ok()
        } else {
            None
        }
    }

    /// The amount in thousandths of the base unit.
    pub fn milli_value(&self) -> i128 {
        self.scaled_value(-3)
    }

    /// The amount in units of 10^`scale`, a fraction rounded away from zero.
    pub fn scaled_value(&self, scale: i32) -> i128 {
        match u32::try_from(scale.saturating_add(9)) {
            Ok(power) => match 10_i128.checked_pow(power) {
                Some(unit) => divide_away_from_zero(self.nano, unit),
                None => self.nano.signum(),
            },
            Err(_) => self
                .nano
                .saturating_mul(10_i128.saturating_pow(scale.saturating_add(9).unsigned_abs())),
        }
    }

    /// The amount rounded away from zero to a multiple of 10^`scale`, and whether that changed nothing.
    pub fn round_up(&self, scale: i32) -> (Self, bool) {
        let Ok(power) = u32::try_from(scale.saturating_add(9)) else {
            return (*self, true);
        };
        let unit = 10_i128.saturating_pow(power);
        let nano = divide_away_from_zero(self.nano, unit).saturating_mul(unit);
        (Self { nano, ..*self }, nano == self.nano)
    }

    /// How it is written.
    pub fn notation(&self) -> Notation {
        self.notation
    }

    /// Whether it is nothing.
    pub fn is_zero(&self) -> bool {
        self.nano == 0
    }

    /// The sum, written as this amount is unless that is zero; `None` where it is too large.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let nano = self
            .nano
            .checked_add(other.nano)
            .filter(|nano| nano.abs() <= MAX_NANO)?;
        let notation = if self.is_zero() { other.notation } else { self.notation };
        Some(Self { nano, notation })
    }

    /// The difference, written as this amount is unless that is zero; `None` where it is too large.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(-other)
    }
}

fn divide_away_from_zero(number: i128, unit: i128) -> i128 {
    number / unit + if number % unit == 0 { 0 } else { number.signum() }
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let malformed = || QuantityError::Malformed { text: shorten(text) };
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let end = unsigned
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        // A lone point is nothing, as the specification's own implementation has it.
        if number.is_empty() || fraction.contains('.') {
            return Err(malformed());
        }
        let (exponent, shift, mut notation) = interpret_suffix(suffix).ok_or_else(malformed)?;
        let magnitude = match (scale(whole, fraction, exponent, NANO << shift), notation) {
            (magnitude, Notation::Binary) => magnitude.map_or(MAX_BINARY_NANO, |it| it.min(MAX_BINARY_NANO)),
            (Some(magnitude), _) if magnitude <= MAX_NANO => magnitude,
            _ => return Err(QuantityError::TooLarge { text: shorten(text) }),
        };
        // Less than a byte cannot be written with a binary suffix.
        if notation == Notation::Binary && magnitude > 0 && magnitude < NANO {
            notation = Notation::Decimal;
        }
        Ok(Self {
            nano: if negative { -magnitude } else { magnitude },
            notation,
        })
    }
}

/// A suffix as a power of ten, a power of two, and its family.
fn interpret_suffix(suffix: &str) -> Option<(i32, u32, Notation)> {
    if let Some((_, exponent)) = DECIMAL_SUFFIXES.iter().find(|(known, _)| *known == suffix) {
        return Some((*exponent, 0, Notation::Decimal));
    }
    if let Some(index) = BINARY_SUFFIXES.iter().position(|known| *known == suffix) {
        return Some((0, 10 * (u32::try_from(index).ok()? + 1), Notation::Binary));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    Some((exponent.parse().ok()?, 0, Notation::Exponent))
}

/// `whole.fraction` × 10^`exponent` × `unit`, rounded up to a whole number; `None` where it is too large.
fn scale(whole: &str, fraction: &str, exponent: i32, unit: i128) -> Option<i128> {
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|byte| byte - b'0').collect();
    if digits.iter().all(|digit| *digit == 0) {
        return Some(0);
    }
    // Where the point stands once the power of ten has moved it.
    let point = i64::try_from(whole.len()).ok()? + i64::from(exponent);
    if point > 200 {
        return None;
    }
    let digit_at = |index: i64| {
        usize::try_from(index)
            .ok()
            .and_then(|index| digits.get(index))
            .copied()
            .unwrap_or(0)
    };
    let mut above = 0_i128;
    for index in 0..point {
        above = above.checked_mul(10)?.checked_add(i128::from(digit_at(index)))?;
    }
    // From the last digit up to the point: what is lost in each division by ten only tells whether to round up.
    let mut below = 0_i128;
    let mut is_inexact = false;
    for index in (point..i64::try_from(digits.len()).ok()?).rev() {
        let sum = i128::from(digit_at(index)) * unit + below;
        is_inexact |= sum % 10 != 0;
        below = sum / 10;
        // Leading zeros beyond what any unit reaches change nothing more.
        if index < 0 && below == 0 {
            break;
        }
    }
    above
        .checked_mul(unit)?
        .checked_add(below)?
        .checked_add(i128::from(is_inexact))
}

impl Default for Quantity {
    /// Nothing.
    fn default() -> Self {
        Self {
            nano: 0,
            notation: Notation::Decimal,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nano == 0 {
            return f.write_str("0");
        }
        if self.notation == Notation::Binary && self.nano % NANO == 0 && self.nano.abs() >= 1024 * NANO {
            let (mantissa, power) = take_factors(self.nano / NANO, 1024, BINARY_SUFFIXES.len());
            let suffix = power.checked_sub(1).map_or("", |index| BINARY_SUFFIXES[index]);
            return write!(f, "{mantissa}{suffix}");
        }
        if self.notation == Notation::Exponent {
            let (mantissa, power) = take_factors(self.nano, 1000, usize::MAX);
            return match 3 * i64::try_from(power).expect("an i128 has few factors") - 9 {
                0 => write!(f, "{mantissa}"),
                exponent => write!(f, "{mantissa}e{exponent}"),
            };
        }
        let (mantissa, power) = take_factors(self.nano, 1000, 9);
        let exponent = 3 * i32::try_from(power).expect("it is at most 9") - 9;
        let (suffix, _) = DECIMAL_SUFFIXES
            .iter()
            .find(|(_, known)| *known == exponent)
            .expect("every third power from -9 to 18 has a suffix");
        write!(f, "{mantissa}{suffix}")
    }
}

/// Divides by `base` as often as that leaves nothing over, `most` times at most.
fn take_factors(mut number: i128, base: i128, most: usize) -> (i128, usize) {
    let mut power = 0;
    while power < most && number % base == 0 {
        number /= base;
        power += 1;
    }
    (number, power)
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nano == other.nano
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nano.cmp(&other.nano)
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            nano: -self.nano,
            ..self
        }
    }
}

impl Serialize for Quantity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Readable for Quantity {
    /// Text, or a number as it stands, since the specification permits plain decimals.
    fn read(value: Value, reading: &mut Reading) -> Option<Self> {
        let text = match value {
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            other => {
                reading.error(format!(
                    "is {}, where an amount as in `500m` or `1Gi` is needed",
                    kind(&other)
                ));
                return None;
            }
        };
        match text.trim().parse() {
            Ok(quantity) => Some(quantity),
            Err(error) => {
                reading.error(format!("is wrong: {error}"));
                None
            }
        }
    }
}

deserialize_by_reading!(Quantity);
