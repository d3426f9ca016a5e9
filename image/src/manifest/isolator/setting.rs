//! What the parameters of each defined isolator mean.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::manifest::{
    Quantity,
    reading::{Fields, Readable, Reading, read_number},
};

/// The parameters of an isolator, by its name.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum IsolatorSetting {
    /// `resource/block-bandwidth`: bytes read or written per second.
    BlockBandwidth(Quantity),
    /// `resource/block-iops`: operations per second.
    BlockIops(Quantity),
    /// `resource/network-bandwidth`: bytes per second.
    NetworkBandwidth(Quantity),
    /// `resource/cpu`: cores.
    Cpu(Resource),
    /// `resource/memory`: bytes.
    Memory(Resource),
    /// `os/linux/capabilities-retain-set`: the capabilities that are kept.
    CapabilitiesRetain(Vec<String>),
    /// `os/linux/capabilities-remove-set`: those taken away of the default ones.
    CapabilitiesRemove(Vec<String>),
    /// `os/linux/seccomp-retain-set`: the system calls that are allowed.
    SeccompRetain(SeccompSet),
    /// `os/linux/seccomp-remove-set`: the system calls that are blocked.
    SeccompRemove(SeccompSet),
    /// `os/linux/selinux-context`.
    SelinuxContext(SelinuxContext),
    /// `os/linux/apparmor-profile`: the name of a profile that the host has loaded.
    ApparmorProfile(String),
    /// `os/linux/no-new-privileges`.
    NoNewPrivileges(bool),
    /// `os/linux/oom-score-adj`: -1000 to 1000.
    OomScoreAdj(i16),
    /// `os/linux/cpu-shares`: 2 to 262144.
    CpuShares(u32),
    /// `os/unix/sysctl`: kernel parameters and their values.
    Sysctl(BTreeMap<String, String>),
    /// An isolator that the specification does not define.
    Unknown,
}

/// How much of a resource is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// What is guaranteed; as much as the limit, where absent.
    pub request: Option<Quantity>,
    /// What is never exceeded.
    pub limit: Option<Quantity>,
}

/// A list of system calls, and what happens to a blocked one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeccompSet {
    /// Names of system calls, or wildcards as in `@appc.io/all`. Never empty.
    pub set: Vec<String>,
    /// The error that a blocked call returns, as in `EPERM`; where absent, it ends the app.
    pub errno: Option<String>,
}

/// The parts of an SELinux context. None is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelinuxContext {
    /// The user.
    pub user: String,
    /// The role.
    pub role: String,
    /// The type, or domain.
    pub kind: String,
    /// The level, which may hold colons.
    pub level: String,
}

/// Reads the parameters of the isolator called `name`.
pub(super) fn read(name: &str, value: Value, reading: &mut Reading) -> Option<IsolatorSetting> {
    use IsolatorSetting as Setting;
    let resources = "ace.md, \"Resource Isolators\"";
    let linux = "ace.md, \"Linux Isolators\"";
    match name {
        "resource/block-bandwidth" => reading
            .by(resources, |r| read_default(value, r))
            .map(Setting::BlockBandwidth),
        "resource/block-iops" => reading
            .by(resources, |r| read_default(value, r))
            .map(Setting::BlockIops),
        "resource/network-bandwidth" => reading
            .by(resources, |r| read_default(value, r))
            .map(Setting::NetworkBandwidth),
        "resource/cpu" => reading.by(resources, |r| read_resource(value, r)).map(Setting::Cpu),
        "resource/memory" => reading.by(resources, |r| read_resource(value, r)).map(Setting::Memory),
        "os/linux/capabilities-retain-set" => reading
            .by(linux, |r| read_capabilities(value, r))
            .map(Setting::CapabilitiesRetain),
        "os/linux/capabilities-remove-set" => reading
            .by(linux, |r| read_capabilities(value, r))
            .map(Setting::CapabilitiesRemove),
        "os/linux/seccomp-retain-set" => reading
            .by(linux, |r| read_seccomp(value, r))
            .map(Setting::SeccompRetain),
        "os/linux/seccomp-remove-set" => reading
            .by(linux, |r| read_seccomp(value, r))
            .map(Setting::SeccompRemove),
        "os/linux/selinux-context" => reading
            .by(linux, |r| read_selinux(value, r))
            .map(Setting::SelinuxContext),
        "os/linux/apparmor-profile" => reading
            .by(linux, |r| read_apparmor(value, r))
            .map(Setting::ApparmorProfile),
        "os/linux/no-new-privileges" => reading
            .by(linux, |r| bool::read(value, r))
            .map(Setting::NoNewPrivileges),
        // ace.md does not describe these two; the specification's own implementation does (isolator_linux_specific.go).
        "os/linux/oom-score-adj" => {
            let score = reading.by(linux, |r| read_number(&value, -1000, 1000, r))?;
            Some(Setting::OomScoreAdj(i16::try_from(score).expect("it is at most 1000")))
        }
        "os/linux/cpu-shares" => {
            let shares = reading.by(linux, |r| read_number(&value, 2, 262_144, r))?;
            Some(Setting::CpuShares(u32::try_from(shares).expect("it is at most 262144")))
        }
        "os/unix/sysctl" => reading
            .by("ace.md, \"Unix Isolators\"", |r| BTreeMap::read(value, r))
            .map(Setting::Sysctl),
        _ => Some(Setting::Unknown),
    }
}

