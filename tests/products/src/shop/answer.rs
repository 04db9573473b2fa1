//! Answers of `FT.SEARCH` and `FT.AGGREGATE`, in the shapes of both protocols.

use anyhow::{Context, bail, ensure};
use redis::Value;

/// What a search has found.
#[derive(Debug)]
pub struct Answer {
    pub total: usize,
    pub hits: Vec<Hit>,
}

/// One of the documents found.
#[derive(Debug)]
pub struct Hit {
    pub key: String,
    pub score: Option<f64>,
    pub fields: Vec<(String, String)>,
}

impl Hit {
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }
}

impl Answer {
    /// The answer of a search that was asked for scores or not, and for fields or not.
    pub fn read(value: &Value, with_scores: bool, with_fields: bool) -> anyhow::Result<Self> {
        match value {
            Value::Array(items) => Self::read_array(items, with_scores, with_fields),
            Value::Map(pairs) => Self::read_map(pairs, with_scores),
            other => bail!("no answer of a search: {other:?}"),
        }
    }

    fn read_array(items: &[Value], with_scores: bool, with_fields: bool) -> anyhow::Result<Self> {
        let (total, items) = items.split_first().context("an empty answer")?;
        let width = 1 + usize::from(with_scores) + usize::from(with_fields);
        ensure!(items.len() % width == 0, "{} items, {width} for each document", items.len());
        let hits = items.chunks(width).map(|items| {
            let score = if with_scores { Some(text(&items[1])?.parse()?) } else { None };
            let fields = if with_fields { pairs(&items[width - 1])? } else { Vec::new() };
            Ok(Hit { key: text(&items[0])?, score, fields })
        });
        Ok(Self { total: count(total)?, hits: hits.collect::<anyhow::Result<_>>()? })
    }

    fn read_map(answer: &[(Value, Value)], with_scores: bool) -> anyhow::Result<Self> {
        let Value::Array(results) = entry(answer, "results")? else { bail!("results are no array") };
        let hits = results.iter().map(|result| {
            let Value::Map(result) = result else { bail!("a result is no map: {result:?}") };
            let score = match with_scores {
                true => match entry(result, "score")? {
                    Value::Double(score) => Some(*score),
                    other => bail!("no score: {other:?}"),
                },
                false => None,
            };
            let fields = entry(result, "extra_attributes").ok().map(pairs).transpose()?.unwrap_or_default();
            Ok(Hit { key: text(entry(result, "id")?)?, score, fields })
        });
        let total = count(entry(answer, "total_results")?)?;
        Ok(Self { total, hits: hits.collect::<anyhow::Result<_>>()? })
    }
}

/// The rows of `FT.AGGREGATE`.
pub fn rows(value: &Value) -> anyhow::Result<Vec<Vec<(String, String)>>> {
    match value {
        Value::Array(items) => items.get(1..).unwrap_or_default().iter().map(pairs).collect(),
        Value::Map(answer) => {
            let Value::Array(results) = entry(answer, "results")? else { bail!("results are no array") };
            let row = |result: &Value| match result {
                Value::Map(result) => pairs(entry(result, "extra_attributes")?),
                other => bail!("a result is no map: {other:?}"),
            };
            results.iter().map(row).collect()
        }
        other => bail!("no answer of an aggregation: {other:?}"),
    }
}

fn entry<'a>(pairs: &'a [(Value, Value)], name: &str) -> anyhow::Result<&'a Value> {
    let found = pairs.iter().find(|(key, _)| text(key).is_ok_and(|key| key == name));
    found.map(|(_, value)| value).with_context(|| format!("no {name} in {pairs:?}"))
}

/// Names and values, which are absent where they are null.
fn pairs(value: &Value) -> anyhow::Result<Vec<(String, String)>> {
    let pairs: Vec<(&Value, &Value)> = match value {
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (name, value)).collect(),
        Value::Array(items) => items.chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect(),
        other => bail!("no fields: {other:?}"),
    };
    let present = pairs.into_iter().filter(|(_, value)| **value != Value::Nil);
    present.map(|(name, value)| Ok((text(name)?, text(value)?))).collect()
}

fn count(value: &Value) -> anyhow::Result<usize> {
    match value {
        Value::Int(count) => Ok(usize::try_from(*count)?),
        other => bail!("no count: {other:?}"),
    }
}

fn text(value: &Value) -> anyhow::Result<String> {
    match value {
        Value::BulkString(bytes) => Ok(String::from_utf8_lossy(bytes).into_owned()),
        Value::SimpleString(text) => Ok(text.clone()),
        Value::Int(number) => Ok(number.to_string()),
        Value::Double(number) => Ok(number.to_string()),
        other => bail!("no text: {other:?}"),
    }
}
