//! Arguments one after the other, and what is wrong with them in RediSearch's words.

use crate::args::{parse_f64, parse_i64};
use crate::error::CommandError;

/// Why an argument does not do. The texts follow `Bad arguments for NAME: `.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bad {
    Missing,
    Unparsable,
    Bounds,
    Unknown,
}

impl Bad {
    pub fn text(self) -> &'static str {
        match self {
            Self::Missing => "Expected an argument, but none provided",
            Self::Unparsable => "Could not convert argument to expected type",
            Self::Bounds => "Value is outside acceptable bounds",
            Self::Unknown => "Argument name not found",
        }
    }

    /// The error for the argument of this name.
    pub fn of(self, name: &str) -> CommandError {
        format!("Bad arguments for {name}: {}", self.text()).into()
    }
}

/// A place among arguments.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    args: &'a [&'a [u8]],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(args: &'a [&'a [u8]]) -> Self {
        Self { args, at: 0 }
    }

    pub fn is_at_end(&self) -> bool {
        self.at == self.args.len()
    }

    /// Arguments left.
    pub fn left(&self) -> usize {
        self.args.len() - self.at
    }

    /// What is left.
    pub fn rest(&self) -> &'a [&'a [u8]] {
        &self.args[self.at..]
    }

    /// The next argument, which stays.
    pub fn peek(&self) -> Option<&'a [u8]> {
        self.args.get(self.at).copied()
    }

    /// Takes the next argument if it is this keyword, in any case.
    pub fn take_if(&mut self, keyword: &str) -> bool {
        let matches = self.peek().is_some_and(|arg| arg.eq_ignore_ascii_case(keyword.as_bytes()));
        self.at += usize::from(matches);
        matches
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Bad> {
        let arg = self.peek().ok_or(Bad::Missing)?;
        self.at += 1;
        Ok(arg)
    }

    /// An integer; `3.0` is one, too.
    pub fn int(&mut self) -> Result<i64, Bad> {
        let arg = self.peek().ok_or(Bad::Missing)?;
        let whole = |n: f64| (n == n.trunc() && n.abs() < i64::MAX as f64).then_some(n as i64);
        let value = parse_i64(arg).or_else(|| parse_f64(arg).and_then(whole)).ok_or(Bad::Unparsable)?;
        self.at += 1;
        Ok(value)
    }

    /// A number that is not below `min`.
    pub fn size(&mut self, min: usize) -> Result<usize, Bad> {
        let before = self.at;
        let value = self.int()?;
        let size = usize::try_from(value).ok().filter(|&size| size >= min);
        if size.is_none() {
            self.at = before;
        }
        size.ok_or(Bad::Bounds)
    }

    pub fn double(&mut self) -> Result<f64, Bad> {
        let arg = self.peek().ok_or(Bad::Missing)?;
        let value = parse_f64(arg).ok_or(Bad::Unparsable)?;
        self.at += 1;
        Ok(value)
    }

    /// A number and so many arguments.
    pub fn counted(&mut self) -> Result<&'a [&'a [u8]], Bad> {
        let count = self.size(0)?;
        let args = self.rest().get(..count).ok_or(Bad::Missing)?;
        self.at += count;
        Ok(args)
    }
}
