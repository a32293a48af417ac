//! The game day: its scenario files; [`runs`], and what they tell ([`truth`]).

mod runs;
mod truth;

use serde_json::Value;

use crate::cli::run;
use crate::harness::{Directory, omnitrace, repository};

const TRUTH: &str = "[truth]\nservice = \"data\"\nkind = [\"down\"]\nalerts = [\"ServiceDown data\"]\naction = [\"restart data\"]\n";
const INJECT: &str = "[[inject]]\nprocess = \"sleep 600\"\n";

fn write(directory: &Directory, name: &str, text: &str) {
    let scenarios = directory.path().join("gameday");
    std::fs::create_dir_all(&scenarios).expect("a directory");
    std::fs::write(scenarios.join(name), text).expect("a file");
}

/// What `omnitrace gameday check` says of one file.
async fn checked(text: &str) -> (i32, String) {
    let directory = Directory::new();
    write(&directory, "it.toml", text);
    let (code, said, complained) = run(omnitrace(["gameday", "check"]), Some(&directory)).await;
    (code, said + &complained)
}

#[tokio::test]
async fn a_mistake_in_a_scenario_is_an_error_with_file_line_and_key() {
    let whole = format!("title = \"x\"\n{INJECT}{TRUTH}");
    assert_eq!(
        checked(&whole).await.0,
        0,
        "it is right before it is spoiled"
    );
    let cases = [
        (
            whole.replace("title", "name"),
            "line 1: ",
            "unknown field `name`",
        ),
        (whole.replace("\"x\"", "\" \""), "line 1: ", "`title`"),
        (
            whole.replace("title = \"x\"", "title = \"x\"\nload = 1001"),
            "line 2: ",
            "`load`: 1001 is not between 0 and 1000",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\nbaseline = \"soon\""),
            "line 2: ",
            "\"soon\" is no time",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\npatience = \"2h\""),
            "line 1: ",
            "`patience`: at most 15 min",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\nreplicas = { probe = 2 }"),
            "line 2: ",
            "`replicas`: probe cannot have several instances",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\nreplicas = { data = 9 }"),
            "line 2: ",
            "allowed: 1 to 8",
        ),
        (
            whole.replace(
                "title = \"x\"",
                "title = \"x\"\nnot_in = { standard = \"\" }",
            ),
            "line 2: ",
            "`not_in.standard`: say why",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\nnot_in = { cloud = \"y\" }"),
            "line 2: ",
            "unknown variant `cloud`",
        ),
        (
            whole.replace(
                "title = \"x\"",
                "title = \"x\"\nenvironment = { \"A=B\" = \"y\" }",
            ),
            "line 2: ",
            "`environment`: \"A=B\" is no variable",
        ),
        (
            whole.replace("process = \"sleep 600\"", "service = \"data\""),
            "line 2: ",
            "belong to a `fault`",
        ),
        (
            whole.replace("process = \"sleep 600\"", "fault = \"errors\""),
            "line 2: ",
            "`service` is missing",
        ),
        (
            whole.replace("process = \"sleep 600\"", "stop = \"true\""),
            "line 2: ",
            "`stop` belongs to a `start`",
        ),
        (
            whole.replace("process = \"sleep 600\"", "process = \"a\"\nload = 5"),
            "line 2: ",
            "exactly one of",
        ),
        (
            whole.replace("process = \"sleep 600\"", "load = 0"),
            "line 2: ",
            "`load`: 0 is not between 1 and 1000",
        ),
        (
            whole.replace(
                "process = \"sleep 600\"",
                "fault = \"x\"\nservice = \"data\"\nparameters = { ms = \"y\" }",
            ),
            "line 2: ",
            "ms is string, allowed is a number",
        ),
        (
            whole.replace("[\"down\"]", "[\"sad\"]"),
            "line 4: ",
            "`kind`: \"sad\" is unknown; allowed: bad_answer, ",
        ),
        (
            whole.replace("[\"down\"]", "[]"),
            "line 4: ",
            "`kind`: at least one",
        ),
        (
            whole.replace("restart data", "restart"),
            "line 4: ",
            "\"restart\" is not two words; expected such as \"restart downstream\"",
        ),
        (
            whole.replace("restart data", "pray data"),
            "line 4: ",
            "`action`: \"pray\" is unknown",
        ),
        (
            whole.replace("ServiceDown data", "ServiceDown"),
            "line 4: ",
            "`alerts`: \"ServiceDown\" is not two words",
        ),
        (
            whole.replace("title = \"x\"", "title = \"x\"\ncontrol = true"),
            "",
            "a control has none",
        ),
        (
            format!("title = \"x\"\n{INJECT}"),
            "line 1: ",
            "`truth` is missing",
        ),
        (
            format!("title = \"x\"\n{TRUTH}"),
            "line 1: ",
            "`[[inject]]` is missing",
        ),
        ("title = \"x".to_owned(), "line 1: ", ""),
    ];
    for (text, line, why) in cases {
        let (code, said) = checked(&text).await;
        assert_eq!(code, 1, "{text}\n{said}");
        assert!(
            said.contains("gameday/it.toml, ") && said.contains(line) && said.contains(why),
            "{line:?} and {why:?} in {said}\n{text}"
        );
    }
}

#[tokio::test]
async fn what_is_not_there_is_named_and_the_way_out() {
    let directory = Directory::new();
    let (code, _, said) = run(omnitrace(["gameday", "check"]), Some(&directory)).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("cannot read the scenarios in gameday") && said.contains("--scenarios"),
        "{said}"
    );
    write(
        &directory,
        "some-thing.toml",
        "title = \"x\"\ncontrol = true\n",
    );
    let (code, _, said) = run(
        omnitrace(["gameday", "run", "--only", "some-*,other"]),
        Some(&directory),
    )
    .await;
    assert_eq!(code, 1);
    assert!(
        said.contains("--only other: no such scenario; there are: some-thing"),
        "{said}"
    );
    let (code, _, said) = run(omnitrace(["gameday", "report"]), Some(&directory)).await;
    assert_eq!(code, 1);
    assert!(
        said.contains("nothing was run yet in .omnitrace/gameday: `omnitrace gameday run`"),
        "{said}"
    );
}

#[tokio::test]
async fn every_scenario_of_the_repository_is_right_and_there_are_as_many_controls() {
    let (code, said, complained) = run(
        omnitrace([
            "gameday",
            "check",
            "--scenarios",
            &repository("gameday").display().to_string(),
        ]),
        None,
    )
    .await;
    assert_eq!(code, 0, "{complained}");
    let controls = said
        .lines()
        .filter(|line| line.contains(" control: "))
        .count();
    let all = said.lines().filter(|line| line.contains("yes")).count();
    assert!(
        all - controls >= 18 && controls >= all - controls,
        "{controls} of {all} are controls\n{said}"
    );
}

fn report(directory: &Directory) -> Value {
    let file = directory.path().join(".omnitrace/gameday/gameday.json");
    let text = std::fs::read(file).expect("gameday.json");
    serde_json::from_slice(&text).expect("JSON")
}
