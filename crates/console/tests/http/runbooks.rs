//! Runbooks as parts of a page.

use crate::harness::Running;

#[tokio::test]
async fn a_runbook_is_shown_and_leads_to_others() {
    let console = Running::start();
    let reply = console.get("/api/runbooks/ServiceDown").await;
    assert_eq!(
        (reply.status.as_u16(), reply.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    let page = reply.text();
    let file = console.get("/docs/runbooks/ServiceDown.md").await;
    assert_eq!((file.status.as_u16(), file.text()), (200, page.clone()));
    let missing = console.get("/docs/runbooks/README.md").await;
    assert_eq!(missing.status, 404);
    assert!(page.starts_with("<h1>ServiceDown</h1>"), "{page}");
    let links: Vec<&str> = page
        .split("href=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let others: Vec<_> = links
        .iter()
        .filter(|link| link.starts_with("/api/runbooks/"))
        .collect();
    assert!(!others.is_empty(), "{links:?}");
    for link in others {
        assert_eq!(console.get(link).await.status, 200, "{link}");
    }
    for missing in [
        "Nothing",
        "README",
        "..%2fSLO",
        "ServiceDown.md",
        "servicedown",
    ] {
        let reply = console.get(&format!("/api/runbooks/{missing}")).await;
        assert_eq!(reply.status, 404, "{missing}");
    }
}
