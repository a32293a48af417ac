use super::*;

fn parse(page: &str, format: Format) -> Result<Vec<Sample>, String> {
    let mut samples = Vec::new();
    super::parse(page, format, &mut |sample| samples.push(sample))?;
    Ok(samples)
}

fn one(line: &str) -> Sample {
    let mut samples = parse(line, Format::Prometheus).expect(line);
    assert_eq!(samples.len(), 1, "{line}");
    samples.remove(0)
}

#[test]
fn prometheus_text_is_read() {
    let page = "# HELP up Is it up?\n# TYPE up gauge\n\n#comment\nup 1\n  spaced\t{ a = \"b\" , }  2.5e3   1500 \n";
    let samples = parse(page, Format::Prometheus).expect("a good page");
    assert_eq!(samples.len(), 2);
    assert_eq!((samples[0].name.as_str(), samples[0].value), ("up", 1.0));
    assert_eq!(samples[1].labels, [("a".to_owned(), "b".to_owned())]);
    assert_eq!(samples[1].timestamp_us, Some(1_500_000));
    assert_eq!(
        one(r#"m{p="C:\\d\n\"q\" \x é,}{"} 0"#).labels[0].1,
        "C:\\d\n\"q\" \\x é,}{"
    );
    assert!(one("m NaN").value.is_nan());
    assert_eq!(one("m{le=\"+Inf\"} +Inf").value, f64::INFINITY);
    assert_eq!(one("m -Inf").value, f64::NEG_INFINITY);
    assert_eq!(one("m 1 -5").timestamp_us, None);
}

#[test]
fn open_metrics_exemplars_are_read() {
    let id = "0af7651916cd43dd8448eb211c80319c";
    let page = format!(
        "# TYPE d histogram\nd_bucket{{le=\"1\"}} 3 # {{trace_id=\"{id}\",span_id=\"00f067aa0ba902b7\"}} 0.5 1.25\n\
         d_bucket{{le=\"+Inf\"}} 3 7.5 # {{trace_id=\"short\"}} 1\nd_count 3\n# EOF\n"
    );
    let samples = parse(&page, Format::OpenMetrics).expect("a good page");
    let exemplar = samples[0].exemplar.expect("an exemplar");
    assert_eq!(exemplar.trace_id.to_string(), id);
    assert_eq!(
        exemplar.span_id.map(|id| id.to_string()).as_deref(),
        Some("00f067aa0ba902b7")
    );
    assert_eq!(
        (exemplar.value, exemplar.timestamp_us),
        (0.5, Some(1_250_000))
    );
    assert_eq!(
        (samples[1].exemplar, samples[1].timestamp_us),
        (None, Some(7_500_000))
    );
}

#[test]
fn quoted_names_are_read() {
    let page = "{\"http.requests\", \"net.host\"=\"a\", b=\"c\"} 5\nm{\"größe\"=\"x\"} 1\n{\"q\\\"uoted\"} 2\n";
    let samples = parse(page, Format::Prometheus).expect("a good page");
    let names: Vec<&str> = samples.iter().map(|sample| sample.name.as_str()).collect();
    assert_eq!(names, ["http.requests", "m", "q\"uoted"]);
    let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(samples[0].labels, [label("net.host", "a"), label("b", "c")]);
    assert_eq!(samples[1].labels, [label("größe", "x")]);
    for bad in [
        "m{\"n\"} 1",
        "{\"m\",\"n\"} 1",
        "{\"\"} 1",
        "m{\"\"=\"x\"} 1",
        "{a=\"b\"} 1",
        "{\"m\"",
        "\"m\" 1",
    ] {
        assert!(parse(bad, Format::Prometheus).is_err(), "{bad}");
    }
}

#[test]
fn a_bad_exemplar_costs_only_itself() {
    let id = "0af7651916cd43dd8448eb211c80319c";
    for (exemplar, is_read) in [
        (format!("{{trace_id=\"{id}\"}} 1"), true),
        (
            format!("{{\"trace_id\"=\"{id}\",\"net.http\"=\"abc\"}} 1.0"),
            true,
        ),
        ("{\"net.http\"=\"abc\"} 1.0".to_owned(), false),
        (format!("{{trace_id=\"{id}\"}}"), false),
        (format!("{{trace_id=\"{id}\"}} one"), false),
        (format!("{{trace_id=\"{id}\"}} 1 2 3"), false),
        (format!("{{trace_id=\"{id}\" 1"), false),
        (format!("{{trace_id=\"{id}\",trace_id=\"{id}\"}} 1"), false),
        ("5".to_owned(), false),
        (String::new(), false),
    ] {
        let page = format!("a_total{{n=\"1\"}} 5 # {exemplar}\n# EOF\n");
        let samples = parse(&page, Format::OpenMetrics).expect(&page);
        assert_eq!(samples[0].value, 5.0, "{page}");
        assert_eq!(samples[0].exemplar.is_some(), is_read, "{page}");
    }
}

#[test]
fn broken_pages_are_refused_by_line() {
    for bad in [
        "m",
        "m{",
        "m{a}",
        "m{a=\"b} 1",
        "m{a=\"b\" c=\"d\"} 1",
        "m{a=\"\\",
        "m one",
        "m 1 2 3",
        "m 1 NaN",
        "m 1 +Inf",
        "1m 1",
        "{} 1",
        "m{a=\"b\",a=\"c\"} 1",
        "m 1 # {trace_id=\"x\"} 1",
    ] {
        let why = parse(&format!("ok 1\n{bad}\n"), Format::Prometheus).expect_err(bad);
        assert!(why.starts_with("line 2: "), "{bad}: {why}");
    }
    for bad in ["m 1\n", "m 1\n# EOF\nm 1\n", "m 1\n# EOF "] {
        assert!(parse(bad, Format::OpenMetrics).is_err(), "{bad}");
    }
}

#[test]
fn what_open_metrics_forbids_is_refused() {
    for (line, is_good) in [
        ("m 1", true),
        ("m{a=\"b\",} 1 2", true),
        ("m 1\r", true),
        ("# HELP m ", true),
        ("# HELP \"m.n\" text", true),
        ("# TYPE m gaugehistogram", true),
        ("# UNIT m_s s", true),
        ("# UNIT m ", true),
        ("", false),
        ("m 1 2 3 # {a=\"b\"} 1", false),
        ("m  1", false),
        ("m 1 ", false),
        ("m 1\t", false),
        (" m 1", false),
        ("m{a=\"b\"}1", false),
        ("m{a=\"b\", c=\"d\"} 1", false),
        ("#", false),
        ("#m 1", false),
        ("# m", false),
        ("# HELP m", false),
        (" # HELP m x", false),
        ("# TYPE m", false),
        ("# TYPE m untyped", false),
        ("# TYPE m gauge ", false),
        ("# UNIT m_s seconds", false),
        ("# UNIT ms s", false),
    ] {
        let page = format!("{line}\n# EOF\n");
        let read = parse(&page, Format::OpenMetrics);
        assert_eq!(read.is_ok(), is_good, "{line:?}: {read:?}");
    }
}
