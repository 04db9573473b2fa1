//! Random queries over the wire: what `FT.SEARCH` and `FT.AGGREGATE` find is what a look at every product finds, of hashes and of
//! documents, built while there are products already, followed through changes, and after a crash.
//!
//! `CAIRN_SEARCH_SEED` sets the seed, which is printed. The same with 200 000 products, and how fast it is: `cargo xtask bench
//! search`.

use std::net::SocketAddr;
use std::time::Duration;

use cairn_products::shop::{Form, Shop, Vectors, send};
use cairn_tests::server::Server;
use redis::{Client, Connection};

/// With words, tags, numbers and places only.
const PRODUCTS: usize = 5000;
const QUERIES: usize = 150;
/// With a vector, twice: to build a graph takes a while in a build for debugging.
const PRODUCTS_WITH_VECTORS: usize = 1200;
const NEAREST_QUERIES: usize = 60;
/// How wide HNSW searches for ten among numbers that have no structure.
const EF_RUNTIME: usize = 800;
const RECALL_MIN: f64 = 0.95;

const LIMIT: Duration = Duration::from_secs(60);

fn connect(addr: SocketAddr, protocol: &str) -> Connection {
    let client = Client::open(format!("redis://{addr}/?protocol={protocol}")).expect("an address");
    client.get_connection().expect("the server takes connections")
}

fn seed() -> u64 {
    let seed = std::env::var("CAIRN_SEARCH_SEED").map_or(1, |seed| seed.parse().expect("a number"));
    println!("seed {seed}");
    seed
}

/// Queries before and after changes. Half of the products are there before the index.
fn find_what_is_there(form: Form, protocol: &str) {
    let server = Server::cairn(&["--appendfsync", "no"]).unwrap();
    let mut connection = connect(server.addr(), protocol);
    let mut shop = Shop::new(seed(), form, Vectors::None);
    shop.fill(&mut connection, 0..PRODUCTS / 2).unwrap();
    shop.create_index().exec(&mut connection).unwrap();
    shop.fill(&mut connection, PRODUCTS / 2..PRODUCTS).unwrap();
    shop.await_index(&mut connection, LIMIT).unwrap();
    let before = shop.judge_queries(&mut connection, QUERIES).unwrap();
    shop.churn(&mut connection, PRODUCTS / 2).unwrap();
    shop.await_expiry(&mut connection, 0, LIMIT).unwrap();
    let after = shop.judge_queries(&mut connection, QUERIES).unwrap();
    println!("{before:?}, after changes {after:?}");
    for findings in [before, after] {
        assert!(findings.fruitful * 2 > findings.queries, "most find nothing: {findings:?}");
    }
}

#[test]
fn queries_over_hashes_find_what_a_look_at_every_hash_finds() {
    find_what_is_there(Form::Hash, "resp2");
}

#[test]
fn queries_over_documents_find_what_a_look_at_every_document_finds() {
    find_what_is_there(Form::Json, "resp3");
}

/// The nearest, before and after changes, with a filter and without.
fn find_the_nearest(form: Form, protocol: &str) {
    let server = Server::cairn(&["--appendfsync", "no"]).unwrap();
    let mut connection = connect(server.addr(), protocol);
    let mut shop = Shop::new(seed(), form, Vectors::Both);
    shop.fill(&mut connection, 0..PRODUCTS_WITH_VECTORS / 2).unwrap();
    shop.create_index().exec(&mut connection).unwrap();
    shop.fill(&mut connection, PRODUCTS_WITH_VECTORS / 2..PRODUCTS_WITH_VECTORS).unwrap();
    shop.await_index(&mut connection, LIMIT).unwrap();
    let before = shop.judge_nearest(&mut connection, NEAREST_QUERIES, EF_RUNTIME).unwrap();
    shop.churn(&mut connection, PRODUCTS_WITH_VECTORS / 2).unwrap();
    shop.await_expiry(&mut connection, 0, LIMIT).unwrap();
    let after = shop.judge_nearest(&mut connection, NEAREST_QUERIES, EF_RUNTIME).unwrap();
    println!("recall {before}, after changes {after}");
    assert!(before >= RECALL_MIN && after >= RECALL_MIN, "{before}, after changes {after}");
}

#[test]
fn the_nearest_hashes_are_exact_with_flat_and_nearly_so_with_hnsw() {
    find_the_nearest(Form::Hash, "resp3");
}

#[test]
fn the_nearest_documents_are_exact_with_flat_and_nearly_so_with_hnsw() {
    find_the_nearest(Form::Json, "resp2");
}

/// Writers are at work, when the server is killed; it is started again, and its indexes must
/// be those of the keys that are there.
fn survive_kill_9(form: Form) {
    const ROUNDS: usize = 3;
    let mut server = Server::cairn(&["--appendfsync", "always", "--log-segment-size", "1mb"]).unwrap();
    let mut shop = Shop::new(seed(), form, Vectors::Both);
    let mut connection = connect(server.addr(), "resp2");
    shop.create_index().exec(&mut connection).unwrap();
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        // In a round there is a snapshot, too, from which the next start is made.
        if round == 1 {
            redis::cmd("SAVE").exec(&mut connection).unwrap();
        }
        let addr = server.addr();
        let written = std::thread::scope(|scope| {
            let writers: Vec<_> =
                (0..4).map(|writer| scope.spawn(move || write(addr, form, round * 4 + writer))).collect();
            // Killed once there is enough to lose, in the middle of what comes next.
            let enough = 100 * (round + 1);
            while redis::cmd("DBSIZE").query::<usize>(&mut connection).unwrap() < enough {
                std::thread::sleep(Duration::from_millis(2));
            }
            server.kill();
            writers.into_iter().map(|writer| writer.join().expect("a writer does not panic")).sum::<usize>()
        });
        acknowledged += written;
        server.restart().unwrap();
        connection = connect(server.addr(), "resp2");
        shop.await_index(&mut connection, LIMIT).unwrap();
        shop.take_stock(&mut connection).unwrap();
        assert!(shop.products.len() >= acknowledged, "{} of {acknowledged} are there", shop.products.len());
        let findings = shop.judge_queries(&mut connection, 40).unwrap();
        assert!(findings.fruitful > 0, "{findings:?}");
        let recall = shop.judge_nearest(&mut connection, 10, EF_RUNTIME).unwrap();
        assert!(recall >= RECALL_MIN, "{recall}");
    }
    println!("{acknowledged} writes acknowledged, {} products", shop.products.len());
}

/// Puts new products, one at a time, until the server is gone; how many were acknowledged.
fn write(addr: SocketAddr, form: Form, writer: usize) -> usize {
    let mut connection = connect(addr, "resp2");
    let mut shop = Shop::new(1000 + writer as u64, form, Vectors::Both);
    for number in 0.. {
        let commands = shop.put(&format!("{}{writer}:{number}", shop.prefix));
        if send(&mut connection, commands, number % 2 == 1).is_err() {
            return number;
        }
    }
    unreachable!("numbers do not end")
}

#[test]
fn after_kill_9_the_index_is_that_of_the_hashes_that_are_there() {
    survive_kill_9(Form::Hash);
}

#[test]
fn after_kill_9_the_index_is_that_of_the_documents_that_are_there() {
    survive_kill_9(Form::Json);
}
