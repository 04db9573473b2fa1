//! What it costs to read and to change one field of a document of a megabyte, beside the whole of it.

use std::hint::black_box;

use cairn_json::{Json, Path};
use criterion::{Criterion, criterion_group, criterion_main};

/// About a megabyte: an object of 8,000 products, each with a few fields.
fn document() -> String {
    let product = |i| {
        format!(
            r#""product:{i:05}":{{"name":"Wireless headphones {i}","price":{i}.5,"tags":["audio","sale"],"stock":{{"berlin":{i},"lyon":7}}}}"#
        )
    };
    format!("{{{}}}", (0..8_000).map(product).collect::<Vec<_>>().join(","))
}

fn benches(c: &mut Criterion) {
    let text = document();
    println!("{} bytes", text.len());
    let doc = Json::parse(&text).expect("it is JSON");
    let field = "$['product:04000'].stock.berlin";

    c.bench_function("get a field", |b| {
        b.iter(|| Path::parse(black_box(field)).expect("a path").select(&doc).map(|found| found.len()));
    });
    c.bench_function("set a field", |b| {
        let mut doc = doc.clone();
        b.iter(|| {
            let path = Path::parse(black_box(field)).expect("a path");
            let place = path.locate(&doc).expect("few steps").remove(0).0;
            *doc.at_mut(place.steps()).expect("it is there") = Json::Int(1);
        });
    });
    c.bench_function("set a field that a snapshot shares", |b| {
        let place = Path::parse(field).expect("a path").locate(&doc).expect("few steps").remove(0).0;
        b.iter_with_large_drop(|| {
            let mut changed = doc.clone();
            *changed.at_mut(place.steps()).expect("it is there") = Json::Int(1);
            changed
        });
    });
    c.bench_function("filter 8,000 objects", |b| {
        let path = Path::parse("$[?(@.price > 7990)].name").expect("a path");
        b.iter(|| path.select(&doc).map(|found| found.len()));
    });
    c.bench_function("parse a megabyte", |b| b.iter_with_large_drop(|| Json::parse(&text)));
    c.bench_function("print a megabyte", |b| b.iter(|| doc.to_text().len()));
}

criterion_group!(all, benches);
criterion_main!(all);
