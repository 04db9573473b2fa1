//! Random queries over random products: what the index finds is what a look at every product finds, before and after
//! products have changed and gone.
//!
//! `CAIRN_SEARCH_PRODUCTS` and `CAIRN_SEARCH_QUERIES` make it larger; with `--nocapture` it says how fast it was. In a
//! release build, with 200000 and 2000, the queries of words, tags, numbers and places take eight minutes.

use cairn_products::asks::ask;
use cairn_products::corpus::{Corpus, DIM, Product, TAGS};
use cairn_products::oracle::{self, Ask, NAME_WEIGHT, Oracle};
use cairn_search::eval::{Found, SearchOptions, Sort};
use cairn_search::index::{Document, FieldValue, Index};
use cairn_search::query::{ParseOptions, Query};
use cairn_search::schema::{
    Field, FieldKind, HnswSpec, Metric, Schema, VectorAlgorithm, VectorSpec, VectorType,
};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How wide HNSW searches for ten.
const EF_RUNTIME: usize = 800;

fn schema(with_vectors: bool) -> Schema {
    let vector = |algorithm| {
        FieldKind::Vector(VectorSpec {
            algorithm,
            numbers: VectorType::Float32,
            dim: DIM,
            metric: Metric::L2,
        })
    };
    let name = FieldKind::Text { weight: f64::from(NAME_WEIGHT), nostem: false, with_suffix: false };
    let schema = Schema::default()
        .with(Field::new("name", name))
        .with(Field::new("description", FieldKind::TEXT))
        .with(Field::new("tags", FieldKind::TAG))
        .with(Field::new("price", FieldKind::Numeric).sortable())
        .with(Field::new("place", FieldKind::Geo));
    if !with_vectors {
        return schema;
    }
    schema
        .with(Field::new("flat", vector(VectorAlgorithm::Flat)))
        .with(Field::new("hnsw", vector(VectorAlgorithm::Hnsw(HnswSpec::default()))))
}

fn blob(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|n| n.to_le_bytes()).collect()
}

fn upsert(index: &mut Index, corpus: &Corpus, key: &str, product: &Product) -> u32 {
    let (name, description) = (corpus.text(&product.name), corpus.text(&product.description));
    let tags: Vec<&str> = product.tags.iter().map(|&tag| TAGS[usize::from(tag)]).collect();
    let (tags, vector) = (tags.join(","), blob(&product.vector));
    let mut fields = vec![
        FieldValue::Texts(vec![name.as_bytes()]),
        FieldValue::Texts(vec![description.as_bytes()]),
        FieldValue::Texts(vec![tags.as_bytes()]),
        FieldValue::Numbers(vec![product.price]),
        FieldValue::Places(vec![product.place]),
    ];
    if index.schema().fields().len() > 5 {
        fields.extend([FieldValue::Vectors(vec![&vector]), FieldValue::Vectors(vec![&vector])]);
    }
    index.upsert(key.as_bytes(), &Document::new(fields)).unwrap()
}

/// The index and what is in it.
struct World {
    corpus: Corpus,
    index: Index,
    products: BTreeMap<String, (u32, Product)>,
    timings: Vec<Duration>,
}

impl World {
    fn new(seed: u64, products: usize, with_vectors: bool) -> Self {
        let corpus = Corpus::new(seed);
        let index = Index::new(schema(with_vectors), 1);
        let mut world = Self { corpus, index, products: BTreeMap::new(), timings: Vec::new() };
        for n in 0..products {
            world.put(&format!("product:{n}"));
        }
        world
    }

    fn put(&mut self, key: &str) {
        let product = self.corpus.product();
        let id = upsert(&mut self.index, &self.corpus, key, &product);
        self.products.insert(key.to_string(), (id, product));
    }

