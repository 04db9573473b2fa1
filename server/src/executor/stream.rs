//! A socket, TCP, with TLS on it, or Unix; or what a simulation has in place of one.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::{SockAddr, SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_rustls::rustls::ServerConfig;

use super::tls::TlsStream;

/// A connected socket.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsStream>),
    /// A session's, to the leader by TLS; or what a simulation has in place of a socket.
    Boxed(Box<dyn Io>),
}

/// A connection's bytes.
pub trait Io: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

impl Stream {
    /// Reads into `buf`; `Ok(0)` is the end. Pending registers `cx`'s waker.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        let poll = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, &mut buf),
            Self::Tls(stream) => return stream.poll_read(cx, buf.initialize_unfilled()),
            Self::Boxed(stream) => Pin::new(stream).poll_read(cx, &mut buf),
        };
        poll.map_ok(|()| buf.filled().len())
    }

    /// Writes some of the slices. Pending registers `cx`'s waker.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            // A plain write is cheaper for the kernel than a vectored one of a single slice.
            Self::Tcp(stream) if slices.len() == 1 => Pin::new(stream).poll_write(cx, &slices[0]),
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => stream.poll_write(cx, slices),
            Self::Boxed(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    /// Sends what was written and is still here. Pending registers `cx`'s waker.
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Boxed(stream) => Pin::new(stream).poll_flush(cx),
            // A socket keeps nothing back; a client's TLS has written what it has not taken the plaintext for.
            Self::Tcp(_) | Self::Unix(_) | Self::Tls(_) => Poll::Ready(Ok(())),
        }
    }

    /// Tells the other end that nothing more comes. Pending registers `cx`'s waker.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Boxed(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tcp(_) | Self::Unix(_) | Self::Tls(_) => {
                Poll::Ready(self.socket().and_then(|socket| socket.shutdown(Shutdown::Write)))
            }
        }
    }
}

impl Stream {
    /// A client's socket. In a simulation no time passes while a command runs, so that nothing can be there that was not
    /// there before.
    fn socket(&self) -> io::Result<SockRef<'_>> {
        match self {
            Self::Tcp(stream) => Ok(SockRef::from(stream)),
            Self::Unix(stream) => Ok(SockRef::from(stream)),
            Self::Tls(stream) => Ok(SockRef::from(stream.socket())),
            Self::Boxed(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Reads what is there, whatever the I/O driver knows; `WouldBlock` when that is nothing.
    pub fn read_now(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tls(stream) => stream.read_now(buf),
            _ => (&*self.socket()?).read(buf),
        }
    }

    /// Writes what the socket takes at once, whatever the I/O driver knows.
    pub fn write_now(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Self::Tls(stream) => stream.write_now(slices),
            _ => (&*self.socket()?).write_vectored(slices),
        }
    }
}

/// A listening socket.
pub enum Listener {
    Tcp(TcpListener),
    Tls(TcpListener, Arc<ServerConfig>),
    Unix(UnixListener, String),
    /// Not the operating system's.
    Simulated(Box<dyn Accept>),
}

/// Where a simulation's connections come in.
pub trait Accept {
    /// Accepts one connection. Pending registers `cx`'s waker.
    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>>;
}

/// A socket just accepted, with the names of both ends.
pub struct Accepted {
    pub stream: Stream,
    pub address: String,
    pub local_address: String,
    pub unix_socket: bool,
    /// The other end is on this machine.
    pub local: bool,
}

impl Listener {
    /// The TCP address that it listens on.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) | Self::Tls(listener, _) => listener.local_addr().ok(),
            Self::Unix(..) | Self::Simulated(_) => None,
        }
    }

    /// Accepts a connection that is there, whatever the I/O driver knows; `WouldBlock` when there is none.
    pub fn accept_now(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = accept_tcp(listener)?;
                accepted_tcp(stream, address)
            }
            Self::Tls(listener, acceptor) => {
                let (stream, address) = accept_tcp(listener)?;
                accepted_tls(stream, address, acceptor)
            }
            Self::Unix(listener, path) => {
                let (socket, _) = accept_socket(SockRef::from(listener))?;
                Ok(accepted_unix(UnixStream::from_std(socket.into())?, path))
            }
            Self::Simulated(_) => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Accepts one connection. Pending registers `cx`'s waker.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map(|result| {
                let (stream, address) = result?;
                accepted_tcp(stream, address)
            }),
            Self::Tls(listener, acceptor) => listener.poll_accept(cx).map(|result| {
                let (stream, address) = result?;
                accepted_tls(stream, address, acceptor)
            }),
            Self::Unix(listener, path) => {
                listener.poll_accept(cx).map_ok(|(stream, _)| accepted_unix(stream, path))
            }
            Self::Simulated(listener) => listener.poll_accept(cx),
        }
    }
}

fn accept_tcp(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    // The address that comes with it: the socket knows none any more if the other end has hung up.
    let (socket, address) = accept_socket(SockRef::from(listener))?;
    let address = address.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    Ok((TcpStream::from_std(socket.into())?, address))
}

fn accept_socket(listener: SockRef<'_>) -> io::Result<(Socket, SockAddr)> {
    let (socket, address) = listener.accept()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// Is it this process or this machine that lacks something, so that trying again at once would fail again? Any other
/// error is that of the one connection, which is off the queue with it.
pub fn is_shortage(error: &io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOMEM: i32 = 12;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOMEM | ENOBUFS))
}

fn accepted_tcp(stream: TcpStream, address: SocketAddr) -> io::Result<Accepted> {
    let local_address = stream.local_addr()?.to_string();
    Ok(Accepted {
        stream: Stream::Tcp(stream),
        address: address.to_string(),
        local_address,
        unix_socket: false,
        local: address.ip().to_canonical().is_loopback(),
    })
}

fn accepted_tls(
    stream: TcpStream,
    address: SocketAddr,
    acceptor: &Arc<ServerConfig>,
) -> io::Result<Accepted> {
    let mut accepted = accepted_tcp(stream, address)?;
    if let Stream::Tcp(socket) = accepted.stream {
        accepted.stream = Stream::Tls(Box::new(TlsStream::new(socket, Arc::clone(acceptor))?));
    }
    Ok(accepted)
}

fn accepted_unix(stream: UnixStream, path: &str) -> Accepted {
    Accepted {
        stream: Stream::Unix(stream),
        address: format!("{path}:0"),
        local_address: format!("{path}:0"),
        unix_socket: true,
        local: true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_reset_before_it_was_accepted_is_no_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
        let _guard = runtime.enter();
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let listener = Listener::Tcp(TcpListener::from_std(socket).unwrap());
        let client = std::net::TcpStream::connect(listener.address().unwrap()).unwrap();
        let address = client.local_addr().unwrap().to_string();
        SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(client);
        let accepted = listener.accept_now().unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(accepted.address, address);
    }

    #[test]
    fn only_a_shortage_puts_accepting_off() {
        for shortage in [errno::EMFILE, errno::ENFILE] {
            assert!(is_shortage(&io::Error::from_raw_os_error(shortage)));
        }
        assert!(!is_shortage(&io::ErrorKind::ConnectionAborted.into()));
        assert!(!is_shortage(&io::Error::from_raw_os_error(errno::ECONNABORTED)));
        assert!(!is_shortage(&io::ErrorKind::NotConnected.into()));
    }

    mod errno {
        pub const ENFILE: i32 = 23;
        pub const EMFILE: i32 = 24;
        pub const ECONNABORTED: i32 = if cfg!(target_os = "linux") { 103 } else { 53 };
    }
}
