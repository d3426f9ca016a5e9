//! common/common_test.go, mountpoint_test.go, volume_test.go: lists as they stand on a command line.

use dhow_image::{MountPoint, Port, Volume, VolumeKind, parameters};

/// Different on purpose: the specification's implementation makes a query string of such a list; here it is the pairs.
#[test]
fn lists_of_parameters() {
    for text in ["", "version,label=v1+v2", "a=1,a=2", "=x"] {
        assert!(parameters(text).is_err(), "{text}");
    }
    let cases: [(&str, &[(&str, &str)]); 6] = [
        ("foo=bar", &[("foo", "bar")]),
        ("foo=bar,boo=baz", &[("foo", "bar"), ("boo", "baz")]),
        ("foo=Ümlaut", &[("foo", "Ümlaut")]),
        ("version=1.0.0,label=v1+v2", &[("version", "1.0.0"), ("label", "v1+v2")]),
        ("name=db,source=/tmp$1", &[("name", "db"), ("source", "/tmp$1")]),
        (
            "greeting-fr=Ça va?,greeting-es=¿Cómo estás?",
            &[("greeting-fr", "Ça va?"), ("greeting-es", "¿Cómo estás?")],
        ),
    ];
    for (text, pairs) in cases {
        assert_eq!(parameters(text).unwrap(), pairs);
    }
}

#[test]
fn mount_points() {
    for (text, read_only) in [
        ("foobar,path=/tmp", false),
        ("foobar,path=/tmp,readOnly=false", false),
        ("foobar,path=/tmp,readOnly=true", true),
    ] {
        let point: MountPoint = text.parse().unwrap();
        assert_eq!(
            (point.name.as_str(), point.path.as_str(), point.read_only),
            ("foobar", "/tmp", read_only)
        );
    }
    for text in [
        "#foobar,path=/tmp",
        "foobar,path=/tmp,readOnly=true,asdf=asdf",
        "foobar,path=/tmp,readOnly=maybe",
        "foobar,path=/tmp,readOnly=",
        "foobar,path=",
        "foobar",
        "",
        ",path=/",
    ] {
        assert!(text.parse::<MountPoint>().is_err(), "{text}");
    }
}

/// The examples beside the specification's `PortFromString`.
#[test]
fn ports() {
    let port: Port = "health-check,protocol=udp,port=8000".parse().unwrap();
    assert_eq!(
        (port.name.as_str(), port.protocol.as_str(), port.port, port.count),
        ("health-check", "udp", 8000, 1)
    );
    let port: Port = "query,protocol=tcp,port=8080,count=1,socketActivated=true"
        .parse()
        .unwrap();
    assert!(port.socket_activated);
    for text in [
        "",
        "query",
        "query,port=0",
        "query,port=70000",
        "query,port=65535,count=2",
        "query,port=1,x=y",
    ] {
        assert!(text.parse::<Port>().is_err(), "{text}");
    }
}

/// Different on purpose in two things: what was not said of an empty volume stays unsaid (`None`) rather than becoming
/// the default, and `readOnly=false`, being the default, is not written.
#[test]
fn volumes() {
    let host = |recursive| VolumeKind::Host {
        source: "/tmp".to_owned(),
        recursive,
    };
    let empty = |mode: Option<&str>, uid, gid| VolumeKind::Empty {
        mode: mode.map(str::to_owned),
        uid,
        gid,
    };
    let cases = [
        ("foobar,kind=host,source=/tmp", host(None), false),
        ("foobar,kind=host,source=/tmp,readOnly=false", host(None), false),
        ("foobar,kind=host,source=/tmp,readOnly=true", host(None), true),
        ("foobar,kind=empty", empty(None, None, None), false),
        ("foobar,kind=empty,readOnly=true", empty(None, None, None), true),
        (
            "foobar,kind=empty,readOnly=true,mode=0777",
            empty(Some("0777"), None, None),
            true,
        ),
        (
            "foobar,kind=empty,mode=0777,uid=1000",
            empty(Some("0777"), Some(1000), None),
            false,
        ),
        (
            "foobar,kind=empty,mode=0777,uid=1000,gid=1000",
            empty(Some("0777"), Some(1000), Some(1000)),
            false,
        ),
        ("foobar,kind=host,source=/tmp,recursive=false", host(Some(false)), false),
        ("foobar,kind=host,source=/tmp,recursive=true", host(Some(true)), false),
    ];
    for (text, kind, read_only) in cases {
        let volume: Volume = text.parse().unwrap();
        assert_eq!(
            (volume.name.as_str(), &volume.kind, volume.read_only),
            ("foobar", &kind, read_only)
        );
        assert_eq!(volume.to_string(), text.replace(",readOnly=false", ""));
    }
    for text in [
        "#foobar,kind=host,source=/tmp",
        "foobar,kind=host,source=/tmp,readOnly=true,asdf=asdf",
        "foobar,kind=host,source=tmp",
        "foobar,kind=host,uid=3",
        "foobar,kind=host,mode=0755",
        "foobar,kind=host,mode=0600,readOnly=true,gid=0",
        "foobar,kind=empty,source=/tmp",
        "foobar,kind=host,source=/tmp,recursive=MAYBE",
    ] {
        assert!(text.parse::<Volume>().is_err(), "{text}");
    }
}
