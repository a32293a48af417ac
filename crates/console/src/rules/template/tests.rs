use promql::Labels;

use super::{QuerySample, Template};

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::new(pairs.iter().copied())
}

/// One series for a selector that says `two` or `one`, none for any other.
fn query(text: &str) -> Result<Vec<QuerySample>, String> {
    let found = |version: &str, value| (labels(&[("version", version)]), value);
    match text {
        "two" => Ok(vec![found("1", 0.25), found("2", 75.0)]),
        r#"one{a="x"}"# => Ok(vec![found("1", 1_500.0)]),
        "broken" => Err("not PromQL".to_owned()),
        _ => Ok(Vec::new()),
    }
}

fn filled(text: &str) -> String {
    let template = Template::parse(text).unwrap_or_else(|why| panic!("{text}: {why}"));
    template.filled(
        &labels(&[("service", "a {{ b }}"), ("x", "x")]),
        12.345,
        &query,
    )
}

#[test]
fn templates_are_filled_in_as_prometheus_does() {
    for (text, wanted) in [
        ("no action", "no action"),
        (r#"{{ "\x41\u00e9\r\'\"\\" }}"#, "Aé\r'\"\\"),
        ("{{ $labels.service }}/{{ $labels.none }}", "a {{ b }}/"),
        (
            "{{.Labels.x}} {{ $value }} {{ .Value | printf \"%.1f\" }}",
            "x 12.345 12.3",
        ),
        (
            "{{ printf \"%s is %v, 100 %%\" $labels.x $value }}",
            "x is 12.345, 100 %",
        ),
        (
            r#"{{ with printf `one{a="%s"}` $labels.x | query }}{{ . | first | value | humanize }}{{ else }}none{{ end }}"#,
            "1.5k",
        ),
        (
            "{{ with query \"none\" }}some{{ else }}none of {{ $value | humanizePercentage }}{{ end }}",
            "none of 1234%",
        ),
        (
            "{{ range $i, $x := query `two` }}{{ if $i }}, {{ end }}{{ .Labels.version }}={{ $x.Value }}{{ else }}none{{ end }}",
            "1=0.25, 2=75",
        ),
        (
            "{{ range query `none` }}some{{ else }}none{{ end }}",
            "none",
        ),
        ("{{ if not (query `none`) }}none{{ end }}", "none"),
        (
            "{{ query `none` | first }}",
            "<error expanding template: first() called on vector with no elements>",
        ),
        (
            "{{ query `broken` }}",
            "<error expanding template: not PromQL>",
        ),
    ] {
        assert_eq!(filled(text), wanted, "{text}");
    }
}

/// Whatever a sender puts into a label, a question about it is about it.
#[test]
fn a_label_cannot_end_the_string_that_it_is_put_into() {
    let template = Template::parse("{{ printf `{a=%q}` $labels.a }}").expect("covered");
    for text in [
        "x",
        "x\"} or vector(1) or y{a=\"",
        "/order/{id:\\d+}",
        "\\\"",
        "a\nb\t\u{1}\u{7f}é%s{{ . }}",
    ] {
        let selector = template.filled(&labels(&[("a", text)]), 1.0, &query);
        let matchers =
            promql::selector(&selector).unwrap_or_else(|why| panic!("{selector}: {why}"));
        let is_it = |matcher: &promql::Matcher| matches!(&matcher.test, promql::Test::Text(found) if found == text);
        assert!(matchers.len() == 1 && is_it(&matchers[0]), "{selector}");
    }
}

/// Each figure is what Prometheus's own tests of these functions say.
#[test]
fn numbers_are_put_in_words_as_prometheus_does() {
    for (function, cases) in [
        (
            "humanize",
            &[
                (0.0, "0"),
                (1.0, "1"),
                (1_234_567.0, "1.235M"),
                (0.12, "120m"),
                (f64::INFINITY, "+Inf"),
            ][..],
        ),
        (
            "humanize1024",
            &[
                (0.0, "0"),
                (1.0, "1"),
                (1_048_576.0, "1Mi"),
                (0.12, "0.12"),
                (1e30, "8.272e+05Yi"),
            ],
        ),
        (
            "humanizeDuration",
            &[
                (0.0, "0s"),
                (1.0, "1s"),
                (60.0, "1m 0s"),
                (3_600.0, "1h 0m 0s"),
                (86_400.0, "1d 0h 0m 0s"),
                (86_400.0 + 3_600.0, "1d 1h 0m 0s"),
                (
                    -(86_400.0 * 2.0 + 3_600.0 * 3.0 + 60.0 * 4.0 + 5.0),
                    "-2d 3h 4m 5s",
                ),
                (899.99, "14m 59s"),
                (0.1, "100ms"),
                (0.000_1, "100us"),
                (0.12345, "123.5ms"),
                (60.1, "1m 0s"),
                (1.2345, "1.234s"),
                (12.345, "12.35s"),
            ],
        ),
        (
            "humanizePercentage",
            &[
                (-0.22222, "-22.22%"),
                (0.0, "0%"),
                (0.1234567, "12.35%"),
                (1.23456, "123.5%"),
                (1e-9, "1e-07%"),
            ],
        ),
    ] {
        let template =
            Template::parse(&format!("{{{{ $value | {function} }}}}")).expect("a template");
        for (value, wanted) in cases {
            assert_eq!(
                template.filled(&labels(&[]), *value, &query),
                *wanted,
                "{function} {value}"
            );
        }
    }
}

#[test]
fn what_is_not_covered_is_named() {
    for (text, named) in [
        ("{{ $externalLabels.x }}", "$externalLabels"),
        ("{{ humanizeTimestamp $value }}", "humanizeTimestamp"),
        ("{{ .Alerts }}", ".Alerts"),
        ("{{ $value.x }}", ".x"),
        ("{{- $value }}", "'-'"),
        ("{{ printf \"%08x\" $value }}", "%08x"),
        (
            "{{ printf \"%s\" $labels.a $labels.b }}",
            "3 arguments, not 2",
        ),
        ("{{ printf $labels.a }}", "without a written format"),
        ("{{ $x := 1 }}", "only as {{ range"),
        ("{{ with $x := query `a` }}{{ end }}", "only as {{ range"),
        ("{{ if $value }}", "{{ end }} is missing"),
        ("{{ end }}", "without a beginning"),
        ("{{ else }}", "without a beginning"),
        (
            "{{ if $value }}{{ else }}{{ else }}{{ end }}",
            "second {{ else }}",
        ),
        ("{{ define \"x\" }}{{ end }}", "define"),
        ("{{ \"\\q\" }}", "the escape \\q does not exist"),
        ("{{ `x }}", "second `"),
        ("{{ \"x }}", "second \""),
        ("{{ $value", "without }}"),
        ("{{ }}", "without anything in it"),
        ("{{ (query `a` }}", "does not close"),
        ("{{ $value $value }}", "only functions take arguments"),
    ] {
        let why = Template::parse(text).expect_err(text);
        assert!(why.contains(named), "{text}: {why}");
    }
    let deep = "{{ if $value }}".repeat(100_000);
    assert!(
        Template::parse(&deep)
            .expect_err("deep")
            .contains("within one another")
    );
    let deep = format!("{{{{ {}", "(".repeat(100_000));
    assert!(Template::parse(&format!("{deep} }}}}")).is_err());
}

#[test]
fn ranges_within_ranges_come_to_an_end() {
    let many = |text: &str| match text {
        "many" => Ok((0..1_000).map(|i| (labels(&[]), f64::from(i))).collect()),
        _ => query(text),
    };
    let fill = |text: &str| {
        let template = Template::parse(text).expect(text);
        template.filled(&labels(&[]), 0.0, &many)
    };
    let nested = |depth: usize| {
        let (open, close) = ("{{ range query `many` }}", "{{ end }}");
        format!("{}{}", open.repeat(depth), close.repeat(depth))
    };
    assert_eq!(fill(&nested(1)), "");
    let endless = fill(&nested(9));
    assert!(
        endless.starts_with("<error expanding template: more than 100000 steps"),
        "{endless}"
    );
}