    /// Writes over, removes and renames a quarter of the products.
    fn churn(&mut self) {
        let count = self.products.len();
        for _ in 0..count / 4 {
            let key = format!("product:{}", self.corpus.below(count));
            match self.corpus.below(4) {
                0 => {
                    assert_eq!(self.index.remove(key.as_bytes()), self.products.remove(&key).is_some());
                }
                1 => {
                    let to = format!("product:{}", self.corpus.below(2 * count));
                    let moved = self.products.remove(&key);
                    assert_eq!(self.index.rename(key.as_bytes(), to.as_bytes()), moved.is_some());
                    if let Some(moved) = moved {
                        self.products.insert(to, moved);
                    }
                }
                _ => self.put(&key),
            }
        }
    }

    fn in_order_of_ids(&self) -> Vec<(u32, &Product)> {
        let mut all: Vec<(u32, &Product)> =
            self.products.values().map(|(id, product)| (*id, product)).collect();
        all.sort_unstable_by_key(|&(id, _)| id);
        all
    }

    fn search(&mut self, text: &str, params: &[(&str, &[u8])], options: &SearchOptions) -> Found {
        let params = params.iter().map(|(name, value)| (name.as_bytes().to_vec(), *value)).collect();
        let parse = ParseOptions { dialect: 2, params, ..ParseOptions::default() };
        let start = Instant::now();
        let query =
            Query::parse(text.as_bytes(), &self.index, &parse).unwrap_or_else(|e| panic!("{text}: {e}"));
        let found = self.index.search(&query, options, &mut || true);
        self.timings.push(start.elapsed());
        assert!(!found.stopped && !found.truncated, "{text}");
        found
    }

    fn check_queries(&mut self, count: usize) {
        let asks: Vec<Ask> = (0..count).map(|_| ask(&mut self.corpus, 2)).collect();
        let corpus = Corpus::new(0);
        let texts: Vec<String> = asks.iter().map(|ask| ask.text(&corpus.vocabulary)).collect();
        let expected: Vec<Vec<(u32, f64)>> = {
            let products = self.in_order_of_ids();
            let oracle = Oracle::new(&corpus.vocabulary, &products);
            asks.iter().map(|ask| oracle.find(ask)).collect()
        };
        let mut some = 0;
        for (text, expected) in texts.iter().zip(&expected) {
            let all = SearchOptions {
                sort: Sort::Id,
                with_scores: true,
                limit: usize::MAX,
                ..SearchOptions::default()
            };
            let found = self.search(text, &[], &all);
            self.timings.pop();
            some += usize::from(!expected.is_empty());
            let ids: Vec<u32> = found.hits.iter().map(|hit| hit.doc).collect();
            assert_eq!(ids, expected.iter().map(|e| e.0).collect::<Vec<_>>(), "{text}");
            for (hit, (_, score)) in found.hits.iter().zip(expected) {
                // Redis's formula has some of its numbers in single precision.
                assert!(
                    (hit.score - score).abs() <= 1e-6 * score.abs().max(1.0),
                    "{text}: {} for {score}",
                    hit.score
                );
            }
            self.check_best(text, &found);
            self.check_sorted(text, expected);
        }
        assert!(some * 2 > count, "only {some} of {count} queries find anything");
    }

    /// The best ten are the first of all in order; of equals those with the lower id.
    fn check_best(&mut self, text: &str, all: &Found) {
        let mut all: Vec<(f64, u32)> = all.hits.iter().map(|hit| (hit.score, hit.doc)).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let found =
            self.search(text, &[], &SearchOptions { offset: 2, limit: 10, ..SearchOptions::default() });
        assert_eq!(found.total, all.len(), "{text}");
        let best: Vec<(f64, u32)> = found.hits.iter().map(|hit| (hit.score, hit.doc)).collect();
        assert_eq!(best, all.into_iter().skip(2).take(10).collect::<Vec<_>>(), "{text}");
    }

