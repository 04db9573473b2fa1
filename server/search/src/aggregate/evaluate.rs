//! What an expression comes to in a row.

use super::expression::{Arithmetic, Comparison, Expression};
use super::functions::Function;
use super::value::{Incomparable, Value};
use crate::query::{QueryError, shown};
use std::cmp::Ordering;

/// Bytes of the values that are held at once while an expression is evaluated.
const HELD_MAX: usize = 1 << 28;

/// The properties of a row.
pub trait Properties {
    fn get(&self, name: &[u8]) -> Option<&Value>;
    /// The terms that the row's document matched.
    fn terms(&self) -> &[Vec<u8>] {
        &[]
    }
}

/// A value, or the name of a property that the row does not have.
enum Outcome {
    Value(Value),
    Missing(Vec<u8>),
}

impl Expression {
    /// Its value. That a property is missing is an error, except where `exists`, `&&`, `||` or `!` ask for it.
    pub fn evaluate(&self, row: &impl Properties) -> Result<Value, QueryError> {
        self.evaluate_beside(row, 0)
    }

    /// [`Expression::evaluate`] while so many bytes of other values are held.
    fn evaluate_beside(&self, row: &impl Properties, held: usize) -> Result<Value, QueryError> {
        match self.outcome(row, held)? {
            Outcome::Value(value) => Ok(value),
            Outcome::Missing(name) => Err(QueryError::expression(format!(
                "Could not find the value for a parameter name, consider using EXISTS if applicable for {}",
                shown(&name)
            ))),
        }
    }

    fn outcome(&self, row: &impl Properties, held: usize) -> Result<Outcome, QueryError> {
        Ok(Outcome::Value(match self {
            Self::Value(value) => value.clone(),
            Self::Property(name) => match row.get(name) {
                Some(value) => value.clone(),
                None => return Ok(Outcome::Missing(name.clone())),
            },
            Self::Call(Function::Exists, arguments) => {
                let exists =
                    matches!(arguments[0].outcome(row, held)?, Outcome::Value(value) if value != Value::Null);
                truth(exists)
            }
            Self::Call(Function::Case, arguments) => {
                // Only the branch that is taken is looked at.
                let branch = if arguments[0].is_true(row, held)? { 1 } else { 2 };
                return arguments[branch].outcome(row, held);
            }
            Self::Call(function, arguments) => {
                let mut values = Vec::with_capacity(arguments.len());
                let mut held = held;
                for argument in arguments {
                    let value = argument.evaluate_beside(row, held)?;
                    held += value.held();
                    if held > HELD_MAX {
                        return Err(QueryError::limit("The values of an expression take too much memory"));
                    }
                    values.push(value);
                }
                function.call(&values, row.terms())?
            }
            Self::Arithmetic(operator, sides) => {
                let number = |side: &Self| {
                    let number = side.evaluate_beside(row, held)?.number();
                    number.ok_or_else(|| QueryError::expression("Could not convert value to a number"))
                };
                let (a, b) = (number(&sides[0])?, number(&sides[1])?);
                Value::Number(match operator {
                    Arithmetic::Add => a + b,
                    Arithmetic::Subtract => a - b,
                    Arithmetic::Multiply => a * b,
                    Arithmetic::Divide => a / b,
                    Arithmetic::Modulo => a % b,
                    Arithmetic::Power => a.powf(b),
                })
            }
            Self::Comparison(comparison, sides) => {
                let a = sides[0].evaluate_beside(row, held)?;
                let b = sides[1].evaluate_beside(row, held + a.held())?;
                truth(comparison.holds(&a, &b)?)
            }
            Self::And(sides) => truth(sides[0].is_true(row, held)? && sides[1].is_true(row, held)?),
            Self::Or(sides) => truth(sides[0].is_true(row, held)? || sides[1].is_true(row, held)?),
            Self::Not(inner) => truth(!inner.evaluate_beside(row, held)?.is_true()),
        }))
    }

    /// What is missing is not true.
    fn is_true(&self, row: &impl Properties, held: usize) -> Result<bool, QueryError> {
        Ok(match self.outcome(row, held)? {
            Outcome::Value(value) => value.is_true(),
            Outcome::Missing(_) => false,
        })
    }
}

