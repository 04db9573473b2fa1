//! Figures of search: `cargo xtask bench search` runs it against an empty server; it prints one line of JSON, and on the way what
//! it does.
//!
//! All products are put on the server, an index of them is built in the background while somebody else sends PINGs; they are
//! thrown away and written again with the index there; random queries are timed while prices change, and then all judged by
//! what a look at every product finds; the same of the nearest vectors.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use cairn_products::asks;
use cairn_products::corpus::TAGS;
use cairn_products::oracle::Ask;
use cairn_products::shop::{Form, Shop, Vectors, blob, send};
use clap::Parser;
use redis::{Client, Cmd, Connection};
use serde_json::{Map, Value, json};

/// How long an index may take to be built.
const BUILD_LIMIT: Duration = Duration::from_secs(900);
/// Between two lots of writes.
const WRITES_EVERY: Duration = Duration::from_millis(10);
/// Different queries of each kind.
const QUERIES_OF_A_KIND: usize = 200;
/// Between two PINGs.
const PING_PAUSE: Duration = Duration::from_micros(500);
/// What is said of a server's recall is said of this many queries.
const NEAREST_QUERIES: usize = 200;
/// Price changes of products with vectors.
const CHANGES_WITH_VECTORS: usize = 2000;

/// Measures what search costs, and whether it is right.
#[derive(Parser)]
struct Options {
    /// Where the server is: an address and a port
    #[arg(long)]
    server: String,
    #[arg(long, default_value_t = 200_000)]
    documents: usize,
    /// Random queries that are judged
    #[arg(long, default_value_t = 2000)]
    queries: usize,
    /// Writes a second while queries are timed
    #[arg(long, default_value_t = 5000)]
    writes: usize,
    /// For each kind of query
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// How many candidates HNSW looks at
    #[arg(long, default_value_t = 800)]
    ef: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Documents in place of hashes
    #[arg(long)]
    json: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut bench = Bench::new(options)?;
    let mut figures = Map::new();
    figures.insert("documents".into(), json!(bench.options.documents));
    figures.insert("form".into(), json!(if bench.options.json { "json" } else { "hash" }));
    for (name, measure) in [
        ("background", Bench::background as fn(&mut Bench) -> anyhow::Result<Value>),
        ("live", Bench::live),
        ("queries", Bench::queries),
        ("judged", Bench::judged),
        ("vectors", Bench::vectors),
        ("nearest", Bench::nearest),
    ] {
        let begun = Instant::now();
        let figure = measure(&mut bench).context(name)?;
        eprintln!("{name}, {:.0} s: {figure}", begun.elapsed().as_secs_f64());
        figures.insert(name.into(), figure);
    }
    println!("{}", Value::Object(figures));
    Ok(())
}

struct Bench {
    options: Options,
    client: Client,
    connection: Connection,
    shop: Shop,
}

impl Bench {
    fn new(options: Options) -> anyhow::Result<Self> {
        let client = Client::open(format!("redis://{}/", options.server))?;
        let connection = client.get_connection()?;
        let form = if options.json { Form::Json } else { Form::Hash };
        let shop = Shop::new(options.seed, form, Vectors::None);
        Ok(Self { options, client, connection, shop })
    }

    /// An index over what is there, and the longest that a PING takes meanwhile.
    fn background(&mut self) -> anyhow::Result<Value> {
        let before = self.used_memory()?;
        self.shop.fill(&mut self.connection, 0..self.options.documents)?;
        let filled = self.used_memory()?;
        let mut figure = self.build()?;
        let per_document = |bytes: u64| bytes as f64 / self.options.documents as f64;
        figure["bytes_per_document"] = json!(per_document(filled - before));
        Ok(figure)
    }

    /// Builds the shop's index.
    fn build(&mut self) -> anyhow::Result<Value> {
        let before = self.used_memory()?;
        let done = AtomicBool::new(false);
        let mut other = self.client.get_connection()?;
        let (took, pings) = thread::scope(|scope| {
            let pings = scope.spawn(|| ping(&mut other, &done));
            let built = self.build_and_wait();
            done.store(true, Ordering::Relaxed);
            anyhow::Ok((built?, pings.join().expect("it only counts")?))
        })?;
        let bytes = self.used_memory()?.saturating_sub(before);
        Ok(json!({
            "documents_per_second": self.options.documents as f64 / took.as_secs_f64(),
            "seconds": took.as_secs_f64(),
            "index_bytes_per_document": bytes as f64 / self.options.documents as f64,
            "longest_ping_ms": ms(pings.longest()),
            "p999_ping_ms": ms(pings.at(0.999)),
        }))
    }

    fn build_and_wait(&mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        self.shop.create_index().exec(&mut self.connection)?;
        self.shop.await_index(&mut self.connection, BUILD_LIMIT)?;
        Ok(begun.elapsed())
    }

