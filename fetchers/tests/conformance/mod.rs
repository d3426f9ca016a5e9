//! What every transport does, whatever carries the bytes: one suite for all.
//!
//! A transport's own tests give a [`Place`], which is a real server or a directory, and call [`conforms`].

mod disturbed;

use std::time::{Duration, Instant};

use dhow_fetchers::{
    Ask, DownloadOptions, Downloader, Downloads, Error, ErrorKind, NoProgress, Opened, Partial, RetryPolicy, Transport,
};
use futures::StreamExt;
use tempfile::TempDir;

pub(crate) use self::disturbed::{Disturbance, Disturbed};

/// A place that holds one thing.
pub(crate) trait Place: Sync {
    /// Puts the thing there, in place of what was. Another content is another version.
    fn put(&self, content: &[u8]);
    /// Takes it away.
    fn remove(&self);
    /// A transport that fetches it.
    fn transport(&self) -> Box<dyn Transport>;
    /// Lets all connections from now on be like this. `false`: there is nothing in between that could be disturbed.
    fn disturb(&self, disturbance: Disturbance) -> bool;
    /// Whether a thing without a byte can be there at all.
    fn can_be_empty(&self) -> bool {
        true
    }
    /// How many bytes went over connections, protocol and all, if there are any.
    fn sent(&self) -> u64;
}

/// Runs the suite. Each case says its name when it fails.
pub(crate) async fn conforms(place: &dyn Place) {
    whole(place).await;
    range(place).await;
    changed_underneath(place).await;
    missing(place).await;
    resumed(place).await;
    truncated(place).await;
    slow(place).await;
    cancelled(place).await;
}

/// Bytes of which no two pieces are alike.
pub(crate) fn content(size: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(size).collect()
}

pub(crate) fn options() -> DownloadOptions {
    DownloadOptions {
        retry: RetryPolicy {
            attempts: 3,
            first: Duration::from_millis(20),
            longest: Duration::from_secs(1),
        },
        least_rate: 64 << 10,
        slow_after: Duration::from_secs(1),
        ..DownloadOptions::default()
    }
}

async fn read(mut opened: Opened) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = opened.body.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

/// Downloads as a fetch does, into the partial file that another left behind, and gives what came.
pub(crate) async fn download(directory: &TempDir, transport: &dyn Transport) -> (Result<u64, Error>, Partial) {
    let downloads = Downloads::new(directory.path());
    let place = transport.place();
    let claimed = downloads.claim(&place, None, || panic!("nobody else is here"));
    let mut partial = claimed.await.unwrap().unwrap();
    let options = options();
    let result = Downloader::new(&options, &NoProgress)
        .download(transport, &mut partial)
        .await;
    (result, partial)
}

async fn whole(place: &dyn Place) {
    for size in [0, 1, 70_000, 3 << 20] {
        if size == 0 && !place.can_be_empty() {
            continue;
        }
        let content = content(size, 1);
        place.put(&content);
        let transport = place.transport();
        let opened = transport.open(&Ask::whole()).await.unwrap();
        assert_eq!(opened.from, 0, "whole: {size}");
        assert_eq!(opened.size, Some(size as u64), "whole: {size}");
        assert!(read(opened).await.unwrap() == content, "whole: {size}");

        let directory = TempDir::new().unwrap();
        let (result, partial) = download(&directory, &*transport).await;
        assert_eq!(result.unwrap(), size as u64, "whole: {size}");
        assert!(std::fs::read(partial.path()).unwrap() == content, "whole: {size}");
        partial.discard().unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "whole: {size}");
    }
}

async fn range(place: &dyn Place) {
    let content = content(300_000, 2);
    place.put(&content);
    let transport = place.transport();
    let opened = transport.open(&Ask::whole()).await.unwrap();
    assert!(
        opened.ranges,
        "range: a version of it, and pieces of that, can be asked for"
    );
    let version = opened.version.unwrap();
    assert!(transport.is_still(&version).await.unwrap(), "range");
    for (from, to) in [
        (0, Some(1)),
        (0, Some(300_000)),
        (1, None),
        (299_999, None),
        (1000, Some(2000)),
        (250_000, Some(400_000)),
    ] {
        for version in [Some(version.clone()), None] {
            let opened = transport.open(&Ask { from, to, version }).await.unwrap();
            assert_eq!(
                (opened.from, opened.size),
                (from, Some(300_000)),
                "range: {from} {to:?}"
            );
            let end = to.map_or(content.len(), |to| usize::try_from(to).unwrap().min(content.len()));
            let expected = &content[usize::try_from(from).unwrap()..end];
            assert!(read(opened).await.unwrap() == expected, "range: {from} {to:?}");
        }
    }
}

