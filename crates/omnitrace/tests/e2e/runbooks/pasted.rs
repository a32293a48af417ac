//! Every block of every page, pasted from its first line to its last.

use std::process::{Command, Output};

use super::pages::{Page, pages};
use crate::harness::{Child, Directory, Up, eventually, repository};

/// What is only read here, and why: page, beginning of the block.
const NOT_PASTED: [(&str, &str, &str); 1] = [(
    "CertificateExpiring",
    "address=",
    "Grafana's address: no TLS listener is here",
)];

/// A shell as a person has it at the repository's root; `just` is the script that it would call.
fn shell(text: &str, variables: &[(&str, &str)]) -> Output {
    let prelude = "just() { deploy/stack.sh \"$@\"; }\nset -e\n";
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &format!("{prelude}{text}")])
        .current_dir(repository(""))
        .envs(variables.iter().copied());
    shell.output().expect("bash")
}

/// The blocks of a page one after the other in one shell: a later one may use what an earlier one has set.
fn script(page: &Page) -> String {
    let excused = |text: &String| {
        let mut excuses = NOT_PASTED.iter();
        excuses.any(|(name, begins, _)| *name == page.name && text.starts_with(begins))
    };
    let blocks = page.commands().into_iter().filter(|text| !excused(text));
    blocks.collect()
}

fn fine(what: &str, script: &str, output: &Output) {
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{what}\n{script}\n{said}\n{complained}"
    );
}

/// Every page as it is, and its queries, on the stack that `variables` lead to.
async fn paste_all(variables: &[(&str, &str)], gateway: &str) {
    for page in pages() {
        eventually("every part is well", async || {
            shell("just health", variables)
                .status
                .success()
                .then_some(())
        })
        .await;
        let script = script(&page).replace("http://127.0.0.1:8080", gateway);
        let started = std::time::Instant::now();
        fine(&page.name, &script, &shell(&script, variables));
        eprintln!("{} {:.1} s", page.name, started.elapsed().as_secs_f64());
        for (language, option) in [("promql", ""), ("logql", "--logs")] {
            let queries = page.queries(language);
            if !queries.is_empty() {
                let script = format!(
                    "just query {option} <<'QUERIES'\n{}\nQUERIES",
                    queries.join("\n")
                );
                fine(&page.name, &script, &shell(&script, variables));
            }
        }
    }
}

#[tokio::test]
#[ignore = "takes minutes, with many restarts: just test-stack"]
async fn stack_runbooks_every_block_works_without_docker() {
    let directory = Directory::new();
    let child = Child::spawn("up", Up::command(&directory));
    let mut up = Up { child, directory };
    let ready = up.ready().await;
    let gateway = ready["gateway_url"]
        .as_str()
        .expect("an address")
        .to_owned();
    let data = up.directory.data().display().to_string();
    // No stack of Compose is meant, whatever else runs on this machine.
    let nothing = up.directory.path().join(".env").display().to_string();
    let variables = [
        ("OMNITRACE_DATA_DIR", &*data),
        ("OMNITRACE_ENV_FILE", &*nothing),
        ("USER", "ada"),
    ];
    paste_all(&variables, &gateway).await;
    assert!(up.stop().await.success());
}

/// Started by .ci/compose-up.sh when its stack runs.
#[tokio::test]
#[ignore = "needs a running stack on Docker Compose: just test-compose-up"]
async fn on_compose_every_block_works() {
    let port = std::env::var("GATEWAY_PORT").expect("GATEWAY_PORT: started by compose-up.sh");
    paste_all(&[], &format!("http://127.0.0.1:{port}")).await;
}

#[test]
fn a_command_says_how_to_start_what_does_not_run() {
    let directory = Directory::new();
    let (data, settings) = (directory.data(), directory.path().join(".env"));
    let variables = [
        ("OMNITRACE_DATA_DIR", data.to_str().expect("text")),
        ("OMNITRACE_ENV_FILE", settings.to_str().expect("text")),
    ];
    // Left by one that was killed: nobody holds it.
    std::fs::create_dir(&data).expect("a directory");
    std::fs::write(data.join("up.lock"), "1").expect("a lock");
    for command in [
        "restart data",
        "reload",
        "rollback data",
        "query up",
        "logs",
    ] {
        let output = shell(&format!("just {command}"), &variables);
        let complained = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{command}");
        let expected = "nothing runs here. Start it: 'just up' with Docker, 'just demo' without";
        assert!(complained.contains(expected), "{command}: {complained}");
    }
}
