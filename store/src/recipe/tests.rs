use std::io::{self, Cursor};

use super::*;

fn head(tar_size: u64) -> RecipeHead {
    RecipeHead {
        id: ImageId::from_bytes([7; 64]),
        tar_size,
    }
}

fn recipe(head: &RecipeHead, fill: impl FnOnce(&mut RecipeWriter<Cursor<Vec<u8>>>)) -> Vec<u8> {
    let mut writer = RecipeWriter::new(Cursor::new(Vec::new())).unwrap();
    fill(&mut writer);
    writer.finish(head).unwrap().into_inner()
}

/// A recipe of these records, whatever they are.
fn raw(tar_size: u64, records: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend([7; 64]);
    bytes.extend(tar_size.to_le_bytes());
    bytes.extend(zstd::encode_all(records, 3).unwrap());
    bytes
}

fn read(bytes: &[u8]) -> io::Result<Vec<Record>> {
    let mut reader = RecipeReader::new(bytes)?;
    let mut records = Vec::new();
    while let Some(record) = reader.next()? {
        records.push(record);
    }
    Ok(records)
}

fn object(size: u64) -> Vec<u8> {
    [&[OBJECT][..], &[9; 32], &size.to_le_bytes()].concat()
}

fn sized(kind: u8, bytes: &[u8]) -> Vec<u8> {
    [&[kind][..], &u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

#[test]
fn records_come_back_in_order() {
    let bytes = recipe(&head(6 + (1 << 40)), |writer| {
        writer.framing(b"hea").unwrap();
        writer.framing(b"der").unwrap();
        writer.object(&ObjectId([9; 32]), 1 << 40).unwrap();
        writer.framing(b"").unwrap();
    });
    assert_eq!(RecipeReader::new(bytes.as_slice()).unwrap().head(), head(6 + (1 << 40)));
    assert_eq!(
        read(&bytes).unwrap(),
        [
            Record::Framing(b"header".to_vec()),
            Record::Object(ObjectId([9; 32]), 1 << 40)
        ]
    );
}

#[test]
fn long_framing_comes_in_pieces() {
    let long: Vec<u8> = (0..200_000_u32).map(|number| number as u8).collect();
    let bytes = recipe(&head(long.len() as u64), |writer| writer.framing(&long).unwrap());
    let mut joined = Vec::new();
    for record in read(&bytes).unwrap() {
        let Record::Framing(bytes) = record else {
            panic!("{record:?}")
        };
        assert!(bytes.len() <= MAX_FRAMING);
        joined.extend(bytes);
    }
    assert_eq!(joined, long);
}

#[test]
fn a_recipe_cut_or_changed_anywhere_is_an_error() {
    let whole = recipe(&head(6 + (1 << 40)), |writer| {
        writer.framing(b"header").unwrap();
        writer.object(&ObjectId([9; 32]), 1 << 40).unwrap();
    });
    for length in 0..whole.len() {
        assert!(read(&whole[..length]).is_err(), "cut at {length}");
    }
    // The image ID is compared with the tar itself. The frame's header says how to decompress; what was compressed has a
    // checksum.
    let (size, frame) = (MAGIC.len() + 64, MAGIC.len() + 72);
    for index in (0..MAGIC.len()).chain(size..frame).chain(frame + 6..whole.len()) {
        let mut changed = whole.clone();
        changed[index] ^= 1;
        assert!(read(&changed).is_err(), "changed at {index}");
    }
}

#[test]
fn notes_are_passed_over() {
    let records = [
        object(5),
        sized(0x81, b"chunks"),
        sized(FRAMING, b"end"),
        sized(0xff, b""),
    ]
    .concat();
    let expected = [Record::Object(ObjectId([9; 32]), 5), Record::Framing(b"end".to_vec())];
    assert_eq!(read(&raw(8, &records)).unwrap(), expected);
}

#[test]
fn hostile_recipes_are_refused() {
    let window = {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        io::Write::write_all(&mut encoder, &sized(FRAMING, b"abc")).unwrap();
        let mut bytes = raw(3, b"")[..86].to_vec();
        bytes.extend(encoder.finish().unwrap());
        bytes
    };
    let abc = sized(FRAMING, b"abc");
    let mut two_frames = raw(6, &abc);
    two_frames.extend(zstd::encode_all(abc.as_slice(), 3).unwrap());
    let cases: [(&str, Vec<u8>, &str); 14] = [
        ("version 1", b"dhow recipe 1\n".repeat(10), "no recipe of version 2"),
        ("no records", raw(3, b""), "fewer bytes"),
        ("too few bytes", raw(4, &abc), "fewer bytes"),
        ("too many bytes", raw(2, &abc), "more bytes"),
        ("an object over the end", raw(4, &object(5)), "more bytes"),
        (
            "sizes that overflow",
            raw(u64::MAX, &[object(u64::MAX), object(2)].concat()),
            "more bytes",
        ),
        (
            "framing of 4 GiB",
            raw(u64::MAX, &[FRAMING, 0xff, 0xff, 0xff, 0xff]),
            "too long",
        ),
        (
            "an empty object",
            raw(3, &[object(0), abc.clone()].concat()),
            "empty record",
        ),
        (
            "empty framing",
            raw(3, &[sized(FRAMING, b""), abc.clone()].concat()),
            "empty record",
        ),
        ("an unknown kind", raw(3, &[3]), "unknown kind"),
        ("a kind of version 1", raw(0, &[0; 73]), "unknown kind"),
        (
            "endless notes",
            raw(3, &sized(NOTES, b"").repeat(4)),
            "notes are longer",
        ),
        ("a second frame", two_frames, "fewer bytes"),
        ("a window of 128 MiB", window, "memory"),
    ];
    for (name, bytes, part) in cases {
        let error = read(&bytes).expect_err(name).to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
    let mut longer = raw(3, &abc);
    longer.push(0);
    assert!(read(&longer).unwrap_err().to_string().contains("after its end"));
}

#[test]
fn objects_stand_where_contents_begin() {
    use std::io::Read;
    let records = [sized(FRAMING, b"ab"), object(3), sized(FRAMING, b"cd")].concat();
    let tar = || RecipeTar::new(RecipeReader::new(Cursor::new(raw(7, &records))).unwrap());
    let mut asked = tar();
    asked.read_exact(&mut [0; 2]).unwrap();
    assert_eq!(asked.object().unwrap(), Some((ObjectId([9; 32]), 3)));
    let mut rest = Vec::new();
    asked.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"\0\0\0cd");
    let error = tar().read_to_end(&mut Vec::new()).unwrap_err();
    assert!(error.to_string().contains("where no content begins"), "{error}");
}

#[test]
fn the_example_of_the_book_is_read() {
    let book = include_str!("../../../docs/src/formats/recipe.md");
    let dump = book.split("in hexadecimal:\n\n```text\n").nth(1).unwrap();
    let bytes = hex::decode(dump.split("```").next().unwrap().replace('\n', "")).unwrap();
    let head = RecipeReader::new(bytes.as_slice()).unwrap().head();
    assert!(book.contains(&format!("\n{}\n", head.id)), "{}", head.id);
    let content = b"dhow\n".repeat(300);
    let mut tar = Vec::new();
    for record in read(&bytes).unwrap() {
        match record {
            Record::Framing(bytes) => tar.extend(bytes),
            Record::Object(id, size) => {
                assert_eq!((id, size), (ObjectId::of(content.as_slice()).unwrap(), 1500));
                tar.extend_from_slice(&content);
            }
        }
    }
    assert_eq!((tar.len(), head.tar_size), (5632, 5632));
    let summary = dhow_image::read_summary(tar.as_slice()).unwrap();
    assert_eq!(
        (summary.id, summary.manifest.name.as_str()),
        (head.id, "example.com/hi")
    );
}
