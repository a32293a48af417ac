//! `omnitrace query`: the present result of PromQL or LogQL, one line per series or log line.

use std::io::{IsTerminal, Read};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use serde_json::Value;

use crate::backend_tls::BackendTlsArgs;
use crate::doctor::client::Client;
use crate::problem::text;
use crate::runtime::block_on;
use crate::terminal::{quoted, say};
use crate::up::state::State;
use crate::values::base_url;

/// The text of `omnitrace help query`.
pub const HELP: &str = "\
Run a query: PromQL at the present time, or with --logs LogQL over the last hour (the newest 100 lines). It prints one line per series or log line.

It asks the server that PROMETHEUS_URL or LOKI_URL names, else the console of the stack in --data-dir, or Prometheus and the log store of a stack of `up --standard`.";

/// Examples of `omnitrace help query`.
pub const EXAMPLES: &str = concat!(
    "Examples:\n  omnitrace query 'up == 0'\n  omnitrace query --logs '",
    r#"{service_name="data"} |= "failed""#,
    "'\n  omnitrace query < queries.txt                         one query per line"
);

/// `omnitrace query`.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// PromQL, or with --logs LogQL; without any, each line of stdin is one query
    #[arg(value_name = "QUERY")]
    queries: Vec<String>,
    /// The queries are LogQL, for the log store
    #[arg(long)]
    logs: bool,
    /// Prometheus, instead of the stack in --data-dir
    #[arg(long, value_name = "URL", env = "PROMETHEUS_URL", value_parser = base_url)]
    prometheus_url: Option<String>,
    /// Loki, instead of the stack in --data-dir
    #[arg(long, value_name = "URL", env = "LOKI_URL", value_parser = base_url)]
    loki_url: Option<String>,
    /// Directory of the running stack
    #[arg(long, value_name = "DIR", default_value = ".omnitrace")]
    data_dir: PathBuf,
    /// Certificates for an `https://` address
    #[command(flatten)]
    tls: BackendTlsArgs,
}

/// Runs the queries in turn; an error names the refused one.
pub fn run(mut args: QueryArgs) -> Result<ExitCode> {
    let queries = match std::mem::take(&mut args.queries) {
        none if none.is_empty() => of_stdin()?,
        given => given,
    };
    let backend = backend(&args)?;
    let client = Client::new(&args.tls.files())?;
    block_on(async {
        for query in &queries {
            let found = ask(&client, &backend, args.logs, query).await;
            let found = found.with_context(|| format!("{} at {backend}", quoted(query)))?;
            show(query, &found, queries.len() > 1);
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn of_stdin() -> Result<Vec<String>> {
    let mut stdin = std::io::stdin();
    if stdin.is_terminal() {
        say("paste queries, one per line, and end with Ctrl-D:");
    }
    let mut text = String::new();
    stdin.read_to_string(&mut text).context("stdin")?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let queries: Vec<String> = lines.map(str::to_owned).collect();
    if queries.is_empty() {
        bail!("no query: give one, such as `omnitrace query 'up == 0'`");
    }
    Ok(queries)
}

fn backend(args: &QueryArgs) -> Result<String> {
    let given = match args.logs {
        true => &args.loki_url,
        false => &args.prometheus_url,
    };
    if let Some(given) = given {
        return Ok(given.clone());
    }
    let state = State::running(&args.data_dir)?;
    let store = match args.logs {
        true => "loki",
        false => "prometheus",
    };
    let asked = state.url(store).or_else(|| state.url("console"));
    let asked = asked.context(
        "the stack runs without console (--no-console): PROMETHEUS_URL or LOKI_URL says whom to ask",
    )?;
    Ok(asked.to_owned())
}

async fn ask(client: &Client, backend: &str, logs: bool, query: &str) -> Result<Value> {
    let now = Utc::now();
    let start = (now - TimeDelta::hours(1)).timestamp().to_string();
    let end = now.timestamp().to_string();
    let answer = match logs {
        true => {
            let url = format!("{backend}/loki/api/v1/query_range");
            let about = [
                ("query", query),
                ("start", &start),
                ("end", &end),
                ("step", "60"),
                ("limit", "100"),
            ];
            client.json(&url, &about).await?
        }
        false => {
            let url = format!("{backend}/api/v1/query");
            client.json(&url, &[("query", query)]).await?
        }
    };
    Ok(answer["data"].clone())
}

fn show(query: &str, found: &Value, heading: bool) {
    if heading {
        say(&quoted(query));
    }
    let mut lines = lines(found);
    if lines.is_empty() {
        lines.push("(nothing)".to_owned());
    }
    for line in lines {
        say(&format!("  {}", quoted(&line)));
    }
}

fn lines(found: &Value) -> Vec<String> {
    let result = found["result"].as_array();
    let result = result.into_iter().flatten();
    match text(&found["resultType"]) {
        "vector" => result.map(|one| series(one, &one["value"])).collect(),
        "matrix" => result.map(|one| series(one, newest(one))).collect(),
        "streams" => streams(result),
        _ => vec![text(&found["result"][1]).to_owned()],
    }
}

fn newest(series: &Value) -> &Value {
    let values = series["values"].as_array();
    values
        .and_then(|values| values.last())
        .unwrap_or(&Value::Null)
}

/// `up{job="jaeger"}  0`.
fn series(series: &Value, sample: &Value) -> String {
    let labels = series["metric"].as_object().into_iter().flatten();
    let labels = labels.filter(|(name, _)| *name != "__name__");
    let labels: Vec<String> = labels
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let name = text(&series["metric"]["__name__"]);
    format!("{name}{{{}}}  {}", labels.join(","), text(&sample[1]))
}

/// All lines of all streams, the newest last.
fn streams<'a>(streams: impl Iterator<Item = &'a Value>) -> Vec<String> {
    let lines = streams.flat_map(|stream| {
        let service = text(&stream["stream"]["service_name"]);
        let values = stream["values"].as_array().into_iter().flatten();
        values.map(move |line| (text(&line[0]), service, text(&line[1])))
    });
    let mut lines: Vec<_> = lines.collect();
    lines.sort_unstable();
    let line = |(nanoseconds, service, line): (&str, &str, &str)| {
        let time = nanoseconds.parse().map(DateTime::from_timestamp_nanos);
        let time = time.map(|time| time.format("%H:%M:%S").to_string());
        format!("{}  {service}  {line}", time.unwrap_or_default())
    };
    lines.into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_kind_of_answer_is_lines() {
        let up = json!({"__name__": "up", "job": "jaeger"});
        let (old, new) = (
            json!(["1700000001000000000", "x"]),
            json!(["1700000002000000000", "y"]),
        );
        let of = |service: &str, line: &Value| json!({"stream": {"service_name": service}, "values": [line]});
        for (found, expected) in [
            (
                json!({"resultType": "vector", "result": [{"metric": up, "value": [1, "0"]}]}),
                vec!["up{job=\"jaeger\"}  0"],
            ),
            (
                json!({"resultType": "matrix", "result": [{"metric": {}, "values": [[1, "3"], [2, "4"]]}]}),
                vec!["{}  4"],
            ),
            (
                json!({"resultType": "scalar", "result": [1, "7"]}),
                vec!["7"],
            ),
            (
                json!({"resultType": "streams", "result": [of("b", &new), of("a", &old)]}),
                vec!["22:13:21  a  x", "22:13:22  b  y"],
            ),
            (json!({"resultType": "vector", "result": []}), vec![]),
        ] {
            assert_eq!(lines(&found), expected, "{found}");
        }
    }
}
