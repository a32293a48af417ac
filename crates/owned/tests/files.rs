//! Which links are followed, and which files are created, replaced and removed, also while another user exchanges
//! directories.

use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2};
use owned::{Directory, Owner, Place};

const STRANGER: Option<u32> = Some(54_321);

fn root() -> (tempfile::TempDir, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().canonicalize().unwrap();
    (root, path)
}

fn mode(path: &Path) -> u32 {
    path.symlink_metadata().unwrap().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

fn is_root(untested: &str) -> bool {
    let root = Owner::of_this_process().uid == 0;
    if !root {
        eprintln!("not tested: {untested}, which only root can make");
    }
    root
}

#[test]
fn made_directories_have_the_mode_whatever_the_umask_and_existing_ones_keep_theirs() {
    let (_kept, root) = root();
    set_mode(&root, 0o701);
    Directory::make(&root.join("a/b"), 0o777).unwrap();
    Directory::make(&root.join("a/b"), 0o700).unwrap();
    let modes = ["", "a", "a/b"].map(|name| mode(&root.join(name)));
    assert_eq!(modes, [0o701, 0o777, 0o777]);

    std::fs::write(root.join("file"), "").unwrap();
    let error = Directory::make(&root.join("file/x"), 0o700).unwrap_err();
    assert!(error.to_string().contains("/file is a file"), "{error}");
    let error = Directory::make(&root.join("x".repeat(300)), 0o700).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("cannot make or open /"), "{said}");
}

/// The directory for [`under_a_umask_that_takes_all`].
const MAKE_IN: &str = "OWNED_TEST_MAKE_IN";

/// In a process of its own, because a umask belongs to the whole process; as an ordinary user, because root can read
/// everything.
#[test]
fn a_umask_that_takes_the_owners_rights_is_no_obstacle() {
    let (_kept, root) = root();
    set_mode(&root, 0o755);
    let test = root.join("test");
    std::fs::copy(std::env::current_exe().unwrap(), &test).unwrap();
    let work = root.join("work");
    std::fs::create_dir(&work).unwrap();
    let mut shell = Command::new("sh");
    if Owner::of_this_process().uid == 0 {
        std::os::unix::fs::chown(&work, STRANGER, STRANGER).unwrap();
        shell.uid(54_321).gid(54_321);
    }
    let arguments = "--ignored --exact under_a_umask_that_takes_all";
    shell.args(["-c", &format!("umask 777; exec ./test {arguments}")]);
    let output = shell.current_dir(&root).env(MAKE_IN, &work).output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    assert_eq!([mode(&work.join("a")), mode(&work.join("a/b"))], [0o750; 2]);
}

#[ignore = "the test above starts it"]
#[test]
fn under_a_umask_that_takes_all() {
    if let Some(work) = std::env::var_os(MAKE_IN) {
        Directory::make(&Path::new(&work).join("a/b"), 0o750).unwrap();
    }
}

#[test]
fn what_is_made_anew_takes_nothings_place() {
    let (_kept, root) = root();
    let directory = Directory::open(&root).unwrap();
    let made = directory.create("new", 0o700).unwrap();
    made.write_new("file", b"first").unwrap();
    let again = made.write_new("file", b"second").unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(root.join("new/file")).unwrap(), b"first");
    let again = directory.create("new", 0o700).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::AlreadyExists);

    // The name no longer belongs to the created file.
    std::fs::rename(root.join("new"), root.join("moved")).unwrap();
    std::fs::create_dir(root.join("new")).unwrap();
    std::fs::write(root.join("new/foreign"), "").unwrap();
    made.clear().unwrap();
    directory.remove_empty("new").unwrap_err();
    assert!(root.join("new/foreign").exists());
    assert_eq!(std::fs::read_dir(root.join("moved")).unwrap().count(), 0);
}

#[test]
fn an_attempt_to_write_touches_nothing_that_is_there() {
    let (_kept, root) = root();
    let names = [
        ".loadtest".to_owned(),
        format!(".try.{}", std::process::id()),
    ];
    std::fs::write(root.join(&names[0]), "kept").unwrap();
    owned::try_output(&root).unwrap();
    std::fs::write(root.join(&names[1]), "kept").unwrap();
    let error = owned::try_output(&root).unwrap_err();
    assert!(error.to_string().contains(&names[1]), "{error}");
    for name in &names {
        assert_eq!(std::fs::read(root.join(name)).unwrap(), b"kept", "{name}");
    }
    assert!(owned::try_output(&root.join("absent")).is_err());
}