    fn check_sorted(&mut self, text: &str, expected: &[(u32, f64)]) {
        let price: BTreeMap<u32, f64> =
            self.products.values().map(|(id, product)| (*id, product.price)).collect();
        for descending in [false, true] {
            let mut all: Vec<(f64, u32)> = expected.iter().map(|(id, _)| (price[id], *id)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            if descending {
                all.reverse();
            }
            let options = SearchOptions {
                sort: Sort::Field { field: 3, descending },
                limit: 10,
                ..SearchOptions::default()
            };
            let ids: Vec<u32> = self.search(text, &[], &options).hits.iter().map(|hit| hit.doc).collect();
            assert_eq!(ids, all.into_iter().take(10).map(|(_, id)| id).collect::<Vec<_>>(), "{text}");
        }
    }

    /// FLAT finds exactly the nearest, with a filter or without; HNSW nearly. Gives back the recall.
    fn check_nearest(&mut self, count: usize) -> f64 {
        let mut hits = 0;
        for n in 0..count {
            let vector = self.corpus.vector();
            let filtered = n % 2 == 1;
            let (exact, near): (Vec<u32>, Vec<f64>) = {
                let products = self.in_order_of_ids();
                let only = |product: &Product| !filtered || (100.0..=400.0).contains(&product.price);
                let exact = oracle::nearest(&products, &vector, 10, only);
                (exact.iter().map(|e| e.1).collect(), exact.iter().map(|e| e.0).collect())
            };
            let blob = blob(&vector);
            let filter = if filtered { "@price:[100 400]" } else { "*" };
            let options = SearchOptions {
                sort: Sort::Distance { name: b"d".to_vec(), descending: false },
                limit: 10,
                ..SearchOptions::default()
            };
            let flat = self.search(&format!("{filter}=>[KNN 10 @flat $v AS d]"), &[("v", &blob)], &options);
            assert_eq!(flat.hits.iter().map(|hit| hit.doc).collect::<Vec<_>>(), exact);
            for (hit, near) in flat.hits.iter().zip(&near) {
                assert!((hit.distances[0].1 - near).abs() < 1e-4, "{} for {near}", hit.distances[0].1);
            }
            let text = format!("{filter}=>[KNN 10 @hnsw $v EF_RUNTIME {EF_RUNTIME} AS d]");
            let found = self.search(&text, &[("v", &blob)], &options);
            hits += found.hits.iter().filter(|hit| exact.contains(&hit.doc)).count();
        }
        hits as f64 / (10 * count) as f64
    }

    fn report_timings(&mut self, what: &str) {
        let mut timings = std::mem::take(&mut self.timings);
        timings.sort_unstable();
        let at = |share: f64| timings[((timings.len() - 1) as f64 * share) as usize];
        println!(
            "{what}: {} queries, p50 {:?}, p99 {:?}, max {:?}",
            timings.len(),
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}

fn from_env(name: &str, default: usize) -> usize {
    std::env::var(name).ok().map_or(default, |value| value.parse().expect("a number"))
}

#[test]
fn random_queries_find_what_a_look_at_every_product_finds() {
    let (products, queries) =
        (from_env("CAIRN_SEARCH_PRODUCTS", 1500), from_env("CAIRN_SEARCH_QUERIES", 300));
    let start = Instant::now();
    let mut world = World::new(11, products, false);
    let per_second = products as f64 / start.elapsed().as_secs_f64();
    let stats = world.index.stats();
    println!(
        "{products} products, {per_second:.0} a second, {} bytes each: {stats:?}",
        stats.bytes() / products
    );
    world.check_queries(queries / 2);
    world.report_timings("before changes");
    world.churn();
    world.check_queries(queries - queries / 2);
    world.report_timings("after changes");
}

#[test]
fn the_nearest_are_exact_where_all_are_looked_at_and_nearly_so_in_a_graph() {
    let (products, queries) = (from_env("CAIRN_SEARCH_PRODUCTS", 2000), from_env("CAIRN_SEARCH_QUERIES", 60));
    let start = Instant::now();
    let mut world = World::new(12, products, true);
    let per_second = products as f64 / start.elapsed().as_secs_f64();
    let stats = world.index.stats();
    println!(
        "{products} products with vectors, {per_second:.0} a second, {} bytes of vectors",
        stats.vector_bytes
    );
    let recall = world.check_nearest(queries / 2);
    world.report_timings(&format!("recall {recall}"));
    assert!(recall >= 0.95, "{recall}");
    world.churn();
    let recall = world.check_nearest(queries - queries / 2);
    world.report_timings(&format!("recall {recall} after changes"));
    assert!(recall >= 0.95, "{recall}");
}