async fn changed_underneath(place: &dyn Place) {
    let (old, new) = (content(200_000, 3), content(150_001, 4));
    place.put(&old);
    let transport = place.transport();
    let version = transport.open(&Ask::whole()).await.unwrap().version;
    let directory = TempDir::new().unwrap();
    if place.disturb(Disturbance::CutAfter(100_000)) {
        let (result, partial) = download(&directory, &*transport).await;
        drop(partial);
        // With three attempts it may have come whole.
        assert!(result.is_err() || result.is_ok_and(|size| size == 200_000));
        place.disturb(Disturbance::None);
    }
    place.put(&new);
    let known = version.clone().unwrap();
    assert!(!transport.is_still(&known).await.unwrap(), "changed underneath");
    let ask = Ask {
        from: 100_000,
        to: None,
        version,
    };
    match transport.open(&ask).await {
        Ok(opened) => {
            assert_eq!((opened.from, opened.size), (0, Some(150_001)), "changed underneath");
            assert_ne!(opened.version, Some(known), "changed underneath");
            assert!(read(opened).await.unwrap() == new, "changed underneath");
        }
        Err(error) => assert!(matches!(error, Error::Range { .. }), "changed underneath: {error}"),
    }
    let (result, partial) = download(&directory, &*transport).await;
    assert_eq!(result.unwrap(), 150_001, "changed underneath");
    assert!(std::fs::read(partial.path()).unwrap() == new, "changed underneath");
}

async fn missing(place: &dyn Place) {
    place.put(b"soon gone");
    place.remove();
    let transport = place.transport();
    let error = transport.open(&Ask::whole()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "missing: {error}");
    let directory = TempDir::new().unwrap();
    let started = Instant::now();
    let (result, _) = download(&directory, &*transport).await;
    assert_eq!(result.unwrap_err().kind(), ErrorKind::NotFound, "missing");
    assert!(
        started.elapsed() < Duration::from_secs(2),
        "missing: it is not asked for again and again"
    );
}

async fn resumed(place: &dyn Place) {
    const SIZE: usize = 3 << 20;
    let content = content(SIZE, 5);
    place.put(&content);
    let directory = TempDir::new().unwrap();
    if !place.disturb(Disturbance::CutAfter(1 << 20)) {
        return;
    }
    let before = place.sent();
    let mut rounds = 0;
    loop {
        rounds += 1;
        assert!(rounds < 20, "resumed: it never comes to an end");
        let (result, partial) = download(&directory, &*place.transport()).await;
        if result.is_ok() {
            assert!(std::fs::read(partial.path()).unwrap() == content, "resumed");
            break;
        }
    }
    let sent = place.sent() - before;
    assert!(
        sent < SIZE as u64 * 11 / 10,
        "resumed: {sent} bytes were sent for {SIZE}, in {rounds} rounds"
    );
    place.disturb(Disturbance::None);
}

async fn truncated(place: &dyn Place) {
    place.put(&content(300_000, 6));
    if !place.disturb(Disturbance::CutAfter(60_000)) {
        return;
    }
    let directory = TempDir::new().unwrap();
    let opened = place.transport().open(&Ask::whole()).await.unwrap();
    let error = read(opened).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "truncated: {error}");
    let (result, partial) = download(&directory, &*place.transport()).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Network, "truncated: {error}");
    let received = partial.received();
    assert!((1..300_000).contains(&received), "truncated: {received}");
    place.disturb(Disturbance::None);
}

async fn slow(place: &dyn Place) {
    place.put(&content(300_000, 7));
    for disturbance in [Disturbance::Rate(8_000), Disturbance::StallAfter(20_000)] {
        if !place.disturb(disturbance) {
            return;
        }
        let directory = TempDir::new().unwrap();
        let started = Instant::now();
        let (result, _) = download(&directory, &*place.transport()).await;
        let error = result.unwrap_err();
        assert!(
            matches!(error, Error::TooFewBytes { .. }),
            "slow: {disturbance:?}: {error:?}"
        );
        assert!(
            started.elapsed() < Duration::from_secs(15),
            "slow: {:?}",
            started.elapsed()
        );
    }
    place.disturb(Disturbance::None);
}

async fn cancelled(place: &dyn Place) {
    let content = content(16 << 20, 8);
    place.put(&content);
    let is_slow = place.disturb(Disturbance::Rate(4 << 20));
    let before = place.sent();
    let directory = TempDir::new().unwrap();
    let transport = place.transport();
    let limit = Duration::from_millis(if is_slow { 700 } else { 1 });
    let cut = tokio::time::timeout(limit, download(&directory, &*transport)).await;
    if is_slow {
        assert!(cut.is_err(), "cancelled: it was too fast for that");
        let (downloads, thing) = (Downloads::new(directory.path()), transport.place());
        let claimed = downloads.claim(&thing, None, || panic!("whoever is cancelled lets go"));
        let received = claimed.await.unwrap().unwrap().received();
        assert!(received > 0, "cancelled: what came stays");
        // What was on its way still arrives somewhere.
        let mut sent = 0;
        while sent != place.sent() {
            sent = place.sent();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let sent = sent - before;
        assert!(
            sent < content.len() as u64 * 3 / 4,
            "cancelled: {sent} bytes came nevertheless"
        );
    }
    drop(cut);
    place.disturb(Disturbance::None);
    let (result, partial) = download(&directory, &*transport).await;
    assert_eq!(result.unwrap(), content.len() as u64, "cancelled");
    assert!(std::fs::read(partial.path()).unwrap() == content, "cancelled");
}
