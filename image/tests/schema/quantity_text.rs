//! resource/quantity_test.go: how quantities are read and written.

use dhow_image::{Notation, Quantity};

const D: Notation = Notation::Decimal;
const B: Notation = Notation::Binary;
const E: Notation = Notation::Exponent;

fn quantity(text: &str) -> Quantity {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// `value` × 10^`exponent`.
fn amount(value: i64, exponent: i32) -> Quantity {
    Quantity::new(value, exponent, D).unwrap()
}

/// What is read, as a value and an exponent, and its notation.
const READ: &[(&str, i64, i32, Notation)] = &[
    ("0", 0, 0, D),
    ("0n", 0, 0, D),
    ("0u", 0, 0, D),
    ("0m", 0, 0, D),
    ("0Ki", 0, 0, B),
    ("0k", 0, 0, D),
    ("0Mi", 0, 0, B),
    ("0M", 0, 0, D),
    ("0Gi", 0, 0, B),
    ("0G", 0, 0, D),
    ("0Ti", 0, 0, B),
    ("0T", 0, 0, D),
    ("1", 1, 0, D),
    // Binary suffixes.
    ("1Ki", 1 << 10, 0, B),
    ("8Ki", 8 << 10, 0, B),
    ("7Mi", 7 << 20, 0, B),
    ("6Gi", 6 << 30, 0, B),
    ("5Ti", 5 << 40, 0, B),
    ("4Pi", 4 << 50, 0, B),
    ("3Ei", 3 << 60, 0, B),
    ("10Ti", 10 << 40, 0, B),
    ("100Ti", 100 << 40, 0, B),
    // Decimal suffixes.
    ("5n", 5, -9, D),
    ("4u", 4, -6, D),
    ("3m", 3, -3, D),
    ("9", 9, 0, D),
    ("8k", 8, 3, D),
    ("50k", 5, 4, D),
    ("7M", 7, 6, D),
    ("6G", 6, 9, D),
    ("5T", 5, 12, D),
    ("40T", 4, 13, D),
    ("300T", 3, 14, D),
    ("2P", 2, 15, D),
    ("1E", 1, 18, D),
    // Exponents.
    ("1E-3", 1, -3, E),
    ("1e3", 1, 3, E),
    ("1E6", 1, 6, E),
    ("1e9", 1, 9, E),
    ("1E12", 1, 12, E),
    ("1e15", 1, 15, E),
    ("1E18", 1, 18, E),
    ("1e14", 1, 14, E),
    ("1e13", 1, 13, E),
    ("100.035k", 100_035, 0, D),
    // Fractions.
    ("0.001", 1, -3, D),
    ("0.0005k", 5, -1, D),
    ("0.005", 5, -3, D),
    ("0.05", 5, -2, D),
    ("0.5", 5, -1, D),
    ("0.00050k", 5, -1, D),
    ("0.00500", 5, -3, D),
    ("0.05000", 5, -2, D),
    ("0.50000", 5, -1, D),
    ("0.5e0", 5, -1, E),
    ("0.5e-1", 5, -2, E),
    ("0.5e-2", 5, -3, E),
    ("10.035M", 10_035, 3, D),
    ("1.2e3", 12, 2, E),
    ("1.3E+6", 13, 5, E),
    ("1.40e9", 14, 8, E),
    ("1.53E12", 153, 10, E),
    ("1.6e15", 16, 14, E),
    ("1.7E18", 17, 17, E),
    ("9.01", 901, -2, D),
    ("8.1k", 81, 2, D),
    ("7.123456M", 7_123_456, 0, D),
    ("6.987654321G", 6_987_654_321, 0, D),
    ("5.444T", 5444, 9, D),
    ("40.1T", 401, 11, D),
    ("300.2T", 3002, 11, D),
    ("2.5P", 25, 14, D),
    ("1.01E", 101, 16, D),
    // What is rounded or capped.
    ("3.001n", 4, -9, D),
    ("1.1E-9", 2, -9, E),
    ("0.0000000001", 1, -9, D),
    ("0.0000000005", 1, -9, D),
    ("0.00000000050", 1, -9, D),
    ("0.5e-9", 1, -9, E),
    ("0.9n", 1, -9, D),
    ("0.00000012345", 124, -9, D),
    ("0.00000012354", 124, -9, D),
    ("9Ei", i64::MAX, 0, B),
    ("9223372036854775807Ki", i64::MAX, 0, B),
    ("12E", 12, 18, D),
    // Fractions of binary suffixes.
    ("100.035Ki", 10_243_584, -2, B),
    ("0.5Mi", 1 << 19, 0, B),
    ("0.05Gi", 536_870_912, -1, B),
    ("0.025Ti", 274_877_906_944, -1, B),
    // What nobody should write.
    ("0.000000000001Ki", 2, -9, D),
    (".001", 1, -3, D),
    (".0001k", 100, -3, D),
    ("1.", 1, 0, D),
    ("1.G", 1, 9, D),
    // Ours: the suffix that ace.md names and the specification's implementation forgets.
    ("8K", 8, 3, D),
    ("99999999999999999999999999Ei", i64::MAX, 0, B),
    ("0.1e-1000000000", 1, -9, E),
];

#[test]
fn what_is_read() {
    for (text, value, exponent, notation) in READ {
        let expected = amount(*value, *exponent);
        for (sign, expected) in [("", expected), ("+", expected), ("-", -expected)] {
            let text = format!("{sign}{text}");
            let read = quantity(&text);
            assert_eq!(read, expected, "{text}");
            assert_eq!(read.notation(), *notation, "{text}");
        }
    }
}

#[test]
fn what_is_not() {
    let cases = [
        "",
        "1.1.M",
        "1+1.0M",
        "0.1mi",
        "0.1am",
        "aoeu",
        ".5i",
        "1i",
        "-3.01i",
        "-3.01e-",
        " 1",
        "1 ",
        "+",
        "--1",
        "1e",
        "1e1.5",
        "0x10",
        "1e30",
        "1e2000000000",
    ];
    for text in cases {
        assert!(text.parse::<Quantity>().is_err(), "{text}");
    }
    // As the specification's implementation has it, a lone point is a number without digits: nothing.
    assert!(quantity(".").is_zero());
    assert!(quantity("-.").is_zero());
}

/// How a value with an exponent is written in each notation, and another text that means the same.
const WRITTEN: &[(i64, i32, Notation, &str, &str)] = &[
    (1 << 30, 0, B, "1Gi", "1024Mi"),
    (300 << 20, 0, B, "300Mi", "307200Ki"),
    (6 << 10, 0, B, "6Ki", ""),
    (1001 << 30, 0, B, "1001Gi", "1025024Mi"),
    (1 << 40, 0, B, "1Ti", "1024Gi"),
    (5, 0, B, "5", "5000m"),
    (500, -3, B, "500m", "0.5"),
    (1, 9, D, "1G", "1000M"),
    (1000, 6, D, "1G", "0.001T"),
    (1_000_000, 3, D, "1G", ""),
    (1_000_000_000, 0, D, "1G", ""),
    (1, -3, D, "1m", "1000u"),
    (80, -3, D, "80m", ""),
    (1080, -3, D, "1080m", "1.08"),
    (108, -2, D, "1080m", "1080000000n"),
    (10800, -4, D, "1080m", ""),
    (300, 6, D, "300M", ""),
    (1, 12, D, "1T", ""),
    (1_234_567, 6, D, "1234567M", ""),
    (1_234_567, -3, B, "1234567m", ""),
    (3, 3, D, "3k", ""),
    (1025, 0, B, "1025", ""),
    (0, 0, D, "0", ""),
    (0, 0, B, "0", ""),
    (1, 9, E, "1e9", ".001e12"),
    (1, -3, E, "1e-3", "0.001e0"),
    (1, -9, E, "1e-9", "1000e-12"),
    (80, -3, E, "80e-3", ""),
    (300, 6, E, "300e6", ""),
    (1, 12, E, "1e12", ""),
    (1, 3, E, "1e3", ""),
    (3, 3, E, "3e3", ""),
    (0, 0, E, "0", "00"),
    (1, -9, D, "1n", ""),
    (80, -9, D, "80n", ""),
    (1080, -9, D, "1080n", ""),
    (108, -8, D, "1080n", ""),
    (1, -6, D, "1u", ""),
    (80, -6, D, "80u", ""),
    (1080, -6, D, "1080u", ""),
];

#[test]
fn what_is_written() {
    for (value, exponent, notation, text, other) in WRITTEN {
        let quantity = Quantity::new(*value, *exponent, *notation).unwrap();
        assert_eq!(quantity.to_string(), *text);
        assert_eq!(text.parse::<Quantity>().unwrap().to_string(), *text);
        if !other.is_empty() {
            assert_eq!(other.parse::<Quantity>().unwrap().to_string(), *text, "{other}");
        }
        if *value != 0 {
            assert_eq!((-quantity).to_string(), format!("-{text}"));
        }
    }
    // 10800 × 10^-10, which is finer than what is kept and happens to be a multiple of it.
    assert_eq!(quantity("10800e-10"), amount(1080, -9));
}

#[test]
fn what_is_read_and_written_again() {
    let cases = [
        ("1Ki", "1Ki"),
        ("1Mi", "1Mi"),
        ("1Gi", "1Gi"),
        ("1024Mi", "1Gi"),
        ("1000M", "1G"),
        (".001Ki", "1024m"),
        (".000001Ki", "1024u"),
        (".000000001Ki", "1024n"),
        (".000000000001Ki", "2n"),
        ("0", "0"),
        // ace.md: the same amount, each in its own notation; and small ones as decimals.
        ("128974848", "128974848"),
        ("125952Ki", "123Mi"),
        ("123Mi", "123Mi"),
        ("0.3", "300m"),
        ("1.5", "1500m"),
        ("1.5Gi", "1536Mi"),
    ];
    for (text, canonical) in cases {
        assert_eq!(quantity(text).to_string(), canonical);
        if !quantity(text).is_zero() {
            assert_eq!(quantity(&format!("-{text}")).to_string(), format!("-{canonical}"));
        }
    }
}

#[test]
fn json_is_text_or_a_number() {
    for (json, canonical) in [
        ("\" 1\"", "1"),
        ("\"1 \"", "1"),
        ("1", "1"),
        (" 1", "1"),
        ("1 ", "1"),
        ("10", "10"),
        ("-1", "-1"),
        (" -1", "-1"),
        ("0.3", "300m"),
        ("\"250m\"", "250m"),
    ] {
        let quantity: Quantity = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&quantity).unwrap(), format!("\"{canonical}\""));
    }
    for json in ["true", "[]", "\"\"", "\"x\""] {
        assert!(serde_json::from_str::<Quantity>(json).is_err(), "{json}");
    }
}

/// Any amount survives being written and read, whatever its notation.
#[test]
fn every_amount_survives() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        i64::try_from(state >> 1).unwrap()
    };
    for _ in 0..2000 {
        let notation = [D, B, E][usize::try_from(random() % 3).unwrap()];
        let quantity = match random() % 4 {
            0 => Quantity::new(random(), 0, notation),
            1 => Quantity::new((random() % 1024) << (10 * (random() % 5)), 0, notation),
            2 => Quantity::new(random(), -i32::try_from(random() % 4).unwrap(), notation),
            _ => Quantity::new(random() % 1000, i32::try_from(random() % 12).unwrap() - 9, notation),
        };
        let quantity = quantity.unwrap();
        for quantity in [quantity, -quantity] {
            let json = serde_json::to_string(&quantity).unwrap();
            assert_eq!(serde_json::from_str::<Quantity>(&json).unwrap(), quantity, "{json}");
        }
    }
}
