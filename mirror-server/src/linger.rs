//! Closing connections so that clients get what was sent.
//!
//! A socket that is closed while it holds bytes which nobody read (a client's flow control, say) makes the kernel
//! reset the connection, and the client loses what it had not read yet. So the server says that it sends no more and
//! then reads until the client hangs up too.

use std::{
    future::{Ready, ready},
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum_server::accept::Accept;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Sleep, sleep},
};

/// How long a client may take to hang up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Accepts connections as [`Lingering`] ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LingeringAcceptor;

/// A connection whose shutdown ends when the client hangs up, or after some seconds.
#[derive(Debug)]
pub(crate) struct Lingering {
    stream: TcpStream,
    /// Set once all is sent.
    patience: Option<Pin<Box<Sleep>>>,
}

impl<S> Accept<TcpStream, S> for LingeringAcceptor {
    type Stream = Lingering;
    type Service = S;
    type Future = Ready<io::Result<(Lingering, S)>>;

    fn accept(&self, stream: TcpStream, service: S) -> Self::Future {
        // Headers and the first block of a body are written apart: neither must wait for the other's receipt.
        let accepted = stream.set_nodelay(true).map(|()| Lingering { stream, patience: None });
        ready(accepted.map(|stream| (stream, service)))
    }
}

impl AsyncRead for Lingering {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, patience } = self.get_mut();
        let patience = match patience {
            Some(patience) => patience,
            None => {
                ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
                patience.insert(Box::pin(sleep(PATIENCE)))
            }
        };
        let mut ignored = [0; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut ignored);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => break,
            }
        }
        patience.as_mut().poll(cx).map(Ok)
    }
}
