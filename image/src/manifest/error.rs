//! What can be wrong with a manifest.

use thiserror::Error;

use super::{Finding, Severity};

/// Why a manifest was refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// It is not JSON.
    #[error("the manifest cannot be read as JSON")]
    Json(#[from] serde_json::Error),
    /// It breaks rules of the specification.
    #[error("{}", invalid_text(.0))]
    Invalid(Vec<Finding>),
}

impl ManifestError {
    /// Everything that is wrong, each with the section of the specification.
    pub fn findings(&self) -> Vec<Finding> {
        match self {
            Self::Json(error) => vec![Finding {
                severity: Severity::Error,
                subject: String::new(),
                problem: format!("the manifest cannot be read as JSON: {error}"),
                section: "aci.md, \"Image Manifest\"",
            }],
            Self::Invalid(findings) => findings.clone(),
        }
    }
}

/// The first problem, and how many there are beside it.
fn invalid_text(findings: &[Finding]) -> String {
    let mut errors = findings.iter().filter(|finding| finding.severity == Severity::Error);
    let first = match errors.next() {
        Some(finding) if finding.subject.is_empty() => finding.problem.clone(),
        Some(finding) => format!("the manifest's {finding}"),
        None => "the manifest is not valid".to_owned(),
    };
    match errors.count() {
        0 => first,
        1 => format!("{first} (and one more thing is wrong, which `dhow validate` names)"),
        more => format!("{first} (and {more} more things are wrong, which `dhow validate` names)"),
    }
}
