//! What is on the server by now, read key by key: after a crash nobody else knows.

use super::{Form, Shop};
use crate::corpus::{Product, TAGS, Vocabulary};
use anyhow::{Context, ensure};
use redis::Connection;
use serde_json::Value;
use std::collections::HashMap;
use std::thread;
use std::time::{Duration, Instant};

/// Keys that are read at once.
const LOT: usize = 500;
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(10);

impl Shop {
    /// Takes what is on the server for what should be there.
    pub fn take_stock(&mut self, connection: &mut Connection) -> anyhow::Result<()> {
        let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{}*", self.prefix)).query(connection)?;
        self.products.clear();
        for keys in keys.chunks(LOT) {
            let mut pipe = redis::pipe();
            for key in keys {
                match self.form {
                    Form::Hash => pipe.cmd("HGETALL").arg(key),
                    Form::Json => pipe.cmd("JSON.GET").arg(key),
                };
            }
            let products: Vec<Product> = match self.form {
                Form::Hash => {
                    let hashes: Vec<HashMap<String, Vec<u8>>> = pipe.query(connection)?;
                    hashes
                        .iter()
                        .map(|hash| from_hash(hash, &self.corpus.vocabulary))
                        .collect::<Result<_, _>>()?
                }
                Form::Json => {
                    let texts: Vec<String> = pipe.query(connection)?;
                    texts
                        .iter()
                        .map(|text| from_json(text, &self.corpus.vocabulary))
                        .collect::<Result<_, _>>()?
                }
            };
            self.products.extend(keys.iter().cloned().zip(products));
        }
        Ok(())
    }

    /// Waits until no key is there any more that is to expire, on a server with so many other keys.
    pub fn await_expiry(
        &self,
        connection: &mut Connection,
        others: usize,
        limit: Duration,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let keys: usize = redis::cmd("DBSIZE").query(connection)?;
            if keys == self.keys() + others {
                return Ok(());
            }
            ensure!(started.elapsed() < limit, "{keys} keys for {} after {limit:?}", self.keys() + others);
            thread::sleep(POLL);
        }
    }

    /// Waits until the index is built.
    pub fn await_index(&self, connection: &mut Connection, limit: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let info: HashMap<String, redis::Value> =
                redis::cmd("FT.INFO").arg(self.index).query(connection)?;
            let indexing = info.get("indexing").context("FT.INFO has no indexing")?;
            if redis::from_redis_value::<f64>(indexing.clone())? == 0.0 {
                return Ok(());
            }
            ensure!(started.elapsed() < limit, "the index is not built after {limit:?}: {info:?}");
            thread::sleep(POLL);
        }
    }
}

fn from_hash(hash: &HashMap<String, Vec<u8>>, vocabulary: &Vocabulary) -> anyhow::Result<Product> {
    let text = |name: &str| match hash.get(name) {
        Some(bytes) => Ok(std::str::from_utf8(bytes)?),
        None => anyhow::Ok(""),
    };
    let vector = hash.get("vector").map_or(&[][..], Vec::as_slice);
    Ok(Product {
        name: numbers_of(text("name")?, vocabulary)?,
        description: numbers_of(text("description")?, vocabulary)?,
        tags: tags_of(text("tags")?.split(','))?,
        price: if text("price")?.is_empty() { f64::NAN } else { text("price")?.parse()? },
        place: place_of(text("place")?)?,
        vector: vector.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
    })
}

fn from_json(text: &str, vocabulary: &Vocabulary) -> anyhow::Result<Product> {
    let document: Value = serde_json::from_str(text)?;
    let text = |name: &str| document[name].as_str().unwrap_or_default();
    let list = |name: &str| document[name].as_array().map_or(&[][..], Vec::as_slice);
    Ok(Product {
        name: numbers_of(text("name"), vocabulary)?,
        description: numbers_of(text("description"), vocabulary)?,
        tags: tags_of(list("tags").iter().filter_map(Value::as_str))?,
        price: document["price"].as_f64().unwrap_or(f64::NAN),
        place: place_of(text("place"))?,
        vector: list("vector").iter().filter_map(Value::as_f64).map(|number| number as f32).collect(),
    })
}

fn numbers_of(text: &str, vocabulary: &Vocabulary) -> anyhow::Result<Vec<u16>> {
    let number = |word: &str| {
        let at = vocabulary.words.binary_search_by(|known| known.as_str().cmp(word));
        Ok(at.ok().with_context(|| format!("{word} is no word of the products"))? as u16)
    };
    text.split_whitespace().map(number).collect()
}

fn tags_of<'a>(tags: impl Iterator<Item = &'a str>) -> anyhow::Result<Vec<u8>> {
    let number =
        |tag| TAGS.iter().position(|known| *known == tag).with_context(|| format!("{tag} is no tag"));
    let mut tags: Vec<u8> = tags
        .filter(|tag| !tag.is_empty())
        .map(|tag| Ok(number(tag)? as u8))
        .collect::<anyhow::Result<_>>()?;
    tags.sort_unstable();
    Ok(tags)
}

fn place_of(text: &str) -> anyhow::Result<(f64, f64)> {
    let Some((longitude, latitude)) = text.split_once(',') else { return Ok((f64::NAN, f64::NAN)) };
    Ok((longitude.parse()?, latitude.parse()?))
}
