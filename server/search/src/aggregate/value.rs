//! Values of rows.

use std::cmp::Ordering;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Number(f64),
    Text(Vec<u8>),
    Array(Vec<Value>),
}

/// Two values that cannot be compared: a number and a text that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Incomparable;

impl Value {
    pub fn text(text: impl Into<Vec<u8>>) -> Self {
        Self::Text(text.into())
    }

    /// A number, or a text that is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => std::str::from_utf8(text).ok()?.trim().parse().ok(),
            Self::Null | Self::Array(_) => None,
        }
    }

    pub fn is_true(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Number(number) => *number != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::Array(values) => !values.is_empty(),
        }
    }

    /// As a text, which numbers have, too; arrays have none.
    pub fn to_text(&self) -> Option<Vec<u8>> {
        match self {
            Self::Number(number) => Some(number_text(*number).into_bytes()),
            Self::Text(text) => Some(text.clone()),
            Self::Null | Self::Array(_) => None,
        }
    }

    /// Which is less. Nothing is less than something; a text that is a number is compared as one with a number.
    pub fn compare(&self, other: &Self) -> Result<Ordering, Incomparable> {
        Ok(match (self, other) {
            (Self::Null, Self::Null) => Ordering::Equal,
            (Self::Null, _) => Ordering::Less,
            (_, Self::Null) => Ordering::Greater,
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Number(a), Self::Text(_)) => {
                a.partial_cmp(&other.number().ok_or(Incomparable)?).unwrap_or(Ordering::Equal)
            }
            (Self::Text(_), Self::Number(b)) => {
                self.number().ok_or(Incomparable)?.partial_cmp(b).unwrap_or(Ordering::Equal)
            }
            (Self::Array(a), Self::Array(b)) => match (a.first(), b.first()) {
                (Some(a), Some(b)) => a.compare(b)?,
                _ => a.len().cmp(&b.len()),
            },
            (Self::Array(_), _) | (_, Self::Array(_)) => return Err(Incomparable),
        })
    }

    /// For sorting. Unlike [`Value::compare`] it is a total order, for a sort by any other may panic: nothing, numbers,
    /// texts, arrays. Texts that are numbers stand among the texts; what is not a number is behind all numbers.
    pub fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => sortable(*a).total_cmp(&sortable(*b)),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            (Self::Array(a), Self::Array(b)) => {
                let unequal = a.iter().zip(b).map(|(a, b)| a.order(b)).find(|order| order.is_ne());
                unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            _ => self.rank().cmp(&other.rank()),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Number(_) => 1,
            Self::Text(_) => 2,
            Self::Array(_) => 3,
        }
    }

    /// Bytes that it takes beside itself.
    pub fn held(&self) -> usize {
        match self {
            Self::Null | Self::Number(_) => 0,
            Self::Text(text) => text.len(),
            Self::Array(values) => values.iter().map(|value| size_of::<Self>() + value.held()).sum(),
        }
    }

    /// Bytes that are the same for the same value only.
    pub(super) fn identity(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.push(0),
            Self::Number(number) => {
                out.push(1);
                out.extend_from_slice(&(number + 0.0).to_bits().to_le_bytes());
            }
            Self::Text(text) => {
                out.push(2);
                out.extend_from_slice(&(text.len() as u64).to_le_bytes());
                out.extend_from_slice(text);
            }
            Self::Array(values) => {
                out.push(3);
                out.extend_from_slice(&(values.len() as u64).to_le_bytes());
                values.iter().for_each(|value| value.identity(out));
            }
        }
    }
}

/// One zero and one NaN.
fn sortable(number: f64) -> f64 {
    if number.is_nan() { f64::NAN } else { number + 0.0 }
}

/// A number as Redis writes it in texts: whole numbers without a point, others with twelve digits that count.
pub fn number_text(number: f64) -> String {
    if number == number.trunc() && number.abs() < 9.2e18 {
        return format!("{}", number as i64);
    }
    general(number, 12)
}

/// C's `%.*g`.
pub fn general(number: f64, digits: usize) -> String {
    if number.is_nan() {
        return "nan".into();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if number == 0.0 {
        return if number.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    let digits = digits.max(1);
    let scientific = format!("{number:.*e}", digits - 1);
    let (mantissa, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a number");
    let trimmed = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text.to_string(),
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs());
    }
    trimmed(&format!("{number:.*}", (digits as i32 - 1 - exponent).max(0) as usize))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values that are alike, so that many of them meet.
    fn values() -> impl Strategy<Value = Value> {
        const NUMBERS: [f64; 9] = [f64::NAN, -f64::NAN, f64::INFINITY, -1.0, -0.0, 0.0, 0.9, 1.0, 2.0];
        const TEXTS: [&str; 8] = ["", "0", "-0", "9e-1", "1", "2", "nan", "x"];
        let leaf = prop_oneof![
            Just(Value::Null),
            proptest::sample::select(&NUMBERS[..]).prop_map(Value::Number),
            proptest::sample::select(&TEXTS[..]).prop_map(Value::text),
        ];
        leaf.prop_recursive(2, 8, 3, |inner| proptest::collection::vec(inner, 0..3).prop_map(Value::Array))
    }

    proptest! {
        #[test]
        fn the_order_for_sorting_is_total(a in values(), b in values(), c in values()) {
            prop_assert_eq!(a.order(&a), Ordering::Equal);
            prop_assert_eq!(a.order(&b), b.order(&a).reverse());
            if a.order(&b).is_le() && b.order(&c).is_le() {
                prop_assert!(a.order(&c).is_le());
            }
            if a.order(&b).is_eq() {
                prop_assert_eq!(a.order(&c), b.order(&c));
            }
        }
    }

    #[test]
    fn numbers_are_written_as_redis_writes_them() {
        let cases = [
            (1.0, "1"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (1.0 / 3.0, "0.333333333333"),
            (1234.5678, "1234.5678"),
            (1e-7, "1e-07"),
            (1.5e20, "1.5e+20"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (number, text) in cases {
            assert_eq!(number_text(number), text);
        }
        assert_eq!(general(2.0, 6), "2");
        assert_eq!(general(1_234_567.0, 6), "1.23457e+06");
    }

    #[test]
    fn texts_that_are_numbers_compare_as_numbers_with_numbers() {
        let (nine, ten) = (Value::text("9"), Value::Number(10.0));
        assert_eq!(nine.compare(&ten), Ok(Ordering::Less));
        assert_eq!(ten.compare(&nine), Ok(Ordering::Greater));
        assert_eq!(nine.compare(&Value::text("10")), Ok(Ordering::Greater));
        assert_eq!(Value::text("x").compare(&ten), Err(Incomparable));
        assert_eq!(Value::Null.compare(&nine), Ok(Ordering::Less));
    }
}
