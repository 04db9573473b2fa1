//! Whether searches find what a look at every product finds.

use super::answer::rows;
use super::{Answer, Form, HITS_MAX, Hit, Shop, blob, tags};
use crate::asks::ask;
use crate::corpus::{Product, TAGS};
use crate::oracle::{Ask, Oracle, nearest, squared};
use anyhow::{Context, ensure};
use redis::{Cmd, Connection, Value};
use std::collections::{BTreeMap, HashMap};
use std::thread;

/// Queries that are worked out at once, each with all that it finds.
const LOT: usize = 50;
/// How many of the nearest are asked for.
const NEAREST: usize = 10;
/// Documents on a page.
const PAGE: usize = 10;

/// What was compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Findings {
    pub queries: usize,
    /// Those that find anything.
    pub fruitful: usize,
    /// Documents found in all.
    pub documents: usize,
}

/// What a product scores, or how far away it is, by the key's place in the order of keys.
type Found = Vec<(u32, f64)>;

impl Shop {
    /// Random queries of words, tags, numbers and places; the first whose answer is not what it should be is the error.
    pub fn judge_queries(&mut self, connection: &mut Connection, count: usize) -> anyhow::Result<Findings> {
        let asks: Vec<Ask> = (0..count).map(|_| ask(&mut self.corpus, 2)).collect();
        let keys: Vec<&str> = self.products.keys().map(String::as_str).collect();
        let products: Vec<(u32, &Product)> =
            self.products.values().enumerate().map(|(at, product)| (at as u32, product)).collect();
        let oracle = Oracle::new(&self.corpus.vocabulary, &products);
        let mut findings = Findings::default();
        for lot in asks.chunks(LOT) {
            for (ask, expected) in lot.iter().zip(work_out(&oracle, lot)) {
                let text = ask.text(&self.corpus.vocabulary);
                let expected = Expected::new(&keys, &products, expected);
                self.judge(connection, &text, &expected).with_context(|| format!("query {text}"))?;
                findings.queries += 1;
                findings.fruitful += usize::from(!expected.all.is_empty());
                findings.documents += expected.all.len();
            }
        }
        Ok(findings)
    }

    fn judge(&self, connection: &mut Connection, text: &str, expected: &Expected) -> anyhow::Result<()> {
        let mut all = self.search(text);
        all.arg("NOCONTENT").arg("WITHSCORES").arg("LIMIT").arg(0).arg(HITS_MAX);
        let all = Answer::read(&all.query(connection)?, true, false)?;
        expected.judge_all(&all)?;

        let mut page = self.search(text);
        page.arg("WITHSCORES").arg("LIMIT").arg(2).arg(PAGE).arg("RETURN").arg(1).arg("price");
        let page = Answer::read(&page.query(connection)?, true, true)?;
        expected.judge_page(&page).context("its third to twelfth")?;

        for direction in ["ASC", "DESC"] {
            let mut sorted = self.search(text);
            sorted.arg("SORTBY").arg("price").arg(direction).arg("LIMIT").arg(0).arg(PAGE);
            sorted.arg("RETURN").arg(2).arg("price").arg("name");
            let sorted = Answer::read(&sorted.query(connection)?, false, true)?;
            self.judge_sorted(&sorted, direction == "DESC", expected)
                .with_context(|| format!("by price {direction}"))?;
        }
        if self.form == Form::Hash {
            self.judge_groups(connection, text, expected).context("in groups of the same tags")?;
        }
        Ok(())
    }

    /// A search of the language's second dialect that takes the time that it takes.
    fn search(&self, text: &str) -> Cmd {
        let mut command = redis::cmd("FT.SEARCH");
        command.arg(self.index).arg(text).arg("DIALECT").arg(2).arg("TIMEOUT").arg(0);
        command
    }

