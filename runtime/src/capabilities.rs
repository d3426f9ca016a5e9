//! The privileges that an app keeps (appc spec, ace.md, "Linux Isolators").

use std::collections::BTreeSet;

use caps::{CapSet, Capability};
use dhow_image::{App, Isolator, IsolatorSetting, Name};

use crate::PodError;

const RETAIN: &str = "os/linux/capabilities-retain-set";
const REMOVE: &str = "os/linux/capabilities-remove-set";
const NO_NEW_PRIVILEGES: &str = "os/linux/no-new-privileges";

/// What an app without an isolator keeps (ace.md, "os/linux/capabilities-remove-set").
const DEFAULT: [Capability; 14] = [
    Capability::CAP_AUDIT_WRITE,
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FSETID,
    Capability::CAP_FOWNER,
    Capability::CAP_KILL,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_RAW,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SETUID,
    Capability::CAP_SETGID,
    Capability::CAP_SETPCAP,
    Capability::CAP_SETFCAP,
    Capability::CAP_SYS_CHROOT,
];

/// What an app may do beyond what any program may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Privileges {
    /// Its bounding set, by the kernel's numbers.
    pub(crate) bounding: BTreeSet<u8>,
    /// Whether set-user-ID programs and file capabilities are without effect.
    pub(crate) no_new_privileges: bool,
}

impl Privileges {
    /// Reads the isolators of `app`.
    pub(crate) fn of(app: &App) -> Result<Self, PodError> {
        let set = |name: &str| {
            app.isolator(name).and_then(|isolator| match isolator.setting() {
                IsolatorSetting::CapabilitiesRetain(set) | IsolatorSetting::CapabilitiesRemove(set) => Some(set),
                _ => None,
            })
        };
        let bounding = match (set(RETAIN), set(REMOVE)) {
            (Some(_), Some(_)) => {
                return Err(PodError::request(format!(
                    "`{RETAIN}` and `{REMOVE}` cannot be used together"
                )));
            }
            (Some(retain), None) => numbers(retain)?,
            (None, Some(remove)) => &BTreeSet::from(DEFAULT.map(number)) - &numbers(remove)?,
            (None, None) => BTreeSet::from(DEFAULT.map(number)),
        };
        let no_new_privileges = app
            .isolator(NO_NEW_PRIVILEGES)
            .is_some_and(|isolator| *isolator.setting() == IsolatorSetting::NoNewPrivileges(true));
        Ok(Self {
            bounding,
            no_new_privileges,
        })
    }

    /// What `app` asked for that this program does not have itself and so cannot hand on.
    pub(crate) fn unavailable(app: &App) -> Vec<String> {
        let own = caps::read(None, CapSet::Bounding).unwrap_or_default();
        asked(app)
            .filter(|capability| !own.contains(capability))
            .map(|capability| capability.to_string())
            .collect()
    }

    /// What `app` asked for and gets beyond the default set: some of these are as good as root on the host.
    pub(crate) fn extraordinary(app: &App) -> Vec<String> {
        let own = caps::read(None, CapSet::Bounding).unwrap_or_default();
        asked(app)
            .filter(|capability| own.contains(capability) && !DEFAULT.contains(capability))
            .map(|capability| capability.to_string())
            .collect()
    }
}

/// The capabilities that the isolators of `app` retain.
fn asked(app: &App) -> impl Iterator<Item = Capability> {
    let asked = match app.isolator(RETAIN).map(Isolator::setting) {
        Some(IsolatorSetting::CapabilitiesRetain(set)) => numbers(set).unwrap_or_default(),
        _ => BTreeSet::new(),
    };
    caps::all()
        .into_iter()
        .filter(move |capability| asked.contains(&number(*capability)))
}

/// Replaces every capability isolator of `app`, as the flags `--caps-retain` and `--caps-remove` do.
pub(crate) fn replace_isolators(app: &mut App, retain: &[String], remove: &[String]) -> Result<(), PodError> {
    for (name, set) in [(RETAIN, retain), (REMOVE, remove)] {
        if set.is_empty() {
            continue;
        }
        numbers(set)?;
        let name = Name::new(name).expect("the spec's own name");
        let isolator = Isolator::new(name, serde_json::json!({ "set": set })).map_err(PodError::Manifest)?;
        app.replace_isolators(&[RETAIN, REMOVE], isolator);
    }
    Ok(())
}

/// Whether this program enforces such an isolator.
pub(crate) fn is_enforced(setting: &IsolatorSetting) -> bool {
    matches!(
        setting,
        IsolatorSetting::CapabilitiesRetain(_)
            | IsolatorSetting::CapabilitiesRemove(_)
            | IsolatorSetting::NoNewPrivileges(_)
    )
}

/// The capabilities of these names, by the kernel's numbers.
fn numbers(names: &[String]) -> Result<BTreeSet<u8>, PodError> {
    let parse = |name: &String| {
        let capability = name.parse::<Capability>();
        capability
            .map(number)
            .map_err(|_| PodError::request(format!("`{name}` is not a capability of Linux")))
    };
    names.iter().map(parse).collect()
}

fn number(capability: Capability) -> u8 {
    capability.index()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn app(isolators: &[(&str, Value)]) -> App {
        let mut app = App::new(vec!["/bin/true".to_owned()]);
        let isolator = |(name, value): &(&str, Value)| Isolator::new(Name::new(*name).unwrap(), value.clone()).unwrap();
        app.isolators = isolators.iter().map(isolator).collect();
        app
    }

    #[test]
    fn fourteen_are_kept_by_default() {
        let privileges = Privileges::of(&app(&[])).unwrap();
        assert_eq!(privileges.bounding.len(), 14);
        assert!(!privileges.no_new_privileges);
        assert!(
            Privileges::of(&app(&[(NO_NEW_PRIVILEGES, json!(true))]))
                .unwrap()
                .no_new_privileges
        );
    }

    #[test]
    fn sets_retain_and_remove() {
        let retained = Privileges::of(&app(&[(RETAIN, json!({"set": ["CAP_NET_ADMIN"]}))])).unwrap();
        assert_eq!(retained.bounding, BTreeSet::from([12]));
        let removed = Privileges::of(&app(&[(REMOVE, json!({"set": ["CAP_CHOWN", "CAP_SYS_ADMIN"]}))])).unwrap();
        assert_eq!(removed.bounding.len(), 13);
        assert!(!removed.bounding.contains(&0));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let both = app(&[
            (RETAIN, json!({"set": ["CAP_CHOWN"]})),
            (REMOVE, json!({"set": ["CAP_CHOWN"]})),
        ]);
        assert!(Privileges::of(&both).unwrap_err().to_string().contains("together"));
        let unknown = app(&[(RETAIN, json!({"set": ["CAP_FLY"]}))]);
        assert_eq!(
            Privileges::of(&unknown).unwrap_err().to_string(),
            "`CAP_FLY` is not a capability of Linux"
        );
    }

    #[test]
    fn flags_replace_the_isolators_of_the_image() {
        let mut app = app(&[(REMOVE, json!({"set": ["CAP_CHOWN"]}))]);
        replace_isolators(&mut app, &["CAP_KILL".to_owned()], &[]).unwrap();
        assert_eq!(Privileges::of(&app).unwrap().bounding, BTreeSet::from([5]));
    }
}
