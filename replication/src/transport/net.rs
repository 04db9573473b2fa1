//! What the transport needs of the machine: connections, chance, threads that may block. Everything else here is free of all
//! three, so that a simulation can put its own in their place.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rand::TryRng;
use rand::rngs::SysRng;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::oneshot;

/// A peer that has not acknowledged anything for so long, not even that it lives, is gone.
const KEEPALIVE: Duration = Duration::from_secs(10);
/// Peers that the system may have connected and that have not been accepted.
const BACKLOG: i32 = 128;

/// A connection's bytes.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Io for T {}

/// The machine.
pub trait Net: Send + Sync + 'static {
    /// Connects to a name or address. A name is looked up each time: what it stands for may change.
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Io>>>;

    /// Listens at an address of this machine.
    fn bind<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>>;

    /// Fills `bytes` with what nobody can predict.
    fn fill_random(&self, bytes: &mut [u8]);

    /// Runs something that may block for as long as a disk does, beside the caller. Done when it is done; it goes on to
    /// its end even if nobody waits for it.
    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// Where connections come in.
pub trait Listener: Send {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Io>, SocketAddr)>>;
}

/// Like [`Net::run_blocking`], with a result. `None` when the process is about to end.
pub async fn blocking<T: Send + 'static>(
    net: &Arc<dyn Net>,
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    let (sender, receiver) = oneshot::channel();
    // Whoever does not wait any more does not want the result either.
    net.run_blocking(Box::new(move || drop(sender.send(work())))).await;
    receiver.await.map_err(|_| io::Error::other("the work did not come to its end"))
}

/// The operating system's TCP.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioNet;

struct TokioListener(TcpListener);

impl Net for TokioNet {
    fn connect<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Io>>> {
        Box::pin(async move {
            let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in lookup_host((host, port)).await? {
                match TcpStream::connect(address).await {
                    Ok(stream) => return prepared(stream),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        })
    }

    fn bind<'a>(&'a self, host: &'a str, port: u16) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for address in lookup_host((host, port)).await? {
                match listen(address) {
                    Ok(listener) => return Ok(Box::new(TokioListener(listener)) as Box<dyn Listener>),
                    Err(error) => failure = error,
                }
            }
            Err(failure)
        })
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        // A node that cannot tell a peer from a recording of one must not serve.
        SysRng.try_fill_bytes(bytes).expect("the operating system has random bytes");
    }

    fn run_blocking(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        // If it panics, its result is missing, and `blocking` says so.
        Box::pin(async move { drop(tokio::task::spawn_blocking(work).await) })
    }
}

/// `::` is IPv6 alone: `0.0.0.0` is listened at beside it.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

impl Listener for TokioListener {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<(Box<dyn Io>, SocketAddr)>> {
        Box::pin(async move {
            let (stream, address) = self.0.accept().await?;
            Ok((prepared(stream)?, address))
        })
    }
}

fn prepared(stream: TcpStream) -> io::Result<Box<dyn Io>> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 5).with_retries(3);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(Box::new(stream))
}

/// A future that is stopped when it is dropped, though it runs by itself.
pub struct Running<T>(tokio::task::JoinHandle<T>);

impl<T: Send + 'static> Running<T> {
    pub fn start(future: impl Future<Output = T> + Send + 'static) -> Running<T> {
        Running(tokio::spawn(future))
    }
}

impl<T> Future for Running<T> {
    type Output = io::Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> std::task::Poll<io::Result<T>> {
        Pin::new(&mut self.0).poll(cx).map_err(io::Error::other)
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