fn truth(holds: bool) -> Value {
    Value::Number(f64::from(u8::from(holds)))
}

impl Comparison {
    fn holds(self, a: &Value, b: &Value) -> Result<bool, QueryError> {
        let order = a.compare(b);
        let order = match (self, order) {
            // What cannot be compared is not equal.
            (Self::Equal, Err(Incomparable)) => return Ok(false),
            (Self::NotEqual, Err(Incomparable)) => return Ok(true),
            (_, Err(Incomparable)) => return Err(QueryError::expression("Error converting string")),
            (_, Ok(order)) => order,
        };
        Ok(match self {
            Self::Equal => order == Ordering::Equal,
            Self::NotEqual => order != Ordering::Equal,
            Self::Less => order == Ordering::Less,
            Self::LessEqual => order != Ordering::Greater,
            Self::Greater => order == Ordering::Greater,
            Self::GreaterEqual => order != Ordering::Less,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    struct Row(BTreeMap<Vec<u8>, Value>, Vec<Vec<u8>>);

    impl Properties for Row {
        fn get(&self, name: &[u8]) -> Option<&Value> {
            self.0.get(name)
        }

        fn terms(&self) -> &[Vec<u8>] {
            &self.1
        }
    }

    fn row() -> Row {
        let values = [
            ("n", Value::Number(7.0)),
            ("s", Value::text("Hello World")),
            ("t", Value::text("12.5")),
            ("list", Value::Array(vec![Value::Number(1.0)])),
            ("null", Value::Null),
            ("when", Value::Number(1_517_417_144.0)),
        ];
        Row(values.into_iter().map(|(n, v)| (n.into(), v)).collect(), vec![b"hello".to_vec()])
    }

    fn result(text: &str) -> Result<Value, QueryError> {
        Expression::parse(text.as_bytes())?.evaluate(&row())
    }

    #[track_caller]
    fn number(text: &str, expected: f64) {
        match result(text).unwrap() {
            Value::Number(n) if expected.is_nan() => assert!(n.is_nan(), "{text}"),
            value => assert_eq!(value, Value::Number(expected), "{text}"),
        }
    }

    #[track_caller]
    fn text(expression: &str, expected: &str) {
        assert_eq!(result(expression).unwrap(), Value::text(expected), "{expression}");
    }

    #[test]
    fn arithmetic_has_its_precedences() {
        number("1 + 2 * 3", 7.0);
        number("(1 + 2) * 3", 9.0);
        number("2 ^ 3 ^ 2", 512.0);
        number("10 - 4 - 3", 3.0);
        number("@n - 1", 6.0);
        number("@n-1", 6.0);
        number("7 % 4", 3.0);
        number("@t * 2", 25.0);
        number("1 / 0", f64::INFINITY);
        number("1 % 0", f64::NAN);
        number("-5 + 1.5e1", 10.0);
    }

    #[test]
    fn logic_is_short_and_forgives_what_is_missing() {
        number("@n > 5 && @s == 'Hello World'", 1.0);
        number("@nosuch || 1", 1.0);
        number("@nosuch && 1", 0.0);
        number("!(@n == 7)", 0.0);
        number("!@n == 8", 1.0);
    }

    #[test]
    fn missing_properties_are_an_error_elsewhere() {
        let message =
            "Could not find the value for a parameter name, consider using EXISTS if applicable for nosuch";
        assert_eq!(result("@nosuch + 1").unwrap_err().to_string(), message);
        assert_eq!(result("@nosuch == 1").unwrap_err().to_string(), message);
        number("exists(@nosuch)", 0.0);
        number("exists(@n)", 1.0);
        number("exists(@null)", 0.0);
        number("case(exists(@nosuch), @nosuch, 3)", 3.0);
    }

    #[test]
    fn comparisons_take_texts_as_numbers_where_one_is_a_number() {
        number("@t > 12", 1.0);
        number("@t == 12.5", 1.0);
        number("'b' > 'a'", 1.0);
        number("@s == 1", 0.0);
        number("@s != 1", 1.0);
        assert_eq!(result("@s < 1").unwrap_err().to_string(), "Error converting string");
        number("NULL == NULL", 1.0);
    }

    #[test]
    fn functions_of_numbers() {
        number("floor(1.7)", 1.0);
        number("ceil(1.2)", 2.0);
        number("abs(-3)", 3.0);
        number("sqrt(16)", 4.0);
        number("log2(8)", 3.0);
        number("log(exp(1))", 1.0);
        number("sqrt(@s)", f64::NAN);
    }

    #[test]
    fn functions_of_texts() {
        text("upper(@s)", "HELLO WORLD");
        text("LOWER(@s)", "hello world");
        text("substr(@s, 0, 5)", "Hello");
        text("substr(@s, -5, 3)", "Wor");
        text("substr(@s, 0, -6)", "Hello");
        text("substr(@s, 100, 1)", "");
        text("format('%s is %s%%, %s', @s, @n, NULL)", "Hello World is 7%, (null)");
        text("to_str(@n)", "7");
        number("to_number(@t)", 12.5);
        number("strlen(@s)", 11.0);
        number("startswith(@s, 'Hell')", 1.0);
        number("contains(@s, 'o')", 2.0);
        number("contains(@s, '')", 12.0);
        assert_eq!(result("upper(@n)").unwrap(), Value::Null);
        assert_eq!(
            result("split(' a, b;;c ', ',;')").unwrap(),
            Value::Array(vec![Value::text("a"), Value::text("b"), Value::text("c")])
        );
        assert_eq!(result("matched_terms()").unwrap(), Value::Array(vec![Value::text("hello")]));
        for (bad, message) in [
            ("format('%d', 1)", "Unknown format specifier passed"),
            ("format('%s')", "Not enough arguments for format"),
            ("format('%')", "Bad format string!"),
            ("to_number(@s)", "to_number: cannot convert string 'Hello World'"),
            ("strlen(@n)", "Invalid type for argument 0 in function 'strlen'. `IsString(v)` was false."),
        ] {
            assert_eq!(result(bad).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn arguments_of_one_call_do_not_take_all_memory() {
        let big = "x".repeat(60_000);
        let row = Row([(b"a".to_vec(), Value::text(big))].into(), Vec::new());
        let call = format!("format('%s'{})", ",@a".repeat(HELD_MAX / 60_000 + 1));
        let error = Expression::parse(call.as_bytes()).unwrap().evaluate(&row).unwrap_err();
        assert_eq!(error.to_string(), "The values of an expression take too much memory");
        let few = format!("format('%s'{})", ",@a".repeat(10));
        assert!(Expression::parse(few.as_bytes()).unwrap().evaluate(&row).is_ok());
    }

    #[test]
    fn functions_of_times() {
        text("timefmt(@when)", "2018-01-31T16:45:44Z");
        text("timefmt(@when, '%Y')", "2018");
        number("parsetime('2018-01-31', '%Y-%m-%d')", 1_517_356_800.0);
        number("hour(@when)", 1_517_414_400.0);
        number("minute(@when)", 1_517_417_100.0);
        number("day(@when)", 1_517_356_800.0);
        number("month(@when)", 1_514_764_800.0);
        number("monthofyear(@when)", 0.0);
        number("year(@when)", 2018.0);
        number("dayofmonth(@when)", 31.0);
        number("dayofweek(@when)", 3.0);
        number("dayofyear(@when)", 30.0);
        assert_eq!(result("year(-1)").unwrap(), Value::Null);
        assert_eq!(result("timefmt(@s)").unwrap(), Value::Null);
    }

    #[test]
    fn functions_of_places() {
        number("geodistance('13.361389,38.115556', '15.087269,37.502669')", 166_274.26);
        number("geodistance(13.361389, 38.115556, '15.087269,37.502669')", 166_274.26);
        number("geodistance('13.361389,38.115556', 15.087269, 37.502669)", 166_274.26);
        number("geodistance(13.361389, 38.115556, 15.087269, 37.502669)", 166_274.26);
        number("geodistance('nowhere', '0,0')", f64::NAN);
    }
}
