//! `omnitrace reset`: what was written goes, what is others' stays.

use crate::cli::run;
use crate::harness::{Child, Directory, Up, omnitrace};

#[tokio::test]
async fn what_up_has_written_is_named_and_then_removed_and_nothing_else() {
    let directory = Directory::new();
    let mut command = Up::command(&directory);
    command.env_remove("DATABASE_URL");
    let mut up = Up {
        child: Child::spawn("up", command),
        directory,
    };
    up.ready().await;
    {
        let here = Some(&up.directory);
        let (code, _, complained) = run(omnitrace(["reset", "--yes"]), here).await;
        assert_eq!(code, 1);
        assert!(complained.contains("`omnitrace stop`"), "{complained}");
    }
    assert_eq!(up.stop().await.code(), Some(0), "{}", up.child.output());

    let here = Some(&up.directory);
    let (data, own) = (up.directory.data(), up.directory.data().join("notes.txt"));
    std::fs::write(&own, "of the user").expect("a file");
    let (code, said, complained) = run(omnitrace(["reset"]), here).await;
    assert_eq!(code, 1, "{said}");
    assert!(complained.contains("--yes"), "{complained}");
    for name in ["postgres", "logs", "herald", "up.lock"] {
        assert!(
            said.contains(&format!(".omnitrace/{name}")),
            "{name}: {said}"
        );
        assert!(data.join(name).exists(), "{name}");
    }

    let (code, said, complained) = run(omnitrace(["reset", "--yes"]), here).await;
    assert_eq!(code, 0, "{complained}");
    assert!(said.contains("the rest stays"), "{said}");
    let left: Vec<_> = data.read_dir().expect("it").flatten().collect();
    assert_eq!(left.len(), 1, "{left:?}");
    std::fs::remove_file(own).expect("still there");
    std::fs::write(data.join("up.lock"), "").expect("what a stack leaves");
    let (code, ..) = run(omnitrace(["reset", "--yes"]), here).await;
    assert_eq!(code, 0);
    assert!(!data.exists());
    let (code, said, _) = run(omnitrace(["reset", "--yes"]), here).await;
    assert_eq!((code, said.as_str()), (0, "nothing to remove"));
}

#[tokio::test]
async fn directories_of_these_names_that_no_stack_has_written_stay() {
    let directory = Directory::new();
    let file = directory.data().join("logs/mine.log");
    std::fs::create_dir_all(file.parent().expect("logs")).expect("a directory");
    std::fs::write(&file, "of the user").expect("a file");
    let (code, said, complained) = run(omnitrace(["reset", "--yes"]), Some(&directory)).await;
    assert_eq!(
        (code, said.as_str()),
        (0, "nothing to remove"),
        "{complained}"
    );
    assert!(file.exists());
    assert!(!directory.data().join("up.lock").exists());
}

#[tokio::test]
async fn with_all_what_was_downloaded_goes_too() {
    let directory = Directory::new();
    let cache = directory.path().join("cache");
    for name in [
        "postgresql-18.6.0-linux-amd64/bin",
        ".unpacking-1",
        "tools/bin",
        "postgresql-16-my-own",
    ] {
        std::fs::create_dir_all(cache.join(name)).expect("a directory");
    }
    let reset = |all: bool| {
        let mut command = omnitrace(["reset", "--yes"]);
        command.env("OMNITRACE_CACHE_DIR", &cache);
        command.args(all.then_some("--all"));
        run(command, Some(&directory))
    };
    assert_eq!(reset(false).await.1, "nothing to remove");
    let (code, said, complained) = reset(true).await;
    assert_eq!(code, 0, "{complained}");
    assert!(
        said.contains("cache/postgresql-18.6.0-linux-amd64"),
        "{said}"
    );
    let left: Vec<_> = cache.read_dir().expect("it").flatten().collect();
    assert_eq!(left.len(), 2, "tools and another's server: {left:?}");
}
