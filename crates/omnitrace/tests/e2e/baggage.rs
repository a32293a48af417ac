//! Baggage goes on as it came, up to what the standard grants.

use crate::propagation::{Hop, baggage, set};

#[tokio::test]
async fn values_keep_their_meaning_and_all_of_the_size_that_the_standard_grants_is_used() {
    let hop = Hop::start(&[]).await;
    let odd = set(["a=%2541", "b=100%25", "c=%20x", "d=caf%C3%A9%2C%3B"]);
    let joined = odd.iter().cloned().collect::<Vec<_>>().join(",");
    let (_, sent) = hop.send(&[("baggage", &joined)]).await;
    assert_eq!(baggage(&sent), odd);

    let many: Vec<String> = (0..64).map(|n| format!("k{n:02}=v")).collect();
    let (_, sent) = hop.send(&[("baggage", &many.join(","))]).await;
    assert_eq!(baggage(&sent), many.iter().cloned().collect());
    let (_, sent) = hop
        .send(&[("baggage", &(many.join(",") + ",one=more"))])
        .await;
    assert_eq!(baggage(&sent), many.into_iter().collect());

    // In one header and in several, 8,192 bytes with the commas: 8 members of 1,023 bytes, and their seven commas, and one.
    let large: Vec<String> = (0..8)
        .map(|n| format!("k{n}={}", "v".repeat(1020)))
        .collect();
    let full = format!("{}v", large.join(","));
    assert_eq!(full.len(), 8192);
    let (_, sent) = hop.send(&[("baggage", &full)]).await;
    assert_eq!(
        sent.header("baggage").map(|header| header.len()),
        Some(8192)
    );
    let headers: Vec<_> = large
        .iter()
        .map(|member| ("baggage", member.as_str()))
        .collect();
    let (_, sent) = hop.send(&headers).await;
    assert_eq!(baggage(&sent), large.iter().cloned().collect());
    let (_, sent) = hop.send(&[("baggage", &format!("{full}v"))]).await;
    assert_eq!(
        baggage(&sent),
        large[..7].iter().cloned().collect(),
        "the last one has to go"
    );
    hop.stack.stop().await;
}
