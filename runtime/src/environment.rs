//! The environment of an app (appc spec, ace.md, "Execution Environment").

use dhow_image::{AcName, App, EnvironmentVariable};

use crate::identity::Identity;

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of the app's processes, in the order in which they are set.
///
/// The app's own replace `PATH` and what describes its user; its name and the executor's are not its to choose.
pub(crate) fn variables(name: &AcName, app: &App, identity: &Identity, term: Option<&str>) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    set(&mut variables, "PATH", PATH);
    set(&mut variables, "HOME", identity.home.as_deref().unwrap_or("/"));
    for (key, value) in [
        ("USER", identity.user_name.as_deref()),
        ("LOGNAME", identity.user_name.as_deref()),
        ("SHELL", identity.shell.as_deref()),
        ("TERM", term),
    ] {
        if let Some(value) = value {
            set(&mut variables, key, value);
        }
    }
    for variable in &app.environment {
        set(&mut variables, &variable.name, &variable.value);
    }
    set(&mut variables, "AC_APP_NAME", name.as_str());
    set(&mut variables, "container", "dhow");
    variables
}

/// Adds `variables` to those of an app; a later one replaces an earlier one of its name.
pub(crate) fn merge(into: &mut Vec<EnvironmentVariable>, variables: &[EnvironmentVariable]) {
    for variable in variables {
        match into.iter_mut().find(|present| present.name == variable.name) {
            Some(present) => present.value.clone_from(&variable.value),
            None => into.push(variable.clone()),
        }
    }
}

fn set(variables: &mut Vec<(String, String)>, name: &str, value: &str) {
    match variables.iter_mut().find(|(present, _)| present == name) {
        Some((_, present)) => value.clone_into(present),
        None => variables.push((name.to_owned(), value.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_app_replaces_what_is_its_own_only() {
        let mut app = App::new(Vec::new());
        for (name, value) in [
            ("PATH", "/bin"),
            ("AC_APP_NAME", "other"),
            ("container", "rkt"),
            ("X", "1"),
        ] {
            app.environment.push(EnvironmentVariable::new(name, value).unwrap());
        }
        let identity = Identity {
            user_name: Some("web".to_owned()),
            home: None,
            shell: None,
            ..Identity::root()
        };
        let variables = variables(&AcName::new("web").unwrap(), &app, &identity, None);
        let expected = [
            ("PATH", "/bin"),
            ("HOME", "/"),
            ("USER", "web"),
            ("LOGNAME", "web"),
            ("AC_APP_NAME", "web"),
            ("container", "dhow"),
            ("X", "1"),
        ];
        assert_eq!(
            variables,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn a_later_variable_replaces_an_earlier_one() {
        let variable = |name, value| EnvironmentVariable::new(name, value).unwrap();
        let mut variables = vec![variable("A", "1"), variable("B", "1")];
        merge(&mut variables, &[variable("A", "2"), variable("C", "3")]);
        assert_eq!(variables, [variable("A", "2"), variable("B", "1"), variable("C", "3")]);
    }
}