    /// The same products, written while there is an index; and without one, for what that costs.
    fn live(&mut self) -> anyhow::Result<Value> {
        let mut figure = Map::new();
        for (name, with_index) in
            [("documents_per_second_without_index", false), ("documents_per_second", true)]
        {
            redis::cmd("FT.DROPINDEX").arg(self.shop.index).query::<redis::Value>(&mut self.connection).ok();
            redis::cmd("FLUSHALL").exec(&mut self.connection)?;
            if with_index {
                self.shop.create_index().exec(&mut self.connection)?;
            }
            let begun = Instant::now();
            self.shop.fill(&mut self.connection, 0..self.options.documents)?;
            figure.insert(name.into(), json!(self.options.documents as f64 / begun.elapsed().as_secs_f64()));
        }
        Ok(Value::Object(figure))
    }

    /// How long queries of each kind take while prices change.
    fn queries(&mut self) -> anyhow::Result<Value> {
        let kinds = self.kinds();
        self.time(kinds, |shop, _| shop.reprice_any())
    }

    fn kinds(&mut self) -> Vec<(&'static str, Vec<Cmd>)> {
        let mut kinds = Vec::new();
        let mut add = |bench: &mut Self, name, ask: &dyn Fn(&mut Self) -> Ask, sorted: bool| {
            let commands = (0..QUERIES_OF_A_KIND).map(|_| {
                let text = ask(bench).text(&bench.shop.corpus.vocabulary);
                let mut command = bench.page(&text);
                if sorted {
                    command.arg("SORTBY").arg("price");
                }
                command
            });
            kinds.push((name, commands.collect()));
        };
        let word = |bench: &mut Self| Ask::Word(bench.shop.corpus.word());
        let phrase = |bench: &mut Self| Ask::Phrase(bench.shop.corpus.product().description[..2].to_vec());
        let price = |bench: &mut Self| {
            let min = bench.shop.corpus.below(45_000) as f64 / 100.0;
            Ask::Price { min, max: min + 20.0, open: (false, false) }
        };
        let tag = |bench: &mut Self| Ask::Tags(vec![bench.shop.corpus.below(TAGS.len()) as u8]);
        let place =
            |bench: &mut Self| Ask::Near { place: bench.shop.corpus.product().place, kilometres: 50.0 };
        let mixed = |bench: &mut Self| Ask::All(vec![word(bench), price(bench), tag(bench)]);
        add(self, "word", &word, false);
        add(self, "words", &|bench| Ask::All(vec![word(bench), word(bench)]), false);
        add(self, "either_word", &|bench| Ask::Any(vec![word(bench), word(bench)]), false);
        add(self, "phrase", &phrase, false);
        add(self, "pattern", &|bench| asks::pattern(&mut bench.shop.corpus), false);
        add(self, "tag", &tag, false);
        add(self, "price", &price, false);
        add(self, "place", &place, false);
        add(self, "word_price_tag", &mixed, false);
        add(self, "word_by_price", &word, true);
        let groups = (0..QUERIES_OF_A_KIND).map(|_| {
            let text = mixed(self).text(&self.shop.corpus.vocabulary);
            let mut command = redis::cmd("FT.AGGREGATE");
            command.arg(self.shop.index).arg(text).arg("DIALECT").arg(2).arg("GROUPBY").arg(1).arg("@tags");
            command.arg("REDUCE").arg("COUNT").arg(0).arg("AS").arg("n");
            command
        });
        kinds.push(("groups", groups.collect()));
        kinds
    }

    /// The first ten, as a shop shows them.
    fn page(&self, text: &str) -> Cmd {
        let mut command = redis::cmd("FT.SEARCH");
        command.arg(self.shop.index).arg(text).arg("DIALECT").arg(2).arg("LIMIT").arg(0).arg(10);
        command.arg("RETURN").arg(2).arg("name").arg("price");
        command
    }