/// A limit for all devices or interfaces, which is what `default` says.
fn read_default(value: Value, reading: &mut Reading) -> Option<Quantity> {
    let mut fields = Fields::of(value, reading)?;
    if fields.required("default", reading) == Some(false) {
        reading.at("default", |reading| reading.error("must be `true`"));
    }
    if fields.optional::<Quantity>("request", reading).is_some() {
        reading.at("request", |reading| reading.error("has no meaning for this resource"));
    }
    let limit = fields.required("limit", reading);
    fields.rest(reading);
    not_negative("limit", limit?, reading)
}

fn read_resource(value: Value, reading: &mut Reading) -> Option<Resource> {
    let mut fields = Fields::of(value, reading)?;
    if fields.optional("default", reading) == Some(true) {
        reading.at("default", |reading| reading.error("has no meaning for this resource"));
    }
    if !fields.has("request") && !fields.has("limit") {
        reading.warning("has neither `request` nor `limit`, so it says nothing");
    }
    let resource = Resource {
        request: fields.optional("request", reading),
        limit: fields.optional("limit", reading),
    };
    fields.rest(reading);
    for (name, amount) in [("request", resource.request), ("limit", resource.limit)] {
        if let Some(amount) = amount {
            not_negative(name, amount, reading);
        }
    }
    Some(resource)
}

fn not_negative(name: &str, amount: Quantity, reading: &mut Reading) -> Option<Quantity> {
    if amount < -amount {
        reading.at(name, |reading| {
            reading.error(format!("is `{amount}`, and no resource is negative"))
        });
        return None;
    }
    Some(amount)
}

fn read_capabilities(value: Value, reading: &mut Reading) -> Option<Vec<String>> {
    let mut fields = Fields::of(value, reading)?;
    let set = read_set(&mut fields, reading);
    fields.rest(reading);
    let set = set?;
    for name in set.iter().filter(|name| !name.starts_with("CAP_")) {
        reading.at("set", |reading| {
            reading.warning(format!("has `{name}`; the names of capabilities begin with `CAP_`"));
        });
    }
    Some(set)
}

fn read_seccomp(value: Value, reading: &mut Reading) -> Option<SeccompSet> {
    let mut fields = Fields::of(value, reading)?;
    let set = read_set(&mut fields, reading);
    let errno: Option<String> = fields.optional("errno", reading);
    fields.rest(reading);
    let errno = errno.filter(|errno| !errno.is_empty());
    let is_errno = |text: &String| {
        text.starts_with('E')
            && text
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
    };
    if let Some(wrong) = errno.as_ref().filter(|errno| !is_errno(errno)) {
        reading.at("errno", |reading| {
            reading.error(format!("is `{wrong}`, which is not the name of an error as in `EPERM`"));
        });
        return None;
    }
    Some(SeccompSet { set: set?, errno })
}

fn read_set(fields: &mut Fields, reading: &mut Reading) -> Option<Vec<String>> {
    let set: Vec<String> = fields.required("set", reading)?;
    if set.is_empty() {
        reading.at("set", |reading| reading.error("is empty"));
        return None;
    }
    Some(set)
}

fn read_selinux(value: Value, reading: &mut Reading) -> Option<SelinuxContext> {
    let mut fields = Fields::of(value, reading)?;
    let mut part = |name: &str, may_have_colons: bool, reading: &mut Reading| {
        let text: String = fields.required(name, reading)?;
        if text.is_empty() || (text.contains(':') && !may_have_colons) {
            let problem = format!("is `{text}`, which is empty or has a colon");
            reading.at(name, |reading| reading.error(problem));
            return None;
        }
        Some(text)
    };
    let user = part("user", false, reading);
    let role = part("role", false, reading);
    let kind = part("type", false, reading);
    let level = part("level", true, reading);
    fields.rest(reading);
    Some(SelinuxContext {
        user: user?,
        role: role?,
        kind: kind?,
        level: level?,
    })
}

fn read_apparmor(value: Value, reading: &mut Reading) -> Option<String> {
    let mut fields = Fields::of(value, reading)?;
    let profile: Option<String> = fields.required("profile", reading);
    fields.rest(reading);
    let profile = profile?;
    if profile.is_empty() {
        reading.at("profile", |reading| reading.error("is empty"));
        return None;
    }
    Some(profile)
}
