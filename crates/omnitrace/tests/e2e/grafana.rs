//! What Grafana's data sources send to find out whether a backend works ("Save & test"), sent to the console.

use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::harness::{Child, Reply, http, omnitrace};

async fn read(request: reqwest::RequestBuilder) -> Value {
    let answer = request.send().await.expect("an answer");
    Reply::read(answer).await.expect(200).json()
}

#[tokio::test]
async fn the_data_sources_take_the_console_for_prometheus_loki_and_jaeger() {
    let command = omnitrace(["console", "--listen", "127.0.0.1:0"]);
    let mut console = Child::spawn("console", command);
    let url = format!("http://{}", console.listening().await.http_addr);
    let get = async |path: &str| read(http().get(format!("{url}{path}"))).await;

    // Prometheus: an instant query by form, and which API it is.
    let form = http()
        .post(format!("{url}/api/v1/query"))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body("query=1%2B1&time=4");
    let sum = &read(form).await["data"];
    assert_eq!(*sum, json!({"resultType": "scalar", "result": [4, "2"]}));
    let build = get("/api/v1/status/buildinfo").await;
    assert!(build["data"]["version"].is_string(), "{build}");
    let rules = get("/api/v1/rules").await;
    assert!(rules["data"]["groups"].is_array(), "{rules}");

    // Loki: a sum that needs no lines, in the year 2096.
    let sum =
        "/loki/api/v1/query?direction=backward&query=vector%281%29%2Bvector%281%29&time=4000000000";
    let sum = get(sum).await;
    assert_eq!(sum["data"]["result"][0]["value"][1], "2", "{sum}");

    // Jaeger: the names of the services.
    let services = get("/api/services").await;
    assert!(services["data"].is_array(), "{services}");
    assert!(console.terminate().await.success());
}
