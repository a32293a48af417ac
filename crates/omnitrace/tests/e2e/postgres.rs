//! Where Postgres comes from: `DATABASE_URL`, the machine, a download, or a clear error.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use sqlx::{Connection, PgConnection};

use crate::harness::{Child, Directory, Signal, Up, database, omnitrace};

/// `omnitrace postgres`, started in `directory`.
fn postgres(directory: &Directory) -> Command {
    let mut command = omnitrace(["postgres", "--data-dir", ".omnitrace"]);
    command
        .current_dir(directory.path())
        .env_remove("OMNITRACE_POSTGRES");
    command
}

async fn listening(command: Command) -> (Child, Value) {
    let mut child = Child::spawn("postgres", command);
    let line = child.listening().await.line;
    (child, line)
}

async fn server_version(url: &Value) -> String {
    let mut connection = PgConnection::connect(url.as_str().unwrap()).await.unwrap();
    sqlx::query_scalar("SHOW server_version")
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

async fn ends_with_error(command: Command) -> String {
    let mut child = Child::spawn("postgres", command);
    assert_eq!(child.wait().await.code(), Some(1), "{}", child.output());
    child.stderr().join("\n")
}

#[tokio::test]
async fn of_the_users_own_database_only_the_schema_omnitrace_is_touched() {
    let database = database().await;
    let mut connection = database.connect().await;
    sqlx::raw_sql("CREATE TABLE public.orders (id int); INSERT INTO public.orders VALUES (7)")
        .execute(&mut connection)
        .await
        .unwrap();
    let before = outside_our_schema(&mut connection).await;

    let mut up = Up::start_with(Directory::new(), &database, |command| {
        command
            .arg("--no-console")
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
            .env("OTEL_SDK_DISABLED", "true")
    })
    .await;
    let started = up.started("postgres").await;
    up.ready().await;
    assert_eq!(up.stop().await.code(), Some(0));

    assert_eq!(outside_our_schema(&mut connection).await, before);
    let ours: i64 =
        sqlx::query_scalar("SELECT count(*) FROM pg_tables WHERE schemaname = 'omnitrace'")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert!(ours > 0);
    let url = url::Url::parse(&database.url).unwrap();
    assert_eq!(
        started["host"],
        format!("127.0.0.1:{}", url.port().unwrap())
    );
    assert!(
        !up.child.output().contains(url.password().unwrap()),
        "the password is printed:\n{}",
        up.child.output()
    );
    let logs = std::fs::read_dir(up.directory.data().join("logs")).unwrap();
    for log in logs {
        let text = std::fs::read_to_string(log.unwrap().path()).unwrap();
        assert!(
            !text.contains(url.password().unwrap()),
            "the password is logged:\n{text}"
        );
    }
}

/// Everything in the database that is neither Postgres's own nor in the schema `omnitrace`; and all roles and databases.
async fn outside_our_schema(connection: &mut PgConnection) -> Vec<String> {
    let objects = "SELECT n.nspname || '.' || c.relname || ' ' || c.relkind::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                   WHERE n.nspname NOT IN ('omnitrace', 'pg_catalog', 'information_schema', 'pg_toast') \
                   UNION ALL SELECT nspname FROM pg_namespace WHERE nspname NOT IN ('omnitrace') AND nspname NOT LIKE 'pg_temp%' AND nspname NOT LIKE 'pg_toast_temp%' \
                   UNION ALL SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public' \
                   UNION ALL SELECT extname FROM pg_extension UNION ALL SELECT rolname FROM pg_roles \
                   UNION ALL SELECT id::text FROM public.orders ORDER BY 1";
    sqlx::query_scalar(objects)
        .fetch_all(connection)
        .await
        .unwrap()
}

#[tokio::test]
async fn a_database_url_that_does_not_work_names_the_host_and_not_the_password() {
    let mut command = postgres(&Directory::new());
    command
        .current_dir("/")
        .env("DATABASE_URL", "postgres://me:hunter2@127.0.0.1:1/shop");
    let said = ends_with_error(command).await;
    assert!(
        said.contains("DATABASE_URL") && said.contains("127.0.0.1:1"),
        "{said}"
    );
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn binaries_on_the_path_are_used_before_anything_is_downloaded() {
    let directory = Directory::new();
    let (mut any, line) = listening(postgres(&directory)).await;
    any.terminate().await;

    let mut command = postgres(&directory);
    command
        .env("OMNITRACE_POSTGRES", "system")
        .env("PATH", line["bin"].as_str().unwrap())
        .env("OMNITRACE_POSTGRES_URL", "http://127.0.0.1:1");
    let (mut found, found_line) = listening(command).await;
    assert_eq!(
        (&found_line["source"], &found_line["bin"]),
        (&Value::from("system"), &line["bin"])
    );
    assert!(
        server_version(&found_line["database_url"])
            .await
            .starts_with(found_line["version"].as_str().unwrap())
    );
    assert_eq!(found.terminate().await.code(), Some(0));
    directory.deserted().await;
}

#[tokio::test]
async fn two_processes_download_at_once_into_a_fresh_cache_and_both_run() {
    let cache = Directory::new();
    let (first, second) = (Directory::new(), Directory::new());
    let downloading = |directory: &Directory| {
        let mut command = postgres(directory);
        command
            .env("OMNITRACE_POSTGRES", "download")
            .env("OMNITRACE_CACHE_DIR", cache.path());
        command
    };
    let ((mut one, one_line), (mut two, two_line)) = tokio::join!(
        listening(downloading(&first)),
        listening(downloading(&second))
    );
    for line in [&one_line, &two_line] {
        assert_eq!(
            (&line["source"], &line["version"]),
            (&Value::from("download"), &Value::from("18.6"))
        );
        assert!(
            server_version(&line["database_url"])
                .await
                .starts_with("18.6")
        );
    }
    let said = [one.stdout(), two.stdout()].concat().join("\n");
    assert_eq!(
        said.matches("downloading PostgreSQL 18.6.0 from ").count(),
        1,
        "{said}"
    );
    assert_eq!(one.terminate().await.code(), Some(0));
    assert_eq!(two.terminate().await.code(), Some(0));

    // The next one needs no network.
    let mut command = downloading(&first);
    command.env("OMNITRACE_POSTGRES_URL", "http://127.0.0.1:1");
    let (mut again, _) = listening(command).await;
    assert_eq!(again.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn a_download_that_was_killed_leaves_nothing_that_looks_like_an_installation() {
    let (directory, cache) = (Directory::new(), Directory::new());
    let mirror = Mirror::start(Answer::HalfThenSilence);
    let mut command = postgres(&directory);
    command
        .env("OMNITRACE_POSTGRES", "download")
        .env("OMNITRACE_CACHE_DIR", cache.path())
        .env("OMNITRACE_POSTGRES_URL", mirror.url());
    let mut child = Child::spawn("postgres", command);
    child.line("downloading PostgreSQL").await;
    child.signal(Signal::SIGKILL);
    child.wait().await;
    // As if it had been killed while unpacking.
    std::fs::create_dir_all(cache.path().join(".unpacking-0123/postgresql/bin")).unwrap();

    let mut command = postgres(&directory);
    command
        .env("OMNITRACE_POSTGRES", "download")
        .env("OMNITRACE_CACHE_DIR", cache.path());
    let (mut child, line) = listening(command).await;
    assert_eq!(line["source"], "download");
    assert!(!cache.path().join(".unpacking-0123").exists());
    assert_eq!(child.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn an_archive_with_another_checksum_is_not_used() {
    let (directory, cache) = (Directory::new(), Directory::new());
    let mirror = Mirror::start(Answer::Whole);
    let mut command = postgres(&directory);
    command
        .env("OMNITRACE_POSTGRES", "download")
        .env("OMNITRACE_CACHE_DIR", cache.path())
        .env("OMNITRACE_POSTGRES_URL", mirror.url());
    let said = ends_with_error(command).await;
    assert!(said.contains("checksum"), "{said}");
    assert!(said.contains("apt-get install postgresql"), "{said}");
}

#[tokio::test]
async fn without_a_server_and_without_a_download_the_error_names_the_package() {
    let (directory, cache) = (Directory::new(), Directory::new());
    let mut command = postgres(&directory);
    command
        .env("PATH", "")
        .env("OMNITRACE_POSTGRES", "download")
        .env("OMNITRACE_CACHE_DIR", cache.path())
        .env("OMNITRACE_POSTGRES_URL", "http://127.0.0.1:1");
    let said = ends_with_error(command).await;
    assert!(
        said.contains("no PostgreSQL server to run") && said.contains("apt-get install postgresql"),
        "{said}"
    );
    assert!(said.contains("DATABASE_URL=postgres://"), "{said}");
}

#[tokio::test]
async fn an_unknown_choice_lists_those_that_exist() {
    let directory = Directory::new();
    let mut command = postgres(&directory);
    command.env("OMNITRACE_POSTGRES", "mysql");
    let said = ends_with_error(command).await;
    assert!(
        said.contains("OMNITRACE_POSTGRES: got \"mysql\"; allowed: auto"),
        "{said}"
    );
}

#[tokio::test]
async fn the_server_never_runs_as_root_and_wants_a_password() {
    let directory = Directory::new();
    let (mut child, line) = listening(postgres(&directory)).await;
    let data = Path::new(line["data"].as_str().unwrap());
    let owner = std::fs::metadata(data).unwrap();
    assert_ne!(owner.uid(), 0);
    assert_eq!(
        owner.permissions().mode() & 0o077,
        0,
        "the data directory is private"
    );
    let server = directory
        .processes()
        .into_iter()
        .find(|process| process.contains("postgres -D "))
        .expect("the server");
    let process = server.split(' ').next().unwrap();
    assert_eq!(std::fs::metadata(process).unwrap().uid(), owner.uid());
    if nix::unistd::geteuid().is_root() {
        assert!(
            ["postgres", "nobody"].contains(&line["user"].as_str().unwrap()),
            "{line}"
        );
    }

    let mut url = url::Url::parse(line["database_url"].as_str().unwrap()).unwrap();
    url.set_password(Some("guess")).unwrap();
    let refused = PgConnection::connect(url.as_str())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("password authentication failed"),
        "{refused}"
    );
    assert_eq!(child.terminate().await.code(), Some(0));
}

#[tokio::test]
async fn as_root_a_directory_that_the_server_may_not_enter_is_replaced() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = Directory::new();
    std::fs::set_permissions(directory.path(), PermissionsExt::from_mode(0o700)).unwrap();
    let mut command = postgres(&directory);
    command.arg("--ephemeral");
    let (mut child, line) = listening(command).await;
    let data = line["data"].as_str().unwrap().to_owned();
    assert!(data.starts_with("/var/lib/omnitrace/"), "{data}");
    assert!(
        child.output().contains("which may not enter"),
        "{}",
        child.output()
    );
    assert_eq!(child.terminate().await.code(), Some(0));
    assert!(
        !Path::new(&data).exists(),
        "--ephemeral removes it at the end"
    );
}

enum Answer {
    HalfThenSilence,
    Whole,
}

/// A Maven repository that gives every request the same 1000 wrong bytes, or half of them.
struct Mirror {
    listener: TcpListener,
}

impl Mirror {
    fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let accepting = listener.try_clone().unwrap();
        std::thread::spawn(move || {
            let mut open = Vec::new();
            for stream in accepting.incoming() {
                let Ok(mut stream) = stream else { break };
                respond(&mut stream, &answer);
                open.push(stream);
            }
        });
        Self { listener }
    }

    fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }
}

fn respond(stream: &mut TcpStream, answer: &Answer) {
    BufReader::new(&*stream).read_line(&mut String::new()).ok();
    let sent = match answer {
        Answer::HalfThenSilence => 500,
        Answer::Whole => 1000,
    };
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        .ok();
    stream.write_all(&vec![b'x'; sent]).ok();
}