#[test]
fn links_of_the_user_are_followed_on_the_way() {
    let (_kept, root) = root();
    std::fs::create_dir_all(root.join("real/deep")).unwrap();
    symlink(".//real/../real", root.join("relative")).unwrap();
    symlink(&root, root.join("root")).unwrap();
    symlink(root.join("root/relative"), root.join("absolute")).unwrap();
    symlink("circle", root.join("circle")).unwrap();
    for way in ["relative/deep", "root/real/deep", "absolute/../real/deep"] {
        let found = Directory::open(&root.join(way)).unwrap();
        assert_eq!(found.path(), root.join("real/deep"), "{way}");
    }
    let error = Directory::open(&root.join("circle/x")).unwrap_err();
    assert!(error.to_string().contains("too many links"), "{error}");
    let error = Directory::open_own(&root.join("absolute"), None).unwrap_err();
    assert!(error.to_string().contains("is a symbolic link"), "{error}");
}

#[test]
fn links_of_another_user_are_not_followed() {
    if !is_root("links of another user") {
        return;
    }
    let (_kept, root) = root();
    std::fs::create_dir_all(root.join("real/deep")).unwrap();
    symlink("real", root.join("link")).unwrap();
    lchown(root.join("link"), STRANGER, STRANGER).unwrap();
    let error = Directory::make(&root.join("link/deep/new"), 0o700).unwrap_err();
    let said = error.to_string();
    for part in [
        "/link is a symbolic link",
        "(uid 54321)",
        "chown -h 0",
        "choose another directory",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!root.join("real/deep/new").exists());
}

#[test]
fn a_second_name_is_in_the_way_of_writing_only() {
    let (_kept, root) = root();
    let path = root.join("state.json");
    std::fs::write(&path, "kept").unwrap();
    std::fs::hard_link(&path, root.join("backup")).unwrap();
    let owner = Owner::of_this_process();
    owned::open(&path, OFlag::O_RDONLY, owner).unwrap();
    for flags in [OFlag::O_WRONLY, OFlag::O_RDWR | OFlag::O_CREAT] {
        let error = owned::open(&path, flags, owner).unwrap_err();
        assert!(error.to_string().contains("2 names"), "{error}");
    }
    // Replacing a renamed file does not change the other one.
    let place = Place::of(&path, owner).unwrap();
    place.replace(b"new", 0o600, None).unwrap();
    assert_eq!(std::fs::read(root.join("backup")).unwrap(), b"kept");
}

#[test]
fn an_output_keeps_its_mode_and_its_owner() {
    let (_kept, root) = root();
    let path = root.join("rules.yml");
    owned::write_output(&path, b"first").unwrap();
    assert_eq!(mode(&path), 0o644);
    set_mode(&path, 0o640);
    if is_root("a file of another user") {
        std::os::unix::fs::chown(&path, STRANGER, STRANGER).unwrap();
    }
    let owner = path.metadata().unwrap().uid();
    owned::write_output(&path, b"2").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"2");
    assert_eq!(
        (mode(&path), path.metadata().unwrap().uid()),
        (0o640, owner)
    );
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 1);
}

#[test]
fn a_tree_is_removed_without_what_its_links_lead_to() {
    let (_kept, root) = root();
    std::fs::create_dir_all(root.join("tree/a/b")).unwrap();
    std::fs::write(root.join("tree/a/b/file"), "").unwrap();
    std::fs::create_dir(root.join("kept")).unwrap();
    std::fs::write(root.join("kept/file"), "").unwrap();
    symlink("../../kept", root.join("tree/a/link")).unwrap();
    symlink("kept", root.join("link")).unwrap();
    let directory = Directory::open(&root).unwrap();
    for name in ["tree", "link", "absent"] {
        directory.remove_tree(name).unwrap();
    }
    let left: Vec<_> = std::fs::read_dir(&root).unwrap().flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    assert!(root.join("kept/file").exists());

    let deep = root.join("deep");
    std::fs::create_dir_all(deep.join("x/".repeat(200))).unwrap();
    let error = directory.remove_tree("deep").unwrap_err();
    assert!(error.to_string().contains("/deep"), "{error}");
}