    /// Times queries, kind by kind, while `write` makes so many commands a second.
    fn time(
        &mut self,
        kinds: Vec<(&'static str, Vec<Cmd>)>,
        write: impl Fn(&mut Shop, usize) -> Cmd + Sync,
    ) -> anyhow::Result<Value> {
        let done = AtomicBool::new(false);
        let mut other = self.client.get_connection()?;
        let (shop, connection, options) = (&mut self.shop, &mut self.connection, &self.options);
        let (figures, per_second) = thread::scope(|scope| {
            let writer =
                scope.spawn(|| write_steadily(&mut other, options.writes, &done, |n| write(shop, n)));
            let figures = kinds.iter().map(|(kind, commands)| {
                let timings = time_queries(connection, commands, options.seconds)?;
                let figure = json!({
                    "p50_ms": ms(timings.at(0.5)),
                    "p99_ms": ms(timings.at(0.99)),
                    "longest_ms": ms(timings.longest()),
                    "count": timings.0.len(),
                });
                anyhow::Ok(((*kind).to_owned(), figure))
            });
            let figures = figures.collect::<anyhow::Result<Map<String, Value>>>();
            done.store(true, Ordering::Relaxed);
            let per_second = writer.join().expect("it only counts");
            anyhow::Ok((figures?, per_second?))
        })?;
        Ok(json!({ "writes_per_second": per_second, "kinds": figures }))
    }

    /// Random queries, none of which may find anything else than what is there.
    fn judged(&mut self) -> anyhow::Result<Value> {
        let findings = self.shop.judge_queries(&mut self.connection, self.options.queries)?;
        Ok(json!({
            "queries": findings.queries,
            "fruitful": findings.fruitful,
            "documents": findings.documents,
        }))
    }

    /// An index with vectors, too, built over what is there; and what changes cost with it.
    fn vectors(&mut self) -> anyhow::Result<Value> {
        redis::cmd("FT.DROPINDEX").arg(self.shop.index).exec(&mut self.connection)?;
        self.shop.vectors = Vectors::Both;
        let mut figure = self.build()?;
        let changes = (0..CHANGES_WITH_VECTORS).map(|_| self.shop.reprice_any()).collect();
        let begun = Instant::now();
        send(&mut self.connection, changes, false)?;
        figure["price_changes_per_second"] =
            json!(CHANGES_WITH_VECTORS as f64 / begun.elapsed().as_secs_f64());
        Ok(figure)
    }

    /// Nearest vectors while other keys are written; how many of them HNSW finds.
    fn nearest(&mut self) -> anyhow::Result<Value> {
        let mut kinds = Vec::new();
        for (kind, field, filter, ef) in [
            ("flat", "flat", "*", None),
            ("hnsw", "hnsw", "*", Some(self.options.ef)),
            ("hnsw_as_it_is", "hnsw", "*", None),
            ("hnsw_of_a_price", "hnsw", "(@price:[100 150])", None),
        ] {
            let commands = (0..QUERIES_OF_A_KIND).map(|_| {
                let ef = ef.map_or(String::new(), |ef| format!(" EF_RUNTIME {ef}"));
                let mut command = self.page(&format!("{filter}=>[KNN 10 @{field} $v{ef} AS d]"));
                command.arg("PARAMS").arg(2).arg("v").arg(blob(&self.shop.corpus.vector()));
                command.arg("SORTBY").arg("d");
                command
            });
            kinds.push((kind, commands.collect()));
        }
        let mut figure = self.time(kinds, |_, n| {
            let mut command = redis::cmd("HSET");
            command.arg(format!("other:{}", n % 10_000)).arg("price").arg(n);
            command
        })?;
        let recall = self.shop.judge_nearest(&mut self.connection, NEAREST_QUERIES, self.options.ef)?;
        figure["recall"] = json!({ "ef": self.options.ef, "hnsw": recall, "flat": 1.0 });
        ensure!(recall >= 0.95, "HNSW finds too few of the nearest: {recall}");
        Ok(figure)
    }

    fn used_memory(&mut self) -> anyhow::Result<u64> {
        let info: String = redis::cmd("INFO").arg("memory").query(&mut self.connection)?;
        let line = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(line.context("INFO has no used_memory")?.trim().parse()?)
    }
}

/// In order.
struct Timings(Vec<Duration>);

impl Timings {
    fn at(&self, share: f64) -> Duration {
        self.0[((self.0.len() - 1) as f64 * share) as usize]
    }

    fn longest(&self) -> Duration {
        self.at(1.0)
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

fn ping(connection: &mut Connection, done: &AtomicBool) -> anyhow::Result<Timings> {
    let mut timings = Vec::new();
    while timings.is_empty() || !done.load(Ordering::Relaxed) {
        let begun = Instant::now();
        redis::cmd("PING").exec(connection)?;
        timings.push(begun.elapsed());
        thread::sleep(PING_PAUSE);
    }
    timings.sort_unstable();
    Ok(Timings(timings))
}

fn time_queries(connection: &mut Connection, commands: &[Cmd], seconds: f64) -> anyhow::Result<Timings> {
    let (begun, mut timings) = (Instant::now(), Vec::new());
    for command in commands.iter().cycle() {
        let sent = Instant::now();
        command.query::<redis::Value>(connection)?;
        timings.push(sent.elapsed());
        if begun.elapsed().as_secs_f64() >= seconds {
            break;
        }
    }
    timings.sort_unstable();
    Ok(Timings(timings))
}

/// So many writes a second, in lots; what is late is made up for. Gives back how many it were.
fn write_steadily(
    connection: &mut Connection,
    per_second: usize,
    done: &AtomicBool,
    mut write: impl FnMut(usize) -> Cmd,
) -> anyhow::Result<f64> {
    let (begun, mut written) = (Instant::now(), 0);
    while !done.load(Ordering::Relaxed) {
        let due = (begun.elapsed().as_secs_f64() * per_second as f64) as usize;
        let lot: Vec<Cmd> = (written..due).map(&mut write).collect();
        written = due;
        if !lot.is_empty() {
            send(connection, lot, false)?;
        }
        thread::sleep(WRITES_EVERY);
    }
    Ok(written as f64 / begun.elapsed().as_secs_f64())
}
