//! Load for etcd, as redis-benchmark makes it for Redis: clients that put, one request after the other. `cargo xtask bench
//! cluster` runs it; it prints one line of JSON.
//!
//! gRPC is HTTP/2 with five bytes before each message, and a put is two byte strings. That is written by hand here: the
//! generator must not be what is measured.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use clap::Parser;
use h2::client::SendRequest;
use http::{Method, Request, StatusCode, Version};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::net::TcpStream;
use tokio::task::LocalSet;

/// Field numbers of `etcdserverpb.PutRequest`, with protobuf's mark for byte strings.
const KEY: u8 = 1 << 3 | 2;
const VALUE: u8 = 2 << 3 | 2;

/// Puts values into etcd and says how long that took.
#[derive(Parser, Clone)]
struct Options {
    /// Host and port for clients
    #[arg(long)]
    server: String,
    #[arg(long)]
    connections: usize,
    /// Puts under way at any time, over all connections
    #[arg(long)]
    clients: usize,
    #[arg(long)]
    requests: u64,
    #[arg(long)]
    value_bytes: usize,
    /// Different keys
    #[arg(long)]
    keys: u64,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    ensure!(options.connections > 0 && options.clients > 0 && options.requests > 0, "nothing to do");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (took, mut latencies) = LocalSet::new().block_on(&runtime, run(options))?;
    latencies.sort_unstable();
    let ms = |part: f64| latencies[((latencies.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    let figures = serde_json::json!({
        "per_second": latencies.len() as f64 / took.as_secs_f64(),
        "p50_ms": ms(0.50),
        "p99_ms": ms(0.99),
    });
    println!("{figures}");
    Ok(())
}

async fn run(options: Options) -> anyhow::Result<(Duration, Vec<Duration>)> {
    let mut connections = Vec::new();
    for _ in 0..options.connections {
        connections.push(connect(&options.server).await?);
    }
    let left = Rc::new(Cell::new(options.requests));
    let begun = Instant::now();
    let clients: Vec<_> = (0..options.clients)
        .map(|i| {
            let connection = connections[i % connections.len()].clone();
            tokio::task::spawn_local(client(options.clone(), connection, Rc::clone(&left), i as u64))
        })
        .collect();
    let mut latencies = Vec::with_capacity(options.requests as usize);
    for client in clients {
        latencies.extend(client.await??);
    }
    Ok((begun.elapsed(), latencies))
}

async fn connect(server: &str) -> anyhow::Result<SendRequest<Bytes>> {
    let stream = TcpStream::connect(server).await.with_context(|| format!("cannot connect to {server}"))?;
    stream.set_nodelay(true)?;
    let (sender, connection) = h2::client::handshake(stream).await?;
    tokio::task::spawn_local(async move {
        // Whoever waits for an answer hears of it.
        let _ = connection.await;
    });
    Ok(sender.ready().await?)
}

/// One put after the other, until all clients together have done enough.
async fn client(
    options: Options,
    mut connection: SendRequest<Bytes>,
    left: Rc<Cell<u64>>,
    seed: u64,
) -> anyhow::Result<Vec<Duration>> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let value = vec![b'x'; options.value_bytes];
    let mut latencies = Vec::new();
    while left.get() > 0 {
        left.set(left.get() - 1);
        let message = put_request(&format!("key:{:012}", rng.random_range(0..options.keys)), &value);
        let begun = Instant::now();
        poll_fn(|cx| connection.poll_ready(cx)).await?;
        put(&mut connection, &options.server, message).await?;
        latencies.push(begun.elapsed());
    }
    Ok(latencies)
}

/// A gRPC message: not compressed, its length, a PutRequest.
fn put_request(key: &str, value: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    for (field, bytes) in [(KEY, key.as_bytes()), (VALUE, value)] {
        body.put_u8(field);
        let mut len = bytes.len();
        while len >= 0x80 {
            body.put_u8(len as u8 | 0x80);
            len >>= 7;
        }
        body.put_u8(len as u8);
        body.put_slice(bytes);
    }
    let mut message = BytesMut::with_capacity(body.len() + 5);
    message.put_u8(0);
    message.put_u32(body.len() as u32);
    message.put_slice(&body);
    message.freeze()
}

async fn put(connection: &mut SendRequest<Bytes>, server: &str, message: Bytes) -> anyhow::Result<()> {
    let request = Request::builder()
        .version(Version::HTTP_2)
        .method(Method::POST)
        .uri(format!("http://{server}/etcdserverpb.KV/Put"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (response, mut body) = connection.send_request(request, false)?;
    body.send_data(message, true)?;
    let response = response.await?;
    ensure!(response.status() == StatusCode::OK, "etcd answers {}", response.status());
    let at_once = response.headers().get("grpc-status").cloned();
    let mut answer = response.into_body();
    while let Some(data) = answer.data().await {
        answer.flow_control().release_capacity(data?.len())?;
    }
    let status = match answer.trailers().await? {
        Some(trailers) => trailers.get("grpc-status").cloned(),
        None => at_once,
    };
    match status {
        Some(status) if status == "0" => Ok(()),
        other => bail!("the put has failed: grpc-status {other:?}"),
    }
}
