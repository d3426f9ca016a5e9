//! [`Introducer`]: a peer of this process's own session.
//!
//! What came from the origin must get into the session, or it would be fetched again from peers and never be given to
//! them, and librqbit has no call for that. So this process connects to itself as a peer that has just those pieces.
//! It is also how a session is woken: librqbit looks again at what its peers have when a peer leaves in the middle of
//! a piece, and otherwise only every five seconds.

use std::{
    io,
    net::SocketAddr,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader, BufWriter},
    net::TcpStream,
    time::timeout,
};

use super::{metainfo::Metainfo, piece_file::PieceFile};

/// The session asks for something at least so often, or has all that it can have from us.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is looked whether all is known.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// No request is for more, and no other message is longer but the session's own bitfield.
const LONGEST_REQUEST: u32 = 128 << 10;

const UNCHOKE: u8 = 1;
const BITFIELD: u8 = 5;
const REQUEST: u8 = 6;
const PIECE: u8 = 7;

#[derive(Clone)]
pub(super) struct Introducer {
    address: SocketAddr,
    pieces: Arc<PieceFile>,
    connected: Arc<AtomicU32>,
}

impl Introducer {
    pub(super) fn new(address: SocketAddr, pieces: Arc<PieceFile>, connected: Arc<AtomicU32>) -> Self {
        Self {
            address,
            pieces,
            connected,
        }
    }

    /// Gives the session all pieces of which it does not know yet. It ends when they are known, or when the session
    /// wants none of them: it may have asked a peer, from whom it waits for them.
    pub(super) async fn introduce(&self) {
        let offered = self.pieces.unknown();
        if !offered.is_empty() {
            // Whatever ends it, what is not known then is offered again.
            let _ = self.offer(&offered).await;
        }
    }

    async fn offer(&self, offered: &[usize]) -> io::Result<()> {
        let mut connection = self.connect(offered).await?;
        loop {
            let request = {
                let mut request = pin!(connection.request());
                let mut waited = Duration::ZERO;
                loop {
                    match timeout(LOOK_EVERY, &mut request).await {
                        Ok(request) => break request?,
                        Err(_) if waited >= PATIENCE || self.pieces.is_known(offered) => return Ok(()),
                        Err(_) => waited += LOOK_EVERY,
                    }
                }
            };
            self.answer(&mut connection, offered, request).await?;
        }
    }

    /// Makes the session look again at what its peers have.
    pub(super) async fn wake(&self) -> io::Result<()> {
        let Some(missing) = self.pieces.missing().pop() else {
            return Ok(());
        };
        let mut connection = self.connect(&[missing]).await?;
        // Whoever asks has reserved the piece, and gives it back as we are gone.
        let _ = timeout(Duration::from_millis(200), connection.request()).await;
        Ok(())
    }

    async fn connect(&self, offered: &[usize]) -> io::Result<Connection> {
        let metainfo = self.pieces.metainfo();
        let mut bitfield = vec![0_u8; metainfo.piece_count().div_ceil(8)];
        for index in offered {
            bitfield[index / 8] |= 0x80 >> (index % 8);
        }
        let stream = timeout(PATIENCE, TcpStream::connect(self.address)).await??;
        stream.set_nodelay(true)?;
        let counted = Counted::new(&self.connected);
        let mut connection = Connection::new(stream, counted);
        let exchange = async {
            connection.handshake(metainfo).await?;
            connection.send(BITFIELD, &[&bitfield]).await?;
            connection.send(UNCHOKE, &[]).await?;
            connection.writer.flush().await
        };
        timeout(PATIENCE, exchange).await??;
        Ok(connection)
    }

    async fn answer(&self, connection: &mut Connection, offered: &[usize], request: Request) -> io::Result<()> {
        let Request { index, begin, length } = request;
        let wrong = || io::Error::new(io::ErrorKind::InvalidData, "a request for what was not offered");
        if offered.binary_search(&(index as usize)).is_err() || length > LONGEST_REQUEST {
            return Err(wrong());
        }
        let piece = self.pieces.metainfo().piece(index as usize);
        let start = piece.start + u64::from(begin);
        if start + u64::from(length) > piece.end {
            return Err(wrong());
        }
        let mut block = vec![0; length as usize];
        self.pieces.read_at(start, &mut block)?;
        let place = [index.to_be_bytes(), begin.to_be_bytes()].concat();
        connection.send(PIECE, &[&place, &block]).await?;
        if connection.reader.buffer().is_empty() {
            connection.writer.flush().await?;
        }
        Ok(())
    }
}

struct Request {
    index: u32,
    begin: u32,
    length: u32,
}

/// A connection by the peer protocol (BEP 3).
struct Connection {
    reader: BufReader<tokio::net::tcp::OwnedReadHalf>,
    writer: BufWriter<tokio::net::tcp::OwnedWriteHalf>,
    _counted: Counted,
}

impl Connection {
    fn new(stream: TcpStream, counted: Counted) -> Self {
        let (reader, writer) = stream.into_split();
        Self {
            reader: BufReader::new(reader),
            writer: BufWriter::with_capacity(256 << 10, writer),
            _counted: counted,
        }
    }

    async fn handshake(&mut self, metainfo: &Metainfo) -> io::Result<()> {
        const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
        // No extensions, and a name that only has to be another than the session's.
        let ours = [&PROTOCOL[..], &[0; 8], &metainfo.info_hash(), b"-DH0000-introducer00"].concat();
        self.writer.write_all(&ours).await?;
        self.writer.flush().await?;
        let mut theirs = [0; 68];
        self.reader.read_exact(&mut theirs).await?;
        if theirs[..20] != PROTOCOL[..] || theirs[28..48] != metainfo.info_hash() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "not our own session"));
        }
        Ok(())
    }

    async fn send(&mut self, kind: u8, parts: &[&[u8]]) -> io::Result<()> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let length = u32::try_from(length + 1).expect("a message is a block or a bitfield");
        self.writer.write_all(&length.to_be_bytes()).await?;
        self.writer.write_all(&[kind]).await?;
        for part in parts {
            self.writer.write_all(part).await?;
        }
        Ok(())
    }

    /// The next request. What else comes is of no interest.
    async fn request(&mut self) -> io::Result<Request> {
        loop {
            let length = self.reader.read_u32().await?;
            if length == 0 {
                continue;
            }
            let kind = self.reader.read_u8().await?;
            if kind == REQUEST && length == 13 {
                return Ok(Request {
                    index: self.reader.read_u32().await?,
                    begin: self.reader.read_u32().await?,
                    length: self.reader.read_u32().await?,
                });
            }
            let mut rest = (&mut self.reader).take(u64::from(length - 1));
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
        }
    }
}

/// Counts the connections that are there.
struct Counted(Arc<AtomicU32>);

impl Counted {
    fn new(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
