//! The name of a build.

use std::path::Path;
use std::process::Command;

#[path = "../../build/identity.rs"]
mod identity;

fn git(directory: &Path, arguments: &[&str]) {
    let mut git = Command::new("git");
    let who = ["user.name=a", "user.email=a@example.com"];
    git.arg("-C").arg(directory);
    git.args(who.iter().flat_map(|setting| ["-c", setting]));
    let output = git.args(arguments).output().expect("git");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn two_builds_of_one_version_have_two_names() {
    let directory = tempfile::tempdir().expect("a directory");
    let here = directory.path();
    assert_eq!(identity::revision(here), None, "no repository");
    assert_eq!(identity::revision(&here.join("gone")), None);
    git(here, &["init", "--quiet"]);
    assert_eq!(identity::revision(here), None, "no commit");
    let names = ["one", "two"].map(|message| {
        git(here, &["commit", "--quiet", "--allow-empty", "-m", message]);
        let revision = identity::revision(here).expect("a revision");
        identity::name("0.1.0", "", Some(&revision))
    });
    assert_ne!(names[0], names[1]);
    for name in names {
        let revision = name.strip_prefix("0.1.0-").expect("the version first");
        assert!(revision.len() >= 12 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
    let changes = identity::changes(here).expect("a file");
    assert!(Path::new(&changes).is_file(), "{changes}");
    assert_eq!(identity::name("0.1.0", "", None), "0.1.0");
    assert_eq!(identity::name("0.1.0", "1.4.2", Some("abc")), "1.4.2");
}

#[test]
fn the_program_says_which_build_it_is() {
    let mut command = crate::harness::omnitrace(["--version"]);
    let output = command.output().expect("an answer");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.trim(), concat!("omnitrace ", env!("OMNITRACE_BUILD")));
}