    fn judge_sorted(&self, answer: &Answer, descending: bool, expected: &Expected) -> anyhow::Result<()> {
        ensure!(answer.total == expected.all.len(), "{} in all for {}", answer.total, expected.all.len());
        let mut prices: Vec<f64> = expected.all.values().map(|(product, _)| product.price).collect();
        // Without a price it comes last, either way.
        prices.sort_by(|a, b| match (a.is_nan(), b.is_nan()) {
            (false, false) if descending => b.total_cmp(a),
            (false, false) => a.total_cmp(b),
            (a, b) => a.cmp(&b),
        });
        prices.truncate(PAGE);
        ensure!(answer.hits.len() == prices.len(), "{} for {}", answer.hits.len(), prices.len());
        for (hit, price) in answer.hits.iter().zip(prices) {
            let (product, _) = expected.get(hit)?;
            ensure!(product.price.to_bits() == price.to_bits(), "{hit:?} comes where {price} should");
            let shown = hit.field("price").map(str::parse::<f64>).transpose()?;
            ensure!(shown == (!price.is_nan()).then_some(price), "{hit:?} shows another price than {price}");
            let name = self.corpus.text(&product.name);
            ensure!(hit.field("name") == Some(&name), "{hit:?} is {name}");
        }
        ensure_distinct(answer)
    }

    fn judge_groups(
        &self,
        connection: &mut Connection,
        text: &str,
        expected: &Expected,
    ) -> anyhow::Result<()> {
        let mut command = redis::cmd("FT.AGGREGATE");
        command.arg(self.index).arg(text).arg("DIALECT").arg(2).arg("TIMEOUT").arg(0);
        command.arg("LOAD").arg(2).arg("@tags").arg("@price").arg("GROUPBY").arg(1).arg("@tags");
        command.arg("REDUCE").arg("COUNT").arg(0).arg("AS").arg("products");
        command.arg("REDUCE").arg("SUM").arg(1).arg("@price").arg("AS").arg("prices");
        command.arg("LIMIT").arg(0).arg(HITS_MAX);
        let mut groups: BTreeMap<String, (usize, f64)> = BTreeMap::new();
        for (product, _) in expected.all.values() {
            // The sum of nothing is no number.
            let (count, sum) = groups.entry(tags(product, ",")).or_insert((0, f64::NAN));
            *count += 1;
            *sum = match (sum.is_nan(), product.price.is_nan()) {
                (true, _) => product.price,
                (_, true) => *sum,
                (_, false) => *sum + product.price,
            };
        }
        let rows = rows(&command.query::<Value>(connection)?)?;
        ensure!(rows.len() == groups.len(), "{} groups for {}", rows.len(), groups.len());
        for row in rows {
            let field = |name: &str| row.iter().find(|(field, _)| field == name).map(|(_, value)| value);
            let tags = field("tags").cloned().unwrap_or_default();
            let (count, sum) =
                groups.remove(&tags).with_context(|| format!("{row:?} is no group, or again"))?;
            let found = field("products").context("no count")?.parse::<usize>()?;
            ensure!(found == count, "{row:?} for {count}");
            let found = field("prices").context("no sum")?.parse::<f64>()?;
            ensure!(is_near(found, sum) || (found.is_nan() && sum.is_nan()), "{row:?} for {sum}");
        }
        Ok(())
    }

    /// The nearest of random vectors, every other time among what a query finds: those of FLAT are exact, and the share of them
    /// that HNSW finds, looking at `ef` candidates, is given back.
    pub fn judge_nearest(
        &mut self,
        connection: &mut Connection,
        count: usize,
        ef: usize,
    ) -> anyhow::Result<f64> {
        let (mut found, mut all) = (0, 0);
        for n in 0..count {
            let (vector, narrow) = (self.corpus.vector(), n % 2 == 1);
            let (min, tag) = (self.corpus.below(200) as f64, self.corpus.below(TAGS.len()));
            let filter = match narrow {
                true => format!("(@price:[{min} 400] -@tags:{{{}}})", TAGS[tag].replace('-', "\\-")),
                false => "*".to_owned(),
            };
            let keys: Vec<&str> = self.products.keys().map(String::as_str).collect();
            let products: Vec<(u32, &Product)> = (0..).zip(self.products.values()).collect();
            let only = |product: &Product| {
                let passes = (min..=400.0).contains(&product.price) && !product.tags.contains(&(tag as u8));
                !product.vector.is_empty() && (!narrow || passes)
            };
            let exact = nearest(&products, &vector, NEAREST, only);
            let mut ask = |query: String| -> anyhow::Result<Answer> {
                let mut command = self.search(&query);
                command.arg("PARAMS").arg(2).arg("v").arg(blob(&vector)).arg("SORTBY").arg("d");
                command.arg("RETURN").arg(1).arg("d");
                Answer::read(&command.query(connection)?, false, true)
            };
            let away = |hit: &Hit| -> anyhow::Result<f64> {
                let product =
                    self.products.get(&hit.key).with_context(|| format!("{hit:?} is no product"))?;
                ensure!(only(product), "{filter}: {hit:?} is none of these");
                Ok(squared(&product.vector, &vector))
            };
            let flat = ask(format!("{filter}=>[KNN {NEAREST} @flat $v AS d]"))?;
            ensure_distinct(&flat)?;
            ensure!(flat.hits.len() == exact.len(), "{filter}: {} for {}", flat.hits.len(), exact.len());
            for (hit, (wanted, at)) in flat.hits.iter().zip(&exact) {
                let shown: f64 = hit.field("d").context("no distance")?.parse()?;
                // Of two that are equally far in single precision either may come first.
                let right = [away(hit)?, shown].iter().all(|found| (found - wanted).abs() < 1e-4);
                ensure!(right, "{filter}: {hit:?} for {} at {wanted}", keys[*at as usize]);
            }
            let graph = ask(format!("{filter}=>[KNN {NEAREST} @hnsw $v EF_RUNTIME {ef} AS d]"))?;
            found += exact
                .iter()
                .filter(|(_, at)| graph.hits.iter().any(|hit| hit.key == keys[*at as usize]))
                .count();
            all += exact.len();
        }
        ensure!(all > 0, "no vector is near to any");
        Ok(found as f64 / all as f64)
    }
}

