use super::refusal::Kind;
use super::{Steps, check};

fn kind(expression: &str) -> Option<Kind> {
    check(expression).err().map(|why| why.kind)
}

fn why(expression: &str) -> String {
    check(expression).expect_err(expression).to_string()
}

#[test]
fn places_are_told_by_line_and_column() {
    for (expression, place) in [
        ("", "parse error at line 1, col 1: unexpected the end"),
        (
            "{a=\"b\"",
            "parse error at line 1, col 7: unexpected the end, expected \"}\"",
        ),
        (
            "{a=\"ü\"}\n  |= 5",
            "parse error at line 2, col 6: unexpected the number 5, expected a string",
        ),
        (
            "{ä=\"b\"}",
            "parse error at line 1, col 2: unexpected character 'ä'",
        ),
        (
            "{a=\"b\"} # no\n| logfmt",
            "not answered by the console at line 2, col 3: the stage \"logfmt\"",
        ),
    ] {
        assert!(
            why(expression).starts_with(place),
            "{expression}: {}",
            why(expression)
        );
    }
}

#[test]
fn strings_have_gos_escapes() {
    for good in [
        r#"{a="\n\t\r\\\"\x41\u00fc\U0001F600"}"#,
        "{a=`\\d`}",
        "{a=`\n`}",
        r#"{a=~"\\d+"}"#,
    ] {
        assert_eq!(kind(good), None, "{good}");
    }
    for bad in [
        r#"{a="\d"}"#,
        r#"{a="\u00"}"#,
        r#"{a="\x+1"}"#,
        r#"{a="\UFFFFFFFF"}"#,
    ] {
        assert_eq!(kind(bad), Some(Kind::Unsupported), "{bad}");
    }
    for bad in ["{a=\"", "{a=\"\\\"}", "{a=`b}", "{a=\"b\nc\"}"] {
        assert_eq!(kind(bad), Some(Kind::Syntax), "{bad}");
    }
}

#[test]
fn what_costs_too_much_is_refused() {
    let nested = |depth: usize| "(".repeat(depth) + "vector(1)" + &")".repeat(depth);
    assert_eq!(kind(&nested(31)), None);
    let conditions = |count: usize| format!("{{a=\"b\"}} | {}", vec!["c=1"; count].join(" or "));
    assert_eq!(kind(&conditions(60)), None);
    for costly in [
        nested(33),
        "(".repeat(10_000),
        "{a=\"b\"} | ".to_owned() + &"(".repeat(10_000),
        conditions(70),
        "{a=\"b\"}".to_owned() + &" |= \"c\"".repeat(70),
        format!("{{{}}}", vec!["a=\"b\""; 70].join(",")),
        vec!["vector(1)"; 1_000].join("+"),
        format!(
            "sum by ({}) (rate({{a=\"b\"}}[1s]))",
            vec!["a"; 70].join(",")
        ),
        format!("{{a=\"b\"}} | drop {}", vec!["a"; 70].join(",")),
        format!("{{a=\"{}\"}}", "x".repeat(20_000)),
    ] {
        assert_eq!(kind(&costly), Some(Kind::TooMuch), "{}", &costly[..40]);
    }
    for costly in [
        r#"{a=~"(x{1000}){1000}"}"#,
        r#"{a="b"} |~ `\w{5000}`"#,
        r#"{a=~")("}"#,
    ] {
        assert!(
            why(costly).contains("regular expression"),
            "{}",
            why(costly)
        );
    }
}

/// Pieces of LogQL in any order cause neither a panic nor an endless loop, and every refusal gives its reason.
#[test]
fn no_text_breaks_the_parser() {
    const PIECES: [&str; 40] = [
        "{",
        "}",
        "(",
        ")",
        "[",
        "]",
        ",",
        "|",
        "=",
        "=~",
        "!=",
        "!~",
        "|=",
        "|~",
        "a",
        "sum",
        "by",
        "rate",
        "count_over_time",
        "vector",
        "json",
        "drop",
        "and",
        "or",
        "\"b\"",
        "`c`",
        "\"",
        "`",
        "5",
        "5m",
        "1e",
        "0x",
        "20MB",
        ".",
        "\\",
        "ü",
        "😀",
        "\u{0}",
        "#",
        "\n",
    ];
    let mut state = 1_u64;
    let mut next = |below: usize| {
        // Knuth's generator: the same texts in each run.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) as usize % below
    };
    for _ in 0..50_000 {
        let mut text = String::new();
        for _ in 0..next(16) {
            text.push_str(PIECES[next(PIECES.len())]);
            if next(3) == 0 {
                text.push(' ');
            }
        }
        if let Err(why) = check(&text) {
            assert!(why.to_string().contains(": "), "{text:?}: {why}");
        }
    }
}

#[test]
fn steps_are_bounded() {
    let second = 1_000_000_000;
    assert!(Steps::new(0, 10_999 * second, second).is_ok());
    let why = Steps::new(0, 11_000 * second, second).expect_err("too many");
    assert!(why.to_string().contains("11000 points"), "{why}");
    assert!(Steps::new(0, u64::MAX, 1).is_err());
}
