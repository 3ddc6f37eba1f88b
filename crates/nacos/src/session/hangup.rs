//! A TCP connection that tells when there is nobody at its other end any more.
//!
//! Whoever has a call under way learns of it by an error, and the session when its stream ends: one after the other, in
//! any order. What is answered without a question, as most renewals are, needs to know it before either.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use callsign_core::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;

/// Why a connection is over, once it is. Clones are of the same connection.
#[derive(Debug, Clone)]
pub(super) struct Over(watch::Sender<Option<Error>>);

impl Over {
    pub(super) fn not_yet() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Only the first cause counts.
    pub(super) fn set(&self, cause: Error) {
        self.0.send_if_modified(|held| held.is_none() && held.replace(cause).is_none());
    }

    pub(super) fn get(&self) -> Option<Error> {
        self.0.borrow().clone()
    }

    /// Resolves with the cause.
    pub(super) async fn wait(&self) -> Error {
        let mut over = self.0.subscribe();
        let cause = over.wait_for(Option::is_some).await.ok().and_then(|cause| cause.clone());
        cause.unwrap_or_else(|| Error::unavailable("the connection is over"))
    }
}

#[derive(Debug)]
pub(super) struct Observed {
    stream: TcpStream,
    over: Over,
}

impl Observed {
    pub(super) fn new(stream: TcpStream, over: Over) -> Self {
        Self { stream, over }
    }

    fn note<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if let Poll::Ready(Err(error)) = &result {
            self.over.set(Error::unavailable(format!("the connection broke: {error}")));
        }
        result
    }
}

impl AsyncRead for Observed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining());
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if matches!(read, Poll::Ready(Ok(()))) && room > 0 && buf.filled().len() == before {
            self.over.set(Error::unavailable("the server has ended the connection"));
        }
        self.note(read)
    }
}

impl AsyncWrite for Observed {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.note(flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (Observed, TcpStream, Over) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (ours, theirs) =
            tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let over = Over::not_yet();
        (Observed::new(ours.unwrap(), over.clone()), theirs.unwrap().0, over)
    }

    #[tokio::test]
    async fn what_was_sent_before_the_end_is_read_before_it_is_told() {
        let (mut ours, mut theirs, over) = pair().await;
        theirs.write_all(b"bye").await.unwrap();
        drop(theirs);
        let mut said = [0; 3];
        ours.read_exact(&mut said).await.unwrap();
        assert!((&said, over.get().is_none()) == (b"bye", true));
        // Nothing was asked for, so that nothing comes is no end.
        assert_eq!(ours.read(&mut []).await.unwrap(), 0);
        assert!(over.get().is_none());
        assert_eq!(ours.read(&mut said).await.unwrap(), 0);
        assert!(over.get().unwrap().context().contains("ended"));
    }

    #[tokio::test]
    async fn a_connection_that_is_reset_is_over_with_the_first_cause() {
        let (mut ours, theirs, over) = pair().await;
        theirs.set_zero_linger().unwrap();
        drop(theirs);
        assert!(ours.read(&mut [0; 3]).await.is_err());
        let cause = over.wait().await;
        assert!(cause.context().contains("reset"), "{cause}");
        over.set(Error::unavailable("another"));
        assert_eq!(over.get().unwrap().context(), cause.context());
    }
}