/// What the products say of each query.
fn work_out(oracle: &Oracle, asks: &[Ask]) -> Vec<Found> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let shares = asks.chunks(asks.len().div_ceil(threads));
        let workers: Vec<_> = shares
            .map(|asks| scope.spawn(|| asks.iter().map(|ask| oracle.find(ask)).collect::<Vec<Found>>()))
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("it only counts")).collect()
    })
}

/// What a query has to find: products and their scores.
struct Expected<'a> {
    all: HashMap<&'a str, (&'a Product, f64)>,
}

impl<'a> Expected<'a> {
    fn new(keys: &[&'a str], products: &[(u32, &'a Product)], found: Found) -> Self {
        let entry = |(at, score): (u32, f64)| (keys[at as usize], (products[at as usize].1, score));
        Self { all: found.into_iter().map(entry).collect() }
    }

    fn get(&self, hit: &Hit) -> anyhow::Result<(&'a Product, f64)> {
        self.all.get(&*hit.key).copied().with_context(|| format!("{hit:?} should not be found"))
    }

    fn judge_all(&self, answer: &Answer) -> anyhow::Result<()> {
        let found: HashMap<&str, &Hit> = answer.hits.iter().map(|hit| (&*hit.key, hit)).collect();
        for hit in &answer.hits {
            let (_, score) = self.get(hit)?;
            ensure!(hit.score.is_some_and(|found| is_near(found, score)), "{hit:?} for {score}");
        }
        if let Some(missing) = self.all.keys().find(|key| !found.contains_key(**key)) {
            anyhow::bail!("{missing} is not found; {} of {}", found.len(), self.all.len());
        }
        ensure!(answer.total == self.all.len(), "{} in all for {}", answer.total, self.all.len());
        let falling = answer.hits.is_sorted_by(|a, b| a.score >= b.score);
        ensure!(falling, "the best do not come first");
        ensure_distinct(answer)
    }

    fn judge_page(&self, answer: &Answer) -> anyhow::Result<()> {
        let mut scores: Vec<f64> = self.all.values().map(|(_, score)| *score).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        let scores: Vec<f64> = scores.into_iter().skip(2).take(PAGE).collect();
        ensure!(answer.total == self.all.len(), "{} in all for {}", answer.total, self.all.len());
        ensure!(answer.hits.len() == scores.len(), "{} for {}", answer.hits.len(), scores.len());
        for (hit, score) in answer.hits.iter().zip(scores) {
            let own = self.get(hit)?.1;
            ensure!(is_near(own, score), "{hit:?} of {own} comes where {score} should");
        }
        ensure_distinct(answer)
    }
}

fn ensure_distinct(answer: &Answer) -> anyhow::Result<()> {
    let mut keys: Vec<&str> = answer.hits.iter().map(|hit| &*hit.key).collect();
    keys.sort_unstable();
    let doubled = keys.windows(2).find(|pair| pair[0] == pair[1]);
    ensure!(doubled.is_none(), "{doubled:?} is found twice");
    Ok(())
}

/// Equal but for what single precision in Redis's formula makes of it.
fn is_near(found: f64, expected: f64) -> bool {
    (found - expected).abs() <= 1e-6 * expected.abs().max(1.0)
}
