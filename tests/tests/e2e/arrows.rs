//! The house: which crate may use which.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use dhow_tests::workspace;

/// What each crate may use of the others. An arrow that is not here must not be drawn.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("dhow-image", &[]),
    ("dhow-trust", &["dhow-image"]),
    ("dhow-discovery", &["dhow-image", "dhow-trust"]),
    ("dhow-store", &["dhow-image"]),
    (
        "dhow-fetchers",
        &["dhow-image", "dhow-trust", "dhow-discovery", "dhow-store"],
    ),
    (
        "dhow-site",
        &["dhow-image", "dhow-trust", "dhow-discovery", "dhow-store"],
    ),
    (
        "dhow-mirror",
        &[
            "dhow-image",
            "dhow-trust",
            "dhow-discovery",
            "dhow-store",
            "dhow-fetchers",
            "dhow-site",
        ],
    ),
    ("dhow-pod", &["dhow-image", "dhow-store"]),
    (
        "dhow",
        &[
            "dhow-image",
            "dhow-trust",
            "dhow-discovery",
            "dhow-store",
            "dhow-fetchers",
            "dhow-site",
        ],
    ),
];

/// What must not be reached from a crate, however far the way: who runs images as root downloads nothing, and the
/// format, the keys and the store know no network.
const UNREACHABLE: [(&str, &[&str]); 4] = [
    (
        "dhow-pod",
        &[
            "reqwest",
            "librqbit",
            "object_store",
            "hyper",
            "tokio",
            "dhow-fetchers",
            "dhow-discovery",
        ],
    ),
    ("dhow-image", &["reqwest", "hyper", "object_store", "tokio"]),
    ("dhow-trust", &["reqwest", "hyper", "object_store", "tokio"]),
    ("dhow-store", &["reqwest", "hyper", "object_store", "tokio"]),
];

fn metadata() -> Metadata {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let options = ["--offline", "--filter-platform", &platform].map(str::to_owned);
    MetadataCommand::new()
        .manifest_path(workspace().join("Cargo.toml"))
        .other_options(options)
        .exec()
        .unwrap()
}

#[test]
fn no_forbidden_arrow_is_drawn() {
    let metadata = metadata();
    let allowed: BTreeMap<_, _> = ALLOWED.into();
    let members: BTreeSet<_> = metadata
        .workspace_packages()
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    let free = ["dhow-tests", "dhow-examples", "dhow-bench"];
    for package in metadata.workspace_packages() {
        let name = package.name.as_str();
        if free.contains(&name) {
            continue;
        }
        let allowed = allowed
            .get(name)
            .unwrap_or_else(|| panic!("`{name}` has no row in this test"));
        let used = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development);
        for used in used
            .map(|dependency| dependency.name.as_str())
            .filter(|used| members.contains(*used))
        {
            assert!(allowed.contains(&used), "`{name}` must not use `{used}`");
        }
    }
}

#[test]
fn what_must_not_be_reached_is_not() {
    let metadata = metadata();
    for (name, forbidden) in UNREACHABLE {
        for reached in reachable(&metadata, name) {
            assert!(!forbidden.contains(&reached.as_str()), "`{name}` reaches `{reached}`");
        }
    }
}

/// The names of all packages that are built into `name`.
fn reachable(metadata: &Metadata, name: &str) -> BTreeSet<String> {
    let resolve = metadata.resolve.as_ref().expect("cargo resolves the graph");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let root = metadata
        .workspace_packages()
        .into_iter()
        .find(|package| package.name == name)
        .expect("it is a member");
    let mut reached = BTreeSet::new();
    let mut waiting = vec![&root.id];
    while let Some(id) = waiting.pop() {
        if reached.insert(id) {
            let built_in = |kind: &cargo_metadata::DepKindInfo| kind.kind == DependencyKind::Normal;
            waiting.extend(
                nodes[id]
                    .deps
                    .iter()
                    .filter(|dep| dep.dep_kinds.iter().any(built_in))
                    .map(|dep| &dep.pkg),
            );
        }
    }
    reached.into_iter().map(|id| metadata[id].name.to_string()).collect()
}
