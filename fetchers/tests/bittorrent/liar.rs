//! A peer that claims to have everything, and does harm with it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dhow_fetchers::Metainfo;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::PIECE;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lie {
    /// It sends other bytes than it should.
    WrongBytes,
    /// It lets everybody ask, and answers nothing.
    Silence,
    /// It lets nobody ask.
    Choke,
    /// It sends what was never asked for, in messages that are none.
    Nonsense,
}

pub(crate) struct Liar {
    address: SocketAddr,
    asked: Arc<AtomicBool>,
}

impl Liar {
    pub(crate) async fn begin(torrent: &[u8], lie: Lie) -> Self {
        let metainfo = Metainfo::parse(torrent).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicBool::new(false));
        let noted = asked.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (metainfo, noted) = (metainfo.clone(), noted.clone());
                // It is hung up on, sooner or later.
                tokio::spawn(async move { talk(connection, &metainfo, lie, &noted).await.ok() });
            }
        });
        Self { address, asked }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether anybody came as far as asking it for something, or would have.
    pub(crate) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }
}

async fn talk(mut peer: TcpStream, metainfo: &Metainfo, lie: Lie, asked: &AtomicBool) -> std::io::Result<()> {
    let mut theirs = [0; 68];
    peer.read_exact(&mut theirs).await?;
    let ours = [
        &b"\x13BitTorrent protocol"[..],
        &[0; 8],
        &metainfo.info_hash(),
        b"-XX0000-000000000000",
    ]
    .concat();
    peer.write_all(&ours).await?;
    let count = usize::try_from(metainfo.length()).unwrap().div_ceil(PIECE);
    let mut bitfield = vec![0xff_u8; count.div_ceil(8)];
    if !count.is_multiple_of(8) {
        *bitfield.last_mut().unwrap() = 0xff << (8 - count % 8);
    }
    send(&mut peer, 5, &bitfield).await?;
    if lie == Lie::Nonsense {
        asked.store(true, Ordering::SeqCst);
        send(&mut peer, 7, &[0xff; 9]).await?;
        send(&mut peer, 250, &[1; 100]).await?;
        return peer.write_all(&[0xff; 1000]).await;
    }
    if lie != Lie::Choke {
        send(&mut peer, 1, &[]).await?;
    }
    loop {
        let length = peer.read_u32().await?;
        if length == 0 {
            continue;
        }
        let mut message = vec![0; length as usize];
        peer.read_exact(&mut message).await?;
        match (message[0], lie) {
            (2, Lie::Choke) => asked.store(true, Ordering::SeqCst),
            (6, Lie::WrongBytes) => {
                asked.store(true, Ordering::SeqCst);
                let wanted = u32::from_be_bytes(message[9..13].try_into().unwrap());
                let answer = [&message[1..9], &vec![0x66; wanted as usize]].concat();
                send(&mut peer, 7, &answer).await?;
            }
            (6, _) => {
                asked.store(true, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            _ => {}
        }
    }
}

async fn send(peer: &mut TcpStream, kind: u8, payload: &[u8]) -> std::io::Result<()> {
    peer.write_all(&u32::try_from(payload.len() + 1).unwrap().to_be_bytes())
        .await?;
    peer.write_all(&[kind]).await?;
    peer.write_all(payload).await
}
