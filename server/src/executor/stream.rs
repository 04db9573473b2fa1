//! A client's socket, TCP or Unix.

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A connected socket.
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Reads into `buf`; `Ok(0)` is the end. Pending registers `cx`'s waker.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(buf);
        let poll = match self {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, &mut buf),
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
        }
    }
}

impl Stream {
    fn socket(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        }
    }

    /// Reads what is there, whatever the I/O driver knows; `WouldBlock` when that is nothing.
    pub fn read_now(&self, buf: &mut [u8]) -> io::Result<usize> {
        (&*self.socket()).read(buf)
    }

    /// Writes what the socket takes at once, whatever the I/O driver knows.
    pub fn write_now(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.socket()).write_vectored(slices)
    }
}

/// A listening socket.
pub enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, String),
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
    /// Accepts a connection that is there, whatever the I/O driver knows; `WouldBlock` when there is none.
    pub fn accept_now(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let socket = accept_socket(SockRef::from(listener))?;
                let stream = TcpStream::from_std(socket.into())?;
                let address = stream.peer_addr()?;
                accepted_tcp(stream, address)
            }
            Self::Unix(listener, path) => {
                let socket = accept_socket(SockRef::from(listener))?;
                Ok(accepted_unix(UnixStream::from_std(socket.into())?, path))
            }
        }
    }

    /// Accepts one connection. Pending registers `cx`'s waker.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<Accepted>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map(|result| {
                let (stream, address) = result?;
                accepted_tcp(stream, address)
            }),
            Self::Unix(listener, path) => {
                listener.poll_accept(cx).map_ok(|(stream, _)| accepted_unix(stream, path))
            }
        }
    }
}

fn accept_socket(listener: SockRef<'_>) -> io::Result<Socket> {
    let (socket, _) = listener.accept()?;
    socket.set_nonblocking(true)?;
    Ok(socket)
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

fn accepted_unix(stream: UnixStream, path: &str) -> Accepted {
    Accepted {
        stream: Stream::Unix(stream),
        address: format!("{path}:0"),
        local_address: format!("{path}:0"),
        unix_socket: true,
        local: true,
    }
}