#[test]
fn where_only_the_content_can_be_changed_it_is() {
    if !is_root("a directory of another user") {
        return;
    }
    let (_kept, root) = root();
    set_mode(&root, 0o755);
    let path = root.join("mine.yml");
    std::fs::write(&path, "a longer text that was there before").unwrap();
    std::os::unix::fs::chown(&path, STRANGER, STRANGER).unwrap();
    as_stranger(|| {
        owned::write_output(&path, b"new").unwrap();
        assert!(owned::write_output(&root.join("other.yml"), b"new").is_err());
    });
    assert_eq!(std::fs::read(&path).unwrap(), b"new");
    assert_eq!(std::fs::read_dir(&root).unwrap().count(), 1);
}

/// Runs in a thread with the file permissions of another user.
fn as_stranger(work: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            nix::unistd::setfsuid(54_321.into());
            work();
        });
    });
}

/// Root's operations below a directory; each step resolves the path anew.
const STEPS: [fn(&Path, Owner) -> anyhow::Result<()>; 11] = [
    |way, _| owned::write_output(&way.join("out"), b"overwritten"),
    |way, _| Directory::make(&way.join("made/deep"), 0o755).map(drop),
    |way, _| owned::remove_empty(&way.join("made/deep")),
    |way, us| Ok(Directory::open_own(&way.join("own"), Some(0o711))?.give_to(us)?),
    |way, us| Ok(Place::of(&way.join("own/state"), us)?.replace(b"{}", 0o600, None)?),
    |way, us| Ok(Place::of(&way.join("own/state"), us)?.remove()?),
    |way, us| owned::open(&way.join("own/lock"), OFlag::O_RDWR | OFlag::O_CREAT, us).map(drop),
    |way, _| Directory::make(&way.join("tree/inner"), 0o700).map(drop),
    |way, _| Directory::open(way)?.remove_tree("tree"),
    |way, _| owned::try_output(way),
    |way, _| {
        let parent = Directory::open(way)?;
        let made = parent.create("new", 0o777)?;
        made.create("src", 0o777)?.write_new("main.rs", b"")?;
        made.clear()?;
        Ok(parent.remove_empty("new")?)
    },
];

/// `way` is a directory of another user at one moment, and that user's link to a directory of root's at the next.
#[test]
fn who_exchanges_a_directory_for_a_link_leads_root_nowhere() {
    if !is_root("links of another user") {
        return;
    }
    let (_kept, root) = root();
    std::os::unix::fs::chown(&root, STRANGER, STRANGER).unwrap();
    let target = tempfile::tempdir().unwrap();
    for name in ["tree/inner", "own", "made/deep"] {
        std::fs::create_dir_all(target.path().join(name)).unwrap();
    }
    std::fs::write(target.path().join("out"), "precious").unwrap();
    let before = listing(target.path());
    let (way, trap) = (root.join("way"), root.join("trap"));
    as_stranger(|| {
        std::fs::create_dir(&way).unwrap();
        symlink(target.path(), &trap).unwrap();
    });

    let done = AtomicBool::new(false);
    let (mut went, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            as_stranger(|| {
                while !done.load(Ordering::Relaxed) {
                    renameat2(
                        AT_FDCWD,
                        &way,
                        AT_FDCWD,
                        &trap,
                        RenameFlags::RENAME_EXCHANGE,
                    )
                    .unwrap();
                }
            });
        });
        for step in STEPS.iter().cycle().take(6_000) {
            match step(&way, Owner::of_this_process()) {
                Ok(()) => went += 1,
                Err(_) => refused += 1,
            }
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(listing(target.path()), before);
    assert!(
        went > 0 && refused > 0,
        "{went} went, {refused} were refused"
    );
}

/// Names, owners, modes, sizes of all below.
fn listing(directory: &Path) -> Vec<(PathBuf, u32, u32, u64)> {
    let mut all: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .flat_map(|entry| {
            let path = entry.unwrap().path();
            let about = path.symlink_metadata().unwrap();
            let (inner, size) = match about.is_dir() {
                true => (listing(&path), 0),
                false => (Vec::new(), about.len()),
            };
            [(path, about.uid(), about.mode(), size)]
                .into_iter()
                .chain(inner)
        })
        .collect();
    all.sort();
    all
}
