//! Numbers that a process shows in Prometheus's text format.

use anyhow::Result;

/// Sum of all series of a metric whose labels have `label` in them, as `sampled="true"`; 0 if there is none.
pub async fn sum(url: &str, name: &str, label: &str) -> Result<u64> {
    let text = reqwest::get(url).await?.error_for_status()?.text().await?;
    Ok(sum_of(&text, name, label))
}

fn sum_of(text: &str, name: &str, label: &str) -> u64 {
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let is_it = labels.is_empty() || labels.starts_with('{');
        (is_it && labels.contains(label)).then(|| value.parse::<f64>().ok())?
    });
    values.sum::<f64>() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_series_of_that_metric_with_that_label_count() {
        let text = "# TYPE a_total counter\na_total{x=\"1 2\",y=\"b\"} 3\na_total{x=\"2\"} 4e0\na_total_more 9\na 1\n";
        assert_eq!(sum_of(text, "a_total", ""), 7);
        assert_eq!(sum_of(text, "a_total", "x=\"2\""), 4);
        assert_eq!(sum_of(text, "a", ""), 1);
        assert_eq!(sum_of(text, "none", ""), 0);
    }
}
