//! Search and waterfall.

use serde_json::json;

use super::{
    Watched, all, attribute, by, click, complaints, find, now_ns, picture, pointer, records, says,
    send,
};
use crate::harness::{Directory, eventually, http};

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn the_probe_is_found_opened_and_read() {
    let mut watched = Watched::idle().await;
    let ready = watched.up.ready().await;
    let trace_id = ready["trace_id"].as_str().unwrap();
    let (browser, console) = (watched.browser.clone(), watched.console.clone());

    // From the list to the trace.
    click(&browser, "#nav a[href='/traces']").await;
    let row = find(
        &browser,
        &format!("{}[data-trace-id=\"{trace_id}\"]", by("trace-row")),
    )
    .await;
    picture(&browser, "console-list").await;
    row.click().await.unwrap();
    find(&browser, &by("waterfall")).await;

    // Every service's row, in the order of the call.
    let rows = all(&browser, &by("span-row")).await;
    let mut services = Vec::new();
    for row in &rows {
        let service = row
            .attr("data-service")
            .await
            .unwrap()
            .expect("data-service");
        if services.last() != Some(&service) && !services.contains(&service) {
            services.push(service);
        }
    }
    assert_eq!(services, ["gateway", "data", "downstream"]);
    assert!(
        !all(&browser, &by("critical-path")).await.is_empty(),
        "the critical path is marked"
    );

    // A span expands to its attributes and its log line.
    let server = format!("{}[data-service=gateway]", by("span-row"));
    find(&browser, &server).await.click().await.unwrap();
    let attributes = find(
        &browser,
        &format!("{} {}", by("span-detail"), by("span-attributes")),
    )
    .await;
    let text = attributes.text().await.unwrap();
    assert!(
        text.contains("http.route") && text.contains("/api/orders"),
        "{text}"
    );
    let line = find(&browser, &format!("{} {}", by("span-logs"), by("log-line"))).await;
    assert!(
        line.text().await.unwrap().contains("order"),
        "the gateway's log line"
    );
    picture(&browser, "console-trace").await;

    // The address of a trace can be passed on.
    browser
        .goto(&format!("{console}/trace/{trace_id}"))
        .await
        .unwrap();
    find(&browser, &by("waterfall")).await;
    watched.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn hostile_telemetry_is_shown_as_text() {
    let watched = Watched::idle().await;
    let (browser, console) = (watched.browser.clone(), watched.console.clone());
    let hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>\u{202e}";
    let attributes = json!([attribute(hostile, hostile)]);
    let now = now_ns();
    let body = json!({"resourceSpans": [{
        "resource": {"attributes": [attribute("service.name", hostile)]},
        "scopeSpans": [{"scope": {"name": hostile}, "spans": [{
            "traceId": "0af7651916cd43dd8448eb211c80319c", "spanId": "b7ad6b7169203331", "name": hostile, "kind": 2,
            "startTimeUnixNano": now.to_string(), "endTimeUnixNano": (now + 1_000_000).to_string(),
            "attributes": attributes, "status": {"code": 2, "message": hostile},
            "events": [{"name": hostile, "timeUnixNano": now.to_string(), "attributes": attributes}],
        }]}],
    }]});
    send(&console, "/v1/traces", &body).await;
    browser
        .goto(&format!("{console}/trace/0af7651916cd43dd8448eb211c80319c"))
        .await
        .unwrap();
    let row = find(&browser, &by("span-row")).await;
    let text = row.text().await.unwrap();
    assert!(text.contains("<script>"), "the name is shown as it is");
    assert!(
        text.contains("⟨U+202E⟩") && !text.contains('\u{202e}'),
        "what reorders text is a mark: {text:?}"
    );
    row.click().await.unwrap();
    find(&browser, &by("span-detail")).await;
    click(&browser, "#nav a[href='/traces']").await;
    find(&browser, &by("trace-row")).await;
    eventually("the list has settled", async || {
        let rows = all(&browser, &by("trace-row")).await;
        (rows.len() >= 2).then_some(())
    })
    .await;
    nothing_was_made_of_it(&browser).await;
    // The name is also in addresses, log lines and what people say.
    let line = json!([{
        "timeUnixNano": now.to_string(), "severityNumber": 17, "severityText": "ERROR", "body": {"stringValue": hostile},
    }]);
    send(&console, "/v1/logs", &records(hostile, &line)).await;
    let silence = json!({
        "matchers": [{"name": "service", "value": hostile, "isRegex": false, "isEqual": true}],
        "endsAt": (chrono::Utc::now() + chrono::Duration::hours(1)).to_rfc3339(), "by": hostile.replace('\u{202e}', ""), "comment": "<img src=x>",
    });
    let sent = http().post(format!("{console}/api/herald/silences"));
    let answer = sent.json(&silence).send().await.unwrap();
    assert!(answer.status().is_success(), "{:?}", answer.text().await);
    let mut service = url::Url::parse(&console).unwrap();
    service
        .path_segments_mut()
        .unwrap()
        .extend(["services", hostile]);
    for (page, part) in [
        (service.as_str(), "error-line"),
        (&format!("{console}/alerts"), "silence-row"),
        (&format!("{console}/logs"), "log-row"),
    ] {
        browser.goto(page).await.unwrap();
        says(&browser, &by(part), "<img src=x").await;
        nothing_was_made_of_it(&browser).await;
    }
    browser.goto(&console).await.unwrap();
    says(&browser, &by("status"), "All targets answer.").await;
    nothing_was_made_of_it(&browser).await;
    watched.end().await;
}

#[tokio::test]
#[ignore = "needs Chromium: just test-browser"]
async fn a_search_stays_live_and_moves_nothing_under_the_pointer() {
    let watched = Watched::start().await;
    let browser = &watched.browser;
    click(browser, "#nav a[href='/traces']").await;
    find(browser, &by("trace-row")).await;
    // With a filter the list stays live: new traces appear at the top by themselves.
    let min = find(browser, "input[name=min_duration]").await;
    min.send_keys(">= 1 µs").await.unwrap();
    click(browser, "form button[type=submit]").await;
    says(browser, "[role=status]", "matches in").await;
    let first = newest(browser).await;
    eventually("a newer trace", async || {
        (newest(browser).await != first).then_some(())
    })
    .await;

    // Not while somebody points at the list.
    pointer(browser, &by("trace-list")).await;
    let words = says(browser, &by("new-traces"), "new").await;
    assert!(words.split(' ').next().unwrap().parse::<u32>().unwrap() > 0);
    let held = newest(browser).await;
    let more = format!("more than {words}");
    eventually(&more, async || {
        let now = find(browser, &by("new-traces")).await.text().await.ok()?;
        (now != words).then_some(())
    })
    .await;
    assert_eq!(newest(browser).await, held, "nothing has moved");
    click(browser, &by("new-traces")).await;
    eventually("what was new", async || {
        (newest(browser).await != held).then_some(())
    })
    .await;

    // A pasted id opens its trace.
    let id = newest(browser).await;
    let tags = find(browser, "input[name=tags]").await;
    let pasted = format!("00-{}-b7ad6b7169203331-01\n", id.to_uppercase());
    tags.send_keys(&pasted).await.unwrap();
    find(browser, &by("waterfall")).await;
    assert!(browser.current_url().await.unwrap().path().ends_with(&id));
    spans_are_searched(browser).await;
    it_is_saved_and_opened(&watched, &id).await;
    watched.end().await;
}

/// No element, and nothing to complain of: a picture or a script would be refused by the policy.
async fn nothing_was_made_of_it(browser: &fantoccini::Client) {
    assert!(all(browser, "main img, main script").await.is_empty());
    assert_ne!(browser.title().await.unwrap(), "owned");
    assert_eq!(complaints(browser).await, [] as [String; 0]);
}

/// The id of the first trace of the list; a row that has just been replaced is looked for again.
async fn newest(browser: &fantoccini::Client) -> String {
    eventually("a trace in the list", async || {
        let row = all(browser, &by("trace-row")).await.into_iter().next()?;
        row.attr("data-trace-id").await.ok().flatten()
    })
    .await
}

async fn spans_are_searched(browser: &fantoccini::Client) {
    let search = find(browser, &by("span-search")).await;
    search.send_keys("gateway").await.unwrap();
    says(browser, &by("spans-found"), "span").await;
    // The newest trace may still wait for the gateway's span.
    find(browser, ".row.found").await;
    // What grows meanwhile is drawn again, the search too.
    let search = find(browser, &by("span-search")).await;
    search.send_keys("no such thing").await.unwrap();
    says(browser, &by("spans-found"), "0 spans").await;
    assert!(all(browser, ".row.found").await.is_empty());
}

/// As OTLP JSON, here under another id, as in a console that has never seen it.
async fn it_is_saved_and_opened(watched: &Watched, id: &str) {
    let browser = &watched.browser;
    let link = find(browser, &by("download")).await;
    let link = link.attr("href").await.unwrap().expect("an address");
    let saved = http()
        .get(format!("{}{link}", watched.console))
        .send()
        .await;
    let saved = saved.expect("an answer").text().await.expect("text");
    let other = "7".repeat(32);
    assert!(saved.contains(id), "{saved}");
    let directory = Directory::new();
    let file = directory.path().join("trace.json");
    std::fs::write(&file, saved.replace(id, &other)).unwrap();
    click(browser, "#nav a[href='/traces']").await;
    let input = find(browser, &by("open-file")).await;
    input.send_keys(&file.display().to_string()).await.unwrap();
    find(browser, &by("waterfall")).await;
    let address = browser.current_url().await.unwrap();
    assert_eq!(address.path(), format!("/trace/{other}"));
}
