//! isolator_test.go, isolator_resources_test.go, isolator_linux_specific_test.go, isolator_unix_test.go.

use dhow_image::{App, Isolator, IsolatorSetting as Setting, Name, Resource, SeccompSet, SelinuxContext};
use serde_json::{Value, json};

fn isolator(name: &str, value: Value) -> Option<Isolator> {
    Isolator::new(Name::new(name).unwrap(), value).ok()
}

#[test]
fn values() {
    let cases = [
        ("os/linux/cpu-shares", json!(2048), true),
        ("os/linux/cpu-shares", json!(1), false),
        ("os/linux/cpu-shares", json!("pants"), false),
        ("os/linux/cpu-shares", json!("262145"), false),
        ("os/linux/cpu-shares", json!("-1"), false),
        ("os/linux/cpu-shares", json!(262_145), false),
        ("os/linux/oom-score-adj", json!(250), true),
        ("os/linux/oom-score-adj", json!(-250), true),
        ("os/linux/oom-score-adj", json!(-2500), false),
        ("os/linux/oom-score-adj", json!("pants"), false),
        ("os/linux/no-new-privileges", json!(true), true),
        ("os/linux/no-new-privileges", json!(false), true),
        ("os/linux/no-new-privileges", json!(123), false),
        ("os/linux/no-new-privileges", json!({"set": ["CAP_KILL"]}), false),
        ("os/linux/no-new-privileges", json!("foo"), false),
        ("os/linux/capabilities-retain-set", json!({"set": ["CAP_KILL"]}), true),
        ("os/linux/capabilities-retain-set", json!({"set": ["CAP_PONIES"]}), true),
        ("os/linux/capabilities-retain-set", json!({"set": []}), false),
        ("os/linux/capabilities-retain-set", json!({"set": "CAP_PONIES"}), false),
        (
            "resource/block-bandwidth",
            json!({"default": true, "limit": "1G"}),
            true,
        ),
        (
            "resource/block-bandwidth",
            json!({"default": false, "limit": "1G"}),
            false,
        ),
        (
            "resource/block-bandwidth",
            json!({"request": "30G", "limit": "1G"}),
            false,
        ),
        ("resource/block-iops", json!({"default": true, "limit": "1G"}), true),
        ("resource/block-iops", json!({"default": false, "limit": "1G"}), false),
        ("resource/block-iops", json!({"request": "30G", "limit": "1G"}), false),
        ("resource/cpu", json!({"request": "30m", "limit": "1m"}), true),
        ("resource/memory", json!({"request": "1G", "limit": "2Gi"}), true),
        (
            "resource/memory",
            json!({"default": true, "request": "1G", "limit": "2G"}),
            false,
        ),
        (
            "resource/network-bandwidth",
            json!({"default": true, "limit": "1G"}),
            true,
        ),
        (
            "resource/network-bandwidth",
            json!({"default": false, "limit": "1G"}),
            false,
        ),
        (
            "resource/network-bandwidth",
            json!({"request": "30G", "limit": "1G"}),
            false,
        ),
        ("os/unix/sysctl", json!({"net.ipv4.tcp_rfc1337": "1"}), true),
        ("os/unix/sysctl", json!({"net.ipv4.tcp_rfc1337": 1}), false),
        ("os/unix/sysctl", json!(["net.ipv4.tcp_rfc1337"]), false),
        (
            "os/linux/selinux-context",
            json!({"user": "user_u", "role": "role_r", "type": "type_r", "level": "s0-s0"}),
            true,
        ),
        (
            "os/linux/selinux-context",
            json!({"user": "user_u", "role": "role_r", "type": "type_r", "level": "s0-s0:c0"}),
            true,
        ),
        (
            "os/linux/selinux-context",
            json!({"user": "user_u", "role": "role_r:type_t", "type": "type_r", "level": "s0-s0"}),
            false,
        ),
        (
            "os/linux/selinux-context",
            json!({"user": "user_u", "role": "", "type": "type_r", "level": "s0-s0"}),
            false,
        ),
        ("os/linux/apparmor-profile", json!({"profile": "rkt-default"}), true),
        ("os/linux/apparmor-profile", json!({"profile": ""}), false),
    ];
    for (name, value, is_valid) in cases {
        assert_eq!(isolator(name, value.clone()).is_some(), is_valid, "{name} {value}");
    }
    assert!(serde_json::from_str::<Isolator>(r#"{"name": "os/unix/sysctl", "value": {["x"]}}"#).is_err());
    assert!(
        serde_json::from_value::<Isolator>(json!({"name": "os/unix/sysctl"})).is_err(),
        "types.md requires a value"
    );
}

#[test]
fn what_they_mean_by_name() {
    let mut app = App::new(Vec::new());
    app.isolators = serde_json::from_value(json!([
        {"name": "resource/cpu", "value": {"request": "30m", "limit": "1m"}},
        {"name": "resource/memory", "value": {"request": "1G", "limit": "2Gi"}},
        {"name": "os/linux/capabilities-retain-set", "value": {"set": ["CAP_KILL"]}},
        {"name": "os/linux/capabilities-remove-set", "value": {"set": ["CAP_KILL"]}},
        {"name": "os/linux/no-new-privileges", "value": true},
        {"name": "os/unix/sysctl", "value": {"net.ipv4.tcp_rfc1337": "1"}}
    ]))
    .unwrap();
    let setting = |name: &str| app.isolator(name).unwrap().setting();
    let Setting::Cpu(cpu) = setting("resource/cpu") else {
        panic!()
    };
    assert_eq!(
        (cpu.limit.unwrap().milli_value(), cpu.request.unwrap().milli_value()),
        (1, 30)
    );
    let Setting::Memory(memory) = setting("resource/memory") else {
        panic!()
    };
    assert_eq!(
        (memory.limit.unwrap().value(), memory.request.unwrap().value()),
        (2_147_483_648, 1_000_000_000)
    );
    let kill = vec!["CAP_KILL".to_owned()];
    assert_eq!(
        *setting("os/linux/capabilities-retain-set"),
        Setting::CapabilitiesRetain(kill.clone())
    );
    assert_eq!(
        *setting("os/linux/capabilities-remove-set"),
        Setting::CapabilitiesRemove(kill)
    );
    assert_eq!(*setting("os/linux/no-new-privileges"), Setting::NoNewPrivileges(true));
    let sysctl = [("net.ipv4.tcp_rfc1337".to_owned(), "1".to_owned())].into();
    assert_eq!(*setting("os/unix/sysctl"), Setting::Sysctl(sysctl));
    assert!(app.isolator("resource/none").is_none());
}

#[test]
fn unknown_ones_are_kept() {
    let list: Vec<Isolator> = serde_json::from_value(json!([
        {"name": "resource/network-bandwidth", "value": {"default": true, "limit": "1G"}},
        {"name": "resource/network-ponies", "value": 0}
    ]))
    .unwrap();
    let unknown: Vec<_> = list
        .iter()
        .filter(|isolator| *isolator.setting() == Setting::Unknown)
        .collect();
    assert_eq!(unknown.len(), 1);
    assert_eq!(
        (unknown[0].name().as_str(), unknown[0].value()),
        ("resource/network-ponies", &json!(0))
    );
    // What is known is written as it was read too: `1000M` does not become `1G`.
    let kept = json!({"name": "resource/memory", "value": {"limit": "1000M", "later": 1}});
    let read: Isolator = serde_json::from_value(kept.clone()).unwrap();
    assert_eq!(serde_json::to_value(read).unwrap(), kept);
}

#[test]
fn resources() {
    let resource = |request: &str, limit: &str| Resource {
        request: request.parse().ok(),
        limit: limit.parse().ok(),
    };
    let memory = isolator("resource/memory", json!({"request": "100M", "limit": "200M"})).unwrap();
    assert_eq!(*memory.setting(), Setting::Memory(resource("100M", "200M")));
    for (request, limit) in [("1", "2"), ("345", "6")] {
        let cpu = isolator("resource/cpu", json!({"request": request, "limit": limit})).unwrap();
        assert_eq!(*cpu.setting(), Setting::Cpu(resource(request, limit)));
    }
    for (request, limit) in [("", "2"), ("1", "such garbage"), ("-1", "2")] {
        assert!(isolator("resource/cpu", json!({"request": request, "limit": limit})).is_none());
    }
}

#[test]
fn capabilities() {
    let sets: [&[&str]; 4] = [
        &["CAP_ADMIN"],
        &["CAP_AUDIT_READ", "CAP_KILL"],
        &["CAP_AUDIT_WRITE"],
        &["CAP_SYS_ADMIN", "CAP_CHOWN"],
    ];
    for set in sets {
        let expected: Vec<String> = set.iter().map(ToString::to_string).collect();
        let retain = isolator("os/linux/capabilities-retain-set", json!({"set": set})).unwrap();
        assert_eq!(*retain.setting(), Setting::CapabilitiesRetain(expected.clone()));
        let remove = isolator("os/linux/capabilities-remove-set", json!({"set": set})).unwrap();
        assert_eq!(*remove.setting(), Setting::CapabilitiesRemove(expected));
    }
    for name in ["os/linux/capabilities-retain-set", "os/linux/capabilities-remove-set"] {
        assert!(isolator(name, json!({"set": []})).is_none());
    }
}

#[test]
fn selinux_and_apparmor() {
    for level in ["s0", "s0-s0:c0"] {
        let value = json!({"user": "unconfined_u", "role": "object_r", "type": "user_home_t", "level": level});
        let expected = SelinuxContext {
            user: "unconfined_u".to_owned(),
            role: "object_r".to_owned(),
            kind: "user_home_t".to_owned(),
            level: level.to_owned(),
        };
        let read = isolator("os/linux/selinux-context", value).unwrap();
        assert_eq!(*read.setting(), Setting::SelinuxContext(expected));
    }
    for user in ["", "unconfined_u:unconfined_t"] {
        let value = json!({"user": user, "role": "object_r", "type": "user_home_t", "level": "s0"});
        assert!(isolator("os/linux/selinux-context", value).is_none(), "{user}");
    }
    let profile = isolator("os/linux/apparmor-profile", json!({"profile": "rkt-default"})).unwrap();
    assert_eq!(*profile.setting(), Setting::ApparmorProfile("rkt-default".to_owned()));
    assert!(isolator("os/linux/apparmor-profile", json!({"profile": ""})).is_none());
}

#[test]
fn seccomp() {
    let set = |names: &[&str], errno: Option<&str>| SeccompSet {
        set: names.iter().map(ToString::to_string).collect(),
        errno: errno.map(str::to_owned),
    };
    let read = |name: &str, names: &[&str], errno: &str| {
        isolator(name, json!({"set": names, "errno": errno})).map(|isolator| isolator.setting().clone())
    };
    let (remove, retain) = ("os/linux/seccomp-remove-set", "os/linux/seccomp-retain-set");
    assert_eq!(read(remove, &["chmod", "chown"], "-EPERM"), None);
    assert_eq!(read(remove, &[], ""), None);
    assert_eq!(
        read(remove, &["@appc.io/empty"], "EACCESS"),
        Some(Setting::SeccompRemove(set(&["@appc.io/empty"], Some("EACCESS"))))
    );
    assert_eq!(
        read(remove, &["chmod", "chown"], ""),
        Some(Setting::SeccompRemove(set(&["chmod", "chown"], None)))
    );
    assert_eq!(read(retain, &[], "eaccess"), None);
    assert_eq!(read(retain, &[], ""), None);
    assert_eq!(
        read(retain, &["chmod"], "EACCESS"),
        Some(Setting::SeccompRetain(set(&["chmod"], Some("EACCESS"))))
    );
    assert_eq!(
        read(retain, &["chmod", "chown"], ""),
        Some(Setting::SeccompRetain(set(&["chmod", "chown"], None)))
    );
}

#[test]
fn sysctls() {
    let none = isolator("os/unix/sysctl", json!({})).unwrap();
    assert_eq!(*none.setting(), Setting::Sysctl([].into()));
    let one = isolator("os/unix/sysctl", json!({"foo": "bar"})).unwrap();
    assert_eq!(
        *one.setting(),
        Setting::Sysctl([("foo".to_owned(), "bar".to_owned())].into())
    );
}

/// ace.md, and isolator.go's `assertValid`: some may stand once only, and some not together. Capabilities may not by
/// ace.md ("cannot be used in conjunction"), which the specification's implementation does not check.
#[test]
fn isolators_of_one_app() {
    let of = |isolators: Value| {
        serde_json::from_value::<App>(json!({"user": "0", "group": "0", "isolators": isolators})).is_ok()
    };
    let seccomp = |kind: &str| json!({"name": format!("os/linux/seccomp-{kind}-set"), "value": {"set": ["chmod"]}});
    let capabilities =
        |kind: &str| json!({"name": format!("os/linux/capabilities-{kind}-set"), "value": {"set": ["CAP_KILL"]}});
    let memory = json!({"name": "resource/memory", "value": {"limit": "1G"}});
    assert!(of(json!([memory, memory, seccomp("retain"), capabilities("retain")])));
    assert!(!of(json!([seccomp("retain"), seccomp("retain")])));
    assert!(!of(json!([seccomp("retain"), seccomp("remove")])));
    assert!(!of(json!([capabilities("retain"), capabilities("remove")])));
    let shares = json!({"name": "os/linux/cpu-shares", "value": 2048});
    assert!(!of(json!([shares, shares])));
}

/// As `actool patch-manifest --isolators` takes them.
#[test]
fn isolators_on_a_command_line() {
    let cases = [
        (
            "resource/cpu,request=50m,limit=100m",
            json!({"request": "50m", "limit": "100m"}),
        ),
        (
            "resource/block-iops,default=true,limit=1000",
            json!({"default": true, "limit": "1000"}),
        ),
        ("os/linux/no-new-privileges,true", json!(true)),
        ("os/linux/oom-score-adj,-10", json!(-10)),
        (
            "os/linux/seccomp-retain-set,set=read+write,errno=EPERM",
            json!({"set": ["read", "write"], "errno": "EPERM"}),
        ),
        ("example.com/own,some text", json!("some text")),
    ];
    for (text, value) in cases {
        let isolator = Isolator::from_parameters(text).unwrap();
        assert_eq!(isolator.value(), &value, "{text}");
    }
    for text in [
        "",
        "resource/cpu,limit=lots",
        "resource/cpu,limit",
        "os/linux/no-new-privileges",
        "BAD,x=y",
    ] {
        assert!(Isolator::from_parameters(text).is_err(), "{text}");
    }
}
