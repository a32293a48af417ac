//! The switchboards.

use serde_json::Value;

use super::{Watched, all, by, click, find, says};
use crate::harness::{Signal, eventually, http};

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn faults_are_switched_on_and_off_by_clicks() {
    let mut watched = Watched::start().await;
    let faults = watched.up.faults("downstream").await;
    let browser = watched.browser.clone();
    click(&browser, "#nav a[href='/faults']").await;
    for service in ["gateway", "data", "downstream"] {
        find(&browser, &format!("[data-board={service}]")).await;
    }
    let latency = "[data-board=downstream] [data-fault=latency]";
    says(&browser, latency, "(1 to 10000 ms)").await;
    let ms = find(&browser, &format!("{latency} [name='p ms']")).await;
    ms.clear().await.unwrap();
    ms.send_keys("123").await.unwrap();
    // What somebody types stays when another service does not answer.
    watched.up.signal("gateway", Signal::SIGSTOP).await;
    find(&browser, "[data-board=gateway] .notice").await;
    watched.up.signal("gateway", Signal::SIGCONT).await;
    let typed = ms.prop("value").await.expect("the form still stands");
    assert_eq!(typed.as_deref(), Some("123"));
    click(&browser, &format!("{latency} form button")).await;
    let said = says(&browser, latency, "ms=123").await;
    assert!(said.contains("left"), "{said}");
    let now = active(&faults, "latency").await;
    assert_eq!(now["parameters"]["ms"], 123, "{now}");

    click(&browser, "[data-board=downstream] .clear-all").await;
    eventually("nothing is on", async || {
        let shown = all(&browser, &by("active")).await;
        shown.is_empty().then_some(())
    })
    .await;
    assert_eq!(active(&faults, "latency").await, Value::Null);
    watched.end().await;
}

async fn active(faults: &str, name: &str) -> Value {
    let answer = http().get(faults).send().await.expect("an answer");
    let answer: Value = answer.json().await.expect("JSON");
    let all = answer["faults"].as_array().expect("faults");
    let one = all.iter().find(|fault| fault["name"] == name);
    one.expect(name)["active"].clone()
}
