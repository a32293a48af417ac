//! Where the programs of the standard stack come from.

use std::path::Path;
use std::process::Command;

use crate::harness::{Directory, repository};

/// An apt that knows these archives, each by address and label, from a source in one of its two formats.
struct Apt(Directory);

impl Apt {
    fn new() -> Self {
        let apt = Self(Directory::new());
        for directory in ["lists/partial", "parts"] {
            std::fs::create_dir_all(apt.path().join(directory)).expect("a directory");
        }
        let own = apt.path().display();
        let config = format!(
            "Dir::Etc::sourcelist \"{own}/sources.list\";\nDir::Etc::sourceparts \"{own}/parts\";\nDir::State::lists \"{own}/lists\";\n"
        );
        std::fs::write(apt.path().join("apt.conf"), config).expect("apt.conf");
        apt
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// What `apt-get update` has brought from an archive.
    fn updated(self, archive: &str, origin: &str, label: &str) -> Self {
        let index = "main/binary-amd64/Packages\n main/binary-arm64/Packages";
        let sums = index.replace("main/", &format!("{:064} 0 main/", 0));
        let release = format!(
            "Origin: {origin}\nLabel: {label}\nSuite: stable\nCodename: trixie\nArchitectures: all amd64 arm64\nComponents: main\nSHA256:\n {sums}\n"
        );
        let start = format!("lists/{}_dists_trixie_", archive.replace('/', "_"));
        let write = |end: &str, text: &str| {
            std::fs::write(self.path().join(format!("{start}{end}")), text).expect("a list");
        };
        write("InRelease", &release);
        for architecture in ["amd64", "arm64"] {
            write(&format!("main_binary-{architecture}_Packages"), "");
        }
        self
    }

    fn source(self, file: &str, text: &str) -> Self {
        std::fs::write(self.path().join(file), text).expect("a source");
        self
    }

    fn mirror(&self, chosen: &str) -> (bool, String) {
        let output = Command::new(repository("deploy/tools/debian-mirror.sh"))
            .env("APT_CONFIG", self.path().join("apt.conf"))
            .env("OMNITRACE_DEBIAN_MIRROR", chosen)
            .output()
            .expect("debian-mirror.sh");
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&said).trim().to_owned(),
        )
    }
}

const OTHERS: &str = "deb http://packages.example/linux/debian trixie main\n\
    deb http://security.example/debian-security trixie main\n";

fn with_others() -> Apt {
    Apt::new()
        .updated("packages.example/linux/debian", "Somebody", "Somebody's")
        .updated(
            "security.example/debian-security",
            "Debian",
            "Debian-Security",
        )
        .updated("mirror.example/debian", "Debian", "Debian")
}

#[test]
#[ignore = "needs apt-get: just test-stack"]
fn the_debian_mirror_is_the_one_of_the_machine() {
    let found = (true, "http://mirror.example/debian".to_owned());
    let list = format!("{OTHERS}deb http://mirror.example/debian/ trixie main\n");
    assert_eq!(
        with_others().source("sources.list", &list).mirror(""),
        found
    );
    let deb822 =
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: trixie\nComponents: main\n";
    let apt = with_others()
        .source("sources.list", OTHERS)
        .source("parts/debian.sources", deb822);
    assert_eq!(apt.mirror(""), found);
    let chosen = (true, "http://chosen.example/debian".to_owned());
    assert_eq!(apt.mirror("http://chosen.example/debian/"), chosen);
}

#[test]
#[ignore = "needs apt-get: just test-stack"]
fn without_a_debian_mirror_the_way_out_is_told() {
    let (found, said) = with_others().source("sources.list", OTHERS).mirror("");
    assert!(!found, "{said}");
    for way_out in ["apt-get update", "OMNITRACE_DEBIAN_MIRROR"] {
        assert!(said.contains(way_out), "{said}");
    }
}
