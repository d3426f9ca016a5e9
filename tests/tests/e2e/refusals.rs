//! What must not get into the store, each with its own clear error, and the store as it was.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use dhow_tests::{Nginx, World};

/// A world in which `example.com/app:1` is published, served and trusted, and another image is in the store.
fn published() -> (World, Nginx) {
    let mut world = World::new();
    let fingerprint = world.key();
    world
        .image("example.com/app")
        .version("1")
        .file("data", &noise(300_000))
        .build("app.aci");
    world.image("example.com/before").version("1").build("before.aci");
    for archive in ["app.aci", "before.aci"] {
        world
            .dhow(&["publish", archive, "--site", "site", "--url", "https://example.com"])
            .success();
    }
    let nginx = world.nginx("site");
    world
        .dhow(&["trust", "add", "--prefix", "example.com", "--fingerprint", &fingerprint])
        .success();
    world.dhow(&["fetch", "example.com/before:1"]).success();
    (world, nginx)
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}

/// The archive as the server has it.
fn archive(world: &World) -> std::path::PathBuf {
    let directory = world.path("site/ACI/example.com/app");
    let is_archive = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with('1') && name.ends_with(".aci")
    };
    fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(is_archive)
        .unwrap()
}

fn signature(world: &World) -> std::path::PathBuf {
    let mut path = archive(world).into_os_string();
    path.push(".asc");
    path.into()
}

/// Fetches what must be refused with this exit code and words, and checks that nothing has changed.
fn refused(world: &World, code: i32, words: &str) {
    let before = world.images();
    world
        .dhow(&["fetch", "example.com/app:1"])
        .exited(code)
        .says("`example.com/app:1`")
        .says(words);
    assert_eq!(world.images(), before);
}

#[test]
fn one_flipped_byte_in_the_archive() {
    let (world, _nginx) = published();
    let path = archive(&world);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    refused(&world, 4, "the data or its signature was altered");
}

#[test]
fn one_flipped_byte_in_the_signature() {
    let (world, _nginx) = published();
    let path = signature(&world);
    let original = fs::read(&path).unwrap();
    let body = original.windows(2).position(|pair| pair == b"\n\n").unwrap() + 40;
    let mut altered = original.clone();
    altered[body] = if altered[body] == b'A' { b'B' } else { b'A' };
    fs::write(&path, altered).unwrap();
    refused(&world, 4, "signature");
    fs::write(&path, "<html>not here</html>").unwrap();
    refused(&world, 4, "this is no detached OpenPGP signature");
}

#[test]
fn another_signer() {
    let (world, _nginx) = published();
    world
        .dhow(&["key", "generate", "Mallory <mallory@example.org>"])
        .success();
    let archive = archive(&world).display().to_string();
    world
        .dhow(&["sign", &archive, "--overwrite", "--key", "mallory"])
        .success();
    refused(&world, 4, "no trusted key made the signature");
}

#[test]
fn another_name_in_the_manifest() {
    let (world, _nginx) = published();
    // Rightly signed by the same publisher, but it is another image.
    world.image("example.com/other").version("1").build("other.aci");
    fs::copy(world.path("other.aci"), archive(&world)).unwrap();
    let archive = archive(&world).display().to_string();
    world
        .dhow(&["sign", &archive, "--overwrite", "--key", "carly"])
        .success();
    refused(
        &world,
        4,
        "its manifest says that it is `example.com/other`, not `example.com/app`",
    );
}

#[test]
fn another_version_in_the_manifest() {
    let (world, _nginx) = published();
    world.image("example.com/app").version("0.9").build("old.aci");
    fs::copy(world.path("old.aci"), archive(&world)).unwrap();
    let archive = archive(&world).display().to_string();
    world
        .dhow(&["sign", &archive, "--overwrite", "--key", "carly"])
        .success();
    refused(&world, 4, "`version=0.9`, where `version=1` is wanted");
}

#[test]
fn a_truncated_archive() {
    let (world, _nginx) = published();
    let path = archive(&world);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    refused(&world, 4, "altered");
}

#[test]
fn a_download_that_breaks_off_for_good() {
    let (mut world, nginx) = published();
    world.connect("example.com", cut_after(100_000, 200_000, nginx.port()));
    refused(&world, 5, "https://example.com/ACI/example.com/app/1");
}

#[test]
fn a_download_that_breaks_off_now_and_then_is_resumed() {
    let (mut world, nginx) = published();
    world.connect("example.com", cut_after(100_000, usize::MAX, nginx.port()));
    world.dhow(&["fetch", "example.com/app:1"]).success();
    assert!(nginx.requests().contains(" 206 "), "{}", nginx.requests());
}

/// A man in the middle who passes bytes on, and hangs up after so many of a connection, and for good after so many of
/// all. Gives the port that he listens on.
fn cut_after(of_one: usize, of_all: usize, upstream: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let of_all = Arc::new(AtomicUsize::new(of_all));
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, of_all) = (client.unwrap(), of_all.clone());
            let server = TcpStream::connect(("127.0.0.1", upstream)).unwrap();
            let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
            let (mut from_server, mut to_client) = (server, client);
            thread::spawn(move || {
                let (mut left, mut buffer) = (of_one, [0; 4096]);
                while left > 0 && of_all.load(Ordering::SeqCst) > 0 {
                    let read = from_server.read(&mut buffer).unwrap_or(0);
                    if read == 0 || to_client.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                    left -= read.min(left);
                    let _ =
                        of_all.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |all| Some(all.saturating_sub(read)));
                }
                let _ = to_client.shutdown(Shutdown::Both);
                let _ = from_server.shutdown(Shutdown::Both);
            });
        }
    });
    port
}

/// It may be asked for together with its signature, and nothing of it is kept.
#[test]
fn an_archive_whose_signature_is_none_is_dropped() {
    let (world, nginx) = published();
    fs::write(signature(&world), "<html>not here</html>").unwrap();
    let file = archive(&world).file_name().unwrap().to_string_lossy().into_owned();
    let url = format!("https://example.com/ACI/example.com/app/{file}");
    let kept = || -> BTreeSet<_> {
        let files = fs::read_dir(world.path("data/downloads")).unwrap();
        files.map(|file| file.unwrap().file_name()).collect()
    };
    let (before, kept_before, images) = (nginx.requests(), kept(), world.images());
    world
        .dhow(&["fetch", &url])
        .exited(4)
        .says("this is no detached OpenPGP signature");
    let requests = nginx.requests();
    assert!(requests[before.len()..].contains(".aci.asc HTTP"), "{requests}");
    assert_eq!(kept(), kept_before);
    assert_eq!(world.images(), images);
}

#[test]
fn no_server_at_all() {
    let (mut world, nginx) = published();
    drop(nginx);
    world.connect("example.com", 1);
    refused(&world, 5, "https://example.com/app");
}

#[test]
fn an_unsigned_image_enters_only_by_the_users_word_and_is_marked_for_ever() {
    let (world, _nginx) = published();
    fs::remove_file(signature(&world)).unwrap();
    let before = world.images();
    let refused = world.dhow(&["fetch", "example.com/app:1"]);
    assert!([3, 4, 5].contains(&refused.code), "{refused:?}");
    assert_eq!(world.images(), before);
    world
        .dhow(&["--insecure-options", "image", "fetch", "example.com/app:1"])
        .success();
    let shown = world.dhow(&["image", "show", "example.com/app"]).success();
    assert!(shown.contains("insecure"), "{shown}");
}
