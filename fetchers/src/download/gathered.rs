//! [`Gathered`] and [`Ready`]: a body whose chunks come in batches.
//!
//! What servers send comes in chunks of 8 or 16 KiB. To wake another thread for each, and to write it by itself, costs more
//! than its bytes do. So a task gathers them, which the runtime lets run on the thread that reads the connection, and hands
//! on what is there: much where much comes, and each chunk by itself where it is waited for.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream::Fuse};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{error::Error, transport::Body};

/// A batch has no more chunks than one write takes, and is not added to where it has so many bytes.
const MOST_CHUNKS: usize = 64;
const ENOUGH: usize = 256 << 10;
/// So many batches may lie between the task and whoever takes them: what is there has to be fetched again by whoever is
/// killed.
const AHEAD: usize = 2;

/// The chunks of a body in their order, as they are there. Dropped, it ends the body.
pub(crate) struct Gathered {
    batches: mpsc::Receiver<Result<Vec<Bytes>, Error>>,
    _task: JoinSet<()>,
}

impl Gathered {
    /// Begins to read, in the runtime in which the caller is.
    pub(crate) fn new(body: Body) -> Self {
        let (to, batches) = mpsc::channel(AHEAD);
        let mut task = JoinSet::new();
        task.spawn(gather(body, to));
        Self { batches, _task: task }
    }
}

impl Stream for Gathered {
    type Item = Result<Vec<Bytes>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_recv(context)
    }
}

/// Hands on what is there, until the body ends or nobody listens.
async fn gather(body: Body, to: mpsc::Sender<Result<Vec<Bytes>, Error>>) {
    let mut ready = Ready::new(body);
    while let Some(batch) = ready.next().await {
        let is_over = batch.is_err();
        if to.send(batch).await.is_err() || is_over {
            return;
        }
    }
}

/// The chunks of a body that are there, and where none is, the next. An error comes after the chunks before it. It is for
/// whoever reads a body in a task of its own: nothing is handed on to another.
pub(crate) struct Ready {
    body: Fuse<Body>,
    /// What came behind the chunks of the last batch.
    error: Option<Error>,
}

impl Ready {
    pub(crate) fn new(body: Body) -> Self {
        Self {
            body: body.fuse(),
            error: None,
        }
    }
}

impl Stream for Ready {
    type Item = Result<Vec<Bytes>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(error) = self.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        let (mut batch, mut length) = (Vec::new(), 0);
        while length < ENOUGH && batch.len() < MOST_CHUNKS {
            match self.body.poll_next_unpin(context) {
                Poll::Ready(Some(Ok(chunk))) => {
                    length += chunk.len();
                    batch.push(chunk);
                }
                other if batch.is_empty() => return other.map_ok(|_| Vec::new()),
                Poll::Ready(Some(Err(error))) => {
                    self.error = Some(error);
                    break;
                }
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        Poll::Ready(Some(Ok(batch)))
    }
}

/// Leaves away what is more than so many bytes, and tells how many there are then.
pub(crate) fn shorten(batch: &mut [Bytes], most: u64) -> u64 {
    let mut left = most;
    for chunk in batch {
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= chunk.len() as u64;
    }
    most - left
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::stream;
    use tokio::sync::oneshot;

    use super::*;

    fn chunk(byte: u8, length: usize) -> Result<Bytes, Error> {
        Ok(Bytes::from(vec![byte; length]))
    }

    fn broken() -> Error {
        Error::Temporary(std::io::ErrorKind::ConnectionReset.into())
    }

    #[tokio::test]
    async fn what_is_there_comes_at_once_and_nothing_is_waited_for() {
        let (send, late) = oneshot::channel();
        let there = stream::iter([chunk(1, 10), chunk(2, 20)]);
        let body = there.chain(stream::once(async move { late.await.unwrap() }));
        let mut gathered = Gathered::new(body.boxed());
        let batch = gathered.next().await.unwrap().unwrap();
        assert_eq!(batch, [vec![1; 10], vec![2; 20]]);
        send.send(chunk(3, 30)).unwrap();
        assert_eq!(gathered.next().await.unwrap().unwrap(), [vec![3; 30]]);
        assert!(gathered.next().await.is_none());
    }

    #[tokio::test]
    async fn all_chunks_come_in_their_order_and_an_error_after_those_before_it() {
        for length in [1, 1000, ENOUGH / 3, 2 * ENOUGH] {
            let chunks = (0..200).map(move |number| chunk(number, length));
            let body = stream::iter(chunks.chain([Err(broken()), chunk(7, 7)]));
            let mut gathered = Gathered::new(body.boxed());
            let mut came = Vec::new();
            let error = loop {
                match gathered.next().await.unwrap() {
                    Ok(batch) => {
                        assert!(batch.len() <= MOST_CHUNKS && batch.len() * length < ENOUGH + length);
                        came.extend(batch);
                    }
                    Err(error) => break error,
                }
            };
            assert!(matches!(error, Error::Temporary(_)), "{error}");
            assert_eq!(came.len(), 200, "{length}");
            assert!(
                came.iter()
                    .zip(0..)
                    .all(|(chunk, number)| **chunk == vec![number; length])
            );
            assert!(gathered.next().await.is_none(), "the error is the end");
        }
    }

    #[tokio::test]
    async fn what_is_ready_comes_together_and_an_error_after_it() {
        let (send, late) = oneshot::channel();
        let there = stream::iter([chunk(1, 10), chunk(2, 20)]);
        let later = stream::once(async move { late.await.unwrap() });
        let body = there.chain(later).chain(stream::iter([Err(broken()), chunk(4, 4)]));
        let mut ready = Ready::new(body.boxed());
        assert_eq!(ready.next().await.unwrap().unwrap(), [vec![1; 10], vec![2; 20]]);
        send.send(chunk(3, 30)).unwrap();
        assert_eq!(ready.next().await.unwrap().unwrap(), [vec![3; 30]]);
        ready.next().await.unwrap().unwrap_err();
        assert!(Ready::new(stream::empty().boxed()).next().await.is_none());
    }

    #[tokio::test]
    async fn an_empty_body_has_no_batch_and_one_that_nobody_wants_ends() {
        assert!(Gathered::new(stream::empty().boxed()).next().await.is_none());
        let (alive, gone) = oneshot::channel::<()>();
        let body = stream::once(async move {
            let _alive = alive;
            std::future::pending().await
        });
        drop(Gathered::new(body.boxed()));
        gone.await.unwrap_err();
    }

    #[test]
    fn what_others_fetch_is_left_away() {
        let batch = || [&b"abc"[..], b"", b"de"].map(Bytes::from_static);
        for (most, taken, rest) in [
            (0, 0, ""),
            (2, 2, "ab"),
            (3, 3, "abc"),
            (4, 4, "abcd"),
            (u64::MAX, 5, "abcde"),
        ] {
            let mut batch = batch();
            assert_eq!(shorten(&mut batch, most), taken);
            assert_eq!(batch.concat(), rest.as_bytes());
        }
    }
}
