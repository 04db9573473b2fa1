//! Random changes: each leaves the shop's products as they are going to be on the server.

use super::{Form, Shop, words};
use crate::corpus::TAGS;
use redis::{Cmd, Connection, RedisResult};
use std::ops::Range;

/// Changes that are sent at once; every second lot is a transaction.
const LOT: usize = 20;

impl Shop {
    /// Puts products of these numbers into the shop.
    pub fn fill(&mut self, connection: &mut Connection, numbers: Range<usize>) -> RedisResult<()> {
        let numbers: Vec<usize> = numbers.collect();
        for lot in numbers.chunks(500) {
            let commands =
                lot.iter().flat_map(|number| self.put(&format!("{}{number}", self.prefix))).collect();
            send(connection, commands, false)?;
        }
        Ok(())
    }

    /// So many random changes.
    pub fn churn(&mut self, connection: &mut Connection, count: usize) -> RedisResult<()> {
        for lot in 0..count.div_ceil(LOT) {
            let mut commands = Vec::new();
            for _ in 0..LOT {
                commands.extend(self.change());
            }
            send(connection, commands, lot % 2 == 1)?;
        }
        Ok(())
    }

    /// Another price for one of the products.
    pub fn reprice_any(&mut self) -> Cmd {
        let number = self.corpus.below(self.products.len());
        let price = self.corpus.below(50_000) as f64 / 100.0;
        let key = format!("{}{number}", self.prefix);
        self.products.get_mut(&key).expect("the shop was filled").price = price;
        match self.form {
            Form::Hash => words(&["HSET", &key, "price", &price.to_string()]),
            Form::Json => words(&["JSON.SET", &key, "$.price", &price.to_string()]),
        }
    }

    /// One change, which may be none.
    fn change(&mut self) -> Vec<Cmd> {
        let room = self.products.len() + self.products.len() / 10 + 10;
        let key = format!("{}{}", self.prefix, self.corpus.below(room));
        if self.expiring.contains(&key) {
            return Vec::new();
        }
        let is_there = self.products.contains_key(&key);
        match self.corpus.below(16) {
            0..=3 => self.put(&key),
            4..=6 if is_there => self.reprice(&key),
            7 if is_there => self.describe(&key),
            8 if is_there => self.lose_a_field(&key),
            9 => {
                self.products.remove(&key);
                self.strangers.remove(&key);
                vec![words(&[["DEL", "UNLINK"][self.corpus.below(2)], &key])]
            }
            10 if is_there => {
                self.products.remove(&key);
                self.expiring.insert(key.clone());
                vec![words(&["PEXPIRE", &key, "1"])]
            }
            11 if is_there => {
                // The value of another type is nothing that the index could find.
                self.products.remove(&key);
                self.strangers.insert(key.clone());
                vec![words(&["SET", &key, "no product"])]
            }
            12 if is_there => self.transfer(&key, room),
            13 if is_there => {
                let away = format!("elsewhere:{key}");
                let product = self.products.remove(&key).expect("it is there");
                self.away.insert(away.clone(), product);
                vec![words(&["RENAME", &key, &away])]
            }
            14 => {
                let Some((away, product)) = self.away.pop_first() else { return Vec::new() };
                self.strangers.remove(&key);
                self.products.insert(key.clone(), product);
                vec![words(&["RENAME", &away, &key])]
            }
            15 if is_there => {
                let to = format!("{}{}", self.prefix, self.corpus.below(room));
                if to == key || self.expiring.contains(&to) {
                    return Vec::new();
                }
                self.strangers.remove(&to);
                self.products.insert(to.clone(), self.products[&key].clone());
                vec![words(&["COPY", &key, &to, "REPLACE"])]
            }
            _ => Vec::new(),
        }
    }

    fn reprice(&mut self, key: &str) -> Vec<Cmd> {
        let price = self.corpus.below(50_000) as f64 / 100.0;
        let how = self.corpus.below(3);
        let product = self.products.get_mut(key).expect("it is there");
        let text = price.to_string();
        let script = match self.form {
            Form::Hash => "return redis.call('HSET', KEYS[1], 'price', ARGV[1])",
            Form::Json => "return redis.call('JSON.SET', KEYS[1], '$.price', ARGV[1])",
        };
        let command = match (self.form, how) {
            (Form::Json, 0) if !product.price.is_nan() => {
                product.price += 1.0;
                return vec![words(&["JSON.NUMINCRBY", key, "$.price", "1"])];
            }
            (_, 0) => words(&["EVAL", script, "1", key, &text]),
            (Form::Hash, _) => words(&["HSET", key, "price", &text]),
            (Form::Json, _) => words(&["JSON.SET", key, "$.price", &text]),
        };
        product.price = price;
        vec![command]
    }

    fn describe(&mut self, key: &str) -> Vec<Cmd> {
        let description = self.corpus.product().description;
        let text = self.corpus.text(&description);
        let how = self.corpus.below(2);
        let product = self.products.get_mut(key).expect("it is there");
        let command = match (self.form, how) {
            (Form::Json, 0) if !product.tags.is_empty() && !product.tags.contains(&0) => {
                product.tags.insert(0, 0);
                return vec![words(&["JSON.ARRINSERT", key, "$.tags", "0", &format!("\"{}\"", TAGS[0])])];
            }
            (Form::Json, 0) => words(&["JSON.MERGE", key, "$", &format!("{{\"description\":\"{text}\"}}")]),
            (Form::Json, _) => words(&["JSON.SET", key, "$.description", &format!("\"{text}\"")]),
            (Form::Hash, _) => words(&["HSET", key, "description", &text]),
        };
        product.description = description;
        vec![command]
    }

    /// A product without one of its fields stays in the index.
    fn lose_a_field(&mut self, key: &str) -> Vec<Cmd> {
        let product = self.products.get_mut(key).expect("it is there");
        let name = match self.corpus.below(5) {
            0 => {
                product.description.clear();
                "description"
            }
            1 => {
                product.tags.clear();
                "tags"
            }
            2 => {
                product.price = f64::NAN;
                "price"
            }
            3 => {
                product.place = (f64::NAN, f64::NAN);
                "place"
            }
            _ => {
                product.vector.clear();
                "vector"
            }
        };
        match self.form {
            Form::Hash => vec![words(&["HDEL", key, name])],
            Form::Json => vec![words(&["JSON.DEL", key, &format!("$.{name}")])],
        }
    }

    fn transfer(&mut self, key: &str, room: usize) -> Vec<Cmd> {
        let to = format!("{}{}", self.prefix, self.corpus.below(room));
        if self.expiring.contains(&to) {
            return Vec::new();
        }
        let product = self.products.remove(key).expect("it is there");
        self.strangers.remove(&to);
        self.products.insert(to.clone(), product);
        vec![words(&["RENAME", key, &to])]
    }
}

/// Sends commands at once; an error of any of them is one.
pub fn send(connection: &mut Connection, commands: Vec<Cmd>, atomic: bool) -> RedisResult<()> {
    let mut pipe = redis::pipe();
    if atomic {
        pipe.atomic();
    }
    for command in commands {
        pipe.add_command(command).ignore();
    }
    pipe.query(connection)
}
