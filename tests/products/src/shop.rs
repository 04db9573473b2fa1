//! The products on a server: what is written, changed and taken away, and whether searches find just what is there.

mod answer;
mod changes;
mod judge;
mod stock;

pub use answer::{Answer, Hit};
pub use changes::send;
pub use judge::Findings;

use crate::corpus::{Corpus, DIM, Product, TAGS};
use crate::oracle::NAME_WEIGHT;
use redis::Cmd;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Searches ask for no more than this.
const HITS_MAX: usize = 1_000_000;

/// What a product is kept as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Hash,
    Json,
}

/// Which vectors an index has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vectors {
    None,
    /// The same one twice: all looked at, and in a graph.
    Both,
}

/// What is on the server.
pub struct Shop {
    pub form: Form,
    /// Hashes and documents may be on the same server: index and names of keys are other ones.
    pub index: &'static str,
    pub prefix: &'static str,
    pub vectors: Vectors,
    pub corpus: Corpus,
    pub products: BTreeMap<String, Product>,
    /// Products under names that the index does not look at.
    away: BTreeMap<String, Product>,
    /// Keys of the products' names with other values.
    strangers: BTreeSet<String>,
    /// Keys that expire, and are left alone.
    expiring: BTreeSet<String>,
}

impl Shop {
    pub fn new(seed: u64, form: Form, vectors: Vectors) -> Self {
        Self {
            form,
            index: if form == Form::Hash { "idx:products" } else { "idx:documents" },
            prefix: if form == Form::Hash { "product:" } else { "document:" },
            vectors,
            corpus: Corpus::new(seed),
            products: BTreeMap::new(),
            away: BTreeMap::new(),
            strangers: BTreeSet::new(),
            expiring: BTreeSet::new(),
        }
    }

    /// `FT.CREATE` of its index.
    pub fn create_index(&self) -> Cmd {
        let mut command = redis::cmd("FT.CREATE");
        command.arg(self.index).arg("ON").arg(match self.form {
            Form::Hash => "HASH",
            Form::Json => "JSON",
        });
        command.arg("PREFIX").arg(1).arg(self.prefix).arg("SCHEMA");
        let path = |name: &str| match (self.form, name) {
            (Form::Hash, _) => name.to_owned(),
            (Form::Json, "tags") => "$.tags[*]".to_owned(),
            (Form::Json, _) => format!("$.{name}"),
        };
        let mut field = |name: &str, alias: &str, kind: &[&str]| {
            command.arg(path(name)).arg("AS").arg(alias).arg(kind);
        };
        field("name", "name", &["TEXT", "WEIGHT", &NAME_WEIGHT.to_string()]);
        field("description", "description", &["TEXT"]);
        field("tags", "tags", &["TAG"]);
        field("price", "price", &["NUMERIC", "SORTABLE"]);
        field("place", "place", &["GEO"]);
        if self.vectors == Vectors::Both {
            let dim = DIM.to_string();
            for (alias, algorithm) in [("flat", "FLAT"), ("hnsw", "HNSW")] {
                let kind =
                    ["VECTOR", algorithm, "6", "TYPE", "FLOAT32", "DIM", &dim, "DISTANCE_METRIC", "L2"];
                field("vector", alias, &kind);
            }
        }
        command
    }

    /// Writes a new product, over what is there.
    pub fn put(&mut self, key: &str) -> Vec<Cmd> {
        let product = self.corpus.product();
        let mut commands = Vec::new();
        if self.strangers.remove(key) {
            commands.push(words(&["DEL", key]));
        }
        commands.push(self.written(key, &product));
        self.products.insert(key.to_owned(), product);
        commands
    }

    /// All keys that there should be on the server.
    pub fn keys(&self) -> usize {
        self.products.len() + self.away.len() + self.strangers.len()
    }

    /// The command that writes a whole product.
    fn written(&self, key: &str, product: &Product) -> Cmd {
        match self.form {
            Form::Hash => {
                let mut command = words(&["HSET", key]);
                for name in FIELDS {
                    if let Some(value) = self.hash_field(product, name) {
                        command.arg(*name).arg(value);
                    }
                }
                command
            }
            Form::Json => words(&["JSON.SET", key, "$", &self.document(product)]),
        }
    }

    /// A field as it is in a hash.
    fn hash_field(&self, product: &Product, name: &str) -> Option<Vec<u8>> {
        let text = |words: &[u16]| (!words.is_empty()).then(|| self.corpus.text(words).into_bytes());
        match name {
            "name" => text(&product.name),
            "description" => text(&product.description),
            "tags" => (!product.tags.is_empty()).then(|| tags(product, ",").into_bytes()),
            "price" => (!product.price.is_nan()).then(|| product.price.to_string().into_bytes()),
            "place" => (!product.place.0.is_nan()).then(|| place(product).into_bytes()),
            "vector" => (!product.vector.is_empty()).then(|| blob(&product.vector)),
            _ => unreachable!("{name} is no field of a product"),
        }
    }

    /// A field as it is in a document.
    fn json_field(&self, product: &Product, name: &str) -> Option<String> {
        self.hash_field(product, name)?;
        Some(match name {
            "name" => format!("\"{}\"", self.corpus.text(&product.name)),
            "description" => format!("\"{}\"", self.corpus.text(&product.description)),
            "tags" => format!("[\"{}\"]", tags(product, "\",\"")),
            "price" => product.price.to_string(),
            "place" => format!("\"{}\"", place(product)),
            _ => {
                let numbers: Vec<String> = product.vector.iter().map(f32::to_string).collect();
                format!("[{}]", numbers.join(","))
            }
        })
    }

    fn document(&self, product: &Product) -> String {
        let mut text = String::from("{");
        for name in FIELDS {
            if let Some(value) = self.json_field(product, name) {
                let comma = if text.len() > 1 { "," } else { "" };
                write!(text, "{comma}\"{name}\":{value}").expect("a string takes everything");
            }
        }
        text + "}"
    }
}

const FIELDS: &[&str] = &["name", "description", "tags", "price", "place", "vector"];

fn tags(product: &Product, between: &str) -> String {
    let tags: Vec<&str> = product.tags.iter().map(|&tag| TAGS[usize::from(tag)]).collect();
    tags.join(between)
}

fn place(product: &Product) -> String {
    format!("{},{}", product.place.0, product.place.1)
}

/// A vector as commands take it.
pub fn blob(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// A command of words.
fn words(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(words);
    command
}
