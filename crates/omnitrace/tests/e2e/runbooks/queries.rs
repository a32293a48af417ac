//! Each query of each page, asked of a standard stack that has some trouble: it finds something.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::pages::pages;
use crate::harness::{Child, DEADLINE, NativeStack, free_port, omnitrace};

/// What finds nothing here, and why. What would find something is another test's: `stack_causes`, `stack_watchers`, promtool's in alerts/tests.
const QUIET: [(&str, &str); 0] = [];

/// An outage is not made up for this: that nothing is found is what these say of a stack that is well.
type Asked = (String, &'static str, String);

fn asked() -> BTreeSet<Asked> {
    let mut asked = BTreeSet::new();
    for page in pages() {
        for language in ["promql", "logql"] {
            let queries = page.queries(language).into_iter();
            asked.extend(queries.map(|query| (page.name.clone(), language, query)));
        }
    }
    asked
}

fn herald(native_directory: &std::path::Path, listen: &str) -> Child {
    let mut command = omnitrace(["herald", "--listen", listen, "--state-dir"]);
    command
        .arg(native_directory.join("herald"))
        .env("OTEL_SDK_DISABLED", "true");
    Child::spawn("herald", command)
}

async fn finds(native: &NativeStack, (_, language, query): &Asked) -> bool {
    match *language {
        "promql" => !native.prometheus_query(query).await.is_empty(),
        _ => !native.loki_query(query).await.is_empty(),
    }
}

/// Users, of whom some order what downstream refuses to price.
async fn load(native: &NativeStack) {
    let sku = native.stack.sku().await;
    loop {
        native.stack.get_data().await;
        native.stack.order(&sku, 1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn until_found(native: &NativeStack, mut missing: BTreeSet<Asked>) {
    let start = Instant::now();
    while !missing.is_empty() {
        let mut still = BTreeSet::new();
        for asked in missing {
            if !finds(native, &asked).await {
                still.insert(asked);
            }
        }
        missing = still;
        assert!(
            start.elapsed() < 3 * DEADLINE,
            "nothing is found by {missing:#?}"
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test]
#[ignore = "needs the programs of deploy/tools/build.sh: just test-stack"]
async fn stack_runbooks_every_query_finds_something() {
    let listen = format!("127.0.0.1:{}", free_port());
    let directory = crate::harness::Directory::new();
    let _herald = herald(directory.path(), &listen);
    let native = NativeStack::builder()
        .overlay("production.yaml")
        .herald(&listen)
        .start()
        .await;
    let (quiet, loud): (BTreeSet<Asked>, BTreeSet<Asked>) = asked()
        .into_iter()
        .partition(|(_, _, query)| QUIET.iter().any(|(text, _)| text == query));
    assert!(loud.len() > 60, "only {} queries", loud.len());
    for (text, why) in QUIET {
        let is_there = quiet.iter().any(|(_, _, query)| query == text);
        assert!(is_there, "no page asks this any more ({why}): {text}");
    }
    native
        .stack
        .fault_set("downstream", "errors", json!({"share": 0.3, "status": 500}))
        .await
        .expect(200);
    tokio::select! {
        never = load(&native) => never,
        () = until_found(&native, loud) => {}
    }
    for asked in &quiet {
        assert!(
            !finds(&native, asked).await,
            "found after all, so no exception: {asked:?}"
        );
    }
}
