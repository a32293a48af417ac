//! The name of a build. Two builds of one version have two names, so that each is a release of its own.

use std::path::Path;
use std::process::Command;

/// What is given (the tag of the image that is built), else version and revision. A name may be the tag of an image.
pub fn name(version: &str, given: &str, revision: Option<&str>) -> String {
    match (given, revision) {
        ("", Some(revision)) => format!("{version}-{revision}"),
        ("", None) => version.to_owned(),
        _ => given.to_owned(),
    }
}

/// The git revision that is checked out, 12 digits of it; none without git, or outside of a repository.
pub fn revision(directory: &Path) -> Option<String> {
    let revision = git(directory, &["rev-parse", "--short=12", "HEAD"])?;
    let is_one = revision.len() >= 12 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then_some(revision)
}

/// The file that git writes whenever another revision is checked out.
pub fn changes(directory: &Path) -> Option<String> {
    git(
        directory,
        &[
            "rev-parse",
            "--path-format=absolute",
            "--git-path",
            "logs/HEAD",
        ],
    )
}

/// What git says, if it says anything.
fn git(directory: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(arguments)
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty()).then(|| text.to_owned())
}
